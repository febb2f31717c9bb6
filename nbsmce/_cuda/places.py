"""Rows in memory, and which classes of one a thread has.

The chunks of a row are given to the threads of its team in turn, whatever way they come to its registers, so that the
order of a sum depends on nothing but the number of classes and their dtype.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .device import device

WARP = 32
ZERO = np.int64(0)


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
    outer: Any  # row // inner
    inner: Any  # row % inner
    lane: Any
    first: Any
    there: Any  # whether there is such a row


class Layout(NamedTuple):
    """How the threads of a block are given to rows; what a kernel is compiled for."""

    threads: int  # of a team
    chunks: int  # that a thread holds
    teams: int  # of a block
    apart: bool  # neighbouring threads are on neighbouring rows, not on neighbouring classes
    nested: bool  # rows lie in memory with two strides, of which finding a row takes a division

    @property
    def section(self) -> int:
        """The chunks that a team holds."""
        return self.threads * self.chunks

    @property
    def lanes(self) -> int:
        """The threads of a team that there are at a time; where rows are side by side, they may take turns."""
        return min(self.threads, WARP) if self.apart else self.threads

    @property
    def turns(self) -> int:
        """How many."""
        return self.threads // self.lanes

    @property
    def loop(self) -> bool:
        """Whether there is more than one."""
        return self.turns > 1

    @property
    def shape(self) -> tuple[int, int]:
        """The threads of a block."""
        return (self.teams, self.lanes) if self.apart else (self.threads, self.teams)


def place_of(nested: bool) -> Any:
    """``f(extent, row, lane, first, there)``. The division is here, where a thread holds nothing yet."""

    @device
    def place(extent: Any, row: Any, lane: Any, first: Any, there: Any) -> Any:
        outer, inner = row, ZERO
        if nested:
            outer = row // extent.inner
            inner = row - outer * extent.inner
        return Place(row, outer, inner, lane, first, there)

    return place


@device
def of_lane(place: Any, lane: Any) -> Any:
    """The place of another thread of the team."""
    return Place(place.row, place.outer, place.inner, lane, place.first, place.there)


@device
def row_start(matrix: Any, place: Any) -> Any:
    """The index of a row's first class."""
    return place.outer * matrix.outer + place.inner * matrix.inner
