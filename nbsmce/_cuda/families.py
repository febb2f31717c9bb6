"""The kernels' loops: which rows and classes a block has, and what it does with them in which order.

What is done to a row is a :class:`Work`; a kernel is a family with a work and a layout:

* ``whole``: a team goes over its row alone, and has all of it in registers if it fits: one read, one write;
* ``section_states``, ``merged_states`` and ``section_results``: a block for each section of a row, for rows longer than
  that;
* ``each``: a block for each section, where there is nothing to sum.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .device import cuda, device, instructions
from .places import Layout, Place
from .states import FIELDS, merge, save, saved, state_of
from .storage import Storage
from .teams import WARP

ZERO = np.int64(0)
NOTHING = np.float64(0)
LEAST = np.float64(-np.inf)


class Part(NamedTuple):
    """Some rows that are gone over in sections."""

    states: Any  # room for one for each section, in float64
    first: Any  # row
    sections: Any  # of each row


class Work(NamedTuple):
    """What is done to a row, as device functions whose last arguments are ``given, wanted, options, extent, place``."""

    held: Storage
    load: Any  # (words, more, …): fills the registers
    sums: Any  # (words, more, room, …) -> State, if there is something to sum
    row: Any  # (state, …): the numbers that follow from it
    results: Any  # (numbers, …): writes those of the row; called for one thread of a team
    write: Any  # (words, more, numbers, …): writes those of the classes; None if there are none
    last: Any  # (numbers, …): after that, by the thread that has written the target
    words: int  # of each of the two arrays in registers
    more: int
    room: int  # of shared memory, in float64


@device
def nothing(numbers: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
    """For a step that a work does not have."""


def _locate(layout: Layout) -> Any:
    teams, apart = np.int64(layout.teams), layout.apart

    @device
    def locate(rows: Any) -> Any:
        if apart:
            row, lane = cuda.blockIdx.x * teams + cuda.threadIdx.x, cuda.threadIdx.y
        else:
            row, lane = cuda.blockIdx.x * teams + cuda.threadIdx.y, cuda.threadIdx.x
        return Place(row, np.int64(lane), ZERO, row < rows)

    return locate


def whole(work: Work, layout: Layout) -> Any:
    """A team for each row."""
    held, load, sums, row_of, results, write, last = work[:7]
    n, m, room_size, word = work.words, work.more, work.room, _type(held)
    section, per_chunk = np.int64(layout.section), np.int64(held.classes)
    loop, writes, locate = layout.loop, write is not None, _locate(layout)
    if not writes:
        write = nothing

    def whole_rows(extent: Any, given: Any, wanted: Any, options: Any) -> None:
        room = cuda.shared.array(room_size, np.float64)
        words = cuda.local.array(n, word)
        more = cuda.local.array(m, word)
        place = locate(extent.rows)
        load(words, more, given, wanted, options, extent, place)
        state = sums(words, more, room, given, wanted, options, extent, place)
        if loop:
            chunks = (extent.classes + per_chunk - 1) // per_chunk
            for first in range(section, chunks, section):
                cuda.syncthreads()  # shared memory is used anew
                here = Place(place.row, place.lane, first, place.there)
                load(words, more, given, wanted, options, extent, here)
                state = merge(state, sums(words, more, room, given, wanted, options, extent, here))
        numbers = row_of(state, given, wanted, options, extent, place)
        if place.there and place.lane == 0:
            results(numbers, given, wanted, options, extent, place)
        if writes:
            if loop:
                for first in range(ZERO, chunks, section):
                    here = Place(place.row, place.lane, first, place.there)
                    load(words, more, given, wanted, options, extent, here)
                    write(words, more, numbers, given, wanted, options, extent, here)
                    last(numbers, given, wanted, options, extent, here)
            else:
                write(words, more, numbers, given, wanted, options, extent, place)
                last(numbers, given, wanted, options, extent, place)

    return whole_rows


def _type(held: Storage) -> Any:
    from numba import types

    return {np.float32: types.float32, np.float64: types.float64, np.uint32: types.uint32}[held.word]


def _section(section: Any) -> Any:
    @device
    def located(first: Any, sections: Any) -> Any:
        block = np.int64(cuda.blockIdx.x)
        return Place(first + block // sections, np.int64(cuda.threadIdx.x), (block % sections) * section, True)

    return located


def section_states(work: Work, layout: Layout) -> Any:
    """The state of each section, to ``states``."""
    held, load, sums = work[:3]
    n, m, room_size, word = work.words, work.more, work.room, _type(held)
    located = _section(np.int64(layout.section))

    def states_of_sections(extent: Any, given: Any, wanted: Any, options: Any, part: Any) -> None:
        room = cuda.shared.array(room_size, np.float64)
        words = cuda.local.array(n, word)
        more = cuda.local.array(m, word)
        place = located(part.first, part.sections)
        load(words, more, given, wanted, options, extent, place)
        state = sums(words, more, room, given, wanted, options, extent, place)
        if place.lane == 0:
            save(part.states, np.int64(cuda.blockIdx.x), state)

    return states_of_sections


def merged_states(work: Work, _: Layout) -> Any:
    """The state of each row, in the place of that of its first section; and the results that follow. A warp each."""
    row_of, results = work.row, work.results
    by16, by8, by4, by2, by1 = (_state_of_lane(instructions.shuffle64(mask)) for mask in (16, 8, 4, 2, 1))

    def states_of_rows(extent: Any, given: Any, wanted: Any, options: Any, part: Any) -> None:
        at, lane = np.int64(cuda.blockIdx.x) * part.sections, np.int64(cuda.threadIdx.x)
        state = state_of(LEAST, NOTHING, NOTHING)
        for i in range(lane, part.sections, WARP):
            state = merge(state, saved(part.states, at + i))
        state = merge(state, by16(state))
        state = merge(state, by8(state))
        state = merge(state, by4(state))
        state = merge(state, by2(state))
        state = merge(state, by1(state))
        cuda.syncthreads()
        if lane == 0:
            save(part.states, at, state)
            place = Place(part.first + cuda.blockIdx.x, lane, ZERO, True)
            results(row_of(state, given, wanted, options, extent, place), given, wanted, options, extent, place)

    return states_of_rows


def _state_of_lane(shuffle: Any) -> Any:
    from .states import State

    @device
    def of_lane(s: Any) -> Any:
        return State(
            shuffle(s.peak), shuffle(s.count), shuffle(s.rest), shuffle(s.mass), shuffle(s.cross), shuffle(s.target),
            shuffle(s.best), shuffle(s.likely), shuffle(s.likely_class),
        )  # fmt: skip

    return of_lane


def section_results(work: Work, layout: Layout) -> Any:
    """The results of each section, from the states of the rows."""
    held, load, row_of, write, last = work.held, work.load, work.row, work.write, work.last
    n, m, word = work.words, work.more, _type(held)
    located = _section(np.int64(layout.section))

    def results_of_sections(extent: Any, given: Any, wanted: Any, options: Any, part: Any) -> None:
        words = cuda.local.array(n, word)
        more = cuda.local.array(m, word)
        place = located(part.first, part.sections)
        load(words, more, given, wanted, options, extent, place)
        state = saved(part.states, (place.row - part.first) * part.sections)
        numbers = row_of(state, given, wanted, options, extent, place)
        write(words, more, numbers, given, wanted, options, extent, place)
        last(numbers, given, wanted, options, extent, place)

    return results_of_sections


def each(work: Work, layout: Layout) -> Any:
    """The results of each section, where nothing is summed."""
    held, load, row_of, write, last = work.held, work.load, work.row, work.write, work.last
    n, m, word = work.words, work.more, _type(held)
    section = np.int64(layout.section)
    locate, teams = _locate(layout), np.int64(layout.teams)

    def results(extent: Any, given: Any, wanted: Any, options: Any, sections: Any) -> None:
        words = cuda.local.array(n, word)
        more = cuda.local.array(m, word)
        place = locate(extent.rows)
        block = np.int64(cuda.blockIdx.x)
        row = (block // sections) * teams + (place.row - block * teams)
        here = Place(row, place.lane, (block % sections) * section, row < extent.rows)
        load(words, more, given, wanted, options, extent, here)
        numbers = row_of(state_of(LEAST, NOTHING, NOTHING), given, wanted, options, extent, here)
        write(words, more, numbers, given, wanted, options, extent, here)
        last(numbers, given, wanted, options, extent, here)

    return results


__all__ = ["FIELDS", "Part", "Work", "each", "merged_states", "nothing", "section_results", "section_states", "whole"]
