"""From the lanes of one vector to another place: sums over them, counts, transposition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from .llvm import I32, I64, Value, call, here, integer, larger, select
from .storage import LANES


def lane(x: Value, i: Any) -> Value:
    """The number in lane ``i``."""
    return Value(x.dtype, here().extract_element(x.value, integer(i, types.int32).value))


def _fold(x: Value, combine: Callable[[Value, Value], Value]) -> Value:
    """Lanes 0 to 7 with 8 to 15, then halves of that: the order is part of the promise of equal bits."""
    value, width = x.value, LANES
    while width > 1:
        width //= 2
        low, high = (
            here().shuffle_vector(value, value, ir.Constant(ir.VectorType(I32, width), list(lanes)))
            for lanes in (range(width), range(width, 2 * width))
        )
        value = combine(Value(x.type, low), Value(x.type, high)).value
    return Value(x.dtype, here().extract_element(value, I32(0)))


def lane_sum(x: Value) -> Value:
    """The sum of the lanes, as a tree of halves."""
    return _fold(x, lambda a, b: a + b)


def lane_max(x: Value) -> Value:
    """The largest lane; none may be NaN."""
    return _fold(x, larger)


def lane_min(x: Value) -> Value:
    """The smallest lane of integers."""
    return _fold(x, lambda a, b: select(b < a, b, a))


def any_lane(mask: Value) -> Value:
    """Whether some lane is true."""
    bits = here().bitcast(mask.value, ir.IntType(LANES))
    return Value(types.boolean, here().icmp_unsigned("!=", bits, ir.IntType(LANES)(0)))


def count_lanes(mask: Value) -> Value:
    """How many lanes of a mask are true."""
    bits = here().bitcast(mask.value, ir.IntType(LANES))
    return Value(types.int64, here().zext(call(f"llvm.ctpop.i{LANES}", bits.type, [bits]), I64))
