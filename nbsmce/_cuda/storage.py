"""How the elements of a row are held in the registers of a thread, and come there and back.

Registers hold *words*. With vector access a word has one number, or two of a half type, and 16 bytes of words are a
*chunk*, which is read and written at once. With single access a word and a chunk are one number, converted to the type
that is computed in. The classes of a row are given to the threads of a team chunk by chunk, so neighbours read
neighbouring chunks, and which thread has which class depends on nothing but the number of classes and the access.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .device import device, instructions
from .numbers import DOUBLE, EXACT, SHORT

HALVES = ("float16", "bfloat16")
MINUS_INFINITY_BITS = {"float16": np.uint32(0xFC00FC00), "bfloat16": np.uint32(0xFF80FF80)}
ZERO = np.float32(0)


class Storage(NamedTuple):
    """The device functions for a dtype and an access."""

    arithmetic: str  # the name of what is computed in
    vector: bool
    words: int  # of a chunk
    numbers: int  # of a word
    word: Any  # the type of a word
    load: Any  # (words, k, pointer, index, there): the chunk of number k, the least number where it is not there
    load_zeros: Any  # the same with zeros
    store: Any  # (words, k, pointer, index, there)
    low: Any  # the number of a word, or the first of two
    high: Any
    low_again: Any  # the same in other words; see ptx.py
    high_again: Any
    larger: Any  # of two words, number by number; None where that is no instruction
    pack: Any  # one or two numbers as a word
    get: Any  # (pointer, index, there): one number
    put: Any  # (pointer, index, number, there)

    @property
    def classes(self) -> int:
        """The numbers of a chunk."""
        return self.words * self.numbers


def _words_4(kind: str, fill: Any) -> Any:
    read = instructions.load(kind, 4)

    @device
    def load(words: Any, k: Any, pointer: Any, index: Any, there: Any) -> None:
        words[4 * k], words[4 * k + 1], words[4 * k + 2], words[4 * k + 3] = read(pointer, index, there, fill)

    return load


def _store_4(kind: str) -> Any:
    write = instructions.store(kind, 4)

    @device
    def store(words: Any, k: Any, pointer: Any, index: Any, there: Any) -> None:
        write(pointer, index, (words[4 * k], words[4 * k + 1], words[4 * k + 2], words[4 * k + 3]), there)

    return store


def _words_2(fill: Any) -> Any:
    read = instructions.load("f64", 2)

    @device
    def load(words: Any, k: Any, pointer: Any, index: Any, there: Any) -> None:
        words[2 * k], words[2 * k + 1] = read(pointer, index, there, fill)

    return load


def _store_2() -> Any:
    write = instructions.store("f64", 2)

    @device
    def store(words: Any, k: Any, pointer: Any, index: Any, there: Any) -> None:
        write(pointer, index, (words[2 * k], words[2 * k + 1]), there)

    return store


def _single(get: Any, put: Any, fill: Any) -> tuple[Any, Any]:
    @device
    def load(words: Any, k: Any, pointer: Any, index: Any, there: Any) -> None:
        words[k] = get(pointer, index, there, fill)

    @device
    def store(words: Any, k: Any, pointer: Any, index: Any, there: Any) -> None:
        put(pointer, index, words[k], there)

    return load, store


@device
def _itself(word: Any) -> Any:
    return word


@device
def _first(a: Any, b: Any) -> Any:
    return a


class _Half(NamedTuple):
    low: Any
    high: Any
    low_again: Any
    high_again: Any
    larger: Any
    pack: Any


def _half(name: str, capability: int) -> _Half:
    pack = f"{name}_pack" if capability >= 80 else f"{name}_pack_sm75"
    names = (f"{name}_low", f"{name}_high", f"{name}_low_again", f"{name}_high_again")
    larger = getattr(instructions, f"{name}_larger") if capability >= 80 else None
    functions = [*(getattr(instructions, n) for n in names), larger, getattr(instructions, pack)]
    return _Half(*functions)


def _half_element(name: str, capability: int) -> tuple[Any, Any]:
    half = _half(name, capability)
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


def _element(name: str) -> tuple[Any, Any]:
    kind = "f64" if name == "float64" else "f32"
    return instructions.load(kind, 1), instructions.store(kind, 1)


@functools.cache
def storage(name: str, vector: bool, capability: int) -> Storage:
    """How a dtype is held; ``capability`` is that of the GPU, as 80 for 8.0."""
    half = name in HALVES
    number = np.float64 if name == "float64" else np.float32
    least, zero = number(-np.inf), number(0)
    get, put = _half_element(name, capability) if half else _element(name)
    arithmetic = SHORT if half else DOUBLE if name == "float64" else EXACT
    if not vector:
        load, store = _single(get, put, least)
        load_zeros, _ = _single(get, put, zero)
        same = (_itself, _itself, _itself, _itself, None, _first)
        return Storage(arithmetic, False, 1, 1, number, load, load_zeros, store, *same, get, put)
    if half:
        kind, fill, word = "u32", MINUS_INFINITY_BITS[name], np.uint32
        functions = _words_4(kind, fill), _words_4(kind, np.uint32(0)), _store_4(kind)
        return Storage(arithmetic, True, 4, 2, word, *functions, *_half(name, capability), get, put)
    same = (_itself, _itself, _itself, _itself, None, _first)
    if name == "float64":
        functions = _words_2(least), _words_2(zero), _store_2()
        return Storage(arithmetic, True, 2, 1, number, *functions, *same, get, put)
    functions = _words_4("f32", least), _words_4("f32", zero), _store_4("f32")
    return Storage(arithmetic, True, 4, 1, number, *functions, *same, get, put)
