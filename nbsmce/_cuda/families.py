"""The kernels' loops: which rows and classes a block has, and what it does with them in which order.

What is done to a row is a :class:`Work`; a kernel is a family with a work and a layout:

* ``whole``: a team goes over its row alone, and has all of it in registers if it fits: one read, one write;
* ``each``: a team for each section of a row, where there is nothing to sum;
* those of ``sections.py``: a team for each section of rows that are longer.

Where the rows are side by side in memory, and have more classes than a warp holds, the threads of a team are *turns* of
a warp's lanes: one for the largest, one for the sums and one for what is written, each of which reads the row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .access import Access
from .device import cuda, device
from .places import ZERO, Layout, of_lane, place_of
from .states import FIELDS, OF_SUM, joined, no_state, save, saved
from .storage import Storage
from .teams import LARGEST, Team, tree_of


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
    fields: tuple[str, ...] = OF_SUM  # of the state, that sums fill
    load_summed: Any = None  # (words, more, …): of what load reads, that which the sums need, where that is less


@device
def nothing(numbers: Any, given: Any, wanted: Any, options: Any, extent: Any, place: Any) -> None:
    """For a step that a work does not have."""


def sizes(work: Work) -> tuple[int, int, int, Any, Any, Any]:
    """``(words, more, words of the stage, type of a word, of more, of those of the stage)``."""
    from numba import types

    of = {np.float32: types.float32, np.float64: types.float64, np.uint32: types.uint32}
    word = work.held.word
    more_word = word if work.more_word is None else work.more_word
    return work.rows.each, work.more, work.rows.stage, of[word], of[more_word], of[work.held.memory_word]


def room_of(work: Work, layout: Layout) -> int:
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


def section_of_row(layout: Layout) -> Any:
    thread, place, section = _thread(layout), place_of(layout.nested), np.int64(layout.section)

    @device
    def located(extent: Any, first: Any, end: Any, sections: Any) -> Any:
        block = np.int64(cuda.blockIdx.x)
        row, lane = thread(block // sections)
        row += first
        return place(extent, row, lane, (block % sections) * section, row < end)

    return located


def load_of_sums(work: Work) -> Any:
    """For a pass that writes nothing."""
    return work.load if work.load_summed is None else work.load_summed


def first_pass_of(work: Work, layout: Layout, load: Any) -> Any:
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


def second_pass_of(work: Work, layout: Layout) -> Any:
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
    n, m, staged, word, more_word, memory_word = sizes(work)
    row_of, results, writes, room_size = work.row, work.results, work.write is not None, room_of(work, layout)
    load = load_of_sums(work) if layout.loop else work.load
    located, first_pass = _whole_row(layout), first_pass_of(work, layout, load)
    second_pass: Any = second_pass_of(work, layout) if writes else None

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


def each(work: Work, layout: Layout) -> Any:
    """The results of each section, where nothing is summed."""
    n, m, staged, word, more_word, memory_word = sizes(work)
    load, row_of, write, last = work.load, work.row, work.write, work.last
    located = section_of_row(layout)

    def results(extent: Any, given: Any, wanted: Any, options: Any, sections: Any) -> None:
        stage = cuda.shared.array(staged, memory_word)
        words = cuda.local.array(n, word)
        more = cuda.local.array(m, more_word)
        place = located(extent, ZERO, extent.rows, sections)
        load(words, more, given, wanted, options, extent, place)
        numbers = row_of(no_state(), given, wanted, options, extent, place)
        write(words, more, stage, numbers, given, wanted, options, extent, place)
        last(numbers, given, wanted, options, extent, place)

    return results
