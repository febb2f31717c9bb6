"""The gradients that need no targets: of softmax, log_softmax and logsumexp."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .access import access
from .device import device, instructions
from .families import Work, nothing
from .numbers import MINUS_INFINITY, arithmetic
from .places import Layout
from .states import LEAST, ZERO, state_of
from .storage import HALVES, storage
from .teams import SUM, team

fma = instructions.fma


class Variant(NamedTuple):
    """What a kernel is compiled for."""

    dtype: str
    unit: int  # numbers that are accessed at a time
    capability: int
    log: bool  # of log_softmax


def chunks(variant: Variant) -> int:
    """The most that a thread has of both arrays; 8 do not fit of half types, and before 9.0 of none.

    Half types spill where rows are odd; on 7.5 and 8.0 float32 spills 464 bytes, which 9.0 does not. With exponentials
    of float64, of which ptxas has several under way, 8 take 162 to 180 registers or spill.
    """
    exponentials = variant.dtype == "float64" and variant.log
    return 4 if variant.dtype in HALVES or variant.capability < 90 or exponentials else 8


def chunks_of_sum(variant: Variant) -> int:
    """The same of the one array of ``through_logsumexp``; 8 of float64 take up to 206 registers."""
    return 4 if variant.dtype == "float64" else 8


class Given(NamedTuple):
    dy: Any
    y: Any


class Wanted(NamedTuple):
    dx: Any


class Options(NamedTuple):
    nothing: Any


NO_OPTIONS = Options(0.0)


class Total(NamedTuple):
    """The sum of a row, as two numbers of the type that is computed in."""

    high: Any
    low: Any


@functools.cache
def through_softmax(variant: Variant, layout: Layout, kept: bool) -> Work:
    """``dx = y * (dy - sum(dy * y))``, or for ``y = log_softmax(x)``: ``dy - exp(y) * sum(dy)``."""
    held = storage(variant.dtype, False, variant.capability)
    how, rows = arithmetic(held.arithmetic), access(held, layout, variant.unit)
    number, exp, exact, words_held, log = how.type, how.exp_any, how.exact, rows.each, variant.log
    low, high, low_again, high_again, pack = held.low, held.high, held.low_again, held.high_again, held.pack
    two, zero = held.numbers == 2, how.type(0)
    group = team(layout, number is np.float32)
    read, store, add = rows.load_zeros, rows.store, group.add

    @device
    def load(words: Any, more: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
        read(words, given.dy, extent, place)
        read(more, given.y, extent, place)

    @device
    def load_dy(words: Any, more: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
        read(words, given.dy, extent, place)

    @device
    def add_exactly(words: Any, more: Any) -> Any:
        total = ZERO
        for j in range(words_held):
            if log:
                total += np.float64(words[j])
            else:
                total += np.float64(words[j]) * np.float64(more[j])
        return total

    @device
    def add_shortly(words: Any, more: Any) -> Any:
        total = rest = zero
        for j in range(words_held):
            if log:
                total += low_again(words[j])
            else:
                total += low_again(words[j]) * low_again(more[j])
            if two and log:
                rest += high_again(words[j])
            if two and not log:
                rest += high_again(words[j]) * high_again(more[j])
        return np.float64(total) + np.float64(rest)

    of_thread = add_exactly if exact else add_shortly

    @device
    def sums(
        words: Any, more: Any, m: Any, room: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> Any:
        total, _ = add(of_thread(words, more), ZERO, room, SUM)
        return state_of(LEAST, ZERO, total)

    @device
    def row(state: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> Any:
        first = number(state.rest)
        return Total(first, number(state.rest - np.float64(first)))

    @device
    def gradient(dy: Any, y: Any, total: Any) -> Any:
        if log:
            p = exp(y, zero)
            g = fma(-p, total.high, dy)
            return g - p * total.low if p < -MINUS_INFINITY else g
        return y * ((dy - total.high) - total.low)

    @device
    def write(
        words: Any, more: Any, stage: Any, numbers: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> None:
        for j in range(words_held):
            if two:
                words[j] = pack(
                    gradient(low(words[j]), low(more[j]), numbers), gradient(high(words[j]), high(more[j]), numbers)
                )
            else:
                words[j] = gradient(words[j], more[j], numbers)
        store(words, stage, wanted.dx, extent, place)

    found = Work(
        held, rows, group, load, None, sums, row, nothing, write, nothing, words_held, group.room, fields=("rest",)
    )
    return found._replace(load_summed=load_dy) if log else found


class GivenOfSum(NamedTuple):
    x: Any
    dlse: Any
    lse: Any


class OfSum(NamedTuple):
    """The numbers of a row."""

    above: Any
    lse: Any


@functools.cache
def through_logsumexp(variant: Variant, layout: Layout, kept: bool) -> Work:
    """``dx = dlse * exp(x - lse)``; a row without a number has no gradient."""
    held = storage(variant.dtype, False, variant.capability)
    how, rows = arithmetic(held.arithmetic), access(held, layout, variant.unit)
    number, exp, words_held = how.type, how.exp_any, rows.each
    low, high, pack, two, zero = held.low, held.high, held.pack, held.numbers == 2, how.type(0)
    read, store = rows.load, rows.store

    @device
    def load(words: Any, more: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
        read(words, given.x, extent, place)

    @device
    def row(state: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> Any:
        above = lse = zero
        if place.there:
            above = number(given.dlse[place.row])
            lse = number(given.lse[place.row])
        if lse == MINUS_INFINITY:
            lse = zero
        return OfSum(above, lse)

    @device
    def write(
        words: Any, more: Any, stage: Any, numbers: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> None:
        for j in range(words_held):
            if two:
                words[j] = pack(
                    numbers.above * exp(low(words[j]), numbers.lse), numbers.above * exp(high(words[j]), numbers.lse)
                )
            else:
                words[j] = numbers.above * exp(words[j], numbers.lse)
        store(words, stage, wanted.dx, extent, place)

    return Work(held, rows, team(layout, True), load, None, nothing, row, nothing, write, nothing, 1, 1)
