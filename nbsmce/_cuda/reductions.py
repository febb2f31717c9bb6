"""Sums over rows: what a mean is divided by, and the loss of all rows. The order depends on the number of rows alone.

A block adds up :data:`SLICE` rows; where there are more, another kernel adds up what those have found. No atomics.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .device import cuda, device
from .launch import nowhere
from .places import Layout
from .plan import Plan
from .states import ZERO
from .teams import LARGEST, SUM, team

THREADS = 512
SLICE = 16384
NONE = np.float64(2.0**52)
"""Behind every row."""
PART = 3
"""Numbers that a slice leaves: its loss, its share of the divisor, and its first row whose index is no class."""


class Rows(NamedTuple):
    """What is known of rows; integers tell what is given."""

    target: Any
    weight: Any
    sample: Any
    count: Any
    classes: Any
    ignore_index: Any
    indexed: Any
    weighted: Any
    sampled: Any


class Sums(NamedTuple):
    """What is summed, and where it goes to; integers tell what is wanted."""

    losses: Any  # of the rows, float64
    value: Any  # the loss of all rows
    status: Any  # the first row whose index is no class and that index, int64
    divisor: Any  # of a mean, and its inverse
    found: Any  # whether the divisor is found here, or has been before
    divided: Any
    reduced: Any  # whether there is a loss, or only the divisor and the record


@device
def is_outside(rows: Any, i: Any) -> Any:
    t = np.int64(rows.target[i])
    return t != rows.ignore_index and (t < 0 or t >= rows.classes)


@device
def share_of(rows: Any, i: Any) -> Any:
    """What a row counts in the divisor of a mean."""
    share = np.float64(1)
    if rows.indexed != 0:
        t = np.int64(rows.target[i])
        if t == rows.ignore_index or t < 0 or t >= rows.classes:
            return ZERO
        if rows.weighted != 0:
            share = np.float64(rows.weight[t])
    if rows.sampled != 0:
        share *= np.float64(rows.sample[i])
    return share


@device
def _of_row(rows: Any, sums: Any, i: Any) -> Any:
    """``(loss, share, whether the index is no class)``; the loss of such a row is NaN."""
    value, share, suspicious = ZERO, ZERO, rows.indexed != 0
    if sums.reduced != 0:
        value = sums.losses[i]
        suspicious = suspicious and value != value
    if sums.found != 0:
        share = share_of(rows, i)
    return value, share, suspicious and is_outside(rows, i)


@device
def _finish(rows: Any, sums: Any, value: Any, share: Any, first: Any) -> None:
    """Write the record, the divisor with its inverse, and the loss."""
    row = np.int64(-1)
    if first < NONE:
        row = np.int64(first)
        sums.status[1] = rows.target[row]
    sums.status[0] = row
    if sums.found != 0:
        sums.divisor[0], sums.divisor[1] = share, np.float64(1) / share
    if sums.reduced != 0:
        if sums.divided != 0:
            value = value / sums.divisor[0]
        sums.value[0] = value


def _of_block() -> tuple[Any, int]:
    """The sums and the first row of all threads, and the shared memory that they take."""
    group = team(Layout(THREADS, 1, 1, False, False), False)
    add, largest = group.add, group.largest

    @device
    def of_block(value: Any, share: Any, first: Any, room: Any) -> Any:
        value, share = add(value, share, room, SUM)
        return value, share, -largest(-first, room, LARGEST)

    return of_block, group.room


class OfSlices(NamedTuple):
    """The kernel that adds up a slice."""

    alone: bool  # it is that of all rows

    def __call__(self) -> Any:
        (of_block, room_size), alone = _of_block(), self.alone

        def total_of_slices(rows: Any, sums: Any, parts: Any) -> None:
            room = cuda.shared.array(room_size, np.float64)
            start = np.int64(cuda.blockIdx.x) * SLICE
            stop = start + SLICE if start + SLICE < rows.count else rows.count
            value, share, first = ZERO, ZERO, NONE
            for i in range(start + cuda.threadIdx.x, stop, THREADS):
                more, another, outside = _of_row(rows, sums, i)
                value += more
                share += another
                if outside and first == NONE:
                    first = np.float64(i)
            value, share, first = of_block(value, share, first, room)
            if cuda.threadIdx.x == 0:
                if alone:
                    _finish(rows, sums, value, share, first)
                else:
                    at = np.int64(cuda.blockIdx.x) * PART
                    parts[at], parts[at + 1], parts[at + 2] = value, share, first

        return total_of_slices


class OfParts(NamedTuple):
    """The kernel that adds up what the slices have left."""

    def __call__(self) -> Any:
        of_block, room_size = _of_block()

        def total_of_parts(rows: Any, sums: Any, parts: Any) -> None:
            room = cuda.shared.array(room_size, np.float64)
            value, share, first = ZERO, ZERO, NONE
            for i in range(np.int64(cuda.threadIdx.x), (rows.count + SLICE - 1) // SLICE, THREADS):
                value += parts[PART * i]
                share += parts[PART * i + 1]
                if parts[PART * i + 2] < first:
                    first = parts[PART * i + 2]
            value, share, first = of_block(value, share, first, room)
            if cuda.threadIdx.x == 0:
                _finish(rows, sums, value, share, first)

        return total_of_parts


def sum_rows(plan: Plan, rows: Rows, sums: Sums) -> None:
    """Start the kernels."""
    slices = max(1, -(-rows.count // SLICE))
    if slices == 1:
        plan.start(OfSlices(True), 1, (THREADS, 1), rows, sums, nowhere("float64"))
        return
    parts = plan.scratch((slices, PART), "float64").pointer()
    plan.start(OfSlices(False), slices, (THREADS, 1), rows, sums, parts)
    plan.start(OfParts(), 1, (THREADS, 1), rows, sums, parts)
