"""Calls that a backend has prepared for arrays like those of an earlier call.

A call of a small array takes a microsecond in all; a search for the backend, for the layout and for the kernel would
take several.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np


class _Prepared(threading.local):
    """Of each thread its own: they have memory that they work in."""

    def __init__(self) -> None:
        self.calls: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self.last: dict[Any, tuple[Any, ...]] = {}  # of each function: for which arrays it was called, and the call


_MOST = 1024  # that a thread keeps
_prepared = _Prepared()
_array = np.ndarray


def short(function: Any, axis: Any, x: Any, options: Any = None) -> Callable[..., Any] | None:
    """The call of ``function`` for NumPy arrays of this shape and dtype, if there is one.

    The rest of its arguments are for the call to look at; it returns None where it cannot go on.
    """
    if type(x) is not _array or type(axis) is not int:
        return None
    shape, dtype = x.shape, x.dtype
    last = _prepared.last.get(function)
    if last is not None:  # to compare takes half of the time of making a key
        of_shape, of_dtype, of_axis, of_options, call = last
        if shape == of_shape and dtype is of_dtype and axis == of_axis and options is of_options:
            return call  # type: ignore[no-any-return]
    found = _prepared.calls.get((function, axis, shape, dtype, options))
    if found is not None:
        _prepared.last[function] = shape, dtype, axis, options, found
    return found


def keep(call: Callable[..., Any], function: Any, axis: int, x: np.ndarray, options: Any = None) -> None:
    """Let :func:`short` find ``call``."""
    if len(_prepared.calls) >= _MOST:
        forget()
    _prepared.calls[function, axis, x.shape, x.dtype, options] = call


def forget() -> None:
    """Let :func:`short` find nothing in this thread."""
    _prepared.calls.clear()
    _prepared.last.clear()
