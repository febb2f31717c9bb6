"""How sixteen lanes lie over a matrix of rows and classes.

Kernels work on *units*. A unit is one row of a matrix (rows, classes), with the lanes running along its classes; or up
to sixteen neighbouring rows of (outer, classes, inner) *abreast*, a lane for each and a vector for each class. Rows of
few classes and class axes that are not the last are taken abreast. Both go through the same loops over the vectors of a
unit, and every sum is taken in the order described in :mod:`nbsmce._cpu.sums`, so the way a row is taken does not show
in its bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .lanes import (
    LANES,
    advance,
    branch,
    computed,
    gather,
    gather_mask,
    is_half,
    itemsize,
    lane,
    load,
    narrow,
    scatter,
    select,
    smaller,
    splat,
    steps,
    store,
)


class Unit(NamedTuple):
    """A row, or rows abreast; ``first`` numbers the rows of all units."""

    abreast: bool
    classes: Any
    first: Any
    rows: Any
    outer: Any
    inner: Any


def unit_count(x):
    """How many units an array has."""
    if len(x.shape) == 2:
        return x.shape[0]
    return x.shape[0] * ((x.shape[2] + (LANES - 1)) // LANES)


def units(x, lo, hi):
    """The units ``[lo, hi)`` of ``x``: abreast if it has three dimensions."""
    classes = x.shape[1]
    for i in steps(lo, hi):
        if len(x.shape) == 2:
            yield Unit(False, classes, i, 1, 0, 0)
        else:
            per = (x.shape[2] + (LANES - 1)) // LANES
            outer, inner = i // per, i % per * LANES
            rows = smaller(LANES, x.shape[2] - inner)
            yield Unit(True, classes, outer * x.shape[2] + inner, rows, outer, inner)


# -- views of an array -------------------------------------------------------------------------------------------------


class View(NamedTuple):
    """Vector ``v`` of a unit is the sixteen numbers ``lane`` bytes apart that start ``v * step`` bytes after ``p``."""

    p: Any
    step: Any
    lane: Any


def view(x, u):
    """The vectors of a unit in ``x``."""
    if u.abreast:
        return View(advance(x.p, u.outer * x.strides[0] + u.inner * x.strides[2]), x.strides[1], x.strides[2])
    return View(advance(x.p, u.first * x.strides[0]), x.strides[1] * LANES, x.strides[1])


def plain(x, u):
    """Whether what ``x`` holds can be computed on where it lies: along rows, no half type, no gaps."""
    return False if u.abreast or is_half(x.p) else x.strides[1] == itemsize(x.p)


def place(a, v):
    """Where vector ``v`` of a view starts."""
    return advance(a.p, a.step * v)


def inside(a, v):
    """The same for a plain view, as a pointer to what the numbers are computed in."""
    return computed(place(a, v), a.p)


def fetch(a, v, k=LANES):
    """Vector ``v``, 0 from lane ``k`` on."""
    p = place(a, v)
    return branch(a.lane == itemsize(p), lambda: load(p, k), lambda: gather(p, a.lane, k))


def put(a, v, x, k=LANES):
    """Write the first ``k`` lanes of vector ``v``."""
    p = place(a, v)
    branch(a.lane == itemsize(p), lambda: store(p, x, k), lambda: scatter(p, a.lane, x, k))


def shown(mask, v, k=LANES):
    """The truth values of vector ``v`` of a view of bytes."""
    return gather_mask(place(mask, v), mask.lane, k)


def each_vector(n, u, action):
    """``action(v, k)`` for the vectors of ``n`` classes of a unit; where ``k`` is 16, no lane needs a mask."""
    if u.abreast:
        full = select(u.rows < LANES, 0, n)
        for v in steps(0, full):
            action(v, LANES)
        for v in steps(full, n):
            action(v, u.rows)
    else:
        for v in steps(0, n // LANES):
            action(v, LANES)
        branch(n % LANES != 0, lambda: action(n // LANES, n % LANES))


# -- numbers of rows ---------------------------------------------------------------------------------------------------


def of_rows(p, u):
    """The numbers of a unit's rows: a lane for each; along a row it is in every lane."""
    first = advance(p, u.first * itemsize(p))
    return load(first, u.rows) if u.abreast else splat(p, lane(load(first, 1), 0))


def put_rows(p, u, x):
    """Write one number for each row of a unit."""
    store(advance(p, u.first * itemsize(p)), narrow(x, p), u.rows)
