"""The negative log-likelihood and its gradient: one class of each row, a thread for each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .device import cuda
from .numbers import arithmetic
from .places import ZERO as FIRST
from .places import place_of, row_start
from .plan import Plan
from .states import ZERO
from .storage import storage
from .targets import IGNORED, LIVE, target_of

THREADS = 128
NAN = np.float64(np.nan)


class Given(NamedTuple):
    target: Any
    weight: Any
    sample: Any
    dloss: Any
    divisor: Any


class Wanted(NamedTuple):
    loss: Any  # of the rows
    weighted: Any  # the same in float64


class Kernel(NamedTuple):
    """What a kernel is compiled for. The gradient is written where the targets are, in memory that holds 0."""

    dtype: str
    capability: int
    nested: bool
    gradient: bool

    def __call__(self) -> Any:
        held = storage(self.dtype, False, self.capability)
        get, put, number = held.get, held.put, arithmetic(held.arithmetic).type
        gradient, least, place_at = self.gradient, number(-np.inf), place_of(self.nested)

        def of_rows(extent: Any, x: Any, given: Any, wanted: Any, options: Any) -> None:
            row = np.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
            place = place_at(extent, row, FIRST, FIRST, row < extent.rows)
            t = target_of(given, options, extent, place)
            if place.there:
                share = t.weight
                if options.sampled != 0:
                    share *= np.float64(given.sample[row])
                at = row_start(x, place) + t.number * x.step
                if gradient:
                    share *= options.upstream
                    if options.dloss_of_rows != 0:
                        share *= np.float64(given.dloss[row])
                    if options.dloss_of_all != 0:
                        share *= np.float64(given.dloss[0])
                    if options.divided != 0:
                        share *= given.divisor[1]
                    if t.number >= 0:
                        put(x.pointer, at, number(-share), True)
                else:
                    loss = NAN
                    if t.state == IGNORED or (t.state == LIVE and t.weight == ZERO):
                        loss = ZERO
                    elif t.number >= 0:
                        loss = -share * np.float64(get(x.pointer, at, True, least))
                    if options.by_row != 0:
                        wanted.loss[row] = number(loss)
                    if options.reduced != 0:
                        wanted.weighted[row] = loss

        return of_rows


def over_rows(plan: Plan, kernel: Kernel, extent: Any, *arguments: Any) -> None:
    """Start the kernel."""
    plan.start(kernel, -(-extent.rows // THREADS), (THREADS, 1), extent, *arguments)
