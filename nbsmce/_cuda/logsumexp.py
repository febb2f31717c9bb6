"""logsumexp, with factors and the sign of the sum."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .access import access
from .device import device, instructions
from .families import Work, nothing
from .masks import masks
from .numbers import MINUS_INFINITY, arithmetic
from .places import Layout
from .states import ONE, ZERO, exponential_sums, log_sum, state_of
from .storage import storage
from .targets import numbers_of
from .teams import SUM, team

log1p = instructions.log1p
NAN = np.float64(np.nan)


class Variant(NamedTuple):
    """What a kernel is compiled for."""

    dtype: str
    unit: int  # numbers that are accessed at a time
    capability: int
    masked: bool
    factors: str  # their dtype, that which is computed in, or ""


def chunks(variant: Variant) -> int:
    """The most that a thread has; beside 8 of the numbers there are no registers for their factors on every GPU."""
    return 4 if variant.factors else 8


class Given(NamedTuple):
    x: Any
    mask: Any
    b: Any


class Wanted(NamedTuple):
    lse: Any
    sign: Any


class Options(NamedTuple):
    signed: Any  # whether the sign is wanted; without it, the logarithm of a negative sum is NaN


class Numbers(NamedTuple):
    lse: Any
    sign: Any


@functools.cache
def work(variant: Variant, layout: Layout, kept: bool) -> Work:
    """The logarithm of the sum, and its sign."""
    masked, weighted = variant.masked, bool(variant.factors)
    held = storage(variant.dtype, weighted, variant.capability)
    how, rows = arithmetic(held.arithmetic), access(held, layout, variant.unit)
    number, exp, words_held = how.type, how.exp, rows.each
    group = team(layout, number is np.float32)
    largest, exponentials = exponential_sums(held, words_held, group, True, False)
    read, add = rows.load, group.add
    least, zero = number(-np.inf), number(0)
    read_factors: Any = rows.load_zeros
    if weighted and variant.factors != variant.dtype:
        read_factors = numbers_of(variant.factors, held, layout, variant.capability)
    hide = masks(held, layout).hide
    nowhere = zero if weighted else held.least  # a number with the factor 0 counts nothing

    @device
    def load(words: Any, more: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
        read(words, given.x, extent, place)
        if weighted:
            read_factors(more, given.b, extent, place)
        if masked:
            hide(more if weighted else words, nowhere, given.mask, extent, place)
        if weighted:
            for j in range(words_held):
                if more[j] == zero:
                    words[j] = least

    @device
    def weighted_sums(words: Any, more: Any, m: Any) -> Any:
        count = rest = ZERO
        for j in range(words_held):
            b = np.float64(more[j])
            if words[j] == m:
                count += b
            elif b != ZERO:
                rest += b * np.float64(exp(words[j], m))
        return count, rest

    @device
    def sums(
        words: Any, more: Any, m: Any, room: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> Any:
        if weighted:
            count, rest = weighted_sums(words, more, m)
            count, rest = add(count, rest, room, SUM)
        else:
            count, rest = exponentials(words, m, room)
        return state_of(np.float64(m), count, rest)

    @device
    def plain(state: Any) -> Any:
        lse = state.peak + log_sum(state)
        if lse != lse:
            return Numbers(lse, lse)
        return Numbers(lse, ONE if lse > MINUS_INFINITY else ZERO)

    @device
    def with_sign(state: Any) -> Any:
        total = state.count + state.rest
        if total == ZERO or (state.peak == MINUS_INFINITY and total == total):
            return Numbers(np.float64(MINUS_INFINITY), ZERO)
        sign = -ONE if total < ZERO else ONE
        log_total = log1p(state.rest * sign + (state.count * sign - ONE))
        lse = state.peak + log_total
        return Numbers(lse, sign if lse == lse else NAN)

    finish = with_sign if weighted else plain

    @device
    def row(state: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> Any:
        return finish(state)

    @device
    def results(numbers: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
        lse = numbers.lse
        if options.signed != ZERO:
            wanted.sign[place.row] = number(numbers.sign)
        elif numbers.sign < ZERO:
            lse = NAN
        wanted.lse[place.row] = number(lse)

    more = words_held if weighted else 1
    return Work(held, rows, group, load, largest, sums, row, results, None, nothing, more, group.room)
