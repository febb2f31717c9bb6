"""How sixteen lanes lie over a matrix of rows and classes.

Kernels work on *units* of up to sixteen rows. Along the rows of a matrix (rows, classes) the lanes are classes, and a
unit's rows are gone over one by one; it has several where they are short, so that what is computed once for a row (a
logarithm, a quotient) is computed for all of them at once. In (outer, classes, inner) neighbouring rows lie *abreast*,
a lane for each and a vector for each class; rows of few classes and class axes that are not the last are taken so. Both
go through the same loops over the vectors of a row or of rows abreast, and every sum is taken in the order described in
:mod:`nbsmce._cpu.sums`, so the way a row is taken does not show in its bits.

Units abreast that lie side by side are taken as a *bundle* where that is simple: in lockstep, class by class. What is
read of a class is then several lines of the cache that follow each other, and not one in another page for each class.

What is known of the rows of a unit is in both cases a vector with a lane for each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .lanes import (
    LANES,
    advance,
    at,
    branch,
    computed,
    gather,
    gather_mask,
    invert,
    is_half,
    itemsize,
    load,
    narrow,
    past,
    peek,
    same_place,
    scatter,
    select,
    smaller,
    splat,
    steps,
    store,
    store_past_cache,
    stored,
    transposed,
    zeros,
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


def visits(u):
    """The rows that are gone over one by one: numbers within the unit."""
    return [0] if u.abreast else steps(0, u.rows)


# -- views of an array -------------------------------------------------------------------------------------------------


def corner(x, u):
    """Class 0 of the first row of a unit in ``x``, and how many bytes the next class and the next row are from it."""
    if u.abreast:
        return advance(x.p, u.outer * x.strides[0] + u.inner * x.strides[2]), x.strides[1], x.strides[2]
    return advance(x.p, u.first * x.strides[0]), x.strides[1], x.strides[0]


class View(NamedTuple):
    """Vector ``v`` is the sixteen numbers ``lane`` bytes apart that start ``v * step`` bytes after ``p``."""

    p: Any
    step: Any
    lane: Any


def view(x, u, r):
    """The vectors of row ``r`` of a unit in ``x``, or of all its rows abreast."""
    p, of_class, of_row = corner(x, u)
    return View(p, of_class, of_row) if u.abreast else View(advance(p, r * of_row), of_class * LANES, of_class)


def packed(x, u):
    """Whether the lanes of a unit's vectors are neighbours in memory, and along rows the vectors, too.

    Of units abreast that is known of bundles alone.
    """
    return u.simple or (False if u.abreast else x.strides[1] == itemsize(x.p))


def plain(x, u):
    """Whether such neighbours are of a type that is computed in."""
    return False if is_half(x.p) else packed(x, u)


def place(a, v, shift=0):
    """Where vector ``v`` of a view starts, along rows ``shift`` classes later."""
    return advance(a.p, a.step * v + a.lane * shift)


class Vectors(NamedTuple):
    """The vectors of a bundle: ``step`` bytes apart, the lanes of each of which are neighbours."""

    p: Any
    step: Any

    @property
    def dtype(self):
        """The type that is stored there."""
        return self.p.dtype


def vector(a, v, shift=0):
    """Where vector ``v`` of a bundle starts, or of numbers that follow each other from number ``shift`` after ``a``."""
    return advance(a.p, a.step * v) if isinstance(a, Vectors) else at(a, v, shift)


def packed_from(a, v, u):
    """The vectors of a packed view from ``v`` on."""
    return Vectors(place(a, v), a.step) if u.bundle else place(a, v)


def inside(a, v, u):
    """The same for a plain view, as what the numbers are computed in."""
    return Vectors(place(a, v), a.step) if u.bundle else computed(place(a, v), a.p)


def fetch(a, v, k):
    """Vector ``v``, 0 from lane ``k`` on."""
    p = place(a, v)
    return branch(a.lane == itemsize(p), lambda: load(p, k), lambda: gather(p, a.lane, k))


def put(a, v, x, k=LANES, shift=0, streamed=False):
    """Write the first ``k`` lanes of vector ``v``."""
    p = place(a, v, shift)
    branch(a.lane == itemsize(p), lambda: _write(p, x, k, streamed), lambda: scatter(p, a.lane, x, k))


def shown(mask, v, k=LANES, shift=0):
    """The truth values of vector ``v`` of a view of bytes."""
    return gather_mask(place(mask, v, shift), mask.lane, k)


# -- classes side by side, rows abreast: tiles of sixteen by sixteen ---------------------------------------------------


def unpack(a, v0, n, u, room):
    """Copy ``n`` classes of a packed view from ``v0`` on to ``room``, a vector for each class.

    A gather of sixteen rows takes several times as long as its share of loading rows and transposing them in registers.
    """
    for block in steps(0, n, LANES):
        k = smaller(LANES, n - block)
        p = place(a, v0 + block)
        rows = [_tile_row(p, i * a.lane, k, i < u.rows) for i in range(LANES)]
        for i, vector in enumerate(transposed(rows)):
            branch(i < k, lambda i=i, vector=vector: store(at(room, block + i), vector))


def _tile_row(p, offset, k, there):
    return branch(there, lambda: load(advance(p, offset), k), lambda: zeros(p))


def pack(a, v0, n, u, room):
    """The other way: write ``n`` classes from ``room`` to a packed view."""
    for block in steps(0, n, LANES):
        k = smaller(LANES, n - block)
        p = place(a, v0 + block)
        vectors = [load(at(room, block + i)) for i in range(LANES)]
        for i, row in enumerate(transposed(vectors)):
            branch(i < u.rows, lambda i=i, row=row: store(advance(p, i * a.lane), row, k))


# -- loops -------------------------------------------------------------------------------------------------------------


def each_vector(n, u, action):
    """``action(v, k)`` for the vectors of ``n`` classes of a unit; where ``k`` is 16, no lane needs a mask."""
    if u.bundle:
        for v in steps(0, n):
            action(v, LANES)
    elif u.abreast:
        full = select(u.rows < LANES, 0, n)
        for v in steps(0, full):
            action(v, LANES)
        for v in steps(full, n):
            action(v, u.rows)
    else:
        for v in steps(0, n // LANES):
            action(v, LANES)
        branch(n % LANES != 0, lambda: action(n // LANES, n % LANES))


def write_results(out, u, r, v0, n, room, streamed, result):
    """Write ``result(v, k, shift)`` for the vectors of ``n`` classes of row ``r`` from vector ``v0`` on.

    What cannot be written as it is computed is made in ``room`` first, which may hold what ``result`` reads. Results
    that are ``streamed`` begin at a cache line, ``shift`` classes later, after a vector for the classes before.
    """
    a, direct = view(out, u, r), packed(out, u)
    room = room if u.abreast else stored(room, a.p)

    def to_line():
        line = min(64, LANES * itemsize(a.p))
        return smaller((line - past(place(a, v0), line)) % line // itemsize(a.p), n)

    shift = 0 if streamed is False else select(streamed, to_line(), 0)
    to = branch(direct, lambda: packed_from(a, v0, u), lambda: room)
    _from_line(n, u, shift, lambda v, k, s: _write(vector(to, v, s), result(v, k, s), k, direct & streamed))

    def copy():
        _from_line(n, u, shift, lambda v, k, s: put(a, v0 + v, load(at(room, v, s), k), k, s, streamed))

    tiles = a.step == itemsize(a.p) if u.abreast else False
    branch(direct, lambda: None, lambda: branch(tiles, lambda: pack(a, v0, n, u, room), copy))


def _from_line(n, u, shift, action):
    """``action(v, k, shift)`` for the vectors from class ``shift`` on, and before for the classes that come first."""
    branch(shift != 0, lambda: action(0, shift, 0))
    each_vector(n - shift, u, lambda v, k: action(v, k, shift))


def _write(p, x, k, streamed):
    """The first ``k`` lanes to neighbours in memory; where all of them are ``streamed``, past the cache."""
    if isinstance(k, int) and k == LANES:
        branch(streamed, lambda: store_past_cache(p, x), lambda: store(p, x))
    else:
        store(p, x, k)


def streamable(out, u, streamed, *inputs):
    """Whether results go past the cache: they are not where an input is, and have no gaps.

    Lines that are not in the cache would be read before they are written.
    """
    if u.abreast or u.simple:
        return False
    whole = (out.strides[1] == itemsize(out.p)) & (past(out.p, itemsize(out.p)) == 0)
    whole = whole & (out.strides[0] % itemsize(out.p) == 0)
    for x in inputs:
        whole = whole & invert(same_place(x.p, out.p))
    return (streamed != 0) & whole


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
