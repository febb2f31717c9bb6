"""The short way for arrays that fit the cache: preparing the call of a kernel takes long beside the kernel there.

It is prepared once for each function, shape, dtype and set of options, and :func:`nbsmce._prepared.short` finds it
again. The kernel and so the bits are those of the general way, which everything takes but NumPy arrays that are
C-contiguous, or small: vectors, and matrices along the last dimension that are not in tiles; errors included:
``tests/test_short.py``. docs/performance.md has what that saves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._borrowed import taken
from .._compile import Kernels
from .._prepared import keep, short
from .._spec import LossSpec, Wanted
from .._threads import get_num_threads
from . import host, launch
from .cross_entropy import CROSS_ENTROPY
from .gradients import LOGSUMEXP_BACKWARD, SOFTMAX_BACKWARD
from .layout import abreast, is_apart
from .logsumexp import LOGSUMEXP
from .row_sums import NO_SUMS, PANEL, options
from .row_targets import INT64, NO_INDICES, refuse
from .softmax import SOFTMAX
from .sums import CHUNK, NO_CLASS
from .targets import ABOVE, DIVISOR, MEAN, REFUSED, UPSTREAM

Call = Callable[..., Any]
MOST_BYTES = launch.STREAM_BYTES
"""Arrays of so many take milliseconds, and their results may go past the cache."""

_KEPT_ROWS = 64
"""For so many rows a prepared loss keeps the memory of their losses."""


def prepared(make: Callable[..., Call | None], function: Any, axis: Any, x: Any, *options: Any) -> Call | None:
    """The call that ``make(axis, x, *options)`` makes, kept for the next time under that function and its last option.

    None if there is none, or has been one: then this call is out of the ordinary.
    """
    if type(axis) is not int or type(x) is not np.ndarray or x.nbytes >= MOST_BYTES:
        return None
    key = options[-1] if options else None
    if short(function, axis, x, key):
        return None
    call = make(axis, x, *options)
    if call is not None:
        keep(call, function, axis, x, key)
    return call


class Layout(NamedTuple):
    """How a kernel is called for arrays of one shape and dtype."""

    entry: Callable[..., Any]
    view: Callable[[np.ndarray], np.ndarray] | None  # of the arrays; None if they are taken as they are
    contiguous: bool  # whether they must be
    shape: tuple[int, ...]
    rows: tuple[int, ...]  # the shape without the classes
    dtype: np.dtype
    computed: np.dtype  # of numbers of rows
    no_mask: np.ndarray
    last: tuple[Any, ...]  # of the arguments
    threaded: bool  # whether several threads may have a part

    def room(self, out: Any, *inputs: np.ndarray) -> np.ndarray | None:
        """New memory for a result, or ``out``; None if there is more to decide about that."""
        if out is None:
            return np.empty(self.shape, self.dtype)
        if type(out) is not np.ndarray or out.dtype is not self.dtype or out.shape != self.shape:
            return None
        flags = out.flags
        if not flags.writeable or (self.contiguous and not flags.c_contiguous):
            return None
        apart = flags.owndata  # of two arrays that own their numbers neither lies in the other
        for a in inputs:
            apart = apart and a is not out and a.flags.owndata
        return out if apart or is_apart(out, inputs, len(inputs)) else None

    def of_rows(self, a: Any, dtype: np.dtype) -> np.ndarray | None:
        """An array that has a number for each row, as the kernels read it; None for anything else."""
        if type(a) is not np.ndarray or a.dtype is not dtype or a.shape != self.rows or not a.flags.c_contiguous:
            return None
        return a if len(self.rows) == 1 else a.reshape(-1) if self.rows else None


def _layout(
    kernels: Kernels,
    rooms: int,
    axis: int,
    x: np.ndarray,
    types: int = 1,
    usual: bool = True,
    multiplied: bool = False,
    most_rows: float = math.inf,
) -> Layout | None:
    """None for an array that goes the general way, as one of more rows than ``most_rows``.

    ``types`` is how many storage types the kernels are compiled for: all are that of the array. ``usual`` is that of
    :func:`~nbsmce._cpu.launch.launch`.
    """
    kind = host.kind_of(x.dtype)
    if kind is None or not x.size or not -x.ndim <= axis < x.ndim or x.size > most_rows * x.shape[axis]:
        return None
    stored, computed = host.DATA[kind.name], kind.computed.dtype
    threaded = x.size >= launch.SERIAL_WORK
    if threaded and (x.shape[axis] > CHUNK[computed.itemsize] or not x.flags.c_contiguous):
        return None  # the states of chunks need memory, and rows that lie side by side are taken so
    axis, shape, char = axis % x.ndim, x.shape, stored.char
    rows = shape[:axis] + shape[axis + 1 :]
    seen_shape, view = _view_of(axis, shape, x.itemsize, multiplied, None if stored == x.dtype else stored)
    seen = x if x.flags.c_contiguous else np.empty(shape, x.dtype)
    seen = taken(seen if view is None else view(seen), len(seen_shape))
    kernel, units = launch.chosen(kernels, get_num_threads() if threaded else 1, usual, seen)
    nbytes, grain = launch.plan(seen.shape, char, rooms)
    contiguous = threaded or x.ndim > 2 or axis < x.ndim - 1 or kernel is kernels.tiled
    entry = kernel[seen.ndim, *[char] * types]
    last: tuple[Any, ...] = host.scratch(nbytes), grain, 0, 1
    if threaded:
        entry, last = launch.with_threads(entry), (nbytes, max(1, grain // units), 0, 0)
    return Layout(entry, view, contiguous, shape, rows, x.dtype, computed, launch.no_mask(seen), last, threaded)


def _view_of(
    axis: int, shape: tuple[int, ...], itemsize: int, multiplied: bool, stored: np.dtype | None
) -> tuple[tuple[int, ...], Callable[[np.ndarray], np.ndarray] | None]:
    """The shape of what kernels take, and the view of it, unless :mod:`nbsmce._borrowed` takes the array so itself.

    ``stored`` is what it is read as, where that is another dtype.
    """
    outer, classes, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    flat = (outer, classes) if inner == 1 else (outer, classes, inner)
    seen = (1, classes, outer) if inner == 1 and abreast(outer, classes, itemsize, multiplied) else flat
    if shape == flat or len(shape) == 1:
        return seen, None if stored is None else lambda a: a.view(stored)
    return seen, lambda a: (a if stored is None else a.view(stored)).reshape(flat)


# -- the functions -----------------------------------------------------------------------------------------------------
# Each makes the call for arrays like ``x``, or None. The call takes what the public function gives it and returns None
# where there is more to decide; ``x`` has its shape and dtype.


def softmax(axis: int, x: np.ndarray, log: bool) -> Call | None:
    layout = _layout(SOFTMAX, 1, axis, x)
    if layout is None:
        return None
    entry, view, contiguous, shape, _, dtype, _, no_mask, (memory, grain, launcher, threads), _ = layout
    empty = np.empty

    def call(x: np.ndarray, out: Any) -> Any:
        if contiguous and not x.flags.c_contiguous:
            return None
        y = empty(shape, dtype) if out is None else layout.room(out, x)
        if y is None:
            return None
        if view is None:
            entry(x, no_mask, y, log, 0, memory, grain, launcher, threads)
        else:
            entry(view(x), no_mask, view(y), log, 0, memory, grain, launcher, threads)
        return y

    return call


def softmax_backward(axis: int, dy: np.ndarray, log: bool) -> Call | None:
    layout = _layout(SOFTMAX_BACKWARD, 2, axis, dy, multiplied=True)
    if layout is None:
        return None
    entry, view, contiguous, shape, _, dtype, _, _, (memory, grain, launcher, threads), _ = layout
    empty = np.empty

    def call(dy: np.ndarray, y: Any, out: Any) -> Any:
        if type(y) is not np.ndarray or y.dtype is not dtype or y.shape != shape:
            return None
        if contiguous and not (dy.flags.c_contiguous and y.flags.c_contiguous):
            return None
        dx = empty(shape, dtype) if out is None else layout.room(out, dy, y)
        if dx is None:
            return None
        if view is None:
            entry(dy, y, dx, log, 0, memory, grain, launcher, threads)
        else:
            entry(view(dy), view(y), view(dx), log, 0, memory, grain, launcher, threads)
        return dx

    return call


def logsumexp(axis: int, x: np.ndarray) -> Call | None:
    layout = _layout(LOGSUMEXP, 1, axis, x)
    if layout is None:
        return None
    entry, view, contiguous, _, rows, _, computed, no_mask, last, _ = layout
    count = math.prod(rows)

    def call(x: np.ndarray) -> Any:
        if contiguous and not x.flags.c_contiguous:
            return None
        lse = np.empty(count, computed)
        entry(x if view is None else view(x), no_mask, lse, *last)
        return lse if len(rows) == 1 else lse.reshape(rows)[()]

    return call


def logsumexp_backward(axis: int, x: np.ndarray) -> Call | None:
    layout = _layout(LOGSUMEXP_BACKWARD, 1, axis, x)
    if layout is None:
        return None
    entry, view, contiguous, *_, last, _ = layout

    def call(dlse: Any, x: np.ndarray, lse: Any, out: Any) -> Any:
        if contiguous and not x.flags.c_contiguous:
            return None
        above, total = layout.of_rows(dlse, layout.computed), layout.of_rows(lse, layout.computed)
        if above is None or total is None or (dx := layout.room(out, x, above, total)) is None:
            return None
        entry(x if view is None else view(x), above, total, dx if view is None else view(dx), 0, *last)
        return dx

    return call


def cross_entropy(axis: int, logits: np.ndarray, wanted: Wanted, spec: LossSpec) -> Call | None:
    """The loss and the gradient for class indices without weights, as in :mod:`~nbsmce._cpu.losses`."""
    # of logits and of probabilities; the losses of all rows are added up at once
    layout = _layout(CROSS_ENTROPY, 3, axis, logits, types=2, usual=spec.usual, most_rows=PANEL)
    if layout is None:
        return None
    entry, view, contiguous, _, of_rows, _, computed, no_mask, (memory, grain, launcher, threads), threaded = layout
    by_row, with_gradient, ignore_index = spec.reduction == "none", wanted.gradient, spec.ignore_index
    summed, rows, classes = wanted.loss and not by_row, math.prod(of_rows), logits.shape[axis]
    none, one = np.empty(0, computed), np.empty(1, computed)
    no_logits = np.empty((0,) * no_mask.ndim, host.DATA[logits.dtype.name])
    kept = np.empty(rows if summed and rows <= _KEPT_ROWS and not threaded else 0)
    settings = np.append(options(spec, 1.0), np.zeros(REFUSED - UPSTREAM))
    settings[MEAN] = spec.reduction == "mean"

    def call(logits: np.ndarray, target: Any, dloss: Any, lse: Any, out: Any) -> Any:
        indices, given_lse = layout.of_rows(target, INT64), none if lse is None else layout.of_rows(lse, computed)
        if indices is None or given_lse is None or (contiguous and not logits.flags.c_contiguous):
            return None
        numbers = settings.copy() if threaded else settings  # signal handlers run while threads work, and call this
        gradient = None
        if with_gradient:
            if dloss is None:
                numbers[ABOVE] = 1.0
            elif by_row or not isinstance(dloss, (float, np.floating)):
                return None
            else:
                numbers[ABOVE] = dloss
            if (gradient := layout.room(out, logits, indices, given_lse)) is None:
                return None
        losses = np.empty(rows, computed) if by_row and wanted.loss else none
        weighted = np.empty(rows) if summed and not kept.size else kept
        x, dx = logits, no_logits if gradient is None else gradient
        if view is not None:
            x, dx = view(x), dx if gradient is None else view(gradient)
        value = entry(
            x, no_logits, indices, none, none, none, given_lse, losses, weighted, none, none,
            NO_INDICES, dx, numbers, ignore_index, 0, NO_SUMS, memory, grain, launcher, threads,
        )  # fmt: skip
        if value != value:
            if numbers[REFUSED] != NO_CLASS:
                refuse(int(numbers[REFUSED]), indices, classes, ignore_index, of_rows)
            value = value if numbers[DIVISOR] else math.nan  # the processor's has a sign
        if summed:
            one[0] = value
            return one[0], gradient
        return losses.reshape(of_rows) if by_row and wanted.loss else None, gradient

    return call
