"""From the losses of rows to one number: the parts that rows are taken in, their sum, its mean."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._spec import LossSpec
from . import host
from .host import Kind
from .lanes.storage import LANES
from .targets import total_of_rows

PANEL = 1 << 16
NO_ROWS = np.empty(0, np.float64)
NO_SUMS = np.empty((0, LANES))


class RowSum:
    """The sum of the losses of rows, in an order that does not depend on how the rows are handed out.

    The kernels write the losses of a part of the rows as float64 and add them up before the next part comes, so that no
    call needs more than some memory for them. Only parts that begin in the middle of a group of sixteen rows are kept
    until the end.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.sums = np.zeros((2, LANES))
        self.total = 0.0
        self._buffer = NO_ROWS
        self._kept = NO_ROWS
        self._first_kept = count

    def memory(self, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the losses of rows ``[first, stop)`` go, and what the kernel adds them to."""
        if not self.count:
            return NO_ROWS, self.sums
        if not self._kept.size and (stop % LANES == 0 or stop == self.count):
            if self._buffer.size < stop - first:
                self._buffer = np.empty(stop - first)
            return self._buffer[: stop - first], self.sums
        if not self._kept.size:
            self._kept, self._first_kept = np.empty(self.count - first), first
        return self._kept[first - self._first_kept : stop - self._first_kept], np.zeros((2, LANES))

    def result(self) -> float:
        """The sum over all rows."""
        if self._kept.size:
            return float(total_of_rows[()](self._kept, self.sums))
        return float(self.total)


def panels(x: np.ndarray, first_row: int, limit: int) -> Iterator[tuple[Any, int, int]]:
    """Parts of some ``limit`` rows: an index into ``x``, and the numbers of their first row and the one behind.

    The index is None if there is a single part.
    """
    rows = x.size // x.shape[1]
    if rows <= limit:
        yield None, first_row, first_row + rows
        return
    if x.ndim == 2:
        axis, per = 0, 1
    elif x.shape[0] == 1:
        axis, per = 2, 1
    else:
        axis, per = 0, x.shape[2]
    step = -(-max(1, limit // per) // LANES) * LANES
    for lo in range(0, x.shape[axis], step):
        hi = min(lo + step, x.shape[axis])
        index = (slice(lo, hi),) if axis == 0 else (slice(None), slice(None), slice(lo, hi))
        yield index, first_row + lo * per, first_row + hi * per


def parts(arrays: Sequence[np.ndarray], where: Any) -> Sequence[np.ndarray]:
    """The arrays at an index; as they are if that is None, since a slice costs as much as a small array's sums."""
    return arrays if where is None else [a[where] for a in arrays]


def mean(total: float, divisor: float) -> float:
    """``total / divisor``, also where that is 0, as IEEE 754 has it."""
    if divisor:
        return total / divisor
    return math.nan if not total or math.isnan(total) else math.copysign(math.inf, total)


def reduced(loss: np.ndarray, total: RowSum, divisor: float, spec: LossSpec, rows: tuple[int, ...], kind: Kind) -> Any:
    """The loss as the caller wants it."""
    if spec.reduction == "none":
        return host.result(loss.reshape(rows), None, kind)
    value = total.result()
    return host.scalar(mean(value, divisor) if spec.reduction == "mean" else value, kind)


def options(spec: LossSpec, upstream: float) -> np.ndarray:
    """The options as the kernel takes them; ``upstream`` is the gradient from above that all rows share."""
    numbers = _numbers(spec).copy()
    numbers[-1] = upstream
    return numbers


@functools.lru_cache(maxsize=256)
def _numbers(spec: LossSpec) -> np.ndarray:
    return np.array([spec.label_smoothing, spec.z_loss, spec.logit_scale, spec.softcap, 1.0])
