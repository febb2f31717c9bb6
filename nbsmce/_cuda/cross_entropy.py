"""The cross entropy, its gradient, or both in one pass over the logits."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .. import _formula
from .access import access, in_loop
from .device import device
from .families import Work
from .numbers import arithmetic, double_exp
from .places import Layout, of_lane, row_start
from .states import (
    NO_CLASS,
    OF_CLASSES,
    OF_MASS,
    OF_SUM,
    ONE,
    ZERO,
    State,
    above_nothing,
    exponential_sums,
    inverse_sum,
    log_sum,
)
from .storage import storage
from .targets import IGNORED, LIVE, OUTSIDE, class_of, first_largest, mass_of, numbers_of, owner, reader, target_of
from .teams import INDEX, LARGEST, MASS, team

NAN = np.float64(np.nan)
row_loss, z_penalty = device(_formula.row_loss), device(_formula.z_penalty)
gradient_factor, target_gradient = device(_formula.gradient_factor), device(_formula.target_gradient)
cap_slope = device(_formula.cap_slope)


class Variant(NamedTuple):
    """What a kernel is compiled for."""

    dtype: str
    unit: int  # numbers that are accessed at a time
    capability: int
    gradient: bool
    spread: bool  # every class has target mass
    probabilities: str  # their dtype, or "" for class indices
    effective: bool  # logits are scaled or capped
    aux: bool
    from_lse: bool  # the log-sum-exp is given


def chunks(variant: Variant) -> int:
    """The most that a thread has; target masses, and numbers that are held apart, take registers.

    Whether there is a gradient does not count, for the loss alone is to have the same bits.
    """
    masses = bool(variant.probabilities) or (variant.spread and variant.dtype != "float32")
    apart = variant.effective or variant.probabilities not in ("", variant.dtype)
    return max(2, 8 >> (masses + apart + (variant.dtype == "float64")))


def clustered(variant: Variant) -> bool:
    """Whether a section fits into registers with what is merged beside it: on no GPU may anything spill.

    Of float32 with 8 chunks 8 to 96 bytes would, if every class has mass or the most likely one is asked for; of
    float64 with 4 chunks, 8 bytes on 12.0. Guard: ``cuda-ptx-every``.
    """
    if variant.dtype == "float64":
        return chunks(variant) < 4
    return variant.dtype != "float32" or chunks(variant) < 8 or not (variant.spread or variant.aux)


class Given(NamedTuple):
    x: Any
    y: Any
    target: Any
    weight: Any
    sample: Any
    dloss: Any
    lse: Any
    divisor: Any


class Wanted(NamedTuple):
    dx: Any
    loss: Any  # of the rows
    weighted: Any  # the same in float64, to be added up
    lse: Any
    z_loss: Any
    predicted: Any
    correct: Any


class Numbers(NamedTuple):
    """What follows from a row's state."""

    target: Any  # class index
    state: Any
    peak: Any
    high: Any
    low: Any
    share: Any
    at_target: Any
    loss: Any
    lse: Any
    penalty: Any
    predicted: Any
    likely: Any


