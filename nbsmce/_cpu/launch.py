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

_GRAIN = 1 << 14
_NO_MASK = {2: np.empty((0, 0), np.uint8), 3: np.empty((0, 0, 0), np.uint8)}


def no_mask(data: np.ndarray) -> np.ndarray:
    """What kernels take for a mask where there is none."""
    return _NO_MASK[data.ndim]


def launch(
    kernel: Kernel, operand: Operand, data: np.ndarray, *arguments: Any, rooms: int = 0, more: tuple[Any, ...] = ()
) -> Any:
    """Call ``kernel`` with ``arguments``, scratch memory of so many rooms and as many threads as ``data`` is worth.

    ``more`` are storage types that the kernel is compiled for beside that of ``operand``.
    """
    ndim, classes = data.ndim, data.shape[1]
    units = max(1, _GRAIN // (classes if ndim == 2 else classes * min(LANES, data.shape[2])))
    with team(data.size) as (launcher, threads):
        memory: tuple[Any, ...] = ()
        if rooms:
            nbytes = workspace(classes, operand.kind.computed.dtype.itemsize, ndim == 3, rooms)
            memory = (host.scratch(threads, nbytes),)
        return kernel[ndim, operand.storage, *more](*arguments, *memory, units, launcher, threads)
