"""Calling a kernel: its scratch memory and its threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._compile import Kernel
from . import host
from .chunks import workspace
from .host import Operand
from .lanes.storage import LANES
from .parallel import team
from .sums import CHUNK, STATE_VECTORS
from .units import SHORT

_GRAIN = 1 << 14
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
    kernel: Kernel, split: Kernel | None, operand: Operand, data: np.ndarray, *arguments: Any,
    rooms: int | None, more: tuple[Any, ...] = (),
) -> Any:  # fmt: skip
    """Call a kernel with ``arguments``, and as many threads as ``data`` is worth.

    ``split`` is the kernel for rows that are fewer than threads. ``rooms`` is how many chunks a thread needs scratch
    memory for; None if it takes none at all. ``more`` are storage types that the kernel is compiled for beside that of
    ``operand``.
    """
    ndim, classes = data.ndim, data.shape[1]
    itemsize = operand.kind.computed.dtype.itemsize
    key = (ndim, operand.storage, *more)
    with team(data.size) as (launcher, threads):
        if rooms is None:
            memory: tuple[Any, ...] = ()
        else:
            memory = (host.scratch(threads, workspace(classes, itemsize, ndim == 3, rooms)),)
        if split is not None and ndim == 2 and data.shape[0] < threads and classes > CHUNK[itemsize]:
            chunks = -(-classes // CHUNK[itemsize])
            states = np.empty((data.shape[0], (chunks + 1) * STATE_VECTORS * LANES))
            return split[key](*arguments, states, *memory, 1, launcher, threads)
        rows = (LANES if classes <= SHORT else 1) if ndim == 2 else min(LANES, data.shape[2])
        units = max(1, _GRAIN // (classes * rows))
        return kernel[key](*arguments, *memory, units, launcher, threads)
