"""Starting the kernels of a function on the rows of its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import families, layout
from .families import FIELDS, Part, Work
from .layout import ITEMSIZES, Rows
from .owners import View
from .places import Extent, Layout
from .plan import Plan

PANEL = 24 << 20
"""Rows in sections are gone over in panels of so many bytes, so that the second pass finds them in the L2 cache."""


class Program(NamedTuple):
    """A kernel before it is compiled; equal ones are one kernel."""

    family: Callable[[Work, Layout], Any]
    work: Callable[[Any, Layout, bool], Work]
    variant: Any
    layout: Layout
    kept: bool

    def __call__(self) -> Any:
        return self.family(self.work(self.variant, self.layout, self.kept), self.layout)


class Task(NamedTuple):
    """What is to be done to rows."""

    work: Callable[[Any, Layout, bool], Work]
    variant: Any  # with the fields dtype, vector, capability
    sums: bool = True  # whether there is a first pass
    writes: bool = True  # whether there are results for every class
    narrow: bool = False  # whether a chunk takes more registers than usual


def held(dtype: str) -> tuple[int, int]:
    """``(words, numbers)``: the words of 16 bytes of a dtype, and the numbers of a word."""
    itemsize = ITEMSIZES[dtype]
    return (4, 2) if itemsize == 2 else (layout.ACCESS // itemsize, 1)


def can_be_vectors(views: list[View], rows: Rows, dtype: str) -> bool:
    """Whether all arrays have one dtype and rows that are accessed 16 bytes at a time."""
    if layout.side_by_side(rows):
        return False
    return all(
        v.dtype == dtype and layout.aligned(v.odd, ITEMSIZES[dtype], s, rows.classes)
        for v, s in zip(views, rows.arrays, strict=True)
    )


def over_rows(plan: Plan, task: Task, rows: Rows, given: Any, wanted: Any, options: Any) -> None:
    """Start the kernels of a task."""
    if not rows.rows:
        return
    extent = Extent(rows.rows, rows.inner, rows.classes)
    words, numbers = held(task.variant.dtype)
    vector = task.variant.vector
    team = layout.resident(rows, words, numbers, vector, task.narrow)
    if not task.sums and (team is None or not team.apart):
        team = None if rows.classes > 256 * words * numbers else team
    if team is not None and task.sums:
        program = Program(families.whole, task.work, task.variant, team, not team.loop)
        _start(plan, program, -(-rows.rows // team.teams), extent, given, wanted, options)
        return
    if team is None:
        team = layout.sections(rows, words, vector, task.narrow)
    per_section = team.section * (words * numbers if vector else 1)
    sections = max(1, -(-rows.classes // per_section))
    if not task.sums:
        program = Program(families.each, task.work, task.variant, team, False)
        _start(plan, program, sections * -(-rows.rows // team.teams), extent, given, wanted, options, sections)
        return
    _in_sections(plan, task, rows, team, sections, (extent, given, wanted, options))


def _start(plan: Plan, program: Program, blocks: int, *arguments: Any) -> None:
    team = program.layout
    threads = (team.teams, team.threads) if team.apart else (team.threads, team.teams)
    if program.family is families.merged_states:
        threads = (layout.WARP, 1)
    plan.start(program, blocks, threads, *arguments)


def _in_sections(plan: Plan, task: Task, rows: Rows, team: Layout, sections: int, arguments: tuple[Any, ...]) -> None:
    """First the states of all sections of a panel, then those of its rows, then the results."""
    panel = max(1, min(rows.rows, PANEL // (rows.classes * ITEMSIZES[task.variant.dtype])))
    if not task.writes:
        panel = rows.rows
    states = plan.scratch((panel * sections * FIELDS,), "float64").pointer()
    programs = [
        Program(family, task.work, task.variant, team, False)
        for family in (families.section_states, families.merged_states, families.section_results)
    ]
    for first in range(0, rows.rows, panel):
        count = min(panel, rows.rows - first)
        part = Part(states, first, sections)
        for program, blocks in zip(programs, (count * sections, count, count * sections), strict=True):
            if program.family is not families.section_results or task.writes:
                _start(plan, program, blocks, *arguments, part)
