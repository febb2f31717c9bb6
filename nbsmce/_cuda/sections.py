"""Rows that are too long for one team, in sections: in three kernels, or by a cluster of blocks in one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .device import cuda, device, instructions
from .families import Work, first_pass_of, load_of_sums, room_of, second_pass_of, section_of_row, sizes
from .layout import CLUSTER
from .places import WARP, ZERO, Layout, of_lane, place_of
from .states import FIELDS, element, merge, no_state, save, state_with


class Part(NamedTuple):
    """Some rows that are gone over in sections."""

    states: Any  # room for one for each section, in float64
    first: Any  # row
    end: Any  # the row behind the last
    sections: Any  # of each row


def section_states(work: Work, layout: Layout) -> Any:
    """The state of each section, to ``states``."""
    n, m, _, word, more_word, _ = sizes(work)
    located, first_pass = section_of_row(layout), first_pass_of(work, layout, load_of_sums(work))
    room_size = room_of(work, layout)

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
    merged, saved = _merged_over(WARP, work.fields), state_with(work.fields, element)

    def states_of_rows(extent: Any, given: Any, wanted: Any, options: Any, part: Any) -> None:
        at, lane = np.int64(cuda.blockIdx.x) * part.sections, np.int64(cuda.threadIdx.x)
        state = no_state()
        for i in range(lane, part.sections, WARP):
            state = merge(state, saved(part.states, (at + i) * FIELDS))
        state = merged(state)
        cuda.syncthreads()
        if lane == 0:
            save(part.states, at * FIELDS, state)
            place = place_at(extent, part.first + cuda.blockIdx.x, lane, ZERO, True)
            results(row_of(state, given, wanted, options, extent, place), given, wanted, options, extent, place)

    return states_of_rows


def _merged_over(lanes: int, fields: tuple[str, ...]) -> Any:
    """``f(state)``: those of the first lanes of a warp, in the order of sums. Those of the others are of no class."""
    mask = lanes // 2
    shuffle, further = instructions.shuffle64(mask), _merged_over(mask, fields) if mask > 1 else None

    @device
    def exchanged(state: Any, field: Any, at: Any) -> Any:
        return shuffle(state[field])

    of_other = state_with(fields, exchanged)

    @device
    def merged(state: Any) -> Any:
        state = merge(state, of_other(state, ZERO))
        if further is not None:
            state = further(state)
        return state

    return merged


def section_results(work: Work, layout: Layout) -> Any:
    """The results of each section, from the states of the rows. These sections can be other ones than the states'."""
    n, m, staged, word, more_word, memory_word = sizes(work)
    load, row_of, loads, saved = work.load, work.row, not layout.loop, state_with(work.fields, element)
    located, second_pass = section_of_row(layout), second_pass_of(work, layout)

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


def clustered(work: Work, layout: Layout) -> Any:
    """A cluster of blocks for each row, a block for each section, which has it in registers: one read, one write.

    Sections and the order of sums are those of the three kernels above.
    """
    n, m, staged, word, more_word, memory_word = sizes(work)
    row_of, results, room_size = work.row, work.results, room_of(work, layout)
    located, first_pass = section_of_row(layout), first_pass_of(work, layout, work.load)
    second_pass, merged = second_pass_of(work, layout), _merged_over(CLUSTER, work.fields)
    of_section, saved = (state_with(work.fields, get) for get in (instructions.of_block, element))
    two_states, anew = 2 * FIELDS, instructions.in_loop

    def clusters_of_rows(extent: Any, given: Any, wanted: Any, options: Any, blocks: Any) -> None:
        room = cuda.shared.array(room_size, np.float64)
        states = cuda.shared.array(two_states, np.float64)  # of the section, of the row
        stage = cuda.shared.array(staged, memory_word)
        words = cuda.local.array(n, word)
        more = cuda.local.array(m, more_word)
        place = located(extent, ZERO, extent.rows, blocks)
        state = first_pass(words, more, room, given, wanted, options, extent, place)
        if place.lane == 0:
            save(states, 0, state)
        instructions.cluster_arrive()
        instructions.cluster_wait()
        if cuda.threadIdx.x < WARP:
            state = no_state()
            if place.lane < blocks:
                state = merge(state, of_section(states, place.lane))
            state = merged(state)
            if place.lane == 0:
                save(states, FIELDS, state)
        cuda.syncthreads()
        instructions.cluster_arrive()  # other blocks' memory has been read: they may end
        place = of_lane(place, anew(place.lane))  # else addresses are kept in registers from the first pass on
        numbers = row_of(saved(states, FIELDS), given, wanted, options, extent, place)
        if place.lane == 0 and place.first == 0:
            results(numbers, given, wanted, options, extent, place)
        second_pass(words, more, stage, numbers, given, wanted, options, extent, place)
        instructions.cluster_wait()

    return clusters_of_rows
