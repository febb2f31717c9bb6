"""The short way for small vectors and matrices: preparing the call of a kernel takes longer there than the kernel.

It is prepared once for each shape and dtype, and kept. The kernel and so the bits are those of the general way, which
everything takes but NumPy arrays of float32 or float64 and one or two dimensions along the last, errors included:
``tests/test_small.py``.
docs/performance.md has what that saves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._compile import Kernel
from .._spec import LossSpec, Wanted
from . import cross_entropy as losses
from . import host, launch
from .layout import abreast, is_apart
from .row_sums import RowSum, mean, options, reduced
from .row_targets import INT64, NO_INDICES, denominator


class Prepared(NamedTuple):
    """How a kernel is called."""

    entry: Callable[..., Any]
    view: Callable[[np.ndarray], np.ndarray] | None  # of the arrays; None if they are taken as they are
    no_mask: np.ndarray
    last: tuple[Any, ...]  # of the arguments


def _row(a: np.ndarray) -> np.ndarray:
    return a[None]


def _side_by_side(a: np.ndarray) -> np.ndarray:
    return a.T[None]


_MOST = 1024  # prepared calls that a thread keeps
_local = threading.local()


def prepared(kernel: Kernel, rooms: int, axis: Any, x: Any, y: Any = None, types: int = 1) -> Prepared | None:
    """How a kernel is called for an array, or for two alike; None if there is more to decide than that.

    ``types`` is how many storage types the kernel is compiled for: all are that of the array.
    """
    if type(axis) is not int or type(x) is not np.ndarray or x.size >= launch.SERIAL_WORK:
        return None
    if y is not None and (type(y) is not np.ndarray or y.shape != x.shape or y.dtype != x.dtype):
        return None
    try:
        return _local.known[id(kernel), axis, x.shape, x.dtype]  # type: ignore[no-any-return]
    except AttributeError:
        _local.known = {}
    except KeyError:
        if len(_local.known) >= _MOST:
            _local.known.clear()
    found = _prepare(kernel, rooms, axis, x, types)
    _local.known[id(kernel), axis, x.shape, x.dtype] = found
    return found


def _prepare(kernel: Kernel, rooms: int, axis: int, x: np.ndarray, types: int) -> Prepared | None:
    if x.dtype not in host.PLAIN or x.ndim not in (1, 2) or axis not in (-1, x.ndim - 1) or not x.size:
        return None
    view = _row if x.ndim == 1 else _side_by_side if abreast(*x.shape) else None
    seen, char = x if view is None else view(x), x.dtype.char
    nbytes, grain = launch.plan(seen.shape, char, rooms)
    entry = kernel[seen.ndim, *[char] * types]
    return Prepared(entry, view, launch.no_mask(seen), (host.scratch(1, nbytes), grain, 0, 1))


def room(out: Any, *inputs: np.ndarray) -> np.ndarray | None:
    """New memory for a result like the inputs, or ``out``; None if there is more to decide about that."""
    x = inputs[0]
    if out is None:
        return np.empty(x.shape, x.dtype)
    if type(out) is not np.ndarray or out.shape != x.shape or out.dtype != x.dtype or not out.flags.writeable:
        return None
    return out if is_apart(out, inputs, len(inputs)) else None


def is_of_rows(a: Any, x: np.ndarray) -> bool:
    """Whether an array has a number for each row of a matrix, as the kernels read them."""
    plain = type(a) is np.ndarray and x.ndim == 2 and a.shape == x.shape[:1]
    return plain and a.dtype == x.dtype and a.flags.c_contiguous


def cross_entropy(
    logits: Any, target: Any, axis: Any, spec: LossSpec, wanted: Wanted, dloss: Any, lse: Any, out: Any
) -> tuple[Any, Any, None] | None:
    """The loss and the gradient for class indices without weights, as in :mod:`~nbsmce._cpu.losses`."""
    if dloss is not None and (not isinstance(dloss, (float, np.floating)) or spec.reduction == "none"):
        return None
    short = prepared(losses.cross_entropy, 3, axis, logits, types=2)  # of logits and of probabilities
    if not short or logits.ndim != 2:
        return None
    if type(target) is not np.ndarray or target.dtype != INT64 or target.shape != logits.shape[:1]:
        return None
    if lse is not None and not is_of_rows(lse, logits):
        return None
    given = (logits, target) if lse is None else (logits, target, lse)
    gradient = room(out, *given) if wanted.gradient else NO_INDICES
    if gradient is None or not target.flags.c_contiguous:
        return None
    view = short.view
    x = logits if view is None else view(logits)
    dx = x[:0] if not wanted.gradient else gradient if view is None else view(gradient)
    (rows, classes), kind = logits.shape, host.PLAIN[logits.dtype]
    none, by_row = host.nothing(kind), spec.reduction == "none"
    divisor = denominator(target, none, none, classes, spec.ignore_index, (rows,))
    upstream = 1.0 if dloss is None else float(dloss)
    numbers = options(spec, mean(upstream, divisor) if spec.reduction == "mean" else upstream)
    of_rows = np.zeros(rows, kind.dtype) if by_row and wanted.loss else none
    total = RowSum(rows if wanted.loss and not by_row else 0)
    weighted, sums = total.memory(0, rows)
    total.total = short.entry(
        x, x[:0], target, none, none, none, none if lse is None else lse, of_rows, weighted, none, none, NO_INDICES, dx,
        numbers, spec.ignore_index, 0, sums, *short.last,
    )  # fmt: skip
    loss = reduced(of_rows, total, divisor, spec, (rows,), kind) if wanted.loss else None
    return loss, gradient if wanted.gradient else None, None
