"""softmax, log_softmax, logsumexp and their gradients on arrays in main memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _arrays
from . import host, short
from .gradients import LOGSUMEXP_BACKWARD, SOFTMAX_BACKWARD
from .host import Kind, Operand
from .launch import launch, no_mask, streamed
from .layout import over_rows
from .logsumexp import LOGSUMEXP, WEIGHTED
from .softmax import SOFTMAX

# -- softmax -----------------------------------------------------------------------------------------------------------


def softmax(x: Any, axis: Any, where: Any, out: Any, log: bool) -> Any:
    """softmax, or its logarithm."""
    call = short.prepared(short.softmax, "softmax", axis, x, log) if where is None else None
    if call and (y := call(x, out)) is not None:
        return y
    operand = host.floating(x, "x")
    shape = operand.data.shape
    axes = _arrays.class_axes(axis, len(shape))
    mask = host.where_mask(where, shape)
    memory = host.result_memory(out, "out", shape, operand.kind)

    def work(views: list[np.ndarray], _: int) -> None:
        data, *given, results = views
        hidden = given[0] if given else no_mask(data)
        past_cache = streamed(memory, data, kept=not log)
        launch(SOFTMAX, data, data, hidden, results, log, past_cache, rooms=1, usual=mask is None)

    if memory.size:
        inputs = [operand.data] if mask is None else [operand.data, mask]
        over_rows(inputs, [memory], axes, work, new=out is None)
    return host.result(memory, out, operand.kind)


def softmax_backward(dy: Any, y: Any, axis: Any, out: Any, log: bool) -> Any:
    """The gradient of softmax, or of its logarithm."""
    call = short.prepared(short.softmax_backward, "softmax_backward", axis, dy, log)
    if call and (dx := call(dy, y, out)) is not None:
        return dx
    above, below = _together(host.floating(dy, "dy"), host.floating(y, "y"))
    shape = above.data.shape
    if below.data.shape != shape:
        raise ValueError(f"dy and y must have one shape, got {shape} and {below.data.shape}")
    axes = _arrays.class_axes(axis, len(shape))
    memory = host.result_memory(out, "out", shape, above.kind)

    def work(views: list[np.ndarray], _: int) -> None:
        launch(SOFTMAX_BACKWARD, views[0], *views, log, streamed(memory, views[0], kept=False), rooms=2)

    if memory.size:
        inputs = [above.data, below.data]
        over_rows(inputs, [memory], axes, work, new=out is None, replaceable=2, multiplied=True)
    return host.result(memory, out, above.kind)


def _together(a: Operand, b: Operand) -> tuple[Operand, Operand]:
    """Two operands as the wider of their types."""
    if a.kind.name == b.kind.name:
        return a, b
    names = {a.kind.name, b.kind.name}
    name = "float64" if "float64" in names else "float32"
    dtype = np.dtype(name)
    return tuple(  # type: ignore[return-value]
        Operand(host.decoded(o).astype(dtype, copy=False), Kind(dtype, name, o.kind.torch)) for o in (a, b)
    )


# -- logsumexp ---------------------------------------------------------------------------------------------------------


def logsumexp(x: Any, axis: Any, b: Any, where: Any, keepdims: bool, return_sign: bool, out: Any) -> Any:
    """logsumexp, with the sign of the sum if asked for."""
    plain = b is None and where is None and out is None and not keepdims and not return_sign
    call = short.prepared(short.logsumexp, "logsumexp", axis, x) if plain else None
    if call and (rows := call(x)) is not None:
        return rows
    operand, factors = host.floating(x, "x"), None
    if b is not None:
        operand, factor = _together(operand, host.floating(b, "b"))
        try:
            shape = np.broadcast_shapes(operand.data.shape, factor.data.shape)
        except ValueError:
            shapes = f"{operand.data.shape} and {factor.data.shape}"
            raise ValueError(f"x and b must have shapes that broadcast together, got {shapes}") from None
        operand = Operand(np.broadcast_to(operand.data, shape), operand.kind)
        factors = np.broadcast_to(host.decoded(factor), shape)
    shape = operand.data.shape
    axes = _arrays.class_axes(axis, len(shape))
    mask = host.where_mask(where, shape)
    kind = operand.kind.computed
    memory = host.result_memory(out, "out", _arrays.without(shape, axes, keepdims), kind)
    lse = memory if out is None else np.empty(memory.shape, kind.dtype)
    sign = lse if factors is None else np.empty(memory.shape, kind.dtype)

    def work(views: list[np.ndarray], first: int) -> None:
        data, hidden = views[0], no_mask(views[0]) if mask is None else views[-1]
        rows = slice(first, first + data.size // data.shape[1])
        part = lse.reshape(-1)[rows]
        if factors is None:
            launch(LOGSUMEXP, data, data, hidden, part, rooms=1, usual=mask is None)
        else:
            signs = sign.reshape(-1)[rows]
            launch(WEIGHTED, data, data, views[1], hidden, part, signs, rooms=2)

    if operand.data.size:
        over_rows([a for a in (operand.data, factors, mask) if a is not None], [], axes, work)
    else:
        lse[...] = -np.inf
    if return_sign and (factors is None or not operand.data.size):
        sign = np.where(np.isnan(lse), lse, lse > -np.inf).astype(kind.dtype)
    elif factors is not None and operand.data.size and not return_sign:
        lse[sign < 0] = np.nan
    if out is not None:
        memory[...] = lse
    value = host.result(memory, out, kind)
    return (value, host.result(sign, None, kind)) if return_sign else value


def logsumexp_backward(dlse: Any, x: Any, lse: Any, axis: Any, out: Any) -> Any:
    """The gradient of logsumexp."""
    call = short.prepared(short.logsumexp_backward, "logsumexp_backward", axis, x)
    if call and (dx := call(dlse, x, lse, out)) is not None:
        return dx
    operand = host.floating(x, "x")
    shape = operand.data.shape
    axes = _arrays.class_axes(axis, len(shape))
    above = _of_rows(dlse, "dlse", operand, axes)
    total = _of_rows(lse, "lse", operand, axes)
    memory = host.result_memory(out, "out", shape, operand.kind)

    def work(views: list[np.ndarray], first: int) -> None:
        data, gradient = views
        rows = slice(first, first + data.size // data.shape[1])
        past_cache = streamed(memory, data, kept=False)
        launch(LOGSUMEXP_BACKWARD, data, data, above[rows], total[rows], gradient, past_cache, rooms=1)

    if memory.size:
        over_rows([operand.data], [memory], axes, work, [above, total], new=out is None)
    return host.result(memory, out, operand.kind)


def _of_rows(value: Any, name: str, like: Operand, axes: tuple[int, ...]) -> np.ndarray:
    """Numbers of rows, with or without the axes that were summed over."""
    operand = host.floating(value, name)
    shapes = [_arrays.without(like.data.shape, axes, keepdims) for keepdims in (False, True)]
    if operand.data.shape not in shapes:
        raise ValueError(f"{name} must have the shape {shapes[0]} or {shapes[1]}, got {operand.data.shape}")
    return np.ascontiguousarray(host.decoded(operand), dtype=like.kind.computed.dtype).reshape(-1)
