"""The instructions of ``ptx.py`` for Numba's simulator, where a kernel runs as Python with a thread for each thread.

Loads and stores check what a GPU would answer with an error that ends the process's use of it: a misaligned address,
and (in :class:`nbsmce._cuda.launch.SimulatedPointer`) one outside of the array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_ROOM = 1024


def _check(pointer: Any, index: int, elements: int, predicate: Any) -> None:
    if predicate and pointer.address(index) % (elements * pointer.itemsize):
        raise ValueError(f"an access of {elements} elements at {index} is misaligned")


def load(word: str, n: int) -> Callable[..., Any]:
    def loader(pointer: Any, index: int, predicate: Any, fill: Any) -> Any:
        per = 2 if word == "u32" else 1
        _check(pointer, index, n * per, predicate)
        if not predicate:
            return fill if n == 1 else (fill,) * n
        elements = [pointer[index + i] for i in range(n * per)]
        if word == "u32":
            elements = [np.uint32(int(a) | int(b) << 16) for a, b in zip(elements[::2], elements[1::2], strict=True)]
        elif word in ("u16", "u8"):
            elements = [np.uint32(e) for e in elements]
        return elements[0] if n == 1 else tuple(elements)

    return loader


def store(word: str, n: int) -> Callable[..., None]:
    def storer(pointer: Any, index: int, words: Any, predicate: Any) -> None:
        _check(pointer, index, n * (2 if word == "u32" else 1), predicate)
        if not predicate:
            return
        words = (words,) if n == 1 else words
        if word in ("u32", "u16"):
            words = [
                np.uint16(int(w) >> shift & 0xFFFF) for w in words for shift in ((0, 16) if word == "u32" else (0,))
            ]
        for i, value in enumerate(words):
            pointer[index + i] = value

    return storer


# -- arithmetic --------------------------------------------------------------------------------------------------------


def ex2(x: Any) -> Any:
    result = np.exp2(np.float32(x))
    return result if not abs(result) < np.finfo(np.float32).tiny else np.float32(0)


def larger32(a: Any, b: Any) -> Any:
    return np.fmax(np.float32(a), np.float32(b))


def larger64(a: Any, b: Any) -> Any:
    return np.fmax(np.float64(a), np.float64(b))


def to_bits(x: Any) -> Any:
    return np.float32(x).view(np.int32)


def from_bits(x: Any) -> Any:
    return np.uint32(int(x) & 0xFFFFFFFF).view(np.float32)


def reciprocal_estimate(x: Any) -> Any:
    return np.float64(np.float32(1) / np.float32(x))


def fma(a: Any, b: Any, c: Any) -> Any:
    if isinstance(a, np.float32):
        return np.float32(np.float64(a) * np.float64(b) + np.float64(c))
    return np.float64(np.longdouble(a) * np.longdouble(b) + np.longdouble(c))


# -- half types --------------------------------------------------------------------------------------------------------


def bfloat16_low(word: Any) -> Any:
    return np.uint32(int(word) << 16 & 0xFFFFFFFF).view(np.float32)


def bfloat16_high(word: Any) -> Any:
    return np.uint32(int(word) & 0xFFFF0000).view(np.float32)


def float16_low(word: Any) -> Any:
    return np.float32(np.uint16(int(word) & 0xFFFF).view(np.float16))


def float16_high(word: Any) -> Any:
    return np.float32(np.uint16(int(word) >> 16).view(np.float16))


bfloat16_low_later = bfloat16_low_again = bfloat16_low
bfloat16_high_later = bfloat16_high_again = bfloat16_high
float16_low_later = float16_low_again = float16_low
float16_high_later = float16_high_again = float16_high


def _bfloat16(x: Any) -> int:
    if np.isnan(x):
        return 0x7FFF
    bits = int(np.float32(x).view(np.uint32))
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 & 0xFFFF


def _float16(x: Any) -> int:
    return int(np.float16(np.float32(x)).view(np.uint16))


def bfloat16_pack(a: Any, b: Any) -> Any:
    return np.uint32(_bfloat16(a) | _bfloat16(b) << 16)


def float16_pack(a: Any, b: Any) -> Any:
    return np.uint32(_float16(a) | _float16(b) << 16)


bfloat16_pack_sm75, float16_pack_sm75 = bfloat16_pack, float16_pack


def bfloat16_larger(a: Any, b: Any) -> Any:
    pair = (larger32(f(a), f(b)) for f in (bfloat16_low, bfloat16_high))
    return bfloat16_pack(*pair)


def float16_larger(a: Any, b: Any) -> Any:
    pair = (larger32(f(a), f(b)) for f in (float16_low, float16_high))
    return float16_pack(*pair)


# -- between the lanes of a warp ---------------------------------------------------------------------------------------


def _from_lane(x: Any, mask: int) -> Any:
    """Through shared memory; every thread of the block must come here."""
    from .device import cuda

    room = cuda.shared.array(_ROOM, np.float64)
    me = cuda.threadIdx.x + cuda.blockDim.x * cuda.threadIdx.y
    room[me] = x
    cuda.syncthreads()
    other = room[me ^ mask]
    cuda.syncthreads()
    return other


def shuffle32(mask: int) -> Callable[[Any], Any]:
    return lambda x: np.float32(_from_lane(x, mask))


def shuffle64(mask: int) -> Callable[[Any], Any]:
    return lambda x: np.float64(_from_lane(x, mask))


def opaque32(x: Any) -> Any:
    return x


in_loop = opaque64 = opaque32


def warp_barrier() -> None:
    """Every thread of the block must come here."""
    from .device import cuda

    cuda.syncthreads()


# -- of the mathematical library ---------------------------------------------------------------------------------------

exp, log1p, tanh = np.exp, np.log1p, np.tanh
