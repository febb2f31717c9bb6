"""Going over rows in two passes: what is needed of a row first, then its results.

A kernel describes one unit by a class with

``fields``
    the fields of the :class:`~nbsmce._cpu.sums.State` that the first pass fills;
``start(v0, n)``
    the part of the state of ``n`` classes from vector ``v0`` on that is found for all rows of the unit together;
``peak(v0, n, r)``
    the largest element of row ``r``, in the type that is computed in, or None if it is not needed;
``first(v0, n, r, peak)``
    the rest of the state, for row ``r``;
``of_chunk(state)``
    the state of a chunk of all rows, from what :func:`~nbsmce._cpu.sums.save` has kept of it;
``rows(whole)``
    what follows from the state of all chunks: numbers of the rows;
``scales(peak, whole)``
    the ``scale_count`` numbers of rows, in the type that is computed in, that the results of a chunk are made with,
    whose largest elements are ``peak``;
``second(v0, n, r, scales)``
    results of ``n`` classes of row ``r``; not called where ``writes`` is False;
``last(whole)``
    what comes when all results are there.

Rows abreast are one to these functions. :func:`each_unit` does that unit after unit. :func:`first_pass`,
:func:`between` and :func:`second_pass` do it for rows that are so few and so long that their chunks are given to
different threads: the same code on the same chunks, and so the same bits.
"""

from __future__ import annotations

import inspect
from typing import Any

from .chunks import SCALE_BYTES, chunk_bounds, chunk_count
from .lanes import advance, at, branch, computed, fence, float64_at, in_njit, narrow, steps, wide
from .parallel import in_parallel
from .sums import STATE_VECTORS, State, keep_rows, kept_row, merged, relative_to_peak, save, saved
from .units import TOGETHER, bundle_count, bundles, tiles, together, unit_at, unit_count, units, visits


def slot_memory(scratch, slot):
    """The scratch memory of a thread."""
    return float64_at(advance(scratch.p, slot * scratch.strides[0]))


def _first(work, u, states, c, like):
    """The first pass over chunk ``c`` of a unit.

    The largest elements of all rows come first. From row to row each would be waited for, since exponentials need it:
    6 to 12 % of the time with 100 classes.
    """
    bounds = chunk_bounds(u, c, like)
    save(states, c, work.start(*bounds), u, None)
    place, found = at(states, c * STATE_VECTORS), None
    for r in visits(u):
        found = work.peak(*bounds, r)
        if found is not None:
            keep_rows(place, wide(found), u, r)
    for r in visits(u):
        peak = None if found is None else narrow(kept_row(place, u, r), like)
        save(states, c, work.first(*bounds, r, peak), u, r)


def _second(work, u, states, c, whole, scales, like):
    """The second pass over chunk ``c`` of a unit, with room for the scales."""
    places = [at(computed(scales, like), i) for i in range(work.scale_count)]
    peak = saved(states, c, ("peak",)).peak if work.fields else None
    for place, vector in zip(places, work.scales(peak, whole), strict=True):
        keep_rows(place, vector, u, None)
    bounds = chunk_bounds(u, c, like)
    for r in visits(u):
        work.second(*bounds, r, [kept_row(place, u, r) for place in places])


def each_unit(x, lo, hi, scratch, slot, most, wanted, make, simple):
    """``make(u, place)`` describes unit ``u``, with scratch memory from ``place`` on; ``wanted`` is the second pass."""
    scales = slot_memory(scratch, slot)
    states = advance(scales, SCALE_BYTES)
    for u in units(x, lo, hi, most, simple):
        chunks = 1 if simple else _chunks(x)
        work = make(u, at(states, chunks * STATE_VECTORS))

        def both(work=work, u=u, chunks=chunks):
            for c in [0] if simple else steps(0, chunks):
                _first(work, u, states, c, x.p)
            whole = merged(states, chunks, work.fields, work.of_chunk, single=simple)
            work.rows(whole)
            if work.writes:

                def write(work=work, u=u, whole=whole):
                    for c in [0] if simple else steps(0, chunks):
                        _second(work, u, states, c, whole, scales, x.p)
                    work.last(whole)

                branch(wanted, write)

        branch(work.idle, work.rest, both)
    fence()


