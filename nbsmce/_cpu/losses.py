"""The losses and their gradients on arrays in main memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _arrays
from .._spec import Aux, LossSpec, Wanted
from . import cross_entropy as kernels
from . import host
from . import nll as kernels_nll
from .host import Kind, Operand
from .lanes.storage import LANES
from .launch import launch, streamed
from .layout import over_rows
from .sums import NO_CLASS

_PANEL = 1 << 16
_NONE = np.empty(0, np.float64)
_INT64 = np.dtype(np.int64)
_NO_INDICES = np.empty(0, _INT64)


# -- targets -----------------------------------------------------------------------------------------------------------


class Targets(NamedTuple):
    """Checked targets: class indices in a row, or probabilities in the shape of the logits."""

    indices: np.ndarray
    probabilities: Operand | None
    shape: tuple[int, ...]  # of the rows


def _targets(target: Any, logits: Operand, axis: int) -> Targets:
    shape = logits.data.shape
    rows = _arrays.without(shape, (axis,))
    array = host.as_numpy(target, "target")
    if host.is_floating(target) and (array.size or array.shape != rows):
        if array.shape != shape:
            raise ValueError(
                f"a floating target holds the probabilities of the classes and must have the logits' shape {shape}, "
                f"got {array.shape} of {array.dtype.name}; class indices must be integers"
            )
        return Targets(_NO_INDICES, host.floating(target, "target"), rows)
    return Targets(_class_indices(target, array, rows), None, rows)


def _class_indices(target: Any, array: np.ndarray, rows: tuple[int, ...]) -> np.ndarray:
    """Class indices as int64, row after row."""
    if array.dtype.kind not in "iu" and (array.size or not host.is_floating(target)):
        raise TypeError(f"target must hold class indices of an integer dtype, got {array.dtype.name!r}")
    if array.shape != rows:
        raise ValueError(f"target must have the shape {rows} for class indices, got {array.shape}")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        position = int(np.argmax(array.reshape(-1) > np.iinfo(np.int64).max))
        raise IndexError(
            f"target{_arrays.index_of(position, rows)} is {array.reshape(-1)[position]}, which is no class"
        )
    if array.ndim == 1 and array.dtype == _INT64 and array.flags.c_contiguous:
        return array
    return np.ascontiguousarray(array, dtype=_INT64).reshape(-1)


def _denominator(
    indices: np.ndarray, weight: np.ndarray, sample: np.ndarray, classes: int, ignore_index: int, rows: tuple[int, ...]
) -> float:
    """What a mean over rows with class indices is divided by. Raises where an index is no class."""
    total = np.zeros(1)
    kernel = kernels.inspect_targets[weight.dtype.char,]
    first = kernel(indices, weight, sample, classes, ignore_index, total)
    if first != NO_CLASS:
        raise IndexError(_arrays.no_class(first, indices[first], rows, classes, ignore_index))
    return float(total[0])


# -- sums over rows ----------------------------------------------------------------------------------------------------


class RowSum:
    """The sum of the losses of rows, in an order that does not depend on how the rows are handed out.

    The kernels write the losses of a part of the rows as float64 and add them up before the next part comes, so that no
    call needs more than some memory for them. Only parts that begin in the middle of a group of sixteen rows are kept
    until the end.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.sums = np.zeros((2, LANES))
        self.total = 0.0
        self._buffer = _NONE
        self._kept = _NONE
        self._first_kept = count

    def memory(self, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the losses of rows ``[first, stop)`` go, and what the kernel adds them to."""
        if not self.count:
            return _NONE, self.sums
        if not self._kept.size and (stop % LANES == 0 or stop == self.count):
            if self._buffer.size < stop - first:
                self._buffer = np.empty(stop - first)
            return self._buffer[: stop - first], self.sums
        if not self._kept.size:
            self._kept, self._first_kept = np.empty(self.count - first), first
        return self._kept[first - self._first_kept : stop - self._first_kept], np.zeros((2, LANES))

    def result(self) -> float:
        """The sum over all rows."""
        if self._kept.size:
            return float(kernels.total_of_rows[()](self._kept, self.sums))
        return float(self.total)


def panels(x: np.ndarray, first_row: int, limit: int) -> Iterator[tuple[Any, int, int]]:
    """Parts of some ``limit`` rows: an index into ``x``, and the numbers of their first row and the one behind.

    The index is None if there is a single part.
    """
    rows = x.size // x.shape[1]
    if rows <= limit:
        yield None, first_row, first_row + rows
        return
    if x.ndim == 2:
        axis, per = 0, 1
    elif x.shape[0] == 1:
        axis, per = 2, 1
    else:
        axis, per = 0, x.shape[2]
    step = -(-max(1, limit // per) // LANES) * LANES
    for lo in range(0, x.shape[axis], step):
        hi = min(lo + step, x.shape[axis])
        index = (slice(lo, hi),) if axis == 0 else (slice(None), slice(None), slice(lo, hi))
        yield index, first_row + lo * per, first_row + hi * per


def _parts(arrays: Sequence[np.ndarray], where: Any) -> Sequence[np.ndarray]:
    """The arrays at an index; as they are if that is None, since a slice costs as much as a small array's sums."""
    return arrays if where is None else [a[where] for a in arrays]


def _mean(total: float, divisor: float) -> float:
    """``total / divisor``, also where that is 0, as IEEE 754 has it."""
    if divisor:
        return total / divisor
    return math.nan if not total or math.isnan(total) else math.copysign(math.inf, total)


def _reduced(loss: np.ndarray, total: RowSum, divisor: float, spec: LossSpec, rows: tuple[int, ...], kind: Kind) -> Any:
    """The loss as the caller wants it."""
    if spec.reduction == "none":
        return host.result(loss.reshape(rows), None, kind)
    value = total.result()
    return host.scalar(_mean(value, divisor) if spec.reduction == "mean" else value, kind)


def _upstream(dloss: Any, spec: LossSpec, operand: Operand, rows: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """The gradient from above: of every row, and of the loss."""
    none = host.nothing(operand.kind)
    if dloss is None:
        return none, 1.0
    if spec.reduction == "none":
        return host.numbers(dloss, "dloss", operand, rows), 1.0
    above = host.decoded(host.floating(dloss, "dloss"))
    if above.shape:
        raise ValueError(f"dloss must be a scalar where the reduction is {spec.reduction!r}, got shape {above.shape}")
    return none, float(above)


# -- cross entropy -----------------------------------------------------------------------------------------------------


def cross_entropy(
    logits: Any,
    target: Any,
    axis: Any,
    weight: Any,
    sample_weight: Any,
    spec: LossSpec,
    wanted: Wanted,
    dloss: Any = None,
    lse: Any = None,
    out: Any = None,
) -> tuple[Any, Any, Any]:
    """``(loss, dlogits, aux)``, None for what is not wanted."""
    operand = host.floating(logits, "logits")
    data, kind = operand.data, operand.kind
    axis = _loss_axis("logits", data, axis)
    targets = _targets(target, operand, axis)
    rows, classes, count = targets.shape, data.shape[axis], math.prod(targets.shape)
    none = host.nothing(kind)
    weights = none if weight is None else host.numbers(weight, "weight", operand, (classes,))
    sample = none if sample_weight is None else host.numbers(sample_weight, "sample_weight", operand, rows)
    given_lse = none if lse is None else host.numbers(lse, "lse", operand, rows)
    above, upstream = _upstream(dloss, spec, operand, rows)
    gradient = host.result_memory(out, "out", data.shape, kind) if wanted.gradient else None

    y = None
    if targets.probabilities is None:
        divisor = _denominator(targets.indices, weights, sample, classes, spec.ignore_index, rows)
    else:
        y = _like(targets.probabilities, operand)
        divisor = float(sample.sum(dtype=np.float64)) if sample_weight is not None else float(count)
    if spec.reduction == "mean":
        upstream = _mean(upstream, divisor)

    by_row = wanted.loss and spec.reduction == "none"
    total = RowSum(count if wanted.loss and not by_row else 0)
    loss = np.zeros(count, none.dtype) if by_row else none
    aux = AuxMemory(count if wanted.aux else 0, none)
    past_cache = 0 if gradient is None else streamed(gradient)
    options = _numbers(spec).copy()
    options[-1] = upstream
    of_rows = targets.indices, sample, above, given_lse, loss, aux.lse, aux.z_loss, aux.predicted

    def work(views: list[np.ndarray], first_row: int) -> None:
        empty = views[0][:0]
        arrays = views[0], empty if y is None else views[1], views[-1] if wanted.gradient else empty
        for part, first, stop in panels(views[0], first_row, _PANEL if total.count else count):
            x, probabilities, dx = _parts(arrays, part)
            at = None if stop - first == count else slice(first, stop)
            indices, *given, losses, lses, z_losses, predicted = _parts(of_rows, at)
            weighted, sums = total.memory(first, stop)
            total.total = launch(
                kernels.cross_entropy, kernels.split_cross_entropy, x,
                x, probabilities, indices, weights, *given, losses, weighted, lses, z_losses, predicted, dx, options,
                spec.ignore_index, past_cache, sums, rooms=3, more=probabilities.dtype.char,
            )  # fmt: skip

    inputs, outputs = [data] if y is None else [data, y], [] if gradient is None else [gradient]
    if data.size:
        guarded = [targets.indices, weights, sample, above, given_lse]
        over_rows(inputs, outputs, (axis,), work, guarded, new=out is None)
    return (
        _reduced(loss, total, divisor, spec, rows, kind.computed) if wanted.loss else None,
        None if gradient is None else host.result(gradient, out, kind),
        aux.result(targets, axis, spec, kind) if wanted.aux else None,
    )


@functools.lru_cache(maxsize=256)
def _numbers(spec: LossSpec) -> np.ndarray:
    """The options as the kernel takes them, and room for the gradient from above."""
    return np.array([spec.label_smoothing, spec.z_loss, spec.logit_scale, spec.softcap, 1.0])


def _loss_axis(name: str, data: np.ndarray, axis: Any) -> int:
    if not data.ndim:
        raise ValueError(f"{name} must have at least one dimension")
    return _arrays.class_axis(axis, data.ndim)


def _like(probabilities: Operand, logits: Operand) -> np.ndarray:
    """Probabilities in the logits' type, or in the one that those are computed in."""
    if probabilities.kind.name == logits.kind.name:
        return probabilities.data
    return host.decoded(probabilities).astype(logits.kind.computed.dtype, copy=False)


class AuxMemory:
    """The arrays behind :class:`Aux`."""

    def __init__(self, count: int, none: np.ndarray) -> None:
        self.lse, self.z_loss, self.predicted = none, none, _NO_INDICES
        if count:
            self.lse, self.z_loss = np.full(count, -np.inf, none.dtype), np.zeros(count, none.dtype)
            self.predicted = np.full(count, -1, np.int64)

    def result(self, targets: Targets, axis: int, spec: LossSpec, kind: Kind) -> Aux:
        if targets.probabilities is None:
            correct = (self.predicted == targets.indices) & (targets.indices != spec.ignore_index)
        else:
            probabilities = host.decoded(targets.probabilities)
            best = probabilities.argmax(axis).reshape(-1) if probabilities.size else self.predicted
            correct = self.predicted == best
        of_rows, indices, truth = (
            kind.computed,
            Kind(np.dtype(np.int64), "int64", kind.torch),
            Kind(np.dtype(np.bool_), "bool", kind.torch),
        )
        return Aux(
            *(
                host.result(values.reshape(targets.shape), None, what)
                for values, what in (
                    (self.lse, of_rows), (self.z_loss, of_rows), (self.predicted, indices), (correct, truth),
                )
            )
        )  # fmt: skip


# -- negative log-likelihood -------------------------------------------------------------------------------------------


def nll_loss(
    log_probs: Any,
    target: Any,
    axis: Any,
    weight: Any,
    sample_weight: Any,
    spec: LossSpec,
    gradient: bool,
    dloss: Any = None,
    out: Any = None,
) -> Any:
    """The loss, or its gradient."""
    operand = host.floating(log_probs, "log_probs")
    data, kind = operand.data, operand.kind
    axis = _loss_axis("log_probs", data, axis)
    rows, classes = _arrays.without(data.shape, (axis,)), data.shape[axis]
    count = math.prod(rows)
    indices = _class_indices(target, host.as_numpy(target, "target"), rows)
    none = host.nothing(kind)
    weights = none if weight is None else host.numbers(weight, "weight", operand, (classes,))
    sample = none if sample_weight is None else host.numbers(sample_weight, "sample_weight", operand, rows)
    above, upstream = _upstream(dloss, spec, operand, rows)
    memory = host.result_memory(out, "out", data.shape, kind) if gradient else None
    divisor = _denominator(indices, weights, sample, classes, spec.ignore_index, rows)
    if spec.reduction == "mean":
        upstream = _mean(upstream, divisor)
    by_row = not gradient and spec.reduction == "none"
    total = RowSum(0 if gradient or by_row else count)
    loss = np.zeros(count, none.dtype) if by_row else none
    scale = np.array([upstream])

    def work(views: list[np.ndarray], first_row: int) -> None:
        views = [a.T[None] if a.ndim == 2 else a for a in views]
        arrays = views[0], views[0] if gradient else views[0][:0]
        for part, first, stop in panels(views[0], first_row, _PANEL if total.count else count):
            x, dx = _parts(arrays, part)
            at = None if stop - first == count else slice(first, stop)
            target_of, *given, losses = _parts((indices, sample, above, loss), at)
            weighted, sums = total.memory(first, stop)
            total.total = launch(
                kernels_nll.nll, None, x,
                x, target_of, weights, *given, losses, weighted, dx, scale, spec.ignore_index, sums, rooms=None,
            )  # fmt: skip

    if memory is not None:
        indices, weights, sample, above = (
            a.copy() if np.may_share_memory(a, memory) else a for a in (indices, weights, sample, above)
        )
        memory[...] = 0
        over_rows([], [memory], (axis,), work) if data.size else None
        return host.result(memory, out, kind)
    if data.size:
        over_rows([data], [], (axis,), work)
    return _reduced(loss, total, divisor, spec, rows, kind.computed)