@functools.cache
def work(variant: Variant, layout: Layout, kept: bool) -> Work:
    """``kept`` is whether the registers still hold a row when its results are written."""
    probabilities, writes = bool(variant.probabilities), variant.gradient
    another = probabilities and variant.probabilities != variant.dtype
    effective, spread, aux, from_lse = variant.effective, variant.spread, variant.aux, variant.from_lse
    held = storage(variant.dtype, effective or another, variant.capability)
    how, rows = arithmetic(held.arithmetic), access(held, layout, variant.unit)
    number, capped, words_held = how.type, how.capped, rows.each
    exp = how.exp_any if from_lse else how.exp
    low, high, pack, two, exact = held.low, held.high, held.pack, held.numbers == 2, how.exact
    keep = kept and writes and not two and not effective
    group, wide = team(layout, number is np.float32), team(layout, False)
    largest, exponentials = exponential_sums(held, words_held, group, True, keep)
    read, store, get, put = rows.load, rows.store, held.get, held.put
    owns, reads = owner(held, layout), reader(held, layout)
    numbered, mass_at = class_of(held, layout), mass_of(probabilities, number)
    first_of_numbers = first_largest(held, layout, words_held, held.low_again, held.high_again)
    zero, least, larger = number(0), number(-np.inf), how.larger
    above = above_nothing(number)
    opaque, passes = how.opaque, spread or aux
    anew = variant.dtype == "float64" or (two and (aux or (spread and not probabilities)))
    low_last, high_last = (held.low_later, held.high_later) if passes else (low, high)
    add, largest_wide, largest_number = group.add, wide.largest, group.largest
    read_likely: Any = rows.load_zeros
    if another:
        read_likely = numbers_of(variant.probabilities, held, layout, variant.capability)

    @device
    def effective_logit(x: Any, options: Any) -> Any:
        return capped(x, number(options.scale), number(options.softcap), number(options.inverse_cap))

    @device
    def load(words: Any, more: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
        read(words, given.x, extent, place)
        if probabilities:
            read_likely(more, given.y, extent, place)
        if effective:
            for j in range(words_held):
                x = effective_logit(words[j], options)
                words[j] = x if numbered(j, 0, place) < extent.classes else least

    @device
    def logit_at(given: Any, options: Any, extent: Any, place: Any, c: Any) -> Any:
        x = get(given.x.pointer, row_start(given.x, place) + c * given.x.step, True, least)
        if effective:
            x = effective_logit(x, options)
        return np.float64(x)

    @device
    def spread_sums(words: Any, more: Any, m: Any, given: Any, options: Any, extent: Any, place: Any) -> Any:
        """``(sum(q), sum(q * (m - x)))``; a mass of 0 counts nothing, also on a logit of minus infinity."""
        mass = cross = ZERO
        share, m = number(options.share), above(m)
        for j in range(words_held):
            c = numbered(j, 0, place)
            y = low(more[j]) if probabilities else zero
            q = mass_at(y, c, place.there and c < extent.classes, share, given, options)
            mass += np.float64(q)
            if q != zero:
                cross += np.float64(q * (m - low(words[j])))
            if two:
                y = high(more[j]) if probabilities else zero
                q = mass_at(y, c + 1, place.there and c + 1 < extent.classes, share, given, options)
                mass += np.float64(q)
                if q != zero:
                    cross += np.float64(q * (m - high(words[j])))
        return mass, cross

    @device
    def sums(
        words: Any, more: Any, m: Any, room: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> Any:
        t = target_of(given, options, extent, place).number
        target = ZERO
        if reads(t, place):
            target = logit_at(given, options, extent, place, t)
        mass = cross = likely_value = ZERO
        best = likely_class = NO_CLASS
        if spread:
            mass, cross = spread_sums(words, more, m, given, options, extent, place)
            mass, cross = add(mass, cross, room, MASS)
        if aux:
            best = -largest_wide(first_of_numbers(words, m, place), room, INDEX)
        if aux and probabilities:
            y = zero
            for j in range(words_held):
                y = larger(y, low(more[j]))
                if two:
                    y = larger(y, high(more[j]))
            y = largest_number(y, room, LARGEST)
            likely_value = np.float64(y)
        again = opaque(m) if passes else m  # else ptxas keeps every m - x and x == m for the exponentials
        count, rest = exponentials(words, again, room)
        if aux and probabilities:
            likely_class = -largest_wide(first_of_numbers(more, y, place), room, INDEX)
        return State(np.float64(m), count, rest, mass, cross, target, best, likely_value, likely_class)

    @device
    def known(state: Any, given: Any, options: Any, extent: Any, place: Any, t: Any) -> Any:
        """The state of a row whose log-sum-exp is given; its thread reads the target's logit before it writes it."""
        lse, target = ZERO, ZERO
        if place.there:
            lse = np.float64(given.lse[place.row])
        if owns(t, place):
            target = logit_at(given, options, extent, place, t)
        return State(lse, ONE, ZERO, ZERO, ZERO, target, NO_CLASS, ZERO, NO_CLASS)

    @device
    def upstream_of(given: Any, options: Any, place: Any) -> Any:
        """``(what the loss of a row is multiplied with, what its gradient is)``."""
        sample, above = ONE, options.upstream * options.scale
        if options.sampled != 0 and place.there:
            sample = np.float64(given.sample[place.row])
        if options.dloss_of_rows != 0 and place.there:
            above *= np.float64(given.dloss[place.row])
        if options.dloss_of_all != 0:
            above *= np.float64(given.dloss[0])
        if options.divided != 0:
            above *= given.divisor[1]  # its inverse: a division would be made by every thread, for every row
        return sample, above * sample

    @device
    def class_or_none(key: Any, live: Any) -> Any:
        if key < ZERO:
            key += NO_CLASS
        return np.int64(key) if live and key < NO_CLASS else np.int64(-1)

    @device
    def row(state: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> Any:
        t = target_of(given, options, extent, place)
        if from_lse:
            state = known(state, given, options, extent, place, t.number)
        live = t.state == LIVE
        hot = t.weight * options.slope
        mass, log_total = state.mass + hot, log_sum(state)
        lse = state.peak + log_total
        cross = state.cross
        if hot != ZERO:
            cross += hot * (state.peak - state.target)
        penalty = ZERO
        if options.z_loss != ZERO and live:
            penalty = z_penalty(options.z_loss, lse)
        infinite = state.peak - state.peak  # NaN where the largest logit is infinite, else 0
        sample, upstream = upstream_of(given, options, place)
        loss = (row_loss(mass, cross, log_total, penalty) + infinite) * sample
        if t.state == IGNORED or extent.classes == 0:
            loss = ZERO
        if t.state == OUTSIDE:
            loss = NAN
        high = first = at_target = ZERO
        if writes:
            inverse = inverse_sum(state)
            high = upstream * gradient_factor(mass, options.z_loss, lse) * inverse
            p = double_exp(state.target, state.peak) * inverse
            gap = ONE - p
            if state.target == state.peak:
                gap = ((state.count - ONE) + state.rest) * inverse
            q = hot + t.weight * options.share
            at_target = upstream * target_gradient(mass, q, gap, options.z_loss, lse)
            if effective and options.softcap != ZERO:
                at_target *= cap_slope(state.target * options.inverse_cap, ONE)
            if t.state == OUTSIDE:
                high = NAN
        first = number(high)
        return Numbers(
            t.number, t.state, number(state.peak), first, number(high - np.float64(first)), number(upstream),
            number(at_target), loss, lse, penalty, class_or_none(state.best, live),
            class_or_none(state.likely_class, live),
        )  # fmt: skip

    @device
    def results(n: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
        if options.by_row != 0:
            wanted.loss[place.row] = number(n.loss)
        if options.reduced != 0:
            wanted.weighted[place.row] = n.loss
        if aux:
            wanted.lse[place.row] = number(n.lse)
            wanted.z_loss[place.row] = number(n.penalty)
            wanted.predicted[place.row] = n.predicted
            expected = n.likely if probabilities else n.target
            wanted.correct[place.row] = n.state == LIVE and n.predicted == expected

    @device
    def gradient(x: Any, y: Any, c: Any, now: Any, n: Any, given: Any, options: Any, extent: Any, place: Any) -> Any:
        share, live, peak = now
        e = x if keep else exp(x, peak)
        g = e * n.high + e * n.low if exact else e * n.high
        if spread:
            g -= n.share * mass_at(y, c, place.there and c < extent.classes, share, given, options)
        if effective and options.softcap != ZERO:
            g *= cap_slope(x * number(options.inverse_cap), number(1))
        return g if live else zero

    @device
    def write(
        words: Any, more: Any, stage: Any, n: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> None:
        # Opaque: else ptxas keeps the mass of every class since it was summed, and begins with the exponentials while
        # the numbers of the row are still computed.
        share = opaque(number(options.share)) if spread else zero
        now = share, n.state != IGNORED, opaque(n.peak)
        if anew:  # else the classes' places are kept since they were summed, too, and kernels spill on 12.0
            place = of_lane(place, in_loop(place.lane))
        for j in range(words_held):
            y = low_last(more[j]) if probabilities else zero
            a = gradient(low_last(words[j]), y, numbered(j, 0, place), now, n, given, options, extent, place)
            if two:
                y = high_last(more[j]) if probabilities else zero
                b = gradient(high_last(words[j]), y, numbered(j, 1, place), now, n, given, options, extent, place)
                words[j] = pack(a, b)
            else:
                words[j] = a
        store(words, stage, wanted.dx, extent, place)

    @device
    def last(n: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
        """The target of a class index is written once more, by the thread that has it: ``p - 1`` cancels."""
        if place.there and owns(n.target, place):
            start = row_start(wanted.dx, place)
            put(wanted.dx.pointer, start + n.target * wanted.dx.step, n.at_target, True)

    more, room = words_held if probabilities else 1, max(group.room, wide.room)
    steps = load, largest, sums, row, results, write if writes else None, last
    fields = (*OF_SUM, "target", *OF_MASS * spread, *OF_CLASSES * aux)
    return Work(held, rows, group, *steps, more, room, fields=fields)
