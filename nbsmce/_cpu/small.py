"""The short way for small vectors and matrices: preparing the call of a kernel takes longer there than the kernel.

It is prepared once for each shape and dtype, and kept. The kernel and so the bits are those of the general way, which
everything takes but NumPy arrays of float32 or float64 that are vectors, matrices along the last dimension, or
C-contiguous; errors included: ``tests/test_small.py``. docs/performance.md has what that saves.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._compile import Kernels
from .._spec import LossSpec, Wanted
from . import host, launch
from .cross_entropy import CROSS_ENTROPY
from .layout import abreast, is_apart
from .row_sums import RowSum, mean, options, reduced
from .row_targets import INT64, NO_INDICES, denominator


class Prepared(NamedTuple):
    """How a kernel is called."""

    entry: Callable[..., Any]
    view: Callable[[np.ndarray], np.ndarray] | None  # of the arrays; None if they are taken as they are
    contiguous: bool  # whether they must be
    shape: tuple[int, ...]  # without the classes
    rows: int
    no_mask: np.ndarray
    last: tuple[Any, ...]  # of the arguments


def _row(a: np.ndarray) -> np.ndarray:
    return a[None]


def _side_by_side(a: np.ndarray) -> np.ndarray:
    return a.T[None]


_MOST = 1024  # prepared calls that a thread keeps
_local = threading.local()


def prepared(
    kernels: Kernels, rooms: int, axis: Any, x: Any, y: Any = None, types: int = 1, usual: bool = True
) -> Prepared | None:
    """How one of the kernels is called for an array, or for two alike; None if there is more to decide than that.

    ``types`` is how many storage types the kernels are compiled for: all are that of the array. ``usual`` is that of
    :func:`~nbsmce._cpu.launch.launch`.
    """
    if type(axis) is not int or type(x) is not np.ndarray or x.size >= launch.SERIAL_WORK:
        return None
    if y is not None and (type(y) is not np.ndarray or y.shape != x.shape or y.dtype != x.dtype):
        return None
    key = id(kernels), usual, axis, x.shape, x.dtype
    try:
        found: Prepared | None = _local.known[key]
    except (AttributeError, KeyError):
        found = _prepare(kernels, rooms, axis, x, types, usual)
        if len(_local.__dict__.setdefault("known", {})) >= _MOST:
            _local.known.clear()
        _local.known[key] = found
    if found and found.contiguous and not (x.flags.c_contiguous and (y is None or y.flags.c_contiguous)):
        return None
    return found


def _prepare(kernels: Kernels, rooms: int, axis: int, x: np.ndarray, types: int, usual: bool) -> Prepared | None:
    if x.dtype not in host.PLAIN or not x.size or not -x.ndim <= axis < x.ndim:
        return None
    axis, shape, char = axis % x.ndim, x.shape, x.dtype.char
    rows = shape[:axis] + shape[axis + 1 :]
    view, made = _view_of(axis, shape), np.empty(shape, x.dtype)
    seen = made if view is None else view(made)
    bundled = kernels.bundled if usual and launch.in_bundles(1, seen) else None
    kernel = kernels.whole if bundled is None else bundled
    nbytes, grain = launch.plan(seen.shape, char, rooms)
    entry, contiguous = kernel[seen.ndim, *[char] * types], x.ndim > 2 or axis < x.ndim - 1
    last = host.scratch(1, nbytes), grain, 0, 1
    return Prepared(entry, view, contiguous, rows, math.prod(rows), launch.no_mask(seen), last)


def _view_of(axis: int, shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray] | None:
    """From an array to what kernels take."""
    outer, classes, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    if len(shape) == 1:
        return _row
    if inner > 1:
        return lambda a: a.reshape(outer, classes, inner)
    if abreast(outer, classes):
        return _side_by_side if len(shape) == 2 else lambda a: a.reshape(outer, classes).T[None]
    return None if len(shape) == 2 else lambda a: a.reshape(outer, classes)


def room(short: Prepared, out: Any, *inputs: np.ndarray) -> np.ndarray | None:
    """New memory for a result like the inputs, or ``out``; None if there is more to decide about that."""
    x = inputs[0]
    if out is None:
        return np.empty(x.shape, x.dtype)
    if type(out) is not np.ndarray or out.shape != x.shape or out.dtype != x.dtype or not out.flags.writeable:
        return None
    if short.contiguous and not out.flags.c_contiguous:
        return None
    return out if is_apart(out, inputs, len(inputs)) else None


def of_rows(short: Prepared, a: Any, dtype: np.dtype) -> np.ndarray | None:
    """An array that has a number for each row, as the kernels read it; None for anything else."""
    if (
        type(a) is not np.ndarray
        or a.shape != short.shape
        or not a.ndim
        or a.dtype != dtype
        or not a.flags.c_contiguous
    ):
        return None
    return a if a.ndim == 1 else a.reshape(-1)


def cross_entropy(
    logits: Any, target: Any, axis: Any, spec: LossSpec, wanted: Wanted, dloss: Any, lse: Any, out: Any
) -> tuple[Any, Any, None] | None:
    """The loss and the gradient for class indices without weights, as in :mod:`~nbsmce._cpu.losses`."""
    if dloss is not None and (not isinstance(dloss, (float, np.floating)) or spec.reduction == "none"):
        return None
    short = prepared(CROSS_ENTROPY, 3, axis, logits, types=2, usual=spec.usual)  # of logits and of probabilities
    if not short:
        return None
    indices = of_rows(short, target, INT64)
    given_lse = None if lse is None else of_rows(short, lse, logits.dtype)
    if indices is None or (given_lse is None and lse is not None):
        return None
    given = (logits, indices) if given_lse is None else (logits, indices, given_lse)
    gradient = room(short, out, *given) if wanted.gradient else NO_INDICES
    if gradient is None:
        return None
    view = short.view
    x = logits if view is None else view(logits)
    dx = x[:0] if not wanted.gradient else gradient if view is None else view(gradient)
    rows, kind = short.rows, host.PLAIN[logits.dtype]
    none, by_row = host.nothing(kind), spec.reduction == "none"
    divisor = denominator(indices, none, none, logits.shape[axis], spec.ignore_index, short.shape)
    upstream = 1.0 if dloss is None else float(dloss)
    numbers = options(spec, mean(upstream, divisor) if spec.reduction == "mean" else upstream)
    losses_of = np.zeros(rows, kind.dtype) if by_row and wanted.loss else none
    total = RowSum(rows if wanted.loss and not by_row else 0)
    weighted, sums = total.memory(0, rows)
    total.total = short.entry(
        x, x[:0], indices, none, none, none, none if given_lse is None else given_lse, losses_of, weighted, none, none,
        NO_INDICES, dx, numbers, spec.ignore_index, 0, sums, *short.last,
    )  # fmt: skip
    loss = reduced(losses_of, total, divisor, spec, short.shape, kind) if wanted.loss else None
    return loss, gradient if wanted.gradient else None, None
