"""Memory, loops and branches for the vectors of :mod:`.python`."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .python import _COMPUTED, Vector, computed_dtype, fma, wide
from .storage import LANES

# -- control -----------------------------------------------------------------------------------------------------------


class Variable:
    def __init__(self, value: Any) -> None:
        self.value = value


def steps(start: int, stop: int, step: int = 1) -> Iterator[int]:
    return iter(range(start, stop, step))


def branch(condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any] = lambda: None) -> Any:
    return then() if condition else otherwise()


def in_njit(function: Callable[..., Any], returns_nothing: bool = False) -> Callable[..., Any]:
    """``function`` for arguments that are NumPy arrays."""

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*[Array(a) if isinstance(a, np.ndarray) else a for a in arguments])

    return run


# -- memory ------------------------------------------------------------------------------------------------------------


class Pointer:
    """An address, with the dtype of what lies there and the memory that it is in."""

    def __init__(self, address: int, dtype: np.dtype, owner: Any) -> None:
        self.address, self.dtype, self.owner = address, dtype, owner


class Array:
    def __init__(self, array: np.ndarray) -> None:
        self.p = Pointer(array.ctypes.data, array.dtype, array)
        self.shape, self.strides = array.shape, array.strides


def itemsize(p: Pointer) -> int:
    return p.dtype.itemsize


def is_half(p: Pointer) -> bool:
    return p.dtype.char in _COMPUTED


def advance(p: Pointer, nbytes: int) -> Pointer:
    return Pointer(p.address + nbytes, p.dtype, p.owner)


def at(p: Pointer, v: int, shift: int = 0) -> Pointer:
    return advance(p, (v * LANES + shift) * p.dtype.itemsize)


def computed(p: Pointer, like: Any) -> Pointer:
    return Pointer(p.address, computed_dtype(like.dtype), p.owner)


def stored(p: Pointer, like: Any) -> Pointer:
    return Pointer(p.address, like.dtype, p.owner)


def float64_at(p: Pointer) -> Pointer:
    return Pointer(p.address, np.dtype(np.float64), p.owner)


def stripes() -> Pointer:
    return Array(np.empty((LANES, LANES))).p


def on_stack(like: Vector) -> Pointer:
    return Array(like.data.copy()).p


def add_products(p: Pointer, x: Vector, y: Vector) -> None:
    store(p, fma(wide(x), wide(y), load(p)))


def _memory(address: int, dtype: np.dtype, count: int) -> np.ndarray:
    memory: Any = (ctypes.c_byte * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, dtype)


def _decoded(raw: np.ndarray, pad: float = 0.0) -> Vector:
    if raw.dtype.char == "h":
        values = raw.view(np.float16).astype(np.float32)
    elif raw.dtype.char == "H":
        values = (raw.astype(np.uint32) << 16).view(np.float32)
    else:
        values = raw
    lanes = np.full(LANES, pad).astype(values.dtype)
    lanes[: len(values)] = values
    return Vector(lanes)


def _encoded(x: Vector, dtype: np.dtype) -> np.ndarray:
    if dtype.char == "h":
        return x.data.astype(np.float16).view(dtype)
    if dtype.char == "H":
        bits = x.data.view(np.uint32)
        rounded = bits + (((bits >> 16) & 1) + 0x7FFF)
        return (np.where(np.isnan(x.data), np.uint32(0x7FC00000), rounded) >> 16).astype(dtype)
    return x.data


def load(p: Pointer, k: int = LANES) -> Vector:
    return _decoded(_memory(p.address, p.dtype, k))


def load_logits(p: Pointer, k: int = LANES) -> Vector:
    return _decoded(_memory(p.address, p.dtype, k), float("-inf"))


def _scattered(p: Pointer, offsets: Any) -> np.ndarray:
    return np.array([_memory(p.address + int(o), p.dtype, 1)[0] for o in offsets], p.dtype)


def gather(p: Pointer, stride: int, k: int = LANES) -> Vector:
    return _decoded(_scattered(p, (i * stride for i in range(k))))


def gather_at(p: Pointer, offsets: Vector, k: int = LANES) -> Vector:
    return _decoded(_scattered(p, offsets.data[:k]))


def store(p: Pointer, x: Vector, k: int = LANES) -> None:
    _memory(p.address, p.dtype, k)[...] = _encoded(x, p.dtype)[:k]


def scatter(p: Pointer, stride: int, x: Vector, k: int = LANES) -> None:
    for i, number in enumerate(_encoded(x, p.dtype)[:k]):
        _memory(p.address + i * stride, p.dtype, 1)[0] = number


def block_lanes(p: Pointer) -> int:
    return 32 // computed_dtype(p.dtype).itemsize


def load_block(p: Pointer, k: int = LANES) -> Vector:
    lanes = block_lanes(p)
    return Vector(_decoded(_memory(p.address, p.dtype, min(k, lanes))).data[:lanes])


def store_block(p: Pointer, x: Vector, k: int = LANES) -> None:
    store(p, x, min(k, len(x.data)))


def peek(p: Pointer, i: int) -> Any:
    return _memory(p.address + i * p.dtype.itemsize, p.dtype, 1)[0].item()


def poke(p: Pointer, i: int, x: Any) -> None:
    _memory(p.address + i * p.dtype.itemsize, p.dtype, 1)[0] = x


def copy_number(p: Pointer, i: int, to: Pointer) -> None:
    _memory(to.address, p.dtype, 1)[...] = _memory(p.address + i * p.dtype.itemsize, p.dtype, 1)


def past(p: Pointer, nbytes: int) -> int:
    return p.address % nbytes


def same_place(p: Pointer, q: Pointer) -> bool:
    return p.address == q.address


def store_past_cache(p: Pointer, x: Vector) -> None:
    if p.address % min(64, LANES * p.dtype.itemsize):
        raise ValueError("stores past the cache need whole lines")
    store(p, x)


def prefetch(p: Pointer) -> None:
    """Nothing is faster for it here."""


def fence() -> None:
    pass


def gather_mask(p: Pointer, stride: int, k: int = LANES) -> Vector:
    mask = np.zeros(LANES, bool)
    mask[:k] = _scattered(p, (i * stride for i in range(k))) != 0
    return Vector(mask)
