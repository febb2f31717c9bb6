"""The losses and their gradients on arrays in a GPU's memory."""

from __future__ import annotations

import math
import numbers
from typing import Any, NamedTuple

from .. import _arrays, _formula
from .._spec import Aux, LossSpec, Wanted
from . import cross_entropy as kernels
from . import nll as kernels_nll
from . import reductions
from .arrays import FLOATING, INTEGERS, Call, arranged, computed, matrix_of, no_matrix
from .calls import planned
from .copies import clear, copy
from .launch import nowhere
from .options import Options
from .owners import View
from .places import Extent
from .plan import Noted
from .rows import Task, over_rows, unit_of


class Losses:
    """What the losses have in common: their arguments as pointers, the divisor of a mean, the sum over rows."""

    def __init__(
        self, call: Call, name: str, axis: Any, spec: LossSpec, dloss: str | None, probabilities: bool
    ) -> None:
        self.call, self.spec = call, spec
        self.data = call.floating(name)
        shape = self.data.shape
        if not shape:
            raise ValueError(f"{name} must have at least one dimension")
        self.axis = _arrays.class_axis(axis, len(shape))
        self.shape, self.classes = _arrays.without(shape, (self.axis,)), shape[self.axis]
        self.count = math.prod(self.shape)
        self.dtype = computed(self.data.dtype)
        self.probabilities = self._probabilities() if probabilities else None
        self.target = nowhere("int64") if self.probabilities is not None else self._indices()
        self.weight = call.numbers("weight", self.dtype, (self.classes,))
        self.sample = call.numbers("sample_weight", self.dtype, self.shape)
        self.upstream, self.dloss = self._upstream(dloss)
        self.divisor: Any = None  # of a mean, once it has been found

    def options(self, loss: bool, gradient: bool) -> Options:
        """The numbers of a call for the kernels, and what is wanted."""
        spec = self.spec
        share = _formula.target_mass(0.0, 1.0, spec.label_smoothing, max(self.classes, 1))
        return Options(
            1.0 - spec.label_smoothing, share, spec.z_loss, spec.logit_scale, spec.softcap,
            1.0 / spec.softcap if spec.softcap else 0.0, self.upstream, spec.ignore_index,
            int(self.probabilities is None), self.given("weight"), self.given("sample_weight"),
            int("dloss" in self.call.views and spec.reduction == "none"),
            int("dloss" in self.call.views and spec.reduction != "none"), int(gradient and spec.reduction == "mean"),
            int(loss and spec.reduction == "none"), int(loss and spec.reduction != "none"),
        )  # fmt: skip

    def given(self, name: str) -> int:
        return int(name in self.call.views)

    def _probabilities(self) -> View | None:
        view, shape = self.call.views.get("target"), self.data.shape
        if view is None or view.dtype not in FLOATING or (not view.size and view.shape == self.shape):
            return None
        if view.shape != shape:
            raise ValueError(
                f"a floating target holds the probabilities of the classes and must have the logits' shape {shape}, "
                f"got {view.shape} of {view.dtype}; class indices must be integers"
            )
        return view

    def _indices(self) -> Any:
        view = self.call.views.get("target")
        if view is None or (view.dtype not in INTEGERS and (view.size or view.dtype not in FLOATING)):
            found = "nothing" if view is None else repr(view.dtype)
            raise TypeError(f"target must hold class indices of an integer dtype, got {found}")
        if view.shape != self.shape:
            raise ValueError(f"target must have the shape {self.shape} for class indices, got {view.shape}")
        if not view.size:
            return nowhere("int64")
        return self.call.dense(self.call.as_dtype(view, "int64")).pointer()

    def _upstream(self, dloss: str | None) -> tuple[float, Any]:
        """The gradient from above, as a number and as a pointer."""
        if dloss is None:
            shape = self.shape if self.spec.reduction == "none" else ()
            view = self.call.views.get("dloss")
            if view is not None and not shape and view.shape:
                raise ValueError(
                    f"dloss must be a scalar where the reduction is {self.spec.reduction!r}, got shape {view.shape}"
                )
            return 1.0, self.call.numbers("dloss", self.dtype, shape)
        if self.spec.reduction == "none" and self.shape:
            raise ValueError(f"dloss must have the shape {self.shape}, got ()")
        return float.fromhex(dloss), nowhere(self.dtype)

    @property
    def rows(self) -> reductions.Rows:
        """What the sums over rows are told."""
        indexed = int(self.probabilities is None)
        return reductions.Rows(
            self.target, self.weight, self.sample, self.count, self.classes, self.spec.ignore_index, indexed,
            self.given("weight"), self.given("sample_weight"),
        )  # fmt: skip

    def divide(self, gradient: bool) -> None:
        """Find the divisor of a mean where that of a gradient needs it; the loss alone finds it at the end.

        With ``check="sync"``, wait to hear whether all indices are classes.
        """
        checks = self.spec.sync and self.probabilities is None
        if not checks and not (gradient and self.spec.reduction == "mean"):
            return
        call, self.divisor = self.call, self._new_divisor()
        status = (call.empty if checks else call.scratch)((2,), "int64")
        no = nowhere("float64")
        sums = reductions.Sums(no, nowhere(self.dtype), status.pointer(), self.divisor, 1, 0, 0)
        reductions.sum_rows(call.plan, self.rows, sums)
        if checks:
            call.plan.check(self._noted(status))

    @property
    def given_divisor(self) -> Any:
        """For the kernels of the rows."""
        return nowhere("float64") if self.divisor is None else self.divisor

    def _new_divisor(self) -> Any:
        return self.call.scratch((2,), "float64").pointer()

    def _noted(self, status: View) -> Noted:
        return Noted(status.source, Message(self.shape, self.classes, self.spec.ignore_index))

    def memory(self) -> tuple[View | None, Any, Any]:
        """``(the losses of the rows or None, pointers to them and to those that are added)``."""
        if self.spec.reduction == "none":
            loss = self.call.empty(self.shape, self.dtype)
            return loss, loss.pointer(), nowhere("float64")
        return None, nowhere(self.dtype), self.call.scratch((max(1, self.count),), "float64").pointer()

    def reduced(self, weighted: Any) -> View:
        """The scalar loss."""
        call = self.call
        value, status = call.empty((), self.dtype), call.empty((2,), "int64")
        divided, found = self.spec.reduction == "mean", self.divisor is not None
        divisor = self.divisor if found else self._new_divisor()
        sums = reductions.Sums(
            weighted, value.pointer(), status.pointer(), divisor, int(divided and not found), int(divided), 1
        )
        reductions.sum_rows(call.plan, self.rows, sums)
        call.plan.loss = value.source
        if self.probabilities is None:
            call.plan.noted = self._noted(status)
        return value


