"""Targets in the kernels: the class index of a row, the target mass of classes, the first largest of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .device import device
from .places import Layout, row_start
from .states import NO_CLASS, ZERO
from .storage import Storage, storage

NO_INDEX = np.int64(-1)
IGNORED, LIVE, OUTSIDE = np.int64(0), np.int64(1), np.int64(2)
ONE = np.float64(1)


class Target(NamedTuple):
    """What a row's class index says."""

    number: Any  # -1 where there is none
    state: Any  # IGNORED, LIVE or OUTSIDE
    weight: Any  # of the class, 0 where there is none


@device
def target_of(given: Any, options: Any, extent: Any, place: Any) -> Any:
    """The class index of a row. Where there are probabilities instead, no class is special."""
    index, state, weight = NO_INDEX, LIVE, ZERO
    if options.indexed != 0 and place.there:
        index = np.int64(given.target[place.row])
        if index == options.ignore_index:
            index, state = NO_INDEX, IGNORED
        elif index < 0 or index >= extent.classes:
            index, state = NO_INDEX, OUTSIDE
        else:
            weight = ONE
            if options.weighted != 0:
                weight = np.float64(given.weight[index])
    return Target(index, state, weight)


def owner(held: Storage, layout: Layout) -> Any:
    """``f(c, place)``: whether this thread has the class ``c`` of its row at this place.

    It may write there again: what its warp has written for it before was followed by a barrier.
    """
    classes, threads = np.int64(held.classes), np.int64(layout.threads)
    section = np.int64(layout.section)

    @device
    def owns(c: Any, place: Any) -> Any:
        chunk = c // classes - place.first
        return c >= 0 and chunk >= 0 and chunk < section and chunk % threads == place.lane

    return owns


def reader(held: Storage, layout: Layout) -> Any:
    """``f(c, place)``: whether the class ``c`` of its row is summed at this place, by any of the team's threads."""
    classes, section = np.int64(held.classes), np.int64(layout.section)
    threads, lanes, loop = np.int64(layout.threads), np.int64(layout.lanes), layout.loop

    @device
    def reads(c: Any, place: Any) -> Any:
        chunk = c // classes - place.first
        here = c >= 0 and chunk >= 0 and chunk < section
        if loop:  # by those whose turn it is
            return here and chunk % threads // lanes == place.lane // lanes
        return here

    return reads


def class_of(held: Storage, layout: Layout) -> Any:
    """``f(j, i, place)``: the class of the number ``i`` of the word ``j`` of a thread."""
    words, numbers = held.words, np.int64(held.numbers)
    classes, threads = np.int64(held.classes), np.int64(layout.threads)

    @device
    def numbered(j: Any, i: Any, place: Any) -> Any:
        chunk = place.first + (j // words) * threads + place.lane
        return chunk * classes + (j % words) * numbers + i

    return numbered


def numbers_of(dtype: str, held: Storage, layout: Layout, capability: int) -> Any:
    """``f(more, matrix, extent, place)``: what an array of another dtype has for the words of a thread, 0 elsewhere.

    Each word has one number, that which is computed in.
    """
    words, numbered = layout.chunks * held.words, class_of(held, layout)
    get, zero = storage(dtype, True, capability).get, held.word(0)

    @device
    def load(more: Any, matrix: Any, extent: Any, place: Any) -> None:
        start = row_start(matrix, place)
        for j in range(words):
            c = numbered(j, 0, place)
            more[j] = get(matrix.pointer, start + c * matrix.step, place.there and c < extent.classes, zero)

    return load


def mass_of(probabilities: bool, number: Any) -> Any:
    """``f(y, c, there, share, given, options)``: the target mass of a class that is not the class index.

    It is 0 behind the last. ``share`` is ``options.share``, perhaps in a way that no compiler knows it.
    ``target_mass`` of the formula is affine in the probability and linear in the weight, so two numbers say it all.
    """
    zero = number(0)

    @device
    def mass(y: Any, c: Any, there: Any, share: Any, given: Any, options: Any) -> Any:
        q = zero
        if there:
            q = share
            if probabilities:
                q += number(options.slope) * y
            if options.weighted != 0:
                q *= number(given.weight[c])
        return q

    return mass


def first_largest(held: Storage, layout: Layout, words_held: int, low: Any, high: Any) -> Any:
    """``f(words, m, place)``: minus the first class of a thread that equals ``m`` or is NaN, see NO_CLASS.

    A thread goes over its classes from the last to the first, and keeps the number of what it finds: two instructions
    for each. What is behind a row's last class equals ``m`` only if all of the row does that is not NaN.
    """
    numbers, numbered, two = held.numbers, class_of(held, layout), held.numbers == 2
    nothing = np.int32(words_held * numbers)

    @device
    def first(words: Any, m: Any, place: Any) -> Any:
        equal = nan = nothing
        for k in range(words_held):
            j = words_held - 1 - k
            if two:
                x = high(words[j])
                if x == m:
                    equal = np.int32(j * 2 + 1)
                if x != x:
                    nan = np.int32(j * 2 + 1)
            x = low(words[j])
            if x == m:
                equal = np.int32(j * numbers)
            if x != x:
                nan = np.int32(j * numbers)
        best = NO_CLASS
        if equal < nothing:
            best = np.float64(numbered(equal // numbers, equal % numbers, place))
        if nan < nothing:
            best = np.float64(numbered(nan // numbers, nan % numbers, place)) - NO_CLASS
        return -best

    return first
