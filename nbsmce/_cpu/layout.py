"""From arrays of any shape and strides to what kernels take: (rows, classes) or (outer, classes, inner).

What is made here are views of the caller's memory. Arrays whose batch axes do not merge into one (a slice of every
sequence of a batch, say) are taken as several *slabs*; only where those would be many and small, or several class axes
do not merge, is an array copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .._compile import MASK_REGISTERS
from .lanes.storage import LANES

FEW_CLASSES = 32
"""Rows of up to so many classes are taken sixteen abreast: along them most lanes would be idle."""

FILLED = 128 if MASK_REGISTERS else 64
"""Bytes of two registers for vectors: rows whose classes fill so much are taken along where little is computed.
Transposing three arrays takes 1.1 to 1.8 of the time then; of one register, 0.85 to 1.1 (docs/performance-avx2.md)."""

_MANY_SLABS = 64
_SMALL_SLAB = 1 << 14

Work = Callable[[list[np.ndarray], int], None]


def over_rows(
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    axes: tuple[int, ...],
    work: Work,
    guarded: Sequence[np.ndarray] = (),
    *,
    new: bool = False,
    replaceable: int = 1,
    multiplied: bool = False,
) -> None:
    """Call ``work(views, first_row)`` until every row along ``axes`` is handled.

    ``inputs`` and ``outputs`` have one shape, which is not empty; without dimensions they count as a row of one
    class. The views are of the inputs, then of the outputs. An output may be one of the first ``replaceable`` inputs.
    One that overlaps an input, or what is in ``guarded``, in another way is computed elsewhere and copied at the end;
    ``new`` outputs overlap nothing. ``multiplied`` is that of :func:`abreast`.
    """
    results = outputs
    if not new:
        others = (*inputs, *guarded)
        results = [out if is_apart(out, others, replaceable) else np.empty(out.shape, out.dtype) for out in outputs]
    arrays = [*inputs, *results]
    # For vectors and matrices what follows would find the same, in most of the time of a small call.
    if arrays[0].ndim == 1:
        work([a[None] for a in arrays], 0)
    elif axes == (1,) and arrays[0].ndim == 2:
        work(_of_matrices(arrays, multiplied), 0)
    else:
        _over_slabs([np.atleast_1d(a) for a in arrays], len(inputs), axes, work, multiplied)
    if not new:
        for out, result in zip(outputs, results, strict=True):
            if result is not out:
                out[...] = result


def _over_slabs(arrays: list[np.ndarray], inputs: int, axes: tuple[int, ...], work: Work, multiplied: bool) -> None:
    views = [_merge_axes(a, axes) for a in arrays]
    axis = axes[0] if len(axes) == 1 else views[0].ndim - 1
    looped = _looped_axes(views, axis)
    count = math.prod(views[0].shape[i] for i in looped)
    if count > _MANY_SLABS and views[0].size // count < _SMALL_SLAB:
        views, looped = [np.ascontiguousarray(a) for a in views], []
    for slab, first_row in _slabs(views, axis, looped):
        work(_arrange(slab, multiplied), first_row)
    for result, view in zip(arrays[inputs:], views[inputs:], strict=True):
        if not np.may_share_memory(view, result):
            moved = _moved(result, axes)
            moved[...] = view.reshape(moved.shape)


def is_apart(out: np.ndarray, inputs: Sequence[np.ndarray], replaceable: int) -> bool:
    """Whether ``out`` overlaps no input, but for being one of the first."""
    for i, a in enumerate(inputs):
        may_be_same = i < replaceable
        if may_be_same and out is a:
            continue
        if np.may_share_memory(out, a) and not (may_be_same and _same(out, a)):
            return False
    return True


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same elements in the same order."""
    start = [array.__array_interface__["data"][0] for array in (a, b)]
    return start[0] == start[1] and a.strides == b.strides and a.shape == b.shape and a.dtype == b.dtype


