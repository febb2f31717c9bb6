"""The one place that names Numba options.

A :class:`Kernel` is what Python calls. It is compiled when a storage type is first seen, once for rows and once for
rows abreast, whatever the memory layout and the options.

No function has ``fastmath``: ``nnan`` and ``ninf`` delete the handling of NaN and of masks of minus infinity, and
``reassoc`` makes the bits depend on the vector width. Guarded by ``tests/test_special_values.py`` and
``tests/test_layouts.py``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite
import numba
import numpy as np
from numba import types
from numba.core.ccallback import CFunc
from numba.core.codegen import get_host_cpu_features
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime import rtsys
from numba.core.sigutils import normalize_signature

from ._borrowed import Borrowed, taken
from ._interrupts import postponed
from ._store import store

JIT = not numba.config.DISABLE_JIT

if hasattr(os, "register_at_fork"):
    # A child that is forked while another thread compiles would inherit a lock that nobody gives back.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def has_feature(name: str) -> bool:
    """Whether the processor that code is made for has a feature, by LLVM's name."""
    features = numba.config.CPU_FEATURES
    if features is None:
        features = get_host_cpu_features() if numba.config.CPU_NAME in (None, "host") else ""
    return f"+{name}" in features.split(",")


MASK_REGISTERS = has_feature("avx512f")
"""Whether masks have registers of their own: lanes are then counted, and set to 0, beside what vectors do. There are 32
registers for vectors, too, of 512 bits."""


def array(dtype: types.Type, ndim: int) -> Borrowed:
    """The Numba type that any array of this dtype and dimension converts to.

    Layout "A", read-only and unaligned are the weakest promises, so arrays of every layout reach the same compiled
    code without a copy. Kernels write through pointers, and only to arrays that Python checked for being writeable.
    """
    return Borrowed(dtype, ndim, "A", readonly=True, aligned=False)


TEAM = (types.intp, types.intp, types.intp)
"""The last arguments of a kernel: the units that a thread takes at a time, the launcher, the number of threads."""

MEMORY = (array(types.uint8, 2), *TEAM)
"""The same with scratch memory before, a row for each thread."""

STATES = array(types.float64, 2)
"""Room for the states of all chunks of all rows, before the scratch memory."""


STORAGE = {"f": types.float32, "d": types.float64, "h": types.int16, "H": types.uint16}
"""What kernels read and write, by the character of NumPy's dtype: the half types are the integers of their bits."""


_OPTIONS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "USING_SVML")
"""What of Numba's configuration changes machine code."""


class _Stored:
    """What Numba asks before it compiles a function, and tells afterwards."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"

    def _key(self, signature: Any, codegen: Any) -> str:
        options = [str(getattr(numba.config, name)) for name in _OPTIONS]
        versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
        return repr((self._name, str(signature), versions, options, codegen.magic_tuple()))

    def load_overload(self, signature: Any, context: Any) -> CompileResult | None:
        rtsys.initialize(context)  # without context.refresh(), which imports SciPy where that is installed
        parts = store.load(self._key(signature, context.codegen()))
        return None if parts is None else CompileResult._rebuild(context, *parts)

    def save_overload(self, signature: Any, result: CompileResult) -> None:
        if not result.library.has_dynamic_globals:
            store.save(self._key(signature, result.codegen), result._reduce)


def c_function(signature: Any, function: Callable[..., Any]) -> Any:
    """``function`` for machine code to call: its ``address`` is good for as long as the result is kept."""
    made: Any = CFunc(function, normalize_signature(signature), locals={}, options={"error_model": "numpy"})
    made._cache = _Stored(function)
    with postponed():
        made.compile()
    return made


class Kernel(dict):
    """Entry points by dimension and storage, compiled on first use: ``kernel[ndim, character](*arguments)``.

    Each is what Numba compiled for a single signature, and not its dispatcher: a call can neither trigger another
    compilation nor select another type's code, and does not look at the types of all arguments again (0.2 us for
    softmax, 0.5 us for cross entropy).
    """

    def __init__(self, function: Callable[..., Any], signature: Callable[..., tuple[types.Type, ...]]) -> None:
        self.function = function
        self.signature = signature

    def __missing__(self, key: tuple[Any, ...]) -> Callable[..., Any]:
        with postponed(), global_compiler_lock:  # of several threads one compiles
            if key not in self:
                self[key] = self._compiled(key)
        return self[key]

    def _compiled(self, key: tuple[Any, ...]) -> Callable[..., Any]:
        signature = self.signature(*(STORAGE.get(part, part) for part in key))
        if not JIT:
            dimensions = [getattr(type_, "ndim", None) for type_ in signature]
            return lambda *arguments: self.function(
                *[a if n is None else taken(a, n) for a, n in zip(arguments, dimensions, strict=True)]
            )
        made: Any = numba.njit(nogil=True, error_model="numpy")(self.function)
        made._cache = _Stored(self.function)
        entry: Callable[..., Any] = made.compile(signature)
        return entry


class Kernels(NamedTuple):
    """Kernels that do the same, with the same keys."""

    whole: Kernel  # for any rows
    bundled: Kernel | None  # for rows abreast in bundles
    tiled: Kernel | None  # for rows of few classes in tiles
    split: Kernel | None  # for rows that are few and long


def kernel(signature: Callable[..., tuple[types.Type, ...]]) -> Callable[[Callable[..., Any]], Kernel]:
    """Make a :class:`Kernel`; ``signature`` maps its keys to the types of the arguments."""
    return lambda function: Kernel(function, signature)
