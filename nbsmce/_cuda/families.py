"""The kernels' loops: which rows and classes a block has, and what it does with them in which order.

What is done to a row is a :class:`Work`; a kernel is a family with a work and a layout:

* ``whole``: a team goes over its row alone, and has all of it in registers if it fits: one read, one write;
* ``section_states``, ``merged_states`` and ``section_results``: a team for each section of a row, for rows longer than
  that;
* ``each``: a team for each section, where there is nothing to sum.

Where the rows are side by side in memory, and have more classes than a warp holds, the threads of a team are *turns* of
a warp's lanes: one for the largest, one for the sums and one for what is written, each of which reads the row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .access import Access
from .device import cuda, device, instructions
from .places import WARP, ZERO, Layout, of_lane, place_of
from .states import FIELDS, State, joined, merge, save, saved, state_of
from .storage import Storage
from .teams import LARGEST, Team, tree_of

NOTHING = np.float64(0)
LEAST = np.float64(-np.inf)


class Part(NamedTuple):
    """Some rows that are gone over in sections."""

    states: Any  # room for one for each section, in float64
    first: Any  # row
    end: Any  # the row behind the last
    sections: Any  # of each row


class Work(NamedTuple):
    """What is done to a row, as device functions whose last arguments are ``given, wanted, options, extent, place``."""

    held: Storage
    rows: Access
    team: Team
    load: Any  # (words, more, …): fills the registers
    top: Any  # (words): the number whose largest, over the team, the sums are told; None if they need none
    sums: Any  # (words, more, largest, room, …) -> State, if there is something to sum
    row: Any  # (state, …): the numbers that follow from it
    results: Any  # (numbers, …): writes those of the row; called for one thread of a team
    write: Any  # (words, more, stage, numbers, …): writes those of the classes; None if there are none
    last: Any  # (numbers, …): after that, by the thread that has the target
    more: int  # words of the second array in registers; the first has those of the access
    room: int  # of shared memory, in float64
    more_word: Any = None  # the type of the former, where it is another one
    load_summed: Any = None  # (words, more, …): of what load reads, that which the sums need, where that is less


@device
def nothing(numbers: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
    """For a step that a work does not have."""


def _sizes(work: Work) -> tuple[int, int, int, Any, Any, Any]:
    """``(words, more, words of the stage, type of a word, of more, of those of the stage)``."""
    from numba import types

    of = {np.float32: types.float32, np.float64: types.float64, np.uint32: types.uint32}
    word = work.held.word
    more_word = word if work.more_word is None else work.more_word
    return work.rows.each, work.more, work.rows.stage, of[word], of[more_word], of[work.held.memory_word]


def _room(work: Work, layout: Layout) -> int:
    """That of a work, and behind it a state for each row in each turn."""
    return work.room + (layout.turns * layout.teams * FIELDS if layout.loop else 0)


def _thread(layout: Layout) -> Any:
    teams, apart = np.int64(layout.teams), layout.apart

    @device
    def thread(block: Any) -> Any:
        """``(row, lane)``."""
        if apart:
            return block * teams + cuda.threadIdx.x, np.int64(cuda.threadIdx.y)
        return block * teams + cuda.threadIdx.y, np.int64(cuda.threadIdx.x)

    return thread


def _whole_row(layout: Layout) -> Any:
    thread, place = _thread(layout), place_of(layout.nested)

    @device
    def located(extent: Any) -> Any:
        row, lane = thread(cuda.blockIdx.x)
        return place(extent, row, lane, ZERO, row < extent.rows)

    return located


def _section_of_row(layout: Layout) -> Any:
    thread, place, section = _thread(layout), place_of(layout.nested), np.int64(layout.section)

    @device
    def located(extent: Any, first: Any, end: Any, sections: Any) -> Any:
        block = np.int64(cuda.blockIdx.x)
        row, lane = thread(block // sections)
        row += first
        return place(extent, row, lane, (block % sections) * section, row < end)

    return located


def _load_summed(work: Work) -> Any:
    """For a pass that writes nothing."""
    return work.load if work.load_summed is None else work.load_summed


def _first_pass(work: Work, layout: Layout, load: Any) -> Any:
    """``f(words, more, room, …)``: the state of what a team has; its registers hold it still if they all hold it."""
    top, sums, largest, number = work.top, work.sums, work.team.largest, work.team.number
    least, threads, lanes, finds = number(-np.inf), layout.threads, layout.lanes, work.top is not None
    larger, states, of_turn = work.team.larger, work.room, layout.teams * FIELDS
    tree = tree_of(layout.turns, of_turn, saved, joined)

    @device
    def at_once(
        words: Any, more: Any, room: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> Any:
        m = least
        load(words, more, given, wanted, options, extent, place)
        if finds:
            m = largest(top(words), room, LARGEST)
        return sums(words, more, m, room, given, wanted, options, extent, place)

    @device
    def in_turns(
        words: Any, more: Any, room: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> Any:
        m = least
        if finds:
            for lane in range(place.lane, threads, lanes):
                load(words, more, given, wanted, options, extent, of_lane(place, lane))
                m = larger(m, top(words))
            m = largest(m, room, LARGEST)
        at = states + cuda.threadIdx.x * FIELDS
        for lane in range(place.lane, threads, lanes):
            here = of_lane(place, lane)
            load(words, more, given, wanted, options, extent, here)
            cuda.syncthreads()  # shared memory is used anew
            state = sums(words, more, m, room, given, wanted, options, extent, here)
            if place.lane == 0:
                save(room, at + lane // lanes * of_turn, state)
        cuda.syncthreads()
        return tree(room, at)

    return in_turns if layout.loop else at_once


def _second_pass(work: Work, layout: Layout) -> Any:
    """``f(words, more, stage, numbers, …)``: write the results of what a team has."""
    load, write, last = work.load, work.write, work.last
    threads, lanes = layout.threads, layout.lanes

    @device
    def at_once(
        words: Any, more: Any, stage: Any, numbers: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> None:
        write(words, more, stage, numbers, given, wanted, options, extent, place)
        last(numbers, given, wanted, options, extent, place)

    @device
    def in_turns(
        words: Any, more: Any, stage: Any, numbers: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any
    ) -> None:
        for lane in range(place.lane, threads, lanes):
            here = of_lane(place, lane)
            load(words, more, given, wanted, options, extent, here)
            write(words, more, stage, numbers, given, wanted, options, extent, here)
            last(numbers, given, wanted, options, extent, here)

    return in_turns if layout.loop else at_once


def whole(work: Work, layout: Layout) -> Any:
    """A team for each row."""
    n, m, staged, word, more_word, memory_word = _sizes(work)
    row_of, results, writes, room_size = work.row, work.results, work.write is not None, _room(work, layout)
    load = _load_summed(work) if layout.loop else work.load
    located, first_pass = _whole_row(layout), _first_pass(work, layout, load)
    second_pass: Any = _second_pass(work, layout) if writes else None

    def whole_rows(extent: Any, given: Any, wanted: Any, options: Any) -> None:
        room = cuda.shared.array(room_size, np.float64)
        stage = cuda.shared.array(staged, memory_word)
        words = cuda.local.array(n, word)
        more = cuda.local.array(m, more_word)
        place = located(extent)
        state = first_pass(words, more, room, given, wanted, options, extent, place)
        numbers = row_of(state, given, wanted, options, extent, place)
        if place.there and place.lane == 0:
            results(numbers, given, wanted, options, extent, place)
        if writes:
            second_pass(words, more, stage, numbers, given, wanted, options, extent, place)

    return whole_rows


def section_states(work: Work, layout: Layout) -> Any:
    """The state of each section, to ``states``."""
    n, m, _, word, more_word, _ = _sizes(work)
    located, first_pass = _section_of_row(layout), _first_pass(work, layout, _load_summed(work))
    room_size = _room(work, layout)

    def states_of_sections(extent: Any, given: Any, wanted: Any, options: Any, part: Any) -> None:
        room = cuda.shared.array(room_size, np.float64)
        words = cuda.local.array(n, word)
        more = cuda.local.array(m, more_word)
        place = located(extent, part.first, part.end, part.sections)
        state = first_pass(words, more, room, given, wanted, options, extent, place)
        if place.there and place.lane == 0:
            section = np.int64(cuda.blockIdx.x) % part.sections
            save(part.states, ((place.row - part.first) * part.sections + section) * FIELDS, state)

    return states_of_sections


def merged_states(work: Work, layout: Layout) -> Any:
    """The state of each row, in the place of that of its first section; and the results that follow. A warp each."""
    row_of, results, place_at = work.row, work.results, place_of(layout.nested)
    by16, by8, by4, by2, by1 = (_state_of_lane(instructions.shuffle64(mask)) for mask in (16, 8, 4, 2, 1))

    def states_of_rows(extent: Any, given: Any, wanted: Any, options: Any, part: Any) -> None:
        at, lane = np.int64(cuda.blockIdx.x) * part.sections, np.int64(cuda.threadIdx.x)
        state = state_of(LEAST, NOTHING, NOTHING)
        for i in range(lane, part.sections, WARP):
            state = merge(state, saved(part.states, (at + i) * FIELDS))
        state = merge(state, by16(state))
        state = merge(state, by8(state))
        state = merge(state, by4(state))
        state = merge(state, by2(state))
        state = merge(state, by1(state))
        cuda.syncthreads()
        if lane == 0:
            save(part.states, at * FIELDS, state)
            place = place_at(extent, part.first + cuda.blockIdx.x, lane, ZERO, True)
            results(row_of(state, given, wanted, options, extent, place), given, wanted, options, extent, place)

    return states_of_rows


def _state_of_lane(shuffle: Any) -> Any:
    @device
    def of_lane(s: Any) -> Any:
        return State(
            shuffle(s.peak), shuffle(s.count), shuffle(s.rest), shuffle(s.mass), shuffle(s.cross), shuffle(s.target),
            shuffle(s.best), shuffle(s.likely), shuffle(s.likely_class),
        )  # fmt: skip

    return of_lane


def section_results(work: Work, layout: Layout) -> Any:
    """The results of each section, from the states of the rows. These sections can be other ones than the states'."""
    n, m, staged, word, more_word, memory_word = _sizes(work)
    load, row_of, loads = work.load, work.row, not layout.loop
    located, second_pass = _section_of_row(layout), _second_pass(work, layout)

    def results_of_sections(extent: Any, given: Any, wanted: Any, options: Any, part: Any, sections: Any) -> None:
        stage = cuda.shared.array(staged, memory_word)
        words = cuda.local.array(n, word)
        more = cuda.local.array(m, more_word)
        place = located(extent, part.first, part.end, sections)
        if loads:
            load(words, more, given, wanted, options, extent, place)
        row = place.row - part.first if place.there else ZERO
        state = saved(part.states, row * part.sections * FIELDS)
        numbers = row_of(state, given, wanted, options, extent, place)
        second_pass(words, more, stage, numbers, given, wanted, options, extent, place)

    return results_of_sections


def each(work: Work, layout: Layout) -> Any:
    """The results of each section, where nothing is summed."""
    n, m, staged, word, more_word, memory_word = _sizes(work)
    load, row_of, write, last = work.load, work.row, work.write, work.last
    located = _section_of_row(layout)

    def results(extent: Any, given: Any, wanted: Any, options: Any, sections: Any) -> None:
        stage = cuda.shared.array(staged, memory_word)
        words = cuda.local.array(n, word)
        more = cuda.local.array(m, more_word)
        place = located(extent, ZERO, extent.rows, sections)
        load(words, more, given, wanted, options, extent, place)
        numbers = row_of(state_of(LEAST, NOTHING, NOTHING), given, wanted, options, extent, place)
        write(words, more, stage, numbers, given, wanted, options, extent, place)
        last(numbers, given, wanted, options, extent, place)

    return results


__all__ = ["FIELDS", "Part", "Work", "each", "merged_states", "nothing", "section_results", "section_states", "whole"]
