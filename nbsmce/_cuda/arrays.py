"""The arguments of a call as views that kernels take, and its results; what is wrong with them is said here."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .copies import copy
from .launch import ELEMENTS, nowhere
from .layout import Rows, Strides, rows_of
from .owners import Owner, View, contiguous
from .places import Matrix
from .plan import Plan
from .storage import HALVES

FLOATING = (*HALVES, "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def computed(dtype: str) -> str:
    """The dtype of losses and of logarithms of sums: float32 for the half types."""
    return "float64" if dtype == "float64" else "float32"


class Call:
    """A call as it is planned: its arguments as views, and the plan with what is done to them.

    ``mixed`` is whether an argument shares memory with ``out`` in another way than element by element.
    """

    def __init__(self, owner: Owner, names: tuple[str, ...], facts: tuple[Any, ...], mixed: bool) -> None:
        self.views = {
            name: owner.view(source, known, name)
            for source, (name, known) in enumerate(zip(names, facts, strict=True))
            if known is not None
        }
        for name, view in self.views.items():
            size = _itemsize(view)
            if view.odd % size:
                raise ValueError(f"{name} begins at an address that is no multiple of its {size} bytes for an element")
        self.mixed, self._facts = mixed, facts
        devices = {name: view.device for name, view in self.views.items() if view.size}
        if len(set(devices.values())) > 1:
            where = ", ".join(f"{name} on {device}" for name, device in devices.items())
            raise TypeError(f"the arrays of one call must be on one GPU: {where}")
        first = next(iter(self.views.values()))
        self.plan = Plan(owner, next(iter(devices.values()), first.device), len(names))
        # No library with arrays that come by DLPack knows our stream; so it could use their memory before it was read.
        self.plan.waits = any(view.lent for view in self.views.values())
        self.empty, self.scratch = self.plan.empty, self.plan.scratch

    def as_dtype(self, view: View, dtype: str) -> View:
        """The same numbers without gaps in another dtype; the array itself if it is of that."""
        if view.dtype == dtype:
            return view
        target = self.scratch(view.shape, dtype)
        copy(self.plan, view, target)
        return target

    def dense(self, view: View) -> View:
        """The same numbers without gaps."""
        if view.strides == contiguous(view.shape) or view.size <= 1:
            return view
        target = self.scratch(view.shape, view.dtype)
        copy(self.plan, view, target)
        return target

    # -- arguments -----------------------------------------------------------------------------------------------------

    def floating(self, name: str) -> View:
        """A floating argument; integers and truth values become float64."""
        view = self.views[name]
        if view.dtype in FLOATING:
            return view
        if view.dtype not in INTEGERS and view.dtype != "bool":
            raise TypeError(f"{name} must be float16, bfloat16, float32, float64 or integers, got dtype {view.dtype!r}")
        return self.as_dtype(view, "float64")

    def numbers(self, name: str, dtype: str, *shapes: tuple[int, ...]) -> Any:
        """A pointer to a floating argument of one of these shapes in this dtype; of one that is None, to nothing."""
        if name not in self.views:
            return nowhere(dtype)
        view = self.floating(name)
        if view.shape not in shapes:
            expected = " or ".join(str(s) for s in shapes)
            raise ValueError(f"{name} must have the shape {expected}, got {view.shape}")
        return self.dense(self.as_dtype(view, dtype)).pointer()

    def mask(self, name: str, shape: tuple[int, ...]) -> View | None:
        """A mask that broadcasts to this shape."""
        if name not in self.views:
            return None
        view = self.views[name]
        if view.dtype != "bool":
            raise TypeError(f"{name} must be boolean, got dtype {view.dtype!r}")
        return broadcast(view, shape, name)

    # -- results -------------------------------------------------------------------------------------------------------

    def result(self, shape: tuple[int, ...], dtype: str) -> View:
        """A result: ``out``, or a new array if that is not given."""
        if "out" not in self.views:
            return self.empty(shape, dtype)
        view = self.views["out"]
        if view.dtype != dtype:
            raise TypeError(f"out must have the dtype {dtype}, got {view.dtype}")
        if view.shape != shape:
            raise ValueError(f"out must have the shape {shape}, got {view.shape}")
        if not view.writeable:
            raise ValueError("out is read-only")
        return view

    def neighbours(self) -> list[tuple[int, int, int, bool]]:
        """What is to be known of the other arguments to find which share memory with ``out``, if that is given.

        ``(number, below, above, alike)`` for each: it does if ``below < address of out - its address < above``; and
        whether the two are the same if they begin at one address.
        """
        out = self.views.get("out")
        others = [v for v in self.views.values() if v is not out and v.size]
        if out is None or not out.size:
            return []
        first, last = _extent(out)
        result = []
        for view in others:
            low, high = _extent(view)
            result.append((view.source, low - last, high - first, self._facts[view.source] == self._facts[out.source]))
        return result


def _itemsize(view: View) -> int:
    """Of one element; 1 of dtypes that no kernel takes."""
    return int(np.dtype(ELEMENTS.get(view.dtype, np.uint8)).itemsize)


def _extent(view: View) -> tuple[int, int]:
    """From the address of an array to its first byte, and to the one behind its last."""
    itemsize = _itemsize(view)
    steps = [(n - 1) * s for n, s in zip(view.shape, view.strides, strict=True)]
    return sum(s for s in steps if s < 0) * itemsize, (sum(s for s in steps if s > 0) + 1) * itemsize


def broadcast(view: View, shape: tuple[int, ...], name: str) -> View:
    """An array with the strides of a larger shape."""
    try:
        fits = np.broadcast_shapes(view.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must have a shape that broadcasts to {shape}, got {view.shape}")
    missing = len(shape) - len(view.shape)
    strides = (0,) * missing + tuple(0 if n == 1 else s for n, s in zip(view.shape, view.strides, strict=True))
    return view._replace(shape=shape, strides=strides)


class Arranged(NamedTuple):
    """Arrays of one shape as rows, after those were copied that had too many strides."""

    rows: Rows
    views: list[View]
    written: View | None  # the last of them, where it stands for another that it is to be copied to


def arranged(call: Call, views: list[View], axes: tuple[int, ...], result: bool = True) -> Arranged:
    """Views as rows along ``axes``. If ``result``, the last is written.

    Arrays with more strides than the kernels take are copied, with the classes last; and so is a result that shares
    memory with an input in another way than element by element.
    """
    shape = views[0].shape
    rows = rows_of(shape, axes, tuple(v.strides for v in views))
    if rows is not None and not (result and call.mixed):
        return Arranged(rows, views, None)
    order = [i for i in range(len(shape)) if i not in axes] + [i for i in axes if i < len(shape)]
    copied = []
    for view in views:
        memory = call.scratch(tuple(shape[i] for i in order), view.dtype)
        strides = tuple(memory.strides[order.index(i)] for i in range(len(shape)))
        copied.append(memory._replace(shape=shape, strides=strides))
    sources = views[:-1] if result else views
    for source, target in zip(sources, copied, strict=False):
        copy(call.plan, source, target)
    rows = rows_of(shape, axes, tuple(v.strides for v in copied))
    if rows is None:
        raise RuntimeError("rows of a copy without gaps must have two strides")
    return Arranged(rows, copied, copied[-1] if result else None)


def matrix_of(view: View, strides: Strides) -> Matrix:
    """One array as a kernel takes it."""
    return Matrix(view.pointer(), strides.outer, strides.inner, strides.step)


def no_matrix(dtype: str) -> Matrix:
    """An array that was not given."""
    return Matrix(nowhere(dtype), 0, 0, 0)
