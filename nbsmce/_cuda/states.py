"""What is known of a row after its first pass, of a part of it or of two parts together."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .device import device, instructions
from .numbers import arithmetic, double_exp, reciprocal
from .storage import Storage
from .teams import SUM, Team, place

log1p = instructions.log1p
ZERO, ONE, LEAST = np.float64(0), np.float64(1), np.float64(-np.inf)
NONE, ONE_MORE = np.int32(0), np.int32(1)
NO_CLASS = np.float64(2.0**52)
"""Behind every class. Of a class that is NaN, ``class - NO_CLASS`` is kept, which is less than any other."""


class State(NamedTuple):
    """Sums over classes, in float64. Of a part without classes ``peak`` is minus infinity."""

    peak: Any  # the largest logit
    count: Any  # the logits that equal it, or the sum of their factors
    rest: Any  # the sum of exp(x - peak) over the others
    mass: Any  # of the target, but for a class index
    cross: Any  # sum(q * (peak - x)) over that mass
    target: Any  # the logit of the class index
    best: Any  # the first class with the largest logit, see NO_CLASS
    likely: Any  # the largest target probability
    likely_class: Any  # the first class that has it


FIELDS = len(State._fields)
# The fields that sums over classes fill, of targets' mass, and what is told of classes.
OF_SUM, OF_MASS, OF_CLASSES = ("peak", "count", "rest"), ("mass", "cross"), ("best", "likely", "likely_class")


@device
def state_of(peak: Any, count: Any, rest: Any) -> Any:
    return State(peak, count, rest, ZERO, ZERO, ZERO, NO_CLASS, ZERO, NO_CLASS)


@device
def no_state() -> Any:
    """That of a part without classes."""
    return state_of(LEAST, ZERO, ZERO)


@device
def first_of(a_peak: Any, a: Any, b_peak: Any, b: Any) -> Any:
    """The first class of the larger peak; NaN counts as larger than all."""
    if a < ZERO or b < ZERO:
        return a if a < b else b
    if a_peak == b_peak:
        return a if a < b else b
    return a if a_peak > b_peak else b


@device
def scale_down(peak: Any, top: Any) -> Any:
    """``exp(peak - top)``, 1 for equal ones, also infinite."""
    return ONE if peak == top else double_exp(peak, top)


@device
def merge(a: Any, b: Any) -> Any:
    """The state of two parts; the same bits for ``(b, a)``."""
    top = a.peak if a.peak > b.peak else b.peak
    a_scale, b_scale = scale_down(a.peak, top), scale_down(b.peak, top)
    count = rest = ZERO
    if a.peak == top:
        count += a.count
        rest += a.rest
    else:
        rest += (a.count + a.rest) * a_scale
    if b.peak == top:
        count += b.count
        rest += b.rest
    else:
        rest += (b.count + b.rest) * b_scale
    a_cross = a.cross if a.mass == ZERO or a.peak == top else a.cross + a.mass * (top - a.peak)
    b_cross = b.cross if b.mass == ZERO or b.peak == top else b.cross + b.mass * (top - b.peak)
    return State(
        top,
        count,
        rest,
        a.mass + b.mass,
        a_cross + b_cross,
        a.target + b.target,
        first_of(a.peak, a.best, b.peak, b.best),
        a.likely if a.likely > b.likely else b.likely,
        first_of(a.likely, a.likely_class, b.likely, b.likely_class),
    )


@device
def joined(a: Any, b: Any) -> Any:
    """The same for two parts whose peak is that of both: in the order of ``a + b``."""
    return State(
        a.peak,
        a.count + b.count,
        a.rest + b.rest,
        a.mass + b.mass,
        a.cross + b.cross,
        a.target + b.target,
        a.best if a.best < b.best else b.best,
        a.likely if a.likely > b.likely else b.likely,
        first_of(a.likely, a.likely_class, b.likely, b.likely_class),
    )


@device
def log_sum(state: Any) -> Any:
    """``log(sum(exp(x - peak)))`` with all digits also close to 0."""
    return log1p(state.rest + (state.count - ONE))


@device
def inverse_sum(state: Any) -> Any:
    """``1 / sum(exp(x - peak))``; NaN where a softmax is: the largest logit is infinite."""
    return reciprocal(state.count + state.rest) + (state.peak - state.peak)


@device
def save(states: Any, at: Any, state: Any) -> None:
    for i in range(FIELDS):
        states[place(at + i)] = state[i]


def state_with(fields: tuple[str, ...], get: Any) -> Any:
    """``f(source, at)``: the state with ``get(source, number of the field, at)`` in these fields.

    The others are those of no class, which the compiler knows then: it merges nothing there, and keeps nothing.
    """
    PEAK, COUNT, REST, MASS, CROSS, TARGET, BEST, LIKELY, LIKELY_CLASS = (f in fields for f in State._fields)

    @device
    def state(source: Any, at: Any) -> Any:
        return State(
            get(source, 0, at) if PEAK else LEAST,
            get(source, 1, at) if COUNT else ZERO,
            get(source, 2, at) if REST else ZERO,
            get(source, 3, at) if MASS else ZERO,
            get(source, 4, at) if CROSS else ZERO,
            get(source, 5, at) if TARGET else ZERO,
            get(source, 6, at) if BEST else NO_CLASS,
            get(source, 7, at) if LIKELY else ZERO,
            get(source, 8, at) if LIKELY_CLASS else NO_CLASS,
        )

    return state


@device
def element(states: Any, field: Any, at: Any) -> Any:
    return states[place(at + field)]


saved = state_with(State._fields, element)
"""``f(states, at)``: what :func:`save` has written."""


def above_nothing(number: Any) -> Any:
    """``f(m)``: the largest logit, or 0 if it is minus infinity, from which the distance of others like it is not NaN.

    A part of a row may have no other logits; those of other parts make the result then, but for a NaN here.
    """
    least, zero = number(-np.inf), number(0)

    @device
    def above(m: Any) -> Any:
        return m if m > least else zero

    return above


@functools.cache
def exponential_sums(held: Storage, words_held: int, group: Team, counted: bool, kept: bool) -> tuple[Any, Any]:
    """``(largest, sums)``: the largest number of a thread, and the sums of all of its team.

    ``counted`` tells the logits that equal the largest from the others, which the logarithm of the sum needs; ``kept``
    leaves the exponentials in the place of the logits.
    """
    how = arithmetic(held.arithmetic)
    number, exp, larger, exact = how.type, how.exp, how.larger, how.exact
    low, high, low_again, high_again = held.low, held.high, held.low_again, held.high_again
    two = held.numbers == 2
    zero, one, least = number(0), number(1), number(-np.inf)
    team_add = group.add

    packed = held.larger

    @device
    def largest_packed(words: Any) -> Any:
        pair = words[0]
        for j in range(1, words_held):
            pair = packed(pair, words[j])
        return larger(low(pair), high(pair))

    @device
    def largest(words: Any) -> Any:
        m = least
        for j in range(words_held):
            m = larger(m, low(words[j]))
            if two:
                m = larger(m, high(words[j]))
        return m

    @device
    def add_exactly(words: Any, m: Any) -> Any:
        """Every exponential as float64."""
        count, rest = NONE, ZERO
        for j in range(words_held):
            x = low(words[j])
            e = exp(x, m)
            if kept:
                words[j] = e
            if counted and x == m:
                count += ONE_MORE
                e = zero
            rest += np.float64(e)
        return np.float64(count), rest

    @device
    def add_shortly(words: Any, m: Any) -> Any:
        """In float32, which has more digits than the half types."""
        count = rest = more = zero
        for j in range(words_held):
            x = low_again(words[j])
            e = exp(x, m)
            if counted and x == m:
                count += one
                e = zero
            rest += e
            if two:
                x = high_again(words[j])
                e = exp(x, m)
                if counted and x == m:
                    count += one
                    e = zero
                more += e
            elif kept:
                words[j] = exp(x, m)
        return np.float64(count), np.float64(rest) + np.float64(more)

    above = above_nothing(number)
    add = add_exactly if exact else add_shortly

    @device
    def sums(words: Any, m: Any, room: Any) -> Any:
        if not counted:
            m = above(m)
        count, rest = add(words, m)
        return team_add(count, rest, room, SUM)

    return largest_packed if packed is not None else largest, sums