def _moved(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Several class axes at the end, in their order."""
    if len(axes) == 1:
        return array
    return array.transpose([i for i in range(array.ndim) if i not in axes] + list(axes))


def _merge_axes(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Several class axes as one, the last; a copy if they do not merge."""
    if len(axes) == 1:
        return array
    return _moved(array, axes).reshape([n for i, n in enumerate(array.shape) if i not in axes] + [-1])


# -- slabs -------------------------------------------------------------------------------------------------------------


def _unmerged(views: Sequence[np.ndarray], start: int, stop: int) -> int:
    """The first axis ``i`` such that the axes from ``i`` to ``stop`` are one in every array."""
    real = [i for i in range(start, stop) if views[0].shape[i] > 1]
    for outer, inner in zip(reversed(real[:-1]), reversed(real[1:]), strict=True):
        if any(a.strides[outer] != a.strides[inner] * a.shape[inner] for a in views):
            return inner
    return start


def _looped_axes(views: Sequence[np.ndarray], axis: int) -> list[int]:
    """The batch axes that must be looped over so that those before and those behind the class axis are one each.

    A slab's rows follow each other in the order of all rows; so when axes behind are looped over, all before are.
    """
    behind = _unmerged(views, axis + 1, views[0].ndim)
    before = _unmerged(views, 0, axis) if behind == axis + 1 or axis + 1 == views[0].ndim else axis
    return [*range(before), *range(axis + 1, behind)]


def _slabs(views: Sequence[np.ndarray], axis: int, looped: Sequence[int]) -> Iterator[tuple[list[np.ndarray], int]]:
    """Views as (outer, classes, inner), and the number of their first row."""
    shape = views[0].shape
    kept = [i for i in range(len(shape)) if i not in looped]
    outer = math.prod(shape[i] for i in kept if i < axis)
    inner = math.prod(shape[i] for i in kept if i > axis)
    rows = outer * inner
    for number, where in enumerate(np.ndindex(*[shape[i] for i in looped])):
        index: list[int | slice] = [slice(None)] * len(shape)
        for i, position in zip(looped, where, strict=True):
            index[i] = position
        parts = [a[tuple(index)] for a in views] if looped else views
        yield [a.reshape(outer, shape[axis], inner, copy=False) for a in parts], number * rows


def _arrange(arrays: list[np.ndarray], multiplied: bool) -> list[np.ndarray]:
    """(outer, classes, inner) as it is best read: (rows, classes), or rows abreast."""
    outer, classes, inner = arrays[0].shape
    if inner > 1 and all(a.strides[1] == a.itemsize for a in arrays if a.dtype != np.uint8):  # masks are bytes
        last = [a.transpose(0, 2, 1) for a in arrays]
        if _unmerged(last, 0, 2) == 0:
            arrays = [a.reshape(outer * inner, classes, 1, copy=False) for a in last]
            outer, inner = outer * inner, 1
    if inner > 1:
        return arrays
    rows = [a[:, :, 0] for a in arrays]
    return _of_matrices(rows, multiplied)


def _of_matrices(arrays: list[np.ndarray], multiplied: bool) -> list[np.ndarray]:
    """(rows, classes), or rows abreast where the classes are few or rows lie side by side."""
    rows, classes = arrays[0].shape
    if abreast(rows, classes, arrays[0].itemsize, multiplied) or (
        rows >= LANES and any(a.strides[0] == a.itemsize < a.strides[1] for a in arrays)
    ):
        return [a.T[None] for a in arrays]
    return arrays


def abreast(rows: int, classes: int, itemsize: int, multiplied: bool) -> bool:
    """Whether the rows of a matrix are taken side by side; ``multiplied``: their results are little but products."""
    along = multiplied and classes % LANES == 0 and classes * max(itemsize, 4) >= FILLED  # half types become float32
    return classes <= FEW_CLASSES and rows >= LANES and not along
