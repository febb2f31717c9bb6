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
    select,
    smaller,
    store,
)
from .sums import CHUNK, STATE_VECTORS, chunk_classes
from .units import each_vector, fetch, inside, plain, shown, view
from .vmath import MINUS_INFINITY, tanh


def chunk_count(u, like):
    """How many chunks a unit has, in the type that ``like`` is computed in."""
    per = chunk_classes(like)
    return (u.classes + (per - 1)) // per


def chunk_bounds(u, c, like):
    """The first vector of chunk ``c``, and its number of classes."""
    per = chunk_classes(like)
    return c * (per if u.abreast else per // LANES), smaller(per, u.classes - c * per)


# -- scratch memory ----------------------------------------------------------------------------------------------------


def rooms(place, u, like, count):
    """``count`` rooms for a chunk each, from ``place`` on. They have whole vectors; :func:`workspace` is their size."""
    numbers = smaller(chunk_classes(like), u.classes)
    numbers = numbers * LANES if u.abreast else (numbers + (LANES - 1)) // LANES * LANES
    first = computed(place, like)
    return [advance(first, numbers * (i * itemsize(first))) for i in range(count)]


def workspace(classes: int, itemsize: int, abreast: bool, count: int) -> int:
    """The bytes of scratch memory that a thread needs for the states and ``count`` rooms of a unit."""
    per = CHUNK[itemsize]
    numbers = min(per, classes) * LANES if abreast else -(-min(per, classes) // LANES) * LANES
    states = -(-classes // per) * STATE_VECTORS * LANES * 8
    return states + count * numbers * itemsize


def stage(a, v0, n, u, room):
    """Copy ``n`` classes of a view from vector ``v0`` on, vector after vector, in the type they are computed in.

    Lanes that stand for no class or row hold anything.
    """
    each_vector(n, u, lambda v, k: store(at(room, v), fetch(a, v0 + v, k)))


# -- logits ------------------------------------------------------------------------------------------------------------


class Logits(NamedTuple):
    """The logits of a unit: ``softcap * tanh(scale * x / softcap)``, minus infinity where a mask is false."""

    x: Any
    mask: Any = None  # bytes, read if ``masked``
    masked: Any = False
    scale: Any = 1.0
    softcap: Any = 0.0  # 0 is none
    direct: Any = False  # need no copy


def masked_logits(x, mask, u, copied=False):
    """The logits of softmax and logsumexp."""
    none = mask.shape[0] == 0
    direct = False if copied else none & plain(x, u)
    return Logits(view(x, u), view(mask, u), invert(none), direct=direct)


def chunk_logits(logits, v0, n, u, room):
    """Where ``n`` classes from vector ``v0`` on can be computed on: in place, or copied to ``room``."""

    def hide(v, k):
        store(at(room, v), select(shown(logits.mask, v0 + v, k), load(at(room, v)), MINUS_INFINITY))

    def scale(v, k):
        store(at(room, v), load(at(room, v)) * logits.scale)

    def cap(v, k):
        store(at(room, v), tanh(load(at(room, v)) / logits.softcap) * logits.softcap)

    def copy():
        stage(logits.x, v0, n, u, room)
        branch(logits.masked, lambda: each_vector(n, u, hide))
        branch(logits.scale != 1.0, lambda: each_vector(n, u, scale))
        branch(logits.softcap != 0.0, lambda: each_vector(n, u, cap))
        return room

    return branch(logits.direct, lambda: inside(logits.x, v0), copy)
