"""The targets of a loss as callers pass them, checked."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import numpy as np

from .. import _arrays
from . import host
from .host import Operand
from .sums import NO_CLASS
from .targets import inspect_targets

INT64 = np.dtype(np.int64)
NO_INDICES = np.empty(0, INT64)


class Targets(NamedTuple):
    """Checked targets: class indices in a row, or probabilities in the shape of the logits."""

    indices: np.ndarray
    probabilities: Operand | None
    shape: tuple[int, ...]  # of the rows


def checked(target: Any, logits: Operand, axis: int) -> Targets:
    """The targets of these logits, or an error that names what is wrong with them."""
    shape = logits.data.shape
    rows = _arrays.without(shape, (axis,))
    array = host.as_numpy(target, "target")
    if host.is_floating(target) and (array.size or array.shape != rows):
        if array.shape != shape:
            raise ValueError(
                f"a floating target holds the probabilities of the classes and must have the logits' shape {shape}, "
                f"got {array.shape} of {array.dtype.name}; class indices must be integers"
            )
        return Targets(NO_INDICES, host.floating(target, "target"), rows)
    return Targets(class_indices(target, array, rows), None, rows)


def class_indices(target: Any, array: np.ndarray, rows: tuple[int, ...]) -> np.ndarray:
    """Class indices as int64, row after row."""
    if array.dtype.kind not in "iu" and (array.size or not host.is_floating(target)):
        raise TypeError(f"target must hold class indices of an integer dtype, got {array.dtype.name!r}")
    if array.shape != rows:
        raise ValueError(f"target must have the shape {rows} for class indices, got {array.shape}")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        position = int(np.argmax(array.reshape(-1) > np.iinfo(np.int64).max))
        raise IndexError(
            f"target{_arrays.index_of(position, rows)} is {array.reshape(-1)[position]}, which is no class"
        )
    if array.ndim == 1 and array.dtype == INT64 and array.flags.c_contiguous:
        return array
    return np.ascontiguousarray(array, dtype=INT64).reshape(-1)


def denominator(
    indices: np.ndarray, weight: np.ndarray, sample: np.ndarray, classes: int, ignore_index: int, rows: tuple[int, ...]
) -> float:
    """What a mean over rows with class indices is divided by. Raises where an index is no class."""
    total = np.zeros(1)
    kernel = inspect_targets[weight.dtype.char,]
    first = kernel(indices, weight, sample, classes, ignore_index, total)
    if first != NO_CLASS:
        refuse(first, indices, classes, ignore_index, rows)
    return float(total[0])


def refuse(position: int, indices: np.ndarray, classes: int, ignore_index: int, rows: tuple[int, ...]) -> NoReturn:
    """Raise for a class index that is none."""
    raise IndexError(_arrays.no_class(position, indices[position], rows, classes, ignore_index))
