"""Calling a kernel: its scratch memory and its threads."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .._compile import Kernel
from . import host
from .chunks import workspace
from .lanes.storage import LANES
from .parallel import team
from .sums import CHUNK, STATE_VECTORS
from .units import together

_GRAIN = 1 << 14
SERIAL_WORK = 1 << 15
"""Calls that handle fewer numbers than this stay in one thread: starting the others costs more than they save."""

STREAM_BYTES = 1 << 24
"""Results of so many bytes go past the cache."""
_NO_MASK = {2: np.empty((0, 0), np.uint8), 3: np.empty((0, 0, 0), np.uint8)}


def no_mask(data: np.ndarray) -> np.ndarray:
    """What kernels take for a mask where there is none."""
    return _NO_MASK[data.ndim]


def streamed(results: np.ndarray) -> int:
    """Whether results are so many that reading them back from the cache is not to be expected."""
    return int(results.nbytes >= STREAM_BYTES)


def launch(
    kernel: Kernel, split: Kernel | None, data: np.ndarray, *arguments: Any, rooms: int | None, more: str = ""
) -> Any:
    """Call a kernel with ``arguments``, and as many threads as ``data`` is worth.

    ``split`` is the kernel for rows that are fewer than threads. ``rooms`` is how many chunks a thread needs scratch
    memory for; None if it takes none at all. ``more`` names a storage type that the kernel is compiled for beside that
    of ``data``.
    """
    char = data.dtype.char
    key = (data.ndim, char, more) if more else (data.ndim, char)
    nbytes, grain = _plan(data.shape, char, rooms)
    if data.size < SERIAL_WORK:
        memory = () if rooms is None else (host.scratch(1, nbytes),)
        return kernel[key](*arguments, *memory, grain, 0, 1)
    with team as (launcher, threads):
        memory = () if rooms is None else (host.scratch(threads, nbytes),)
        chunk = CHUNK[_computed_bytes(char)]
        rows, classes = data.shape[:2]
        if split is not None and data.ndim == 2 and rows < threads and classes > chunk:
            states = np.empty((rows, (-(-classes // chunk) + 1) * STATE_VECTORS * LANES))
            return split[key](*arguments, states, *memory, 1, launcher, threads)
        return kernel[key](*arguments, *memory, grain, launcher, threads)


def _computed_bytes(char: str) -> int:
    return 8 if char == "d" else 4


@functools.lru_cache(maxsize=1024)
def _plan(shape: tuple[int, ...], char: str, rooms: int | None) -> tuple[int, int]:
    """The bytes of scratch memory for a thread, and how many units it takes at a time."""
    classes, abreast = shape[1], len(shape) == 3
    nbytes = 0 if rooms is None else workspace(classes, _computed_bytes(char), abreast, rooms)
    rows = min(LANES, shape[2]) if abreast else together(classes)
    return nbytes, max(1, _GRAIN // (classes * rows))
