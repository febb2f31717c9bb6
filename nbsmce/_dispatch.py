"""From the arrays of a call to the backend that computes on them.

A backend is a module with the functions that the public modules call; only this module names one. The decision is made
by looking at types and attributes; no library is imported for it, and nothing is tried and fallen back from.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np

from ._interrupts import postponed

_UNPLACED = (int, float, complex, np.number, list, tuple)
_BACKENDS = {"cpu": "_cpu", "cuda": "_cuda"}
# Device types of DLPack: of main memory, also what a GPU has pinned there; CUDA's own and managed memory; ROCm's.
_DLPACK = {1: "cpu", 3: "cpu", 11: "cpu", 2: "cuda", 13: "cuda", 10: "rocm"}


@functools.cache
def _module(name: str) -> ModuleType:
    with postponed():
        return importlib.import_module(f"nbsmce.{name}")


def _family(value: Any) -> str:
    """Where an argument lives: "cpu", "cuda", or the name of a device that has no backend."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return "cuda" if value.is_cuda else "cpu" if value.is_cpu else str(value.device.type)
    if hasattr(type(value), "__cuda_ndarray__"):  # Numba's, also in its simulator
        return "cuda"
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(value, cupy.ndarray):  # whose interface takes a microsecond to make
        return "cuda"
    if hasattr(value, "__cuda_array_interface__"):
        return "cuda"
    if hasattr(type(value), "__dlpack_device__"):  # JAX's arrays of bfloat16 have only this
        kind = int(value.__dlpack_device__()[0])
        return _DLPACK.get(kind, f"DLPack {kind}")
    return "cpu"


def backend(arguments: dict[str, Any]) -> ModuleType:
    """The backend for the arrays among a call's arguments; those that are None do not count."""
    for value in arguments.values():
        if value is not None and type(value) is not np.ndarray:
            break
    else:
        return _module("_cpu")
    found = ""
    for value in arguments.values():
        if value is not None:
            family = _family(value)
            if family != found and found:
                return _resolve(arguments)
            found = family
    return _module(_BACKENDS[found]) if found in _BACKENDS else _resolve(arguments)


def _resolve(arguments: dict[str, Any]) -> ModuleType:
    families = {name: _family(value) for name, value in arguments.items() if value is not None}
    # A Python number or a list has no place of its own; it goes where the arrays are.
    placed = {n: f for n, f in families.items() if not isinstance(arguments[n], _UNPLACED)}
    found = set(placed.values()) or {"cpu"}
    if len(found) > 1:
        where = ", ".join(f"{name} ({type(arguments[name]).__name__}) on {family}" for name, family in placed.items())
        raise TypeError(f"the arrays of one call must be on one device: {where}")
    (family,) = found
    if family in _BACKENDS:
        _not_arrays(arguments, placed, family)
        return _module(_BACKENDS[family])
    name = next(n for n, f in placed.items() if f == family)
    raise TypeError(f"{name} is on a device of type {family!r}; nbsmce computes on the CPU and on CUDA GPUs")


def _not_arrays(arguments: dict[str, Any], placed: dict[str, str], family: str) -> None:
    """Lists go to no GPU by themselves."""
    lists = [n for n, value in arguments.items() if family != "cpu" and isinstance(value, (list, tuple))]
    if lists:
        name = next(iter(placed))
        raise TypeError(f"{lists[0]} is a list, and {name} an array on a GPU: nbsmce moves no numbers there by itself")
