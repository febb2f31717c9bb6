"""The losses and their gradients on arrays in main memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _arrays
from .._spec import Aux, LossSpec, Wanted
from . import cross_entropy as kernels
from . import host, row_targets, short
from . import nll as kernels_nll
from .host import Kind, Operand
from .launch import launch, streamed
from .layout import over_rows
from .row_sums import PANEL, RowSum, mean, options, panels, parts, reduced
from .row_targets import NO_INDICES, Targets, class_indices, denominator


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
    if not wanted.aux and weight is None and sample_weight is None:
        call = short.prepared(short.cross_entropy, wanted, axis, logits, wanted, spec)
        if call and (results := call(logits, target, dloss, lse, out)) is not None:
            return *results, None
    operand = host.floating(logits, "logits")
    data, kind = operand.data, operand.kind
    axis = _loss_axis("logits", data, axis)
    targets = row_targets.checked(target, operand, axis)
    rows, classes, count = targets.shape, data.shape[axis], math.prod(targets.shape)
    none = host.nothing(kind)
    weights = none if weight is None else host.numbers(weight, "weight", operand, (classes,))
    sample = none if sample_weight is None else host.numbers(sample_weight, "sample_weight", operand, rows)
    given_lse = none if lse is None else host.numbers(lse, "lse", operand, rows)
    above, upstream = _upstream(dloss, spec, operand, rows)
    gradient = host.result_memory(out, "out", data.shape, kind) if wanted.gradient else None

    y = None
    if targets.probabilities is None:
        divisor = denominator(targets.indices, weights, sample, classes, spec.ignore_index, rows)
    else:
        y = _like(targets.probabilities, operand)
        divisor = float(sample.sum(dtype=np.float64)) if sample_weight is not None else float(count)
    if spec.reduction == "mean":
        upstream = mean(upstream, divisor)

    by_row = wanted.loss and spec.reduction == "none"
    total = RowSum(count if wanted.loss and not by_row else 0)
    loss = np.zeros(count, none.dtype) if by_row else none
    aux = AuxMemory(count if wanted.aux else 0, none)
    numbers = options(spec, upstream)
    of_rows = targets.indices, sample, above, given_lse, loss, aux.lse, aux.z_loss, aux.predicted

    usual = y is None and not wanted.aux and spec.usual

    def work(views: list[np.ndarray], first_row: int) -> None:
        empty = views[0][:0]
        arrays = views[0], empty if y is None else views[1], views[-1] if wanted.gradient else empty
        past_cache = 0 if gradient is None else streamed(gradient, views[0], kept=True)
        for part, first, stop in panels(views[0], first_row, PANEL if total.count else count):
            x, probabilities, dx = parts(arrays, part)
            at = None if stop - first == count else slice(first, stop)
            indices, *given, losses, lses, z_losses, predicted = parts(of_rows, at)
            weighted, sums = total.memory(first, stop)
            total.total = launch(
                kernels.CROSS_ENTROPY, x,
                x, probabilities, indices, weights, *given, losses, weighted, lses, z_losses, predicted, dx, numbers,
                spec.ignore_index, past_cache, sums, rooms=3, usual=usual, more=probabilities.dtype.char,
            )  # fmt: skip

    inputs, outputs = [data] if y is None else [data, y], [] if gradient is None else [gradient]
    if data.size:
        guarded = [targets.indices, weights, sample, above, given_lse]
        over_rows(inputs, outputs, (axis,), work, guarded, new=out is None)
    return (
        reduced(loss, total, divisor, spec, rows, kind.computed) if wanted.loss else None,
        None if gradient is None else host.result(gradient, out, kind),
        aux.result(targets, axis, spec, kind) if wanted.aux else None,
    )


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
        self.lse, self.z_loss, self.predicted = none, none, NO_INDICES
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
    indices = class_indices(target, host.as_numpy(target, "target"), rows)
    none = host.nothing(kind)
    weights = none if weight is None else host.numbers(weight, "weight", operand, (classes,))
    sample = none if sample_weight is None else host.numbers(sample_weight, "sample_weight", operand, rows)
    above, upstream = _upstream(dloss, spec, operand, rows)
    memory = host.result_memory(out, "out", data.shape, kind) if gradient else None
    divisor = denominator(indices, weights, sample, classes, spec.ignore_index, rows)
    if spec.reduction == "mean":
        upstream = mean(upstream, divisor)
    by_row = not gradient and spec.reduction == "none"
    total = RowSum(0 if gradient or by_row else count)
    loss = np.zeros(count, none.dtype) if by_row else none
    scale = np.array([upstream])

    def work(views: list[np.ndarray], first_row: int) -> None:
        views = [a.T[None] if a.ndim == 2 else a for a in views]
        arrays = views[0], views[0] if gradient else views[0][:0]
        for part, first, stop in panels(views[0], first_row, PANEL if total.count else count):
            x, dx = parts(arrays, part)
            at = None if stop - first == count else slice(first, stop)
            target_of, *given, losses = parts((indices, sample, above, loss), at)
            weighted, sums = total.memory(first, stop)
            total.total = launch(
                kernels_nll.NLL, x,
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
    return reduced(loss, total, divisor, spec, rows, kind.computed)
