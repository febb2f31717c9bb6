"""How sixteen lanes lie over a matrix of rows and classes.

Kernels work on *units* of up to sixteen rows. Along the rows of a matrix (rows, classes) the lanes are classes, and a
unit's rows are gone over one by one; it has several where they are short, so that what is computed once for a row (a
logarithm, a quotient) is computed for all of them at once. In (outer, classes, inner) neighbouring rows lie *abreast*,
a lane for each and a vector for each class; rows of few classes and class axes that are not the last are taken so. Both
go through the same loops over the vectors of a row or of rows abreast, and every sum is taken in the order described in
:mod:`nbsmce._cpu.sums`, so the way a row is taken does not show in its bits.

Units abreast that lie side by side are taken as a *bundle* where that is simple: in lockstep, class by class. What is
read of a class is then several lines of the cache that follow each other, and not one in another page for each class.
Units abreast of few classes that lie side by side are *tiles*: transposed on the way in, and on the way out.

What is known of the rows of a unit is in both cases a vector with a lane for each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .lanes import (
    LANES,
    advance,
    branch,
    itemsize,
    load,
    narrow,
    peek,
    select,
    smaller,
    splat,
    steps,
    store,
)
from .lanes.several import Several

TOGETHER = 4096
"""Rows along are taken together while they have no more numbers than these, which stay in the first cache."""


class Unit(NamedTuple):
    """Rows along, or rows abreast; ``first`` numbers the rows of all units."""

    abreast: bool
    classes: Any
    first: Any
    rows: Any
    outer: Any
    inner: Any
    shared: bool = False  # other threads have other chunks of it
    simple: bool = False  # a single chunk, no gaps between lanes in any array, results that stay in the cache
    bundle: bool = False  # several simple units abreast; ``first`` and ``inner`` have one number for each
    tile: bool = False  # simple rows abreast whose classes are neighbours in memory, and few
    behind: Any = None  # how many rows are behind those of a tile

    @property
    def whole(self):
        """Whether all vectors are taken whole: lanes that stand for no row hold anything."""
        return self.bundle or self.tile


def together(classes: Any, most: int = TOGETHER) -> Any:
    """How many rows along are one unit, of ``most`` numbers if it is several."""
    rows = LANES
    for fewer in (8, 4, 2, 1):
        rows = select(classes > most // (2 * fewer), fewer, rows)
    return rows


def unit_count(x, most=TOGETHER):
    """How many units an array has."""
    if len(x.shape) == 2:
        per = together(x.shape[1], most)
        return (x.shape[0] + (per - 1)) // per
    return x.shape[0] * ((x.shape[2] + (LANES - 1)) // LANES)


def units(x, lo, hi, most=TOGETHER, simple=False):
    """The units ``[lo, hi)`` of ``x``: abreast if it has three dimensions."""
    for i in steps(lo, hi):
        yield unit_at(x, i, together(x.shape[1], most), simple=simple)


def unit_at(x, i, per, shared=False, simple=False):
    """Unit ``i`` of ``x``, in which ``per`` rows are one along."""
    classes = x.shape[1]
    if len(x.shape) == 2:
        return Unit(False, classes, i * per, smaller(per, x.shape[0] - i * per), 0, 0, shared, simple)
    groups = (x.shape[2] + (LANES - 1)) // LANES
    outer, inner = i // groups, i % groups * LANES
    return Unit(True, classes, outer * x.shape[2] + inner, smaller(LANES, x.shape[2] - inner), outer, inner, shared)


BUNDLE = 4
"""The units of a bundle."""


def _bundles_of(x):
    """How many bundles are side by side: of as many rows, but for one, that are more than half of what they can be."""
    return (x.shape[2] + (BUNDLE * LANES - 1)) // (BUNDLE * LANES)


def bundle_count(x):
    """How many bundles an array has."""
    return x.shape[0] * _bundles_of(x)


def bundles(x, lo, hi):
    """The bundles ``[lo, hi)`` of ``x``, whose inner axis has more rows than half a bundle.

    The last units of a bundle have rows in common: in lockstep both read them before either writes.
    """
    side = _bundles_of(x)
    for i in steps(lo, hi):
        outer, before = i // side, i % side
        start, stop = before * x.shape[2] // side, (before + 1) * x.shape[2] // side
        inner = Several(smaller(start + k * LANES, stop - LANES) for k in range(BUNDLE))
        yield Unit(True, x.shape[1], outer * x.shape[2] + inner, LANES, outer, inner, simple=True, bundle=True)


def tiles(x, lo, hi):
    """The units ``[lo, hi)`` of ``x`` as tiles: every class of sixteen rows, transposed before and after."""
    for i in steps(lo, hi):
        u = unit_at(x, i, LANES)
        yield u._replace(simple=True, tile=True, behind=x.shape[2] - LANES - u.inner)


def visits(u):
    """The rows that are gone over one by one: numbers within the unit."""
    return [0] if u.abreast else steps(0, u.rows)


# -- loops -------------------------------------------------------------------------------------------------------------


def each_vector(n, u, action):
    """``action(v, k)`` for the vectors of ``n`` classes of a unit; where ``k`` is 16, no lane needs a mask."""
    if u.whole:
        for v in steps(0, n):
            action(v, LANES)
    elif u.abreast:
        full = select(u.rows < LANES, 0, n)
        for v in steps(0, full):
            action(v, LANES)
        for v in steps(full, n):
            action(v, u.rows)
    else:
        each_sixteen(n, action)


def each_sixteen(n, action):
    """``action(v, k)`` for the vectors of ``n`` numbers that follow each other: all have sixteen but for the last."""
    for v in steps(0, n // LANES):
        action(v, LANES)
    branch(n % LANES != 0, lambda: action(n // LANES, n % LANES))


# -- numbers of rows ---------------------------------------------------------------------------------------------------


def of_rows(p, u):
    """The numbers of a unit's rows."""
    return load(advance(p, u.first * itemsize(p)), u.rows)


def of_row(p, u, r):
    """The number of row ``r`` in every lane, or those of the rows abreast."""
    return of_rows(p, u) if u.abreast else splat(p, peek(p, u.first + r))


def put_rows(p, u, x):
    """Write one number for each row of a unit."""
    store(advance(p, u.first * itemsize(p)), narrow(x, p), u.rows)
