"""softmax and log_softmax."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .device import device
from .families import Work, nothing
from .numbers import MINUS_INFINITY, arithmetic, difference_error
from .places import Layout, access, start_of
from .states import exponential_sums, inverse_sum, log_sum, state_of
from .storage import storage
from .teams import team

HIDDEN = np.uint8(0)


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
    vector: bool
    capability: int
    log: bool
    masked: bool  # single access only


@functools.cache
def hide(words: int, layout: Layout, value: float, number: Any) -> Any:
    """Put ``value`` where a mask is false."""
    threads, fill, row_start = np.int64(layout.threads), number(value), start_of(layout)

    @device
    def hidden(numbers: Any, mask: Any, extent: Any, place: Any) -> None:
        start = row_start(mask, place.row, extent.inner)
        for k in range(words):
            c = place.first + k * threads + place.lane
            if place.there and c < extent.classes and mask.pointer[start + c * mask.step] == HIDDEN:
                numbers[k] = fill

    return hidden


@functools.cache
def work(variant: Variant, layout: Layout, kept: bool) -> Work:
    """``kept`` is whether the registers still hold a row when its results are written."""
    held = storage(variant.dtype, variant.vector, variant.capability)
    how, rows = arithmetic(held.arithmetic), access(held, layout)
    number, exp, exact, words_held = how.type, how.exp, how.exact, rows.each
    low, high, pack, two = held.low, held.high, held.pack, held.numbers == 2
    log, masked = variant.log, variant.masked
    # A word that holds one number has room for its exponential.
    keep = kept and not log and not two
    group = team(layout.threads, number is np.float32, layout.teams if layout.apart else 0)
    largest, exponentials = exponential_sums(held, words_held, group, log, keep)
    read, store = rows.load, rows.store
    hide_in: Any = hide(words_held, layout, -np.inf, number) if masked else None
    hide_out: Any = hide(words_held, layout, -np.inf if log else 0.0, number) if masked else None

    @device
    def load(words: Any, more: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
        read(words, given.x, extent, place)
        if masked:
            hide_in(words, given.mask, extent, place)

    @device
    def sums(words: Any, more: Any, room: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> Any:
        m = largest(words, room)
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
        words: Any, more: Any, numbers: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> None:
        for j in range(words_held):
            if two:
                words[j] = pack(result(low(words[j]), numbers), result(high(words[j]), numbers))
            else:
                words[j] = result(words[j], numbers)
        if masked:
            hide_out(words, given.mask, extent, place)
        store(words, wanted.y, extent, place)

    return Work(held, load, sums, row, nothing, write, nothing, words_held, 1, group.room)


NO_OPTIONS = Options(0.0)
