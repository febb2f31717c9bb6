"""The arguments of a call as views that kernels take, and its results; what is wrong with them is said here."""

from __future__ import annotations

import math
import numbers as numeric
from typing import Any, NamedTuple

import numpy as np

from . import driver
from .copies import copy
from .launch import capability_of, nowhere
from .layout import Rows, Strides, rows_of
from .owners import Owner, View, owner_of
from .places import Matrix
from .rows import Place

FLOATING = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def computed(dtype: str) -> str:
    """The dtype of losses and of logarithms of sums: float32 for the half types."""
    return "float64" if dtype == "float64" else "float32"


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array without gaps."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


class Call:
    """One call: whose arrays it has, on which device and stream, and the memory that must live until it is enqueued."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        placed = {n: a for n, a in arrays.items() if a is not None and not isinstance(a, numeric.Number)}
        first = next(iter(placed))
        driver.require(first)
        self.owner: Owner = owner_of(placed[first], first)
        self.views: dict[str, View] = {}
        for name, array in placed.items():
            owner = owner_of(array, name)
            if owner is not self.owner:
                raise TypeError(
                    f"the arrays of one call must be of one library: {first} is a {self.owner.name}, {name} a "
                    f"{owner.name}"
                )
            self.views[name] = owner.view(array, name)
        devices = {name: view.device for name, view in self.views.items() if view.size}
        if len(set(devices.values())) > 1:
            where = ", ".join(f"{name} on {device}" for name, device in devices.items())
            raise TypeError(f"the arrays of one call must be on one GPU: {where}")
        device = next(iter(devices.values()), self.views[first].device)
        self.place = Place(self.owner, device, self.owner.stream(device), capability_of(device))
        self._alive: list[Any] = []

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """A new array of the caller's kind."""
        return self.owner.empty(shape, dtype, self.place.device)

    def keep(self, array: Any) -> View:
        """A view of an array that lives as long as the call."""
        self._alive.append(array)
        return self.owner.view(array, "")

    def scratch(self, shape: tuple[int, ...], dtype: str) -> View:
        """New memory for this call."""
        return self.keep(self.empty(shape, dtype))

    def as_dtype(self, view: View, dtype: str) -> View:
        """The same numbers without gaps in another dtype; the array itself if it is of that."""
        if view.dtype == dtype:
            return view
        target = self.scratch(view.shape, dtype)
        copy(self.place, view, target)
        return target

    def dense(self, view: View) -> View:
        """The same numbers without gaps."""
        if view.strides == contiguous(view.shape) or view.size <= 1:
            return view
        target = self.scratch(view.shape, view.dtype)
        copy(self.place, view, target)
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

    def result(self, out: Any, shape: tuple[int, ...], dtype: str) -> tuple[Any, View]:
        """``(the caller's array, a view of it)`` for a result: ``out``, or a new one if that is None."""
        if out is None:
            out = self.empty(shape, dtype)
            return out, self.owner.view(out, "out")
        view = self.views["out"]
        if view.dtype != dtype:
            raise TypeError(f"out must have the dtype {dtype}, got {view.dtype}")
        if view.shape != shape:
            raise ValueError(f"out must have the shape {shape}, got {view.shape}")
        if not view.writeable:
            raise ValueError("out is read-only")
        return out, view


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


def arranged(
    call: Call, views: list[View], axes: tuple[int, ...], result: bool = True, inputs: tuple[View, ...] = ()
) -> Arranged:
    """Views as rows along ``axes``. If ``result``, the last is written.

    Arrays with more strides than the kernels take are copied, with the classes last; and so is a result that shares
    memory with an input in another way than element by element.
    """
    shape = views[0].shape
    rows = rows_of(shape, axes, tuple(v.strides for v in views))
    mixed = result and any(_overlaps(views[-1], v) for v in (*views[:-1], *inputs))
    if rows is not None and not mixed:
        return Arranged(rows, views, None)
    order = [i for i in range(len(shape)) if i not in axes] + [i for i in axes if i < len(shape)]
    copied = []
    for view in views:
        memory = call.scratch(tuple(shape[i] for i in order), view.dtype)
        strides = tuple(memory.strides[order.index(i)] for i in range(len(shape)))
        copied.append(memory._replace(shape=shape, strides=strides))
    sources = views[:-1] if result else views
    for source, target in zip(sources, copied, strict=False):
        copy(call.place, source, target)
    rows = rows_of(shape, axes, tuple(v.strides for v in copied))
    if rows is None:
        raise RuntimeError("rows of a copy without gaps must have two strides")
    return Arranged(rows, copied, copied[-1] if result else None)


def _extent(view: View) -> tuple[int, int]:
    """The first byte of an array and the one behind its last."""
    itemsize = np.dtype(view.dtype.replace("bfloat16", "float16")).itemsize
    low = sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True) if s < 0)
    high = sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True) if s > 0)
    return view.address + low * itemsize, view.address + (high + 1) * itemsize


def _overlaps(result: View, source: View) -> bool:
    """Whether writing one element could change another that is still to be read; in place is no such case."""
    if not result.size or not source.size:
        return False
    if (result.address, result.strides, result.shape) == (source.address, source.strides, source.shape):
        return result.dtype != source.dtype
    (a, b), (c, d) = _extent(result), _extent(source)
    return a < d and c < b


def matrix_of(view: View, strides: Strides) -> Matrix:
    """One array as a kernel takes it."""
    return Matrix(view.pointer(), strides.outer, strides.inner, strides.step)


def no_matrix(dtype: str) -> Matrix:
    """An array that was not given."""
    return Matrix(nowhere(dtype), 0, 0, 0)
