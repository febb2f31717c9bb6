"""A module for each library: ``build(operation, inputs, threads)`` gives a call without arguments or raises ``Skip``.

A library stands in a graph only where it has the operation itself: nothing is put together from its parts, but what its
users would write in one line. ``_out`` behind a name gives the array for the result.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ..cases import THREADS, Inputs

# asv raises it from setup and shows the case as not available.
Skip = NotImplementedError

MODULES = {"nbsmce": "own", "PyTorch": "pytorch", "SciPy": "scipy", "JAX": "jax", "scikit-learn": "sklearn"}
LIBRARIES = list(MODULES)


def build(library: str, operation: str, inputs: Inputs, threads: int = THREADS) -> Callable[[], Any]:
    """A call of ``operation`` of a library. What it takes is made here, so that the call does nothing else."""
    try:
        module = importlib.import_module(f".{MODULES[library]}", __name__)
    except ImportError as error:
        raise Skip(f"{library} is not installed: {error}") from None
    return module.build(operation, inputs, threads)