class Message(NamedTuple):
    """What is said of an index that is no class."""

    shape: tuple[int, ...]
    classes: int
    ignore_index: int

    def __call__(self, row: int, index: int) -> str:
        return _arrays.no_class(row, index, *self)


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
    dloss, upstream = _array_or_number(dloss)
    arrays = (logits, target, weight, sample_weight, dloss, lse, out)
    results = _cross_entropy(arrays, _arrays.axis_numbers(axis), spec, wanted, upstream)
    return (*results[:2], Aux(*results[3:])) if wanted.aux else results


def _array_or_number(dloss: Any) -> tuple[Any, str | None]:
    """A gradient from above as an array, or else as digits: of those, equal ones are the same, not so -0.0 and 0.0."""
    if dloss is None:
        return None, None
    return (None, float(dloss).hex()) if isinstance(dloss, numbers.Number) else (dloss, None)  # type: ignore[arg-type]


@planned("logits", "target", "weight", "sample_weight", "dloss", "lse", "out")
def _cross_entropy(
    call: Call, axis: Any, spec: LossSpec, wanted: Wanted, upstream: str | None
) -> tuple[View | None, ...]:
    """``(loss, dlogits, None, and the four arrays of aux if they are wanted)``."""
    common = Losses(call, "logits", axis, spec, upstream, True)
    data, y = common.data, common.probabilities
    given_lse = call.numbers("lse", common.dtype, common.shape)
    result = call.result(data.shape, data.dtype) if wanted.gradient else None
    if y is not None and y.dtype != data.dtype:
        y = call.as_dtype(y, common.dtype)
    common.divide(wanted.gradient)
    by_row, loss, weighted = common.memory() if wanted.loss else (None, nowhere(common.dtype), nowhere("float64"))
    aux = Rows(common, wanted.aux)

    spread = y is not None or spec.label_smoothing != 0.0
    effective = spec.logit_scale != 1.0 or spec.softcap != 0.0
    from_lse = "lse" in call.views and not spread
    views = [v for v in (data, y, result) if v is not None]
    found = arranged(call, views, (common.axis,), result is not None)
    strides = found.rows.arrays
    unit = unit_of(found.views, found.rows, data.dtype)
    variant = kernels.Variant(
        data.dtype, unit, call.plan.capability, wanted.gradient, spread, "" if y is None else y.dtype, effective,
        wanted.aux, from_lse,
    )  # fmt: skip
    given = kernels.Given(
        matrix_of(found.views[0], strides[0]),
        no_matrix(data.dtype) if y is None else matrix_of(found.views[1], strides[1]),
        common.target, common.weight, common.sample, common.dloss, given_lse, common.given_divisor,
    )  # fmt: skip
    results = kernels.Wanted(
        no_matrix(data.dtype) if result is None else matrix_of(found.views[-1], strides[-1]), loss, weighted,
        *aux.pointers,
    )  # fmt: skip
    if common.count:
        task = Task(
            kernels.work, variant, not from_lse, wanted.gradient, kernels.chunks(variant),
            clustered=kernels.clustered(variant),
        )  # fmt: skip
        over_rows(call.plan, task, found.rows, given, results, common.options(wanted.loss, wanted.gradient))
    value = None
    if wanted.loss:
        value = by_row if spec.reduction == "none" else common.reduced(weighted)
    if found.written is not None and result is not None:
        copy(call.plan, found.written, result)  # last, for it may overwrite what the others read
    return value, result, None, *aux.arrays