# -- bundles -----------------------------------------------------------------------------------------------------------


def each_at_once(units, x, place, wanted, make):
    """The same as :func:`each_unit` for bundles or tiles, of which all that is known of rows stays in registers."""
    for u in units:
        work = make(u, place)

        def both(work=work, u=u):
            bounds = chunk_bounds(u, 0, x.p)
            target, peak = work.start(*bounds).target, work.peak(*bounds, 0)
            state = work.first(*bounds, 0, peak)
            if peak is not None:
                state = state._replace(peak=wide(peak), target=target)
            whole = work.of_chunk(state) if work.fields else state
            work.rows(whole)
            if work.writes:

                def write():
                    work.second(*bounds, 0, work.scales(whole.peak, whole))
                    work.last(whole)

                branch(wanted, write)

        branch(work.idle, work.rest, both)


# -- chunks in parallel ------------------------------------------------------------------------------------------------


def _row(x, i):
    """A single row, or rows abreast."""
    return unit_at(x, i, 1, shared=True)


def _chunks(x):
    """How many chunks a row has."""
    return chunk_count(x.shape[1], x.p)


def _row_count(x):
    """How many there are of what :func:`_row` gives."""
    return unit_count(x) if len(x.shape) == 3 else x.shape[0]


def _states(x, states, i):
    """The states of the chunks of row ``i``, and behind them that of the whole row."""
    return at(states.p, i * ((_chunks(x) + 1) * STATE_VECTORS))


def _behind_scales(scratch, slot):
    return advance(slot_memory(scratch, slot), SCALE_BYTES)


