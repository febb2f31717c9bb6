"""The operations of this package without a JIT: step by step, on NumPy arrays of sixteen.

For ``NUMBA_DISABLE_JIT=1``: right and slow, and what coverage and debuggers can see into. The names and meanings are
those of :mod:`.llvm`, :mod:`.llvm_control` and :mod:`.llvm_memory`; generated code becomes code that runs, so
``steps`` is ``range`` and ``branch`` takes one way.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .several import Several
from .storage import LANES

_COMPUTED = {"h": np.dtype(np.float32), "H": np.dtype(np.float32)}
_BITS: dict[str, np.dtype] = {"f": np.dtype(np.int32), "d": np.dtype(np.int64)}
_FLOATS: dict[str, np.dtype] = {"i": np.dtype(np.float32), "l": np.dtype(np.float64), "q": np.dtype(np.float64)}


def computed_dtype(dtype: np.dtype) -> np.dtype:
    return _COMPUTED.get(dtype.char, dtype)


class Vector:
    """Sixteen numbers or truth values."""

    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None  # NumPy scalars leave operations to this class

    def __init__(self, data: np.ndarray) -> None:
        self.data = data

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def single(self) -> bool:
        return self.dtype == np.float32

    def of(self, other: Any) -> np.ndarray:
        if isinstance(other, Vector):
            if other.dtype != self.dtype:
                raise TypeError(f"{self.dtype} and {other.dtype} in one operation")
            return other.data
        return np.full(LANES, other).astype(self.dtype)

    def _with(self, other: Any, function: Callable[[Any, Any], Any], swap: bool = False) -> Vector:
        if isinstance(other, Several):
            return NotImplemented
        return Vector(function(self.of(other), self.data) if swap else function(self.data, self.of(other)))

    def __add__(self, other: Any) -> Vector:
        return self._with(other, operator.add)

    def __sub__(self, other: Any) -> Vector:
        return self._with(other, operator.sub)

    def __mul__(self, other: Any) -> Vector:
        return self._with(other, operator.mul)

    def __truediv__(self, other: Any) -> Vector:
        return self._with(other, operator.truediv)

    def __rsub__(self, other: Any) -> Vector:
        return self._with(other, operator.sub, swap=True)

    def __rmul__(self, other: Any) -> Vector:
        return self._with(other, operator.mul, swap=True)

    def __rtruediv__(self, other: Any) -> Vector:
        return self._with(other, operator.truediv, swap=True)

    def __lshift__(self, other: Any) -> Vector:
        return self._with(other, operator.lshift)

    def __rshift__(self, other: Any) -> Vector:
        return self._with(other, operator.rshift)

    def __and__(self, other: Any) -> Vector:
        return self._with(other, operator.and_)

    def __or__(self, other: Any) -> Vector:
        return self._with(other, operator.or_)

    def __neg__(self) -> Vector:
        return Vector(-self.data)

    def __lt__(self, other: Any) -> Vector:
        return self._with(other, operator.lt)

    def __gt__(self, other: Any) -> Vector:
        return self._with(other, operator.gt)

    def __ge__(self, other: Any) -> Vector:
        return self._with(other, operator.ge)

    def __eq__(self, other: Any) -> Vector:  # type: ignore[override]
        return self._with(other, operator.eq)

    def __ne__(self, other: Any) -> Vector:  # type: ignore[override]
        return self._with(other, operator.ne)


# -- vectors -----------------------------------------------------------------------------------------------------------


def zeros(like: Any) -> Vector:
    return Vector(np.zeros(LANES, computed_dtype(like.dtype)))


def splat(like: Any, number: Any) -> Vector:
    return Vector(zeros(like).of(number))


def float64_of(number: Any) -> float:
    return float(number)


def pinned(like: Any, number: float) -> Any:
    """``number`` in every lane of such a vector."""
    return splat(like, number)


def lanes_below(k: int) -> Vector:
    return Vector(np.arange(LANES) < k)


def lane_index() -> Vector:
    return Vector(np.arange(LANES, dtype=np.int64))


def lane(x: Vector, i: int) -> Any:
    return x.data[i].item()


def _fold(data: np.ndarray, combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Any:
    while len(data) > 1:
        data = combine(*np.split(data, 2))
    return data[0].item()


def lane_sum(x: Vector) -> Any:
    return _fold(x.data, np.add)


def transposed(rows: list[Vector]) -> list[Vector]:
    return [Vector(column) for column in np.array([row.data for row in rows]).T.copy()]


def lane_max(x: Vector) -> Any:
    return _fold(x.data, lambda a, b: np.where(a > b, a, b))


def lane_min(x: Vector) -> Any:
    return _fold(x.data, np.minimum)


def any_lane(mask: Vector) -> bool:
    return bool(mask.data.any())


def count_lanes(mask: Vector) -> int:
    return int(mask.data.sum())


def _halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A float64 as the sum of two of 26 bits (Veltkamp)."""
    shifted = x * 134217729.0
    high = shifted - (shifted - x)
    return high, x - high


def fma(a: Vector, b: Any, c: Any) -> Vector:
    """Rounded once, but for rare cases of double rounding: in float64 the product's error is added (Dekker)."""
    x, y, z = a.data, a.of(b), a.of(c)
    if a.single:
        return Vector((x.astype(np.float64) * y + z).astype(np.float32))
    product = x * y
    (x1, x2), (y1, y2) = _halves(x), _halves(y)
    error = ((x1 * y1 - product) + x1 * y2 + x2 * y1) + x2 * y2
    total = product + z
    part = total - product
    error += (product - (total - part)) + (z - part)
    return Vector(np.where(np.isfinite(error), total + error, total))


def absolute(x: Vector) -> Vector:
    return Vector(np.abs(x.data))


def select(condition: Any, a: Any, b: Any) -> Any:
    if not isinstance(condition, Vector):
        return a if condition else b
    return Vector(np.where(condition.data, a.data, a.of(b)))


def invert(condition: Any) -> Any:
    return Vector(~condition.data) if isinstance(condition, Vector) else not condition


def larger(a: Vector, b: Any) -> Vector:
    return Vector(np.where(a.data > a.of(b), a.data, a.of(b)))


def smaller(a: int, b: int) -> int:
    return min(a, b)


def wide(x: Vector) -> Vector:
    return Vector(x.data.astype(np.float64))


def narrow(x: Vector, like: Any) -> Vector:
    dtype = computed_dtype(like.dtype)
    return x if dtype == x.dtype else Vector(x.data.astype(dtype))


def to_bits(x: Vector) -> Vector:
    return Vector(x.data.view(_BITS[x.dtype.char]))


def from_bits(x: Vector) -> Vector:
    return Vector(x.data.view(_FLOATS[x.dtype.char]))


def to_integer(x: Vector) -> Vector:
    return Vector(x.data.astype(np.int64))


def to_float(x: Vector) -> Vector:
    return Vector(x.data.astype(np.float64))
