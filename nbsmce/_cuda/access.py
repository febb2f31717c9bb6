"""From memory to the registers of a thread and back, in units of one number to 16 bytes.

A unit is the most that all arrays of a call allow: their rows must begin at multiples of it, and end there.

* Units of 16 bytes are chunks, which neighbours have side by side.
* A thread reads the smaller units of its chunks one by one. Neighbours then read 16 bytes apart, but the loads of a
  warp come right after each other, and so find what is between in the L1 cache.
* There is no such cache for what is written. So the lanes of a warp exchange their chunks through shared memory (the
  *stage*), after which neighbours write neighbouring units.
* Where the rows are side by side in memory, neighbours have neighbouring rows, and read and write one number each.

Of units that are smaller than a chunk, every predicate compares a number that the compiler knows with one that is found
once, and every address is such a sum, but where the classes of a row are some step apart.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .device import cuda, device, instructions, unrolled
from .places import WARP, Layout, row_start
from .storage import Storage

STRIDED = 0
"""The unit of single numbers that are some step apart."""
MANY = np.int64(1 << 30)
NONE, SIXTEEN, LOW = np.int32(0), np.uint32(16), np.uint32(0xFFFF)
in_loop, warp_barrier = instructions.in_loop, instructions.warp_barrier


class Access(NamedTuple):
    """Reading and writing what a thread has of a row."""

    load: Any  # (words, matrix, extent, place), the least number where there is no class
    load_zeros: Any
    store: Any  # (words, stage, matrix, extent, place)
    each: int  # the number of words
    stage: int  # the number of words of memory that a block needs as its stage


@functools.cache
def access(held: Storage, layout: Layout, unit: int) -> Access:
    """``unit`` is how many numbers are accessed at a time."""
    staged = exchanges(layout, unit, held.classes)
    store, stage = _staged(held, layout, unit) if staged else (_direct(held, layout, unit), 1)
    load, load_zeros = (_loader(held, layout, unit, fill) for fill in (held.least, held.zero))
    return Access(load, load_zeros, store, layout.chunks * held.words, stage)


def exchanges(layout: Layout, unit: int, numbers: int) -> bool:
    """Whether the lanes of a warp exchange what they write; ``numbers`` are those of a chunk."""
    return not layout.apart and unit != numbers and layout.threads != 1


@device
def _left(c: Any, extent: Any, place: Any) -> Any:
    """How many classes there are from a class on, 0 if there is no row."""
    left = extent.classes - c
    if left > MANY:
        left = MANY
    return np.int32(left) if place.there else NONE


class _Units(NamedTuple):
    """The units of a thread: those of its chunks, one after the other."""

    words: int  # of memory; 0 for one number of two
    numbers: int  # of a unit, or of the word that it is in
    of_chunk: int
    strided: bool
    chunk: int  # from one chunk of a thread to its next, in classes


def _units(held: Storage, layout: Layout, unit: int) -> _Units:
    of_word = held.classes // held.memory_words
    numbers = max(unit, of_word)
    return _Units(
        max(unit, 1) // of_word, numbers, held.classes // numbers, unit == STRIDED, layout.threads * held.classes
    )


def _over_units(held: Storage, layout: Layout, unit: int, move: Any) -> Any:
    """``f(words, matrix, extent, place)``: all units of a thread.

    ``move(words, i, pointer, index, step, there, there_too)`` does it for the unit of number ``i``; ``there_too`` is of
    the second number where a word has two that are accessed one by one.
    """
    units, chunks, classes = _units(held, layout, unit), layout.chunks, np.int64(held.classes)
    of_chunk, numbers, strided, chunk = units.of_chunk, units.numbers, units.strided, units.chunk
    second, loop = 0 if units.words else 1, layout.loop
    # With the quicker comparison ptxas would schedule a block's kernel otherwise, with 1.7 times the registers.
    whole = unit == held.classes

    @device
    def over_units(words: Any, matrix: Any, extent: Any, place: Any) -> None:
        first = (place.first + place.lane) * classes
        if strided and loop and second:
            first = in_loop(first)  # else which classes there are is kept, and softmax spills on 9.0
        start, left, step = row_start(matrix, place), _left(first, extent, place), np.int64(1)
        if strided:
            step = in_loop(matrix.step) if loop else matrix.step  # else the distances of all units are kept
        start += first * step
        for k in range(chunks):
            for i in range(of_chunk):
                c = np.int32(k * chunk + i * numbers)
                index = start + c * step
                there, there_too = c < left, np.int32(c + second) < left
                if whole:
                    there = place.there and first + c < extent.classes
                move(words, k * of_chunk + i, matrix.pointer, index, step, there, there_too)

    return over_units


def _loader(held: Storage, layout: Layout, unit: int, fill: Any) -> Any:
    put, n = held.put_memory, _units(held, layout, unit).words
    load = instructions.load(held.memory, n) if n else instructions.load("u16", 1)

    @device
    def read_4(words: Any, i: Any, pointer: Any, index: Any, step: Any, there: Any, there_too: Any) -> None:
        a, b, c, d = load(pointer, index, there, fill)
        put(words, 4 * i, a)
        put(words, 4 * i + 1, b)
        put(words, 4 * i + 2, c)
        put(words, 4 * i + 3, d)

    @device
    def read_2(words: Any, i: Any, pointer: Any, index: Any, step: Any, there: Any, there_too: Any) -> None:
        a, b = load(pointer, index, there, fill)
        put(words, 2 * i, a)
        put(words, 2 * i + 1, b)

    @device
    def read_1(words: Any, i: Any, pointer: Any, index: Any, step: Any, there: Any, there_too: Any) -> None:
        put(words, i, load(pointer, index, there, fill))

    @device
    def read_halves(words: Any, i: Any, pointer: Any, index: Any, step: Any, there: Any, there_too: Any) -> None:
        low, high = load(pointer, index, there, fill & LOW), load(pointer, index + step, there_too, fill & LOW)
        put(words, i, low | high << SIXTEEN)

    return _over_units(held, layout, unit, {4: read_4, 2: read_2, 1: read_1, 0: read_halves}[n])


def _direct(held: Storage, layout: Layout, unit: int) -> Any:
    take, n = held.take_memory, _units(held, layout, unit).words
    write = instructions.store(held.memory, n) if n else instructions.store("u16", 1)

    @device
    def write_4(words: Any, i: Any, pointer: Any, index: Any, step: Any, there: Any, there_too: Any) -> None:
        chunk = take(words, 4 * i), take(words, 4 * i + 1), take(words, 4 * i + 2), take(words, 4 * i + 3)
        write(pointer, index, chunk, there)

    @device
    def write_2(words: Any, i: Any, pointer: Any, index: Any, step: Any, there: Any, there_too: Any) -> None:
        write(pointer, index, (take(words, 2 * i), take(words, 2 * i + 1)), there)

    @device
    def write_1(words: Any, i: Any, pointer: Any, index: Any, step: Any, there: Any, there_too: Any) -> None:
        write(pointer, index, take(words, i), there)

    @device
    def write_halves(words: Any, i: Any, pointer: Any, index: Any, step: Any, there: Any, there_too: Any) -> None:
        word = take(words, i)
        write(pointer, index, word, there)
        write(pointer, index + step, word >> SIXTEEN, there_too)

    over_units = _over_units(held, layout, unit, {4: write_4, 2: write_2, 1: write_1, 0: write_halves}[n])

    @device
    def store(words: Any, stage: Any, matrix: Any, extent: Any, place: Any) -> None:
        over_units(words, matrix, extent, place)

    return store


def _staged(held: Storage, layout: Layout, unit: int) -> tuple[Any, int]:
    (n, _, _, strided, chunk), each, classes = _units(held, layout, unit), held.memory_words, np.int64(held.classes)
    lanes, numbers, team, take = min(layout.threads, WARP), max(unit, 1), layout.threads, held.take_memory
    units = held.classes // numbers
    write = instructions.store(held.memory, n) if n else instructions.store("u16", 1)
    # A word is left out behind so many, so that lanes which take neighbouring chunks find them in different banks.
    shift = (128 // np.dtype(held.memory_word).itemsize).bit_length() - 1
    of_warp = WARP * each + (WARP * each >> shift)

    @device
    def at(slot: Any, i: Any) -> Any:
        """Where the word ``i`` of what a team's lanes have is; ``slot`` is that of the warp, and of the team in it."""
        i += slot[1]
        return np.uint64(slot[0] + i + (i >> shift))  # unsigned, see teams.py

    @device
    def write_2(stage: Any, slot: Any, i: Any, pointer: Any, index: Any, there: Any) -> None:
        write(pointer, index, (stage[at(slot, 2 * i)], stage[at(slot, 2 * i + 1)]), there)

    @device
    def write_1(stage: Any, slot: Any, i: Any, pointer: Any, index: Any, there: Any) -> None:
        write(pointer, index, stage[at(slot, i)], there)

    @device
    def write_half(stage: Any, slot: Any, i: Any, pointer: Any, index: Any, there: Any) -> None:
        write(pointer, index, stage[at(slot, i >> 1)] >> np.uint32((i & 1) << 4), there)

    write_unit = {2: write_2, 1: write_1, 0: write_half}[n]
    # Before 9.0 the warp's is a call, over which half of the registers cannot be used: half types spill in long rows.
    barrier = warp_barrier if held.capability >= 90 or team <= WARP else cuda.syncthreads

    @device
    def store_chunk(k: Any, words: Any, stage: Any, slot: Any, lane: Any, pointer: Any, at_first: Any) -> None:
        first, step, left = at_first
        for i in range(each):
            stage[at(slot, each * lane + i)] = take(words, k * each + i)
        barrier()
        for v in range(units):
            c = np.int32(k * chunk + v * lanes * numbers)
            write_unit(stage, slot, v * lanes + lane, pointer, first + c * step, c < left)
        barrier()  # the stage is used anew; and what is written later to the same memory, comes later

    store_chunks = unrolled(store_chunk, layout.chunks)

    @device
    def store(words: Any, stage: Any, matrix: Any, extent: Any, place: Any) -> None:
        thread = np.int32(cuda.threadIdx.x + team * cuda.threadIdx.y)
        lane = thread & (lanes - 1)
        slot = (thread >> 5) * of_warp, ((thread & 31) - lane) * each
        c, step = (place.first + place.lane - lane) * classes + lane * numbers, np.int64(1)
        if strided:
            step = matrix.step
        at_first = row_start(matrix, place) + c * step, step, _left(c, extent, place)
        store_chunks(words, stage, slot, lane, matrix.pointer, at_first)

    return store, -(-layout.threads * layout.teams // WARP) * of_warp