def first_pass(x, lo, hi, states, scratch, slot, make):
    """The states of chunks ``[lo, hi)``, counted through all rows."""
    chunks = _chunks(x)
    for i in steps(lo, hi):
        u = _row(x, i // chunks)
        _first(make(u, _behind_scales(scratch, slot)), u, _states(x, states, i // chunks), i % chunks, x.p)


def between(x, lo, hi, states, scratch, slot, make):
    """The states of rows ``[lo, hi)``, and their numbers."""
    chunks = _chunks(x)
    for i in steps(lo, hi):
        u = _row(x, i)
        work = make(u, _behind_scales(scratch, slot))
        mine = _states(x, states, i)
        whole = merged(mine, chunks, work.fields, work.of_chunk)
        save(mine, chunks, whole, u, 0)
        work.rows(whole)


def second_pass(x, lo, hi, states, scratch, slot, make):
    """The results of chunks ``[lo, hi)``, counted through all rows."""
    chunks = _chunks(x)
    for i in steps(lo, hi):
        u = _row(x, i // chunks)
        work = make(u, _behind_scales(scratch, slot))
        mine = _states(x, states, i // chunks)
        whole = saved(mine, chunks, work.fields)
        _second(work, u, mine, i % chunks, whole, slot_memory(scratch, slot), x.p)
    fence()


def end(x, lo, hi, states, scratch, slot, make):
    """What comes when all results of rows ``[lo, hi)`` are there."""
    chunks = _chunks(x)
    for i in steps(lo, hi):
        work = make(_row(x, i), _behind_scales(scratch, slot))
        work.last(saved(_states(x, states, i), chunks, work.fields))


# -- for kernels -------------------------------------------------------------------------------------------------------

_TEAM = ("grain", "launcher", "threads")


def two_passes(work):
    """``(whole, bundled, tiled, split)``: a class of units as functions for ``@njit`` code, three of which go by
    bundles, tiles or chunks.

    ``work(u, place, x, ...)`` describes a unit. The functions take the arguments after ``place``, ``split`` then room
    for the states of the rows, and scratch memory and the threads; they return what the class method ``result`` does.
    """
    names = list(inspect.signature(work).parameters)[2:]

    def each(lo, hi, slot, *arguments):
        *arrays, scratch = arguments
        make = lambda u, place: work(u, place, *arrays)  # noqa: E731

        def run(simple):
            each_unit(arrays[0], lo, hi, scratch, slot, work.together, work.wants(*arrays), make, simple)

        branch(work.simple(*arrays), lambda: run(True), lambda: run(False))

    def at_once(units, count):
        def each_of_these(lo, hi, slot, *arguments):
            *arrays, scratch = arguments
            make = lambda u, place: work(u, place, *arrays)  # noqa: E731
            each_at_once(units(arrays[0], lo, hi), arrays[0], slot_memory(scratch, slot), work.wants(*arrays), make)

        def all_of_these(*arguments):
            *arrays, scratch, grain, launcher, threads = arguments
            in_parallel(each_of_these, count(arrays[0]), grain, launcher, threads, *arrays, scratch)
            return work.result(*arrays)

        return all_of_these

    def part(function):
        def run(lo, hi, slot, *arguments):
            *arrays, states, scratch = arguments
            function(arrays[0], lo, hi, states, scratch, slot, lambda u, place: work(u, place, *arrays))

        return run

    bundled, tiled = at_once(bundles, bundle_count), at_once(tiles, unit_count)
    first, middle, second, last = (part(f) for f in (first_pass, between, second_pass, end))

    def whole(*arguments):
        *arrays, scratch, grain, launcher, threads = arguments
        x, most = arrays[0], work.together
        grain = grain * (together(x.shape[1]) // together(x.shape[1], most))  # Python counts in units of the most
        in_parallel(each, unit_count(x, most), grain, launcher, threads, *arrays, scratch)
        return work.result(*arrays)

    def split(*arguments):
        *given, _, launcher, threads = arguments
        x, arrays = given[0], given[:-2]
        rows = _row_count(x)
        chunks = rows * _chunks(x)
        in_parallel(first, chunks, 1, launcher, threads, *given)
        in_parallel(middle, rows, rows, 0, 1, *given)
        if work.writes:

            def write():
                in_parallel(second, chunks, 1, launcher, threads, *given)
                in_parallel(last, rows, rows, 0, 1, *given)

            branch(work.wants(*arrays), write)
        return work.result(*arrays)

    functions: Any = (
        (whole, ("scratch",)), (bundled, ("scratch",)), (tiled, ("scratch",)), (split, ("states", "scratch")),
    )  # fmt: skip
    for function, memory in functions:
        kinds = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in (*names, *memory, *_TEAM)]
        function.__signature__ = inspect.Signature(kinds)
    nothing = work.result is Work.result
    return tuple(in_njit(function, nothing) for function, _ in functions)


class Work:
    """What most kernels have in common."""

    fields: tuple[str, ...] = ("peak", "count", "rest")
    scale_count = 0
    together = TOGETHER  # numbers in a unit along rows
    writes = True
    like: Any  # a pointer to the type that is computed in
    idle: Any = False  # nothing is to be done but what ``rest`` does

    @staticmethod
    def wants(*arrays):
        """Whether the second pass is wanted."""
        return True

    @staticmethod
    def simple(*arrays):
        """Whether all units are :attr:`~nbsmce._cpu.units.Unit.simple`: those have a loop of their own."""
        return False

    @staticmethod
    def result(*arrays):
        """What the kernel returns."""

    def start(self, v0, n):
        """Everything is found row by row."""
        return State(None, None, None)

    def peak(self, v0, n, r):
        """Not needed."""

    def of_chunk(self, state):
        """The sum of exponentials was kept as :func:`~nbsmce._cpu.sums.exponentials` returns it."""
        return relative_to_peak(state, self.like)

    def rows(self, whole):
        """No numbers of rows."""

    def last(self, whole):
        """Nothing comes after the results."""

    def rest(self):
        """Units are not idle."""
