"""How the classes of a row are held in the registers of a thread.

16 bytes of a row are a *chunk*, and the chunks of a row are given to the threads of a team in turn. Registers hold the
*words* of chunks: one number each, or two of a half type as they are in memory. Half types that are to be changed
before they are summed are held *apart*: each number as a word of the type that is computed in.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .device import device, instructions
from .numbers import DOUBLE, EXACT, SHORT

CHUNK = 16  # bytes
HALVES = ("float16", "bfloat16")
ITEMSIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
MINUS_INFINITY_BITS = {"float16": np.uint32(0xFC00FC00), "bfloat16": np.uint32(0xFF80FF80)}
ZERO = np.float32(0)


def numbers_of_chunk(name: str) -> int:
    """How many numbers of a dtype a chunk has."""
    return CHUNK // ITEMSIZES[name]


class Storage(NamedTuple):
    """The device functions for a dtype."""

    arithmetic: str  # the name of what is computed in
    words: int  # of a chunk
    numbers: int  # of a word
    word: Any  # the type of a word
    memory: str  # the words of 16 bytes in memory, as the instructions name them
    memory_word: Any  # their type
    least: Any  # one of them with the least numbers
    zero: Any
    put_memory: Any  # (words, j, word of memory): that of number j
    take_memory: Any  # (words, j)
    low: Any  # the number of a word, or the first of two
    high: Any
    low_again: Any  # the same in other words; see ptx.py
    high_again: Any
    low_later: Any  # and in others again
    high_later: Any
    larger: Any  # of two words, number by number; None where that is no instruction
    pack: Any  # one or two numbers as a word
    get: Any  # (pointer, index, there, fill): one number
    put: Any  # (pointer, index, number, there)
    capability: int  # of the GPU, as 80 for 8.0

    @property
    def classes(self) -> int:
        """The numbers of a chunk."""
        return self.words * self.numbers

    @property
    def memory_words(self) -> int:
        """Those of a chunk."""
        return CHUNK // int(np.dtype(self.memory_word).itemsize)


@device
def _put(words: Any, j: Any, word: Any) -> None:
    words[j] = word


@device
def _take(words: Any, j: Any) -> Any:
    return words[j]


@device
def _itself(word: Any) -> Any:
    return word


@device
def _first(a: Any, b: Any) -> Any:
    return a


SAME = (_itself, _itself, _itself, _itself, _itself, _itself, None, _first)


class _Half(NamedTuple):
    low: Any
    high: Any
    low_again: Any
    high_again: Any
    low_later: Any
    high_later: Any
    larger: Any
    pack: Any


def _half(name: str, capability: int) -> _Half:
    pack = f"{name}_pack" if capability >= 80 else f"{name}_pack_sm75"
    unpack = [f"{name}_{which}{when}" for when in ("", "_again", "_later") for which in ("low", "high")]
    larger = getattr(instructions, f"{name}_larger") if capability >= 80 else None
    functions = [*(getattr(instructions, n) for n in unpack), larger, getattr(instructions, pack)]
    return _Half(*functions)


def _half_element(half: _Half) -> tuple[Any, Any]:
    read, write = instructions.load("u16", 1), instructions.store("u16", 1)
    low, pack = half.low, half.pack

    @device
    def get(pointer: Any, index: Any, there: Any, fill: Any) -> Any:
        number = low(read(pointer, index, there, np.uint32(0)))
        return number if there else fill

    @device
    def put(pointer: Any, index: Any, number: Any, there: Any) -> None:
        write(pointer, index, pack(number, ZERO), there)

    return get, put


def _numbers_apart(half: _Half) -> tuple[Any, Any]:
    """Two numbers of memory as two words, and back."""
    low, high, pack = half.low, half.high, half.pack

    @device
    def put_memory(words: Any, j: Any, word: Any) -> None:
        words[2 * j], words[2 * j + 1] = low(word), high(word)

    @device
    def take_memory(words: Any, j: Any) -> Any:
        return pack(words[2 * j], words[2 * j + 1])

    return put_memory, take_memory


@functools.cache
def storage(name: str, apart: bool, capability: int) -> Storage:
    """How a dtype is held."""
    memory: tuple[Any, ...]
    if ITEMSIZES[name] == 2:
        half, least = _half(name, capability), MINUS_INFINITY_BITS[name]
        memory, element = ("u32", np.uint32, least, np.uint32(0)), _half_element(half)
        if apart:
            return Storage(SHORT, 8, 1, np.float32, *memory, *_numbers_apart(half), *SAME, *element, capability)
        return Storage(SHORT, 4, 2, np.uint32, *memory, _put, _take, *half, *element, capability)
    double = name == "float64"
    number, kind = (np.float64, "f64") if double else (np.float32, "f32")
    memory = kind, number, number(-np.inf), number(0)
    element = instructions.load(kind, 1), instructions.store(kind, 1)
    arithmetic, words = (DOUBLE, 2) if double else (EXACT, 4)
    return Storage(arithmetic, words, 1, number, *memory, _put, _take, *SAME, *element, capability)
