"""The one place that names Numba options.

A :class:`Kernel` is what Python calls. It is compiled when a storage type is first seen, once for rows and once for
rows abreast, whatever the memory layout and the options.

No function has ``fastmath``: ``nnan`` and ``ninf`` delete the handling of NaN and of masks of minus infinity, and
``reassoc`` makes the bits depend on the vector width. Guarded by ``tests/test_special_values.py`` and
``tests/test_layouts.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types

JIT = not numba.config.DISABLE_JIT


def array(dtype: types.Type, ndim: int) -> types.Array:
    """The Numba type that any array of this dtype and dimension converts to.

    Layout "A", read-only and unaligned are the weakest promises, so arrays of every layout reach the same compiled
    code without a copy. Kernels write through pointers, and only to arrays that Python checked for being writeable.
    """
    return types.Array(dtype, ndim, "A", readonly=True, aligned=False)


TEAM = (types.intp, types.intp, types.intp)
"""The last arguments of a kernel: the units that a thread takes at a time, the launcher, the number of threads."""

MEMORY = (array(types.uint8, 2), *TEAM)
"""The same with scratch memory before, a row for each thread."""

STATES = array(types.float64, 2)
"""Room for the states of all chunks of all rows, before the scratch memory."""


STORAGE = {"f": types.float32, "d": types.float64, "h": types.int16, "H": types.uint16}
"""What kernels read and write, by the character of NumPy's dtype: the half types are the integers of their bits."""


class Kernel(dict):
    """Entry points by dimension and storage, compiled on first use: ``kernel[ndim, character](*arguments)``.

    Each has a dispatcher with a single signature, so a call can neither trigger another compilation nor select
    another type's code.
    """

    def __init__(self, function: Callable[..., Any], signature: Callable[..., tuple[types.Type, ...]]) -> None:
        self.function = function
        self.signature = signature

    def __missing__(self, key: tuple[Any, ...]) -> Callable[..., Any]:
        entry = numba.njit(nogil=True, error_model="numpy")(self.function)
        if JIT:
            entry.compile(self.signature(*(STORAGE.get(part, part) for part in key)))
            entry.disable_compile()
        self[key] = entry
        return entry


def kernel(signature: Callable[..., tuple[types.Type, ...]]) -> Callable[[Callable[..., Any]], Kernel]:
    """Make a :class:`Kernel`; ``signature`` maps its keys to the types of the arguments."""
    return lambda function: Kernel(function, signature)
