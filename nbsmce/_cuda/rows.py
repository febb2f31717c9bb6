"""Starting the kernels of a function on the rows of its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import families, layout
from .access import STRIDED
from .families import FIELDS, Part, Work
from .layout import Rows
from .owners import View
from .places import WARP, Extent, Layout
from .plan import Plan
from .storage import HALVES, ITEMSIZES, numbers_of_chunk

PANEL = 24 << 20
"""Rows in sections are gone over in panels of so many bytes, so that the second pass finds them in the L2 cache."""


class Program(NamedTuple):
    """A kernel before it is compiled; equal ones are one kernel."""

    family: Callable[[Work, Layout], Any]
    work: Callable[[Any, Layout, bool], Work]
    variant: Any
    layout: Layout
    kept: bool

    @property
    def blocks(self) -> int | None:
        """How many a multiprocessor must have room for; None leaves it to ptxas what registers a thread has.

        Those of two chunks a thread took 129 to 152 registers, and so did, of sections, gradients of losses but of half
        types, and logarithms of float64: half of the 512 threads fit then that there is room for with 128. Of rows side
        by side some would spill.
        """
        layout, variant = self.layout, self.variant
        results = self.family in (families.section_results, families.each) and variant.dtype not in HALVES
        logarithm = variant.dtype == "float64" and getattr(variant, "log", False)
        many = layout.chunks == 2 or (results and (getattr(variant, "gradient", False) or logarithm))
        return 2 if layout.threads == 256 and not layout.apart and many else None

    def __call__(self) -> Any:
        return self.family(self.work(self.variant, self.layout, self.kept), self.layout)


class Task(NamedTuple):
    """What is to be done to rows."""

    work: Callable[[Any, Layout, bool], Work]
    variant: Any  # with the fields dtype, unit, capability
    sums: bool = True  # whether there is a first pass
    writes: bool = True  # whether there are results for every class
    chunks: int = 8  # the most that a thread has in registers; part of what the order of sums depends on


def unit_of(views: list[View], rows: Rows, dtype: str) -> int:
    """The most numbers that all arrays of a dtype can be accessed by at a time; of other dtypes it is always one."""
    if layout.side_by_side(rows):
        return STRIDED
    pairs = zip(views, rows.arrays, strict=True)
    return min(layout.unit_of(v.odd, dtype, s, rows.classes) for v, s in pairs if v.dtype == dtype)


def over_rows(plan: Plan, task: Task, rows: Rows, given: Any, wanted: Any, options: Any) -> None:
    """Start the kernels of a task."""
    if not rows.rows:
        return
    extent = Extent(rows.rows, rows.inner, rows.classes)
    numbers = numbers_of_chunk(task.variant.dtype)
    if not task.sums:
        team = layout.without_sums(rows, numbers, task.chunks)
        sections = max(1, -(-rows.classes // (team.section * numbers)))
        _start(plan, task, families.each, team, rows.rows, sections, extent, given, wanted, options, sections)
        return
    whole = layout.resident(rows, numbers, task.chunks)
    if whole is not None:
        _start(plan, task, families.whole, whole, rows.rows, 1, extent, given, wanted, options)
        return
    team = layout.sections(rows, numbers, task.chunks)
    sections = -(-rows.classes // (team.section * numbers))
    _in_sections(plan, task, rows, team, sections, (extent, given, wanted, options))


def _start(plan: Plan, task: Task, family: Any, team: Layout, rows: int, sections: int, *arguments: Any) -> None:
    """Start a kernel with a team for each of the sections of each of the rows."""
    kept = family is families.whole and not team.loop
    program = Program(family, task.work, task.variant, team, kept)
    plan.start(program, sections * -(-rows // team.teams), team.shape, *arguments)


def _in_sections(plan: Plan, task: Task, rows: Rows, team: Layout, sections: int, arguments: tuple[Any, ...]) -> None:
    """First the states of all sections of a panel, then those of its rows, then the results."""
    panel = rows.rows
    if task.writes:
        fitting = max(team.teams, PANEL // (rows.classes * ITEMSIZES[task.variant.dtype]))
        panel = min(panel, fitting // team.teams * team.teams)
    states = plan.scratch((panel * sections * FIELDS,), "float64").pointer()
    merged = Program(families.merged_states, task.work, task.variant, team, False)
    for first in range(0, rows.rows, panel):
        count = min(panel, rows.rows - first)
        part = Part(states, first, first + count, sections)
        _start(plan, task, families.section_states, team, count, sections, *arguments, part)
        plan.start(merged, count, (WARP, 1), *arguments, part)
        if task.writes:
            _start(plan, task, families.section_results, team, count, sections, *arguments, part)
