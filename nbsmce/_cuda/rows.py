"""Starting the kernels of a function on the rows of its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import families, layout, sections
from .access import STRIDED
from .device import SIMULATED
from .families import Work
from .layout import Rows
from .owners import View
from .places import WARP, Extent, Layout
from .plan import Plan
from .states import FIELDS
from .storage import ITEMSIZES, numbers_of_chunk

PANEL = 24 << 20
"""Rows in sections are gone over in panels of so many bytes, so that the second pass finds them in the L2 cache."""

CLUSTERS = 90
"""The compute capability from which on there are clusters. The simulator, which stands for 9.0, has none."""

THREADS = 512
"""So many on a multiprocessor have 64 KB of reads under way, if each has 8 chunks."""


class Program(NamedTuple):
    """A kernel before it is compiled; equal ones are one kernel."""

    family: Callable[[Work, Layout], Any]
    work: Callable[[Any, Layout, bool], Work]
    variant: Any
    layout: Layout
    kept: bool
    cluster: int = 1  # blocks that are started together

    @property
    def blocks(self) -> int | None:
        """How many a multiprocessor must have room for: 512 threads, of which each then has at most 128 registers.

        Without that, ptxas took up to 210 where rows are in sections, so that there was room for one block of 256. Of
        rows side by side some kernels need more than 128; None leaves it to ptxas.
        """
        x, y = self.layout.shape
        return None if self.layout.apart or x * y >= THREADS else THREADS // (x * y)

    def __call__(self) -> Any:
        return self.family(self.work(self.variant, self.layout, self.kept), self.layout)


class Task(NamedTuple):
    """What is to be done to rows."""

    work: Callable[[Any, Layout, bool], Work]
    variant: Any  # with the fields dtype, unit, capability
    sums: bool = True  # whether there is a first pass
    writes: bool = True  # whether there are results for every class
    chunks: int = 8  # the most that a thread has in registers; part of what the order of sums depends on
    written: int = 8  # the same of sections of which the sums are known
    clustered: bool = True  # whether a section and what is merged beside it fit into registers


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
        parts = max(1, layout.parts(rows, numbers, team))
        _start(plan, task, families.each, team, rows.rows, parts, extent, given, wanted, options, parts)
        return
    whole = layout.resident(rows, numbers, task.chunks)
    if whole is not None:
        _start(plan, task, families.whole, whole, rows.rows, 1, extent, given, wanted, options)
        return
    clusters = task.variant.capability >= CLUSTERS and not SIMULATED
    blocks = layout.cluster(rows, numbers, task.chunks) if clusters and task.writes and task.clustered else 0
    if blocks:
        team = layout.sections(rows, numbers, task.chunks)
        program = Program(sections.clustered, task.work, task.variant, team, False, blocks)
        arguments = (team.shape, extent, given, wanted, options, blocks)
        if plan.has_room(program, *arguments):
            plan.start(program, blocks * rows.rows, *arguments)
            return
    _in_sections(plan, task, rows, (extent, given, wanted, options))


def _start(plan: Plan, task: Task, family: Any, team: Layout, rows: int, parts: int, *arguments: Any) -> None:
    """Start a kernel with a team for each of the parts of each of the rows."""
    kept = family is families.whole and not team.loop
    program = Program(family, task.work, task.variant, team, kept)
    plan.start(program, parts * -(-rows // team.teams), team.shape, *arguments)


def _in_sections(plan: Plan, task: Task, rows: Rows, arguments: tuple[Any, ...]) -> None:
    """First the states of all sections of a panel, then those of its rows, then the results."""
    numbers = numbers_of_chunk(task.variant.dtype)
    summing, writing = (layout.sections(rows, numbers, most) for most in (task.chunks, min(task.chunks, task.written)))
    parts, written = (layout.parts(rows, numbers, team) for team in (summing, writing))
    panel = rows.rows
    if task.writes:
        fitting = max(summing.teams, PANEL // (rows.classes * ITEMSIZES[task.variant.dtype]))
        panel = min(panel, fitting // summing.teams * summing.teams)
    states = plan.scratch((panel * parts * FIELDS,), "float64").pointer()
    merged = Program(sections.merged_states, task.work, task.variant, summing, False)
    for first in range(0, rows.rows, panel):
        count = min(panel, rows.rows - first)
        part = sections.Part(states, first, first + count, parts)
        _start(plan, task, sections.section_states, summing, count, parts, *arguments, part)
        plan.start(merged, count, (WARP, 1), *arguments, part)
        if task.writes:
            _start(plan, task, sections.section_results, writing, count, written, *arguments, part, written)
