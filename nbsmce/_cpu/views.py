"""Where the numbers of a unit lie in an array, and how results get there."""

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
    past,
    same_place,
    scatter,
    select,
    smaller,
    steps,
    store,
    store_past_cache,
    stored,
    transposed,
    zeros,
)
from .units import each_vector

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
    return packed_from(a._replace(p=computed(a.p, a.p)), v, u)


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
        for i, column in enumerate(transposed(rows)):
            branch(i < k, lambda i=i, column=column: store(at(room, block + i), column))


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


# -- results -----------------------------------------------------------------------------------------------------------


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
