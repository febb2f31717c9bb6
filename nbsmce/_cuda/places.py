"""Rows in memory, and the part of one that a thread has in its registers."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .device import device
from .storage import Storage


class Matrix(NamedTuple):
    """An argument as rows.

    The class ``c`` of the row ``r`` is ``pointer[(r // i) * outer + (r % i) * inner + c * step]``, with the ``i`` rows
    that :class:`Extent` has side by side.
    """

    pointer: Any
    outer: Any
    inner: Any
    step: Any


class Extent(NamedTuple):
    """What all arguments of a call have in common."""

    rows: Any
    inner: Any  # rows side by side: the product of the axes behind the classes, or 1
    classes: Any


class Place(NamedTuple):
    """What a thread has: every ``threads``-th chunk of a row from ``first + lane`` on."""

    row: Any
    lane: Any
    first: Any
    there: Any  # whether there is such a row


class Layout(NamedTuple):
    """How the threads of a block are given to rows; what a kernel is compiled for."""

    threads: int  # of a team
    chunks: int  # that a thread holds
    teams: int  # of a block
    apart: bool  # neighbouring threads are on neighbouring rows, not on neighbouring classes
    loop: bool  # a row has more than the team holds, and is gone over section by section
    nested: bool  # rows lie in memory with two strides, of which finding a row takes a division

    @property
    def section(self) -> int:
        """The chunks that a team holds."""
        return self.threads * self.chunks


@device
def _start(matrix: Any, row: Any, inner: Any) -> Any:
    return row * matrix.outer


@device
def _nested_start(matrix: Any, row: Any, inner: Any) -> Any:
    return (row // inner) * matrix.outer + (row % inner) * matrix.inner


def start_of(layout: Layout) -> Any:
    """``f(matrix, row, inner)``: the index of a row's first class."""
    return _nested_start if layout.nested else _start


class Access(NamedTuple):
    """Reading and writing what a thread has of a row."""

    load: Any  # (words, matrix, extent, place)
    load_zeros: Any
    store: Any
    each: Any  # the number of words


@functools.cache
def access(held: Storage, layout: Layout) -> Access:
    chunks, threads = layout.chunks, np.int64(layout.threads)
    classes_of_chunk = np.int64(held.classes)
    vector, row_start = held.vector, start_of(layout)

    def mover(move: Any) -> Any:
        @device
        def moved(words: Any, matrix: Any, extent: Any, place: Any) -> None:
            start = row_start(matrix, place.row, extent.inner)
            for k in range(chunks):
                c = (place.first + k * threads + place.lane) * classes_of_chunk
                there = place.there and c < extent.classes
                if vector:
                    move(words, k, matrix.pointer, start + c, there)
                else:
                    move(words, k, matrix.pointer, start + c * matrix.step, there)

        return moved

    return Access(mover(held.load), mover(held.load_zeros), mover(held.store), chunks * held.words)
