"""Sums over rows: what a mean is divided by, and the loss of all rows. The order depends on the number of rows alone.

A block adds up :data:`SLICE` rows; where there are more, a block adds up what those have found. No atomics.
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


class Loss(NamedTuple):
    """The loss of all rows and where it comes from."""

    rows: Any  # of the rows, float64
    value: Any
    status: Any  # the first row whose index is no class and that index, int64
    divisor: Any
    divided: Any
    reduced: Any  # whether there is a loss, or only the rows' record


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


def _threads() -> Any:
    both = team(Layout(THREADS, 1, 1, False, False), False)
    return both.add, both.largest, both.room


@device
def _of_targets(rows: Any, loss: Any, i: Any) -> Any:
    """What the row counts, and whether its index is no class."""
    return share_of(rows, i), rows.indexed != 0 and is_outside(rows, i)


@device
def _of_losses(rows: Any, loss: Any, i: Any) -> Any:
    """The loss of the row, which is NaN if its index is no class."""
    value = loss.rows[i]
    return value, rows.indexed != 0 and value != value and is_outside(rows, i)


class OfSlices(NamedTuple):
    """The kernel that adds up a slice, and finds the first row whose index is no class."""

    losses: bool

    def __call__(self) -> Any:
        add, largest, room_size = _threads()
        of_row = _of_losses if self.losses else _of_targets

        def total_of_slices(rows: Any, loss: Any, parts: Any) -> None:
            room = cuda.shared.array(room_size, np.float64)
            start = np.int64(cuda.blockIdx.x) * SLICE
            stop = start + SLICE if start + SLICE < rows.count else rows.count
            total, first = ZERO, NONE
            for i in range(start + cuda.threadIdx.x, stop, THREADS):
                value, outside = of_row(rows, loss, i)
                total += value
                if outside and first == NONE:
                    first = np.float64(i)
            total, _ = add(total, ZERO, room, SUM)
            first = -largest(-first, room, LARGEST)
            if cuda.threadIdx.x == 0:
                parts[2 * cuda.blockIdx.x] = total
                parts[2 * cuda.blockIdx.x + 1] = first

        return total_of_slices


class OfParts(NamedTuple):
    """The kernel that adds up slices into the first of them, and writes the record and the loss."""

    def __call__(self) -> Any:
        add, largest, room_size = _threads()

        def total_of_parts(rows: Any, loss: Any, parts: Any) -> None:
            room = cuda.shared.array(room_size, np.float64)
            total, first = ZERO, NONE
            for i in range(np.int64(cuda.threadIdx.x), (rows.count + SLICE - 1) // SLICE, THREADS):
                total += parts[2 * i]
                if parts[2 * i + 1] < first:
                    first = parts[2 * i + 1]
            total, _ = add(total, ZERO, room, SUM)
            first = -largest(-first, room, LARGEST)
            if cuda.threadIdx.x == 0:
                parts[0] = total
                parts[1] = first
                row = np.int64(-1)
                if first < NONE:
                    row = np.int64(first)
                    loss.status[1] = rows.target[row]
                loss.status[0] = row
                if loss.reduced != 0:
                    if loss.divided != 0:
                        total = total / loss.divisor[0]
                    loss.value[0] = total

        return total_of_parts


def slices(count: int) -> int:
    """How many slices rows make."""
    return -(-count // SLICE)


def sum_targets(plan: Plan, rows: Rows, parts: Any, status: Any) -> None:
    """Write the divisor of a mean to the first of ``parts``, a pair for each slice; and to ``status`` the record."""
    loss = Loss(nowhere("float64"), nowhere("float64"), status, nowhere("float64"), 0, 0)
    _sum(plan, False, rows, loss, parts)


def sum_losses(plan: Plan, rows: Rows, loss: Loss, parts: Any) -> None:
    """Write the loss of all rows, and the record. ``parts`` has a pair for each slice."""
    _sum(plan, True, rows, loss, parts)


def _sum(plan: Plan, losses: bool, rows: Rows, loss: Loss, parts: Any) -> None:
    plan.start(OfSlices(losses), slices(rows.count), (THREADS, 1), rows, loss, parts)
    plan.start(OfParts(), 1, (THREADS, 1), rows, loss, parts)
