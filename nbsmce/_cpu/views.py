"""Where the numbers of a unit lie in an array, and how results get there."""

from __future__ import annotations

from typing import Any, NamedTuple

from .lanes import (
    LANES,
    advance,
    at,
    block_lanes,
    branch,
    computed,
    gather,
    gather_mask,
    invert,
    is_half,
    itemsize,
    load,
    load_block,
    past,
    same_place,
    scatter,
    select,
    smaller,
    steps,
    store,
    store_block,
    store_past_cache,
    stored,
    transposed,
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
    if u.tile:
        return False
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


# -- classes side by side, rows abreast --------------------------------------------------------------------------------


def unpack(a, v0, n, u, room):
    """Copy ``n`` classes of a packed view from ``v0`` on to ``room``, a vector for each class.

    A gather of sixteen rows takes several times as long as its share of loading rows and transposing them in registers.
    ``room`` is written up to the end of the last block.
    """
    size = block_lanes(a.p)

    def exactly():
        for first in steps(0, n, size):
            _read_block(place(a, v0 + first), a.lane, at(room, first), smaller(size, n - first), u.rows)

    def past_the_end():  # what lies behind a row is not used: another thread may be writing it
        for first in steps(0, n, size):
            _read_block(place(a, first), a.lane, at(room, first))

    if u.tile:
        inside_array = (u.behind * n >= size) & (a.lane >= n * itemsize(a.p))
        branch(inside_array, past_the_end, exactly)
    else:
        exactly()


def _read_block(p, lane, room, k=LANES, rows=LANES):
    """``k`` classes of a block; where rows are fewer the last is read again."""
    size = block_lanes(p)
    for group in range(0, LANES, size):
        lines = [load_block(advance(p, lane * smaller(group + i, rows - 1)), k) for i in range(size)]
        for i, column in enumerate(transposed(lines)):
            store_block(at(room, i, group), column)


def pack(a, v0, n, u, room):
    """The other way: write ``n`` classes from ``room`` to a packed view.

    Where rows follow each other without a gap, and all are there, a row is written past its end and the next over that:
    from the last block to the first, and from the first row to the last, so that nothing else is overwritten.
    """
    size = block_lanes(a.p)

    def exactly():
        for first in steps(0, n, size):
            _write_block(at(room, first), place(a, v0 + first), a.lane, smaller(size, n - first), u.rows)

    def past_the_end():
        blocks = (n + (size - 1)) // size
        for i in steps(0, blocks):
            first = (blocks - 1 - i) * size
            _write_block(at(room, first), place(a, first), a.lane, smaller(size, n - first), LANES, n)

    if u.tile:
        branch((u.behind >= 0) & (a.lane == n * itemsize(a.p)), past_the_end, exactly)
    else:
        exactly()


def _write_block(room, p, lane, k, rows, over=None):
    """``k`` classes of a block of ``rows``; past them where so many rows follow that all is written ``over``.

    ``over`` is how many classes of each following row are.
    """
    size = block_lanes(p)
    for group in range(0, LANES, size):
        lines = transposed([load_block(at(room, i, group)) for i in range(size)])
        for i, line in enumerate(lines, group):
            to = advance(p, lane * i)
            whole = lambda to=to, line=line: store_block(to, line)  # noqa: E731
            part = lambda to=to, line=line: store_block(to, line, k)  # noqa: E731
            if over is None:
                branch(rows > i, part)
            else:
                following = LANES - 1 - i  # rows, of two classes or more
                branch(2 * following >= size or over * following >= size - k, whole, part)


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

    tiles = u.tile or (a.step == itemsize(a.p) if u.abreast else False)
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
