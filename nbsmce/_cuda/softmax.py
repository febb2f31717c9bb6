"""softmax and log_softmax."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .access import access, in_loop
from .device import device
from .families import Work, nothing
from .masks import masks
from .numbers import MINUS_INFINITY, arithmetic, difference_error
from .places import Layout, of_lane
from .states import exponential_sums, inverse_sum, log_sum, state_of
from .storage import HALVES, storage
from .teams import team


class Given(NamedTuple):
    x: Any
    mask: Any


class Wanted(NamedTuple):
    y: Any


class Options(NamedTuple):
    nothing: Any


class Numbers(NamedTuple):
    """What the results of a row are made of."""

    peak: Any
    high: Any
    low: Any


class Variant(NamedTuple):
    """What a kernel is compiled for."""

    dtype: str
    unit: int  # numbers that are accessed at a time
    capability: int
    log: bool
    masked: bool


def chunks(variant: Variant) -> int:
    """The most that a thread has; a mask takes a register for each class while it is read."""
    return 4 if variant.masked and variant.dtype in HALVES else 8


def written(variant: Variant) -> int:
    """The same of a section whose sums are known; ptxas has several exponentials of float64 under way, and spills."""
    return 4 if variant.dtype == "float64" and not variant.log else 8


@functools.cache
def work(variant: Variant, layout: Layout, kept: bool) -> Work:
    """``kept`` is whether the registers still hold a row when its results are written."""
    held = storage(variant.dtype, False, variant.capability)
    how, rows = arithmetic(held.arithmetic), access(held, layout, variant.unit)
    number, exp, exact, opaque, words_held = how.type, how.exp, how.exact, how.opaque, rows.each
    low, high, pack, two = held.low, held.high, held.pack, held.numbers == 2
    log, masked = variant.log, variant.masked
    # A word that holds one number has room for its exponential.
    keep = kept and not log and not two
    group = team(layout, number is np.float32)
    largest, exponentials = exponential_sums(held, words_held, group, log, keep)
    read, store = rows.load, rows.store
    mask, least, nowhere = masks(held, layout), held.least, held.least if log else held.zero
    hide, hide_again = mask.hide_noted, mask.hide_again

    @device
    def load(words: Any, more: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
        read(words, given.x, extent, place)
        if masked:
            hide(words, least, more, given.mask, extent, place)

    @device
    def sums(
        words: Any, more: Any, m: Any, room: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> Any:
        count, rest = exponentials(words, m, room)
        return state_of(np.float64(m), count, rest)

    @device
    def row(state: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> Any:
        infinite = state.peak - state.peak  # NaN where the largest logit is infinite, else 0
        total = log_sum(state) + infinite if log else inverse_sum(state)
        first = number(total)
        return Numbers(number(state.peak), first, number(total - np.float64(first)))

    @device
    def log_probability(x: Any, n: Any) -> Any:
        d = x - n.peak
        if exact and d > MINUS_INFINITY:
            return d - (n.high - (difference_error(x, n.peak, d) - n.low))
        return d - n.high

    @device
    def probability(x: Any, n: Any) -> Any:
        e = x if keep else exp(x, n.peak)
        return e * n.high + e * n.low if exact else e * n.high

    result = log_probability if log else probability

    @device
    def write(
        words: Any, more: Any, stage: Any, numbers: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> None:
        if log and exact:  # else differences and places of classes are kept since the sums, and 10.0 and 12.0 spill
            numbers = Numbers(opaque(numbers.peak), numbers.high, numbers.low)
            place = of_lane(place, in_loop(place.lane))
        for j in range(words_held):
            if two:
                words[j] = pack(result(low(words[j]), numbers), result(high(words[j]), numbers))
            else:
                words[j] = result(words[j], numbers)
        if masked:
            hide_again(words, nowhere, more)
        store(words, stage, wanted.y, extent, place)

    found = Work(held, rows, group, load, largest, sums, row, nothing, write, nothing, 1, group.room)
    return found._replace(more=mask.words, more_word=np.uint32) if masked else found


NO_OPTIONS = Options(0.0)
