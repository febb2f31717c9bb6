"""Sums and maxima over the threads of a team: those that have a row together.

A team is some lanes of a warp, a warp, or a block of several warps. All of its threads get the same bits, and their
number alone determines the order of a sum: a tree in which lane 0 of a warp meets lane 16, then 8, 4, 2 and 1, and then
a tree of the warps in the same way. Where the rows are side by side in memory, a team is up to 32 threads with one
``threadIdx.x``, which take turns as the warps of a longer one (see ``families.py``), and their sums are the same trees.
Every thread of a block takes part in each sum.

Places in shared memory are unsigned: for others Numba adds what makes negative ones count from the end.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .device import cuda, device, instructions
from .places import WARP, Layout

SLOTS = 6
"""Places in shared memory for what a team exchanges. A place is written again only after another one was."""
LARGEST, INDEX, SUM, MASS = 0, 1, 2, 4  # the latter two for two numbers
ZERO = np.float64(0)
place = np.uint64


class Team(NamedTuple):
    """The device functions of a team of some size."""

    number: Any  # the type of the maxima
    larger: Any  # of two
    largest: Any  # (x, room, slot)
    add: Any  # (a, b, room, slot): two sums
    room: int  # how many float64 of shared memory they need


def _maxima(single: bool) -> tuple[Any, Any]:
    """``(the type of numbers, the larger of two)``."""
    return (np.float32, instructions.larger32) if single else (np.float64, instructions.larger64)


def _butterfly(threads: int, kind: str) -> tuple[Any, ...]:
    """The exchanges with lanes 16, 8, 4, 2 and 1 away; beyond the team they return what they are given."""
    shuffle = instructions.shuffle32 if kind == "f32" else instructions.shuffle64

    @device
    def nothing(x: Any) -> Any:
        return x

    return tuple(shuffle(mask) if mask < threads else nothing for mask in (16, 8, 4, 2, 1))


def _lanes(threads: int, single: bool) -> tuple[Any, Any]:
    """The maximum and the sum over lanes of a warp."""
    _, larger = _maxima(single)
    by16, by8, by4, by2, by1 = _butterfly(threads, "f32" if single else "f64")
    sum16, sum8, sum4, sum2, sum1 = _butterfly(threads, "f64")
    M16, M8, M4, M2, M1 = (threads > mask for mask in (16, 8, 4, 2, 1))

    @device
    def largest(x: Any) -> Any:
        x = larger(x, by16(x))
        x = larger(x, by8(x))
        x = larger(x, by4(x))
        x = larger(x, by2(x))
        return larger(x, by1(x))

    @device
    def add(x: Any) -> Any:
        if M16:
            x = x + sum16(x)
        if M8:
            x = x + sum8(x)
        if M4:
            x = x + sum4(x)
        if M2:
            x = x + sum2(x)
        if M1:
            x = x + sum1(x)
        return x

    return largest, add


@functools.cache
def team(layout: Layout, single: bool) -> Team:
    """The team of a layout. ``single`` is whether maxima are of float32."""
    threads = layout.threads
    if layout.apart and threads > 1:
        return _side_by_side(layout.lanes, layout.teams, single)
    if threads <= WARP:
        largest_lane, add_lane = _lanes(threads, single)

        @device
        def largest(x: Any, room: Any, slot: Any) -> Any:
            return largest_lane(x)

        @device
        def add(a: Any, b: Any, room: Any, slot: Any) -> Any:
            return add_lane(a), add_lane(b)

        return Team(*_maxima(single), largest, add, 1)
    return _block(threads, single)


def _block(threads: int, single: bool) -> Team:
    """All warps of a block."""
    warps = threads // WARP
    number, larger = _maxima(single)
    least = number(-np.inf)
    largest_lane, add_lane = _lanes(WARP, single)

    @device
    def largest(x: Any, room: Any, slot: Any) -> Any:
        x = largest_lane(x)
        lane, warp = cuda.threadIdx.x & 31, cuda.threadIdx.x >> 5
        if lane == 0:
            room[place(slot * 32 + warp)] = x
        cuda.syncthreads()
        y = least
        if lane < warps:
            y = number(room[place(slot * 32 + lane)])
        return largest_lane(y)

    @device
    def add(a: Any, b: Any, room: Any, slot: Any) -> Any:
        a, b = add_lane(a), add_lane(b)
        lane, warp = cuda.threadIdx.x & 31, cuda.threadIdx.x >> 5
        if lane == 0:
            room[place(slot * 32 + warp)] = a
            room[place(slot * 32 + 32 + warp)] = b
        cuda.syncthreads()
        a = b = ZERO
        if lane < warps:
            a = room[place(slot * 32 + lane)]
            b = room[place(slot * 32 + 32 + lane)]
        return add_lane(a), add_lane(b)

    return Team(number, larger, largest, add, SLOTS * 32)


def _side_by_side(threads: int, teams: int, single: bool) -> Team:
    """Threads with one ``threadIdx.x``; the exchange is through shared memory."""
    number, larger = _maxima(single)
    # Else ptxas reads all of several exchanges before it computes anything, and half types with probabilities spill.
    settled, opaque64 = instructions.opaque32 if single else instructions.opaque64, instructions.opaque64
    size, tree = threads * teams, tree_of(threads, teams, _element, _sum)

    @device
    def largest(x: Any, room: Any, slot: Any) -> Any:
        first = slot * size + cuda.threadIdx.x
        room[place(first + cuda.threadIdx.y * teams)] = x
        cuda.syncthreads()
        for i in range(threads):
            x = larger(x, number(room[place(first + i * teams)]))
        return settled(x)

    @device
    def add(a: Any, b: Any, room: Any, slot: Any) -> Any:
        first = slot * size + cuda.threadIdx.x
        room[place(first + cuda.threadIdx.y * teams)] = a
        room[place(first + size + cuda.threadIdx.y * teams)] = b
        cuda.syncthreads()
        a = opaque64(tree(room, first))
        return a, opaque64(tree(room, first + size))

    return Team(number, larger, largest, add, SLOTS * size)


@device
def _element(room: Any, at: Any) -> Any:
    return room[place(at)]


@device
def _sum(a: Any, b: Any) -> Any:
    return a + b


def tree_of(n: int, distance: int, leaf: Any, join: Any, step: int = 1) -> Any:
    """``f(room, at)``: ``n`` leaves, some distance from each other, joined in the order that lanes are."""
    if step == n:
        return leaf
    half, apart = tree_of(n, distance, leaf, join, 2 * step), step * distance

    @device
    def tree(room: Any, at: Any) -> Any:
        return join(half(room, at), half(room, at + apart))

    return tree