class Rows:
    """The arrays behind :class:`Aux`."""

    def __init__(self, common: Losses, wanted: bool) -> None:
        dtypes = (common.dtype, common.dtype, "int64", "bool")
        self.arrays = [common.call.empty(common.shape, dtype) for dtype in dtypes] if wanted else []
        self.pointers = [a.pointer() for a in self.arrays] or [nowhere(d) for d in dtypes]


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
    dloss, upstream = _array_or_number(dloss)
    arrays = (log_probs, target, weight, sample_weight, dloss, out)
    return _nll_loss(arrays, _arrays.axis_numbers(axis), spec, gradient, upstream)


@planned("log_probs", "target", "weight", "sample_weight", "dloss", "out")
def _nll_loss(call: Call, axis: Any, spec: LossSpec, gradient: bool, upstream: str | None) -> Any:
    common = Losses(call, "log_probs", axis, spec, upstream, False)
    data = common.data
    common.divide(gradient)
    loss, weighted = nowhere(common.dtype), nowhere("float64")
    if gradient:
        result = call.result(data.shape, data.dtype)
        found = arranged(call, [result], (common.axis,))
        clear(call.plan, found.views[0])
    else:
        by_row, loss, weighted = common.memory()
        found = arranged(call, [data], (common.axis,), False)
    kernel = kernels_nll.Kernel(data.dtype, call.plan.capability, found.rows.nested, gradient)
    given = kernels_nll.Given(common.target, common.weight, common.sample, common.dloss, common.given_divisor)
    extent = Extent(found.rows.rows, found.rows.inner, found.rows.classes)
    matrix = matrix_of(found.views[0], found.rows.arrays[0])
    wanted = kernels_nll.Wanted(loss, weighted)
    if common.count:
        kernels_nll.over_rows(call.plan, kernel, extent, matrix, given, wanted, common.options(not gradient, gradient))
    if gradient:
        if found.written is not None:
            copy(call.plan, found.written, result)
        return result
    return by_row if spec.reduction == "none" else common.reduced(weighted)
