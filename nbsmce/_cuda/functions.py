"""softmax, log_softmax, logsumexp and their gradients on arrays in a GPU's memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _arrays
from . import gradients
from . import logsumexp as logsumexp_kernels
from . import softmax as softmax_kernels
from .arrays import Call, arranged, broadcast, computed, matrix_of, no_matrix
from .calls import planned
from .copies import copy
from .launch import nowhere
from .owners import View
from .rows import Task, over_rows, unit_of


def softmax(x: Any, axis: Any, where: Any, out: Any, log: bool) -> Any:
    """softmax, or its logarithm."""
    return _softmax((x, where, out), _arrays.axis_numbers(axis), log)


@planned("x", "where", "out")
def _softmax(call: Call, axis: Any, log: bool) -> View:
    data = call.floating("x")
    axes = _arrays.class_axes(axis, len(data.shape))
    mask = call.mask("where", data.shape)
    result = call.result(data.shape, data.dtype)
    if not result.size:
        return result
    views = [data, result] if mask is None else [data, mask, result]
    found = arranged(call, views, axes)
    x_view, y_view, strides = found.views[0], found.views[-1], found.rows.arrays
    unit = unit_of(found.views, found.rows, data.dtype)
    variant = softmax_kernels.Variant(data.dtype, unit, call.plan.capability, log, mask is not None)
    given = softmax_kernels.Given(
        matrix_of(x_view, strides[0]), no_matrix("uint8") if mask is None else matrix_of(found.views[1], strides[1])
    )
    wanted = softmax_kernels.Wanted(matrix_of(y_view, strides[-1]))
    most, written = softmax_kernels.chunks(variant), softmax_kernels.written(variant)
    task = Task(softmax_kernels.work, variant, chunks=most, written=written)
    over_rows(call.plan, task, found.rows, given, wanted, softmax_kernels.NO_OPTIONS)
    if found.written is not None:
        copy(call.plan, found.written, result)
    return result


def softmax_backward(dy: Any, y: Any, axis: Any, out: Any, log: bool) -> Any:
    """The gradient of softmax, or of its logarithm."""
    return _softmax_backward((dy, y, out), _arrays.axis_numbers(axis), log)


@planned("dy", "y", "out")
def _softmax_backward(call: Call, axis: Any, log: bool) -> View:
    above, below = call.floating("dy"), call.floating("y")
    shape, dtype = above.shape, above.dtype
    if below.shape != shape:
        raise ValueError(f"dy and y must have one shape, got {shape} and {below.shape}")
    if below.dtype != dtype:
        dtype = "float64" if "float64" in (dtype, below.dtype) else "float32"
        above, below = call.as_dtype(above, dtype), call.as_dtype(below, dtype)
    axes = _arrays.class_axes(axis, len(shape))
    result = call.result(shape, dtype)
    if not result.size:
        return result
    found = arranged(call, [above, below, result], axes)
    unit = unit_of(found.views, found.rows, dtype)
    matrices = [matrix_of(v, s) for v, s in zip(found.views, found.rows.arrays, strict=True)]
    variant = gradients.Variant(dtype, unit, call.plan.capability, log)
    task = Task(gradients.through_softmax, variant, chunks=gradients.chunks(variant))
    given, wanted = gradients.Given(*matrices[:2]), gradients.Wanted(matrices[2])
    over_rows(call.plan, task, found.rows, given, wanted, gradients.NO_OPTIONS)
    if found.written is not None:
        copy(call.plan, found.written, result)
    return result


def logsumexp(x: Any, axis: Any, b: Any, where: Any, keepdims: bool, return_sign: bool, out: Any) -> Any:
    """logsumexp, with the sign of the sum if asked for."""
    return _logsumexp((x, b, where, out), _arrays.axis_numbers(axis), bool(keepdims), bool(return_sign))


@planned("x", "b", "where", "out")
def _logsumexp(call: Call, axis: Any, keepdims: bool, return_sign: bool) -> Any:
    data, factors = call.floating("x"), None
    if "b" in call.views:
        data, factors = _with_factors(call, data)
    shape = data.shape
    axes = _arrays.class_axes(axis, len(shape))
    mask = call.mask("where", shape)
    dtype, of_rows = computed(data.dtype), _arrays.without(shape, axes, keepdims)
    result = call.result(of_rows, dtype)
    # What is given may have any strides, or share memory with numbers that are still to be read.
    lse = call.scratch(of_rows, dtype) if "out" in call.views else result
    sign = call.empty(of_rows, dtype) if return_sign else None
    views = [v for v in (data, mask, factors) if v is not None]
    found = arranged(call, views, axes, result=False)
    matrices = [matrix_of(v, s) for v, s in zip(found.views, found.rows.arrays, strict=True)]
    x_matrix = matrices.pop(0)
    given = logsumexp_kernels.Given(
        x_matrix,
        no_matrix("uint8") if mask is None else matrices.pop(0),
        no_matrix(dtype) if factors is None else matrices.pop(0),
    )
    wanted = logsumexp_kernels.Wanted(lse.pointer(), nowhere(dtype) if sign is None else sign.pointer())
    unit = unit_of(found.views, found.rows, data.dtype)
    variant = logsumexp_kernels.Variant(
        data.dtype, unit, call.plan.capability, mask is not None, "" if factors is None else factors.dtype
    )
    task = Task(logsumexp_kernels.work, variant, writes=False, chunks=logsumexp_kernels.chunks(variant))
    over_rows(call.plan, task, found.rows, given, wanted, logsumexp_kernels.Options(float(return_sign)))
    if lse is not result:
        copy(call.plan, lse, result)
    return result if sign is None else (result, sign)


def _with_factors(call: Call, data: View) -> tuple[View, View]:
    """The numbers and their factors in one shape, the factors in the type that is computed in."""
    factors = call.floating("b")
    if factors.dtype != data.dtype:
        dtype = "float64" if "float64" in (data.dtype, factors.dtype) else "float32"
        data = call.as_dtype(data, dtype)
    factors = call.as_dtype(factors, computed(data.dtype))
    try:
        shape = np.broadcast_shapes(data.shape, factors.shape)
    except ValueError:
        shapes = f"{data.shape} and {factors.shape}"
        raise ValueError(f"x and b must have shapes that broadcast together, got {shapes}") from None
    return broadcast(data, shape, "x"), broadcast(factors, shape, "b")


def logsumexp_backward(dlse: Any, x: Any, lse: Any, axis: Any, out: Any) -> Any:
    """The gradient of logsumexp."""
    return _logsumexp_backward((x, dlse, lse, out), _arrays.axis_numbers(axis))


@planned("x", "dlse", "lse", "out")
def _logsumexp_backward(call: Call, axis: Any) -> View:
    data = call.floating("x")
    axes = _arrays.class_axes(axis, len(data.shape))
    dtype = computed(data.dtype)
    shapes = [_arrays.without(data.shape, axes, keepdims) for keepdims in (False, True)]
    above, total = (call.numbers(name, dtype, *shapes) for name in ("dlse", "lse"))
    result = call.result(data.shape, data.dtype)
    if not result.size:
        return result
    found = arranged(call, [data, result], axes)
    matrices = [matrix_of(v, s) for v, s in zip(found.views, found.rows.arrays, strict=True)]
    unit = unit_of(found.views, found.rows, data.dtype)
    variant = gradients.Variant(data.dtype, unit, call.plan.capability, False)
    given, wanted = gradients.GivenOfSum(matrices[0], above, total), gradients.Wanted(matrices[1])
    task = Task(gradients.through_logsumexp, variant, sums=False, chunks=gradients.chunks_of_sum(variant))
    over_rows(call.plan, task, found.rows, given, wanted, gradients.NO_OPTIONS)
    if found.written is not None:
        copy(call.plan, found.written, result)
    return result
