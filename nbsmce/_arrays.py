"""Axes, shapes and positions, for all backends."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np


def axis_numbers(axis: Any) -> int | tuple[int, ...] | None:
    """One axis, several or all as Python's own integers, which can be hashed and of which equal ones are the same."""
    if axis is None or type(axis) is int:
        return axis
    try:
        return tuple(map(operator.index, axis)) if isinstance(axis, (tuple, list)) else operator.index(axis)
    except TypeError:
        raise TypeError(f"axis must be an integer, a tuple of integers or None, got {axis!r}") from None


def class_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that ``axis`` (an integer, several, or None for all) names, in ascending order.

    As in PyTorch, a single number counts as one dimension.
    """
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    axis = axis_numbers(axis)
    if axis is None:
        return tuple(range(max(ndim, 1)))
    given = axis if isinstance(axis, tuple) else (axis,)
    dimensions = max(ndim, 1)
    for a in given:
        if not -dimensions <= a < dimensions:
            raise np.exceptions.AxisError(a, ndim)
    axes = sorted(a % dimensions for a in given)
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis names an axis twice: {axis!r}")
    return tuple(axes)


def class_axis(axis: Any, ndim: int) -> int:
    """The one class axis of a loss."""
    if axis is None or isinstance(axis, (tuple, list)):
        raise TypeError(f"axis must be an integer, got {axis!r}")
    return class_axes(axis, ndim)[0]


def without(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool = False) -> tuple[int, ...]:
    """The shape of what is left of ``shape`` when ``axes`` are summed over."""
    if len(axes) == 1 and not keepdims:
        return shape[: axes[0]] + shape[axes[0] + 1 :]
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """How many elements a row along ``axes`` has."""
    return math.prod(shape[i] for i in axes)


def index_of(position: int, shape: tuple[int, ...]) -> str:
    """A position in flattened rows, as one writes it behind a name."""
    return "[" + ", ".join(str(int(i)) for i in np.unravel_index(position, shape)) + "]" if shape else ""


def no_class(position: int, index: int, shape: tuple[int, ...], classes: int, ignore_index: int) -> str:
    """What is said of a class index that is none, at a position in flattened rows of this shape."""
    where = index_of(position, shape)
    return f"target{where} is {index}, which is neither in [0, {classes}) nor ignore_index ({ignore_index})"
