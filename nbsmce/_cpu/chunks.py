"""Going over a unit chunk by chunk, on the logits where they lie or on a copy in scratch memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from .lanes import (
    LANES,
    advance,
    at,
    branch,
    computed,
    invert,
    itemsize,
    load,
    prefetch,
    select,
    smaller,
    store,
    stored,
)
from .sums import CHUNK, STATE_VECTORS, chunk_classes
from .units import each_vector, together
from .views import fetch, inside, packed, packed_from, place, plain, shown, unpack, view
from .vmath import MINUS_INFINITY, tanh


def chunk_count(classes, like):
    """How many chunks rows of so many classes have, in the type that ``like`` is computed in."""
    per = chunk_classes(like)
    return (classes + (per - 1)) // per


def several_chunks(u, like):
    """Whether a unit has more than one."""
    return False if u.simple else chunk_count(u.classes, like) > 1


def simple_units(arrays, absent=(), streamed=0, usual=True):
    """Whether the units of a call are :attr:`~nbsmce._cpu.units.Unit.simple`.

    ``arrays`` have its logits and results, ``absent`` what is not given then, and ``usual`` says what else must hold.
    """
    x = arrays[0]
    if len(x.shape) == 3:
        return False
    simple = (x.shape[1] < chunk_classes(x.p) + 1) & (streamed == 0) & usual
    for a in arrays:
        simple = simple & (a.strides[1] == itemsize(a.p))
    for a in absent:
        simple = simple & (a.shape[0] == 0)
    return simple


def chunk_bounds(u, c, like):
    """The first vector of chunk ``c``, and its number of classes."""
    if u.simple:
        return 0, u.classes
    per = chunk_classes(like)
    return c * (per if u.abreast else per // LANES), smaller(per, u.classes - c * per)


# -- scratch memory ----------------------------------------------------------------------------------------------------

KEPT_BYTES = 1 << 19
"""The exponentials of a row of up to so many bytes are kept in scratch memory, which then stays in the second cache."""


class Room(NamedTuple):
    """Scratch memory for the numbers of a unit: for a chunk of every row, or for whole rows."""

    p: Any
    row: Any  # the bytes of a row along
    whole: bool  # has room for all chunks


def room_at(room, v0, r):
    """Where what is kept of row ``r`` from vector ``v0`` on lies."""
    p = advance(room.p, r * room.row)
    return branch(room.whole, lambda: at(p, v0), lambda: p)


def _room_sizes(classes: Any, itemsize: int, abreast: bool, count: int, whole: bool) -> list[Any]:
    """For each of ``count`` rooms the bytes of a row, those of the room, and whether it is for whole rows.

    Used on numbers of generated code and on Python's, so that what kernels use is what they are given.
    """
    rows = LANES if abreast else together(classes)
    sizes = []
    for i in range(count):
        fits = classes * (LANES if abreast else 1) * itemsize < KEPT_BYTES + 1 if whole and i == 0 else False
        per = select(fits, classes, CHUNK[itemsize])
        row = (select(classes < per, classes, per) + (LANES - 1)) // LANES * (LANES * itemsize)
        sizes.append((row, row * rows, fits))
    return sizes


def rooms(place, u, like, count, whole=False):
    """``count`` rooms from ``place`` on, the first of them for whole rows if asked for."""
    p = computed(place, like)
    made = []
    for row, size, fits in _room_sizes(u.classes, itemsize(p), u.abreast, count, whole and not u.shared):
        made.append(Room(p, row, fits))
        p = advance(p, size)
    return made


def workspace(classes: int, itemsize: int, abreast: bool, count: int) -> int:
    """The bytes of scratch memory that a thread needs for the scales, the states and ``count`` rooms of a unit."""
    states = -(-classes // CHUNK[itemsize]) * STATE_VECTORS * LANES * 8
    rooms = sum(size for _, size, _ in _room_sizes(classes, itemsize, abreast, count, True))
    return SCALE_BYTES + states + int(rooms)


SCALE_BYTES = 8 * LANES * 8
"""Room for eight vectors of numbers of rows."""


def readable(x, u, r, v0, n, room, fresh=True):
    """Where ``n`` classes of row ``r`` in ``x`` can be loaded from: in place, or from ``room``, copied if ``fresh``.

    Along rows a copy is of the storage type, too.
    """
    a, room = view(x, u, r), room if u.abreast else stored(room, x.p)

    def copied():
        branch(fresh, lambda: stage(a, v0, n, u, room))
        return room

    return branch(packed(x, u), lambda: packed_from(a, v0, u), copied)


AHEAD = 1 << 14
"""Bytes. While exponentials are computed, what comes a chunk of float32 later is fetched from memory: the first pass
over it, which does nothing but compare, would wait for it."""


def fetch_ahead(x, u, r, v0):
    """What asks for the line that comes ``AHEAD`` after vector ``v`` of a chunk of row ``r``; it may lie anywhere.

    Where rows lie side by side it is the line beside, which the next unit needs.
    """
    if u.whole:  # its lines follow each other, and the processor finds them
        return lambda v: None
    a = view(x, u, r)
    ahead = select(a.lane == itemsize(a.p), LANES * itemsize(a.p), AHEAD) if u.abreast else AHEAD
    return lambda v: prefetch(advance(place(a, v0 + v), ahead))


def stage(a, v0, n, u, room):
    """Copy ``n`` classes of a view from vector ``v0`` on to ``room``, vector after vector.

    Lanes that stand for no class or row hold anything.
    """
    copy = lambda: each_vector(n, u, lambda v, k: store(at(room, v), fetch(a, v0 + v, k)))  # noqa: E731
    if u.abreast:
        branch(u.tile or a.step == itemsize(a.p), lambda: unpack(a, v0, n, u, room), copy)
    else:
        copy()


# -- logits ------------------------------------------------------------------------------------------------------------


class Logits(NamedTuple):
    """The logits of a unit: ``softcap * tanh(scale * x / softcap)``, minus infinity where a mask is false."""

    x: Any
    mask: Any = None  # bytes, read if ``masked``
    masked: Any = False
    scale: Any = 1.0
    softcap: Any = 0.0  # 0 is none
    direct: Any = False  # need no copy


def masked_logits(x, mask, u, r, copied=False):
    """The logits of row ``r`` for softmax and logsumexp."""
    none = mask.shape[0] == 0
    direct = False if copied else none & plain(x, u)
    return Logits(view(x, u, r), view(mask, u, r), invert(none), direct=direct)


def chunk_logits(logits, v0, n, u, room, fresh=True):
    """Where ``n`` classes from vector ``v0`` on can be computed on: in place, or in ``room``, copied if ``fresh``."""
    if u.simple and not u.tile:
        return packed_from(logits.x, v0, u)

    def hide(v, k):
        store(at(room, v), select(shown(logits.mask, v0 + v, k), load(at(room, v)), MINUS_INFINITY))

    def scale(v, k):
        store(at(room, v), load(at(room, v)) * logits.scale)

    def cap(v, k):
        store(at(room, v), tanh(load(at(room, v)) / logits.softcap) * logits.softcap)

    def copy():
        stage(logits.x, v0, n, u, room)
        if u.tile:
            return
        branch(logits.masked, lambda: each_vector(n, u, hide))
        branch(logits.scale != 1.0, lambda: each_vector(n, u, scale))
        branch(logits.softcap != 0.0, lambda: each_vector(n, u, cap))

    def copied():
        branch(fresh, copy)
        return room

    return branch(logits.direct, lambda: inside(logits.x, v0, u), copied)
