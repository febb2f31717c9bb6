"""Calling a kernel: its scratch memory and its threads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._compile import Kernel, Kernels
from . import host
from .chunks import workspace
from .lanes.storage import LANES
from .layout import FEW_CLASSES
from .sums import CHUNK, STATE_VECTORS
from .team import Control, team
from .units import BUNDLE, together

_GRAIN = 1 << 14
SERIAL_WORK = 1 << 16
"""Calls that handle fewer numbers than this stay in one thread: starting the others costs more than they save.

Measured: docs/scaling.md."""

_LONG = 1 << 22
"""Units of more numbers are handled chunk by chunk by all threads also where they are many: between chunks a call can
be interrupted, and such rows fit no cache."""

STREAM_BYTES = 1 << 24
STREAM_ROW, STREAM_ROW_KEPT = 1 << 12, 1 << 14
"""Results of so many bytes, in rows of more than so many, go past the cache; the latter where exponentials are kept.

Both ends of a row are parts of cache lines, which are dear to write past the cache: rows of 100 classes would take
twice as long, of 2000 classes 0.9 of the time, but 1.1 where exponentials are kept (docs/performance.md)."""
_NO_MASK = {2: np.empty((0, 0), np.uint8), 3: np.empty((0, 0, 0), np.uint8)}


def no_mask(data: np.ndarray) -> np.ndarray:
    """What kernels take for a mask where there is none."""
    return _NO_MASK[data.ndim]


def streamed(results: np.ndarray, rows: np.ndarray, kept: bool) -> int:
    """Whether results, which are handled as these rows, go past the cache.

    They are so many that reading them back from the cache is not to be expected. ``kept`` is whether exponentials are.
    """
    row = rows.shape[1] * rows.itemsize
    return int(results.nbytes >= STREAM_BYTES and row > (STREAM_ROW_KEPT if kept else STREAM_ROW))


BUNDLED = {"f": CHUNK[4], "d": CHUNK[8]}
"""The most classes of rows in bundles, by the character of the dtype: a chunk. Half types have no place to keep
exponentials in."""


def in_bundles(threads: int, x: np.ndarray, *others: Any) -> bool:
    """Whether rows are taken in bundles: many of them lie side by side in all arrays of three dimensions.

    One bundle takes less time than half of its units; so there must be one for every other thread.
    """
    if x.ndim != 3 or x.shape[2] <= BUNDLE * LANES // 2 or x.shape[1] > BUNDLED.get(x.dtype.char, 0):
        return False
    if 2 * x.shape[0] * -(-x.shape[2] // (BUNDLE * LANES)) < threads:
        return False
    return _neighbours(2, x, others)


def in_tiles(x: np.ndarray, *others: Any) -> bool:
    """Whether rows abreast are taken as tiles: the few classes of each are neighbours in all arrays of three
    dimensions."""
    return x.ndim == 3 and 2 <= x.shape[1] <= FEW_CLASSES and _neighbours(1, x, others)


def _neighbours(axis: int, x: np.ndarray, others: tuple[Any, ...]) -> bool:
    """Whether numbers along an axis are neighbours in memory, in all arrays of three dimensions that are not empty."""
    arrays = [x, *(a for a in others if type(a) is np.ndarray and a.ndim == 3 and a.size)]
    return all(a.strides[axis] == a.itemsize for a in arrays)


def chosen(kernels: Kernels, threads: int, usual: bool, x: np.ndarray, *others: Any) -> tuple[Kernel, int]:
    """The kernel that threads take a part of the rows each with, and how many units are one to it.

    ``usual`` is whether nothing is asked for that bundles and tiles do not have.
    """
    if usual and kernels.bundled is not None and in_bundles(threads, x, *others):
        return kernels.bundled, BUNDLE
    if usual and kernels.tiled is not None and in_tiles(x, *others):
        return kernels.tiled, 1
    return kernels.whole, 1


def launch(
    kernels: Kernels,
    data: np.ndarray,
    *arguments: Any,
    rooms: int | None,
    usual: bool = True,
    more: str = "",
) -> Any:
    """Call a kernel with ``arguments``, and as many threads as ``data`` is worth.

    ``rooms`` is how many chunks a thread needs scratch memory for; None if it takes none at all. ``usual`` is that of
    :func:`chosen`. ``more`` names a storage type that the kernels are compiled for beside that of ``data``.
    """
    char = data.dtype.char
    key = (data.ndim, char, more) if more else (data.ndim, char)
    nbytes, grain = plan(data.shape, char, rooms)
    if data.size < SERIAL_WORK:
        kernel, _ = chosen(kernels, 1, usual, data, *arguments)
        return kernel[key](*arguments, *(() if rooms is None else (host.scratch(nbytes),)), grain, 0, 1)
    control, threads = team.call()
    kernel, units = chosen(kernels, threads, usual, data, *arguments)
    split = kernels.split if kernel is kernels.whole else None
    states = None if split is None else _states(data.shape, char, threads)
    needed = None if rooms is None else nbytes
    if split is not None and states is not None:
        return _in_team(split[key], (*arguments, states), needed, 1, control, threads)
    return _in_team(kernel[key], arguments, needed, max(1, grain // units), control, threads)


def _in_team(
    entry: Callable[..., Any], given: Sequence[Any], nbytes: int | None, grain: int, control: Control, threads: int
) -> Any:
    """Call a kernel in several threads, each with so much memory; raises what a signal handler raises meanwhile."""
    memory = () if nbytes is None else (host.scratch_of_team(threads, nbytes),)
    result = entry(*given, *memory, grain, control.address, threads)
    for part in memory:
        host.put_back(part)
    control.settle()
    return result


def with_threads(entry: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel as one that takes all threads there are, however many it is told.

    In place of memory it takes the bytes that each of them needs.
    """

    def call(*arguments: Any) -> Any:
        *given, nbytes, grain, _, _ = arguments
        return _in_team(entry, given, nbytes, grain, *team.call())

    return call


def _states(shape: tuple[int, ...], char: str, threads: int) -> np.ndarray | None:
    """Room for the states of all chunks, if these are to be given to all threads."""
    outer, classes, inner = shape if len(shape) == 3 else (*shape, 1)
    chunks = -(-classes // CHUNK[_computed_bytes(char)])
    units = outer * -(-inner // LANES)
    if chunks == 1 or (units >= threads and classes * min(inner, LANES) <= _LONG):
        return None
    return np.empty((units, (chunks + 1) * STATE_VECTORS * LANES))


def _computed_bytes(char: str) -> int:
    return 8 if char == "d" else 4


@functools.lru_cache(maxsize=1024)
def plan(shape: tuple[int, ...], char: str, rooms: int | None) -> tuple[int, int]:
    """The bytes of scratch memory for a thread, and how many units it takes at a time."""
    classes, abreast = shape[1], len(shape) == 3
    nbytes = 0 if rooms is None else workspace(classes, _computed_bytes(char), abreast, rooms)
    rows = min(LANES, shape[2]) if abreast else together(classes)
    return nbytes, max(1, _GRAIN // (classes * rows))
