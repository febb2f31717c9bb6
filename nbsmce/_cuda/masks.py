"""Masks: what is put in the place of numbers that a function is not to see."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .device import device, instructions, unrolled
from .places import Layout, row_start
from .storage import Storage
from .targets import class_of

BITS = 32
ONE, SHOWN, FOUR = np.uint32(1), np.uint32(1), np.uint32(4)
HIGH = np.uint32(0xFFFF0000)


class Masks(NamedTuple):
    """The device functions for a mask of the numbers in a thread's registers."""

    hide: Any  # (words, fill, mask, extent, place): put ``fill``, a word, where the mask is false
    hide_noted: Any  # (words, fill, bits, mask, extent, place): the same, and note in words of bits where that is
    hide_again: Any  # (words, fill, bits): put it where that was
    words: int  # of bits


@functools.cache
def masks(held: Storage, layout: Layout) -> Masks:
    """A mask is read once: with its addresses kept for another time a row would not fit the registers."""
    chunks, words, numbers, numbered = layout.chunks, held.words, held.numbers, class_of(held, layout)
    two, read = held.numbers == 2, instructions.load("u8", 1)

    @device
    def is_hidden(j: Any, i: Any, start: Any, mask: Any, extent: Any, place: Any) -> Any:
        c = numbered(j, i, place)
        return read(mask.pointer, start + c * mask.step, place.there and c < extent.classes, SHOWN) != SHOWN

    @device
    def put(words_of_thread: Any, j: Any, i: Any, fill: Any) -> None:
        if two:
            other = HIGH >> (np.uint32(i) << FOUR)
            words_of_thread[j] = (words_of_thread[j] & other) | (fill & ~other)
        else:
            words_of_thread[j] = fill

    @device
    def hide_chunk(k: Any, words_of_thread: Any, fill: Any, start: Any, mask: Any, extent: Any, place: Any) -> None:
        for j in range(k * words, k * words + words):
            for i in range(numbers):
                if is_hidden(j, i, start, mask, extent, place):
                    put(words_of_thread, j, i, fill)

    @device
    def hide_chunk_noted(
        k: Any, words_of_thread: Any, fill: Any, bits: Any, start: Any, mask: Any, extent: Any, place: Any
    ) -> None:
        for j in range(k * words, k * words + words):
            for i in range(numbers):
                n = j * numbers + i
                if n % BITS == 0:
                    bits[n // BITS] = np.uint32(0)
                if is_hidden(j, i, start, mask, extent, place):
                    put(words_of_thread, j, i, fill)
                    bits[n // BITS] |= ONE << np.uint32(n % BITS)

    @device
    def hide_chunk_again(k: Any, words_of_thread: Any, fill: Any, bits: Any) -> None:
        for j in range(k * words, k * words + words):
            for i in range(numbers):
                n = j * numbers + i
                if bits[n // BITS] >> np.uint32(n % BITS) & ONE:
                    put(words_of_thread, j, i, fill)

    hide_chunks, hide_noted_chunks = unrolled(hide_chunk, chunks), unrolled(hide_chunk_noted, chunks)

    @device
    def hide(words_of_thread: Any, fill: Any, mask: Any, extent: Any, place: Any) -> None:
        hide_chunks(words_of_thread, fill, row_start(mask, place), mask, extent, place)

    @device
    def hide_noted(words_of_thread: Any, fill: Any, bits: Any, mask: Any, extent: Any, place: Any) -> None:
        hide_noted_chunks(words_of_thread, fill, bits, row_start(mask, place), mask, extent, place)

    return Masks(hide, hide_noted, unrolled(hide_chunk_again, chunks), -(-chunks * words * numbers // BITS))
