"""Arrays that come by DLPack alone, described by ``cuda.core``."""

from __future__ import annotations

from typing import Any

NEEDED = (1, 2)
"""The first cuda-core that heeds where in its memory an array begins; those before take the memory's begin for it."""


class Borrowed(int):
    """An address that keeps the view it is from: its end tells the array's library that the memory is free."""

    view: Any


def borrowed(array: Any, name: str, stream: int) -> tuple[Borrowed, tuple[Any, ...]]:
    """``(address, facts)`` of an array, as :class:`.owners._InBytes` has them, to be read on this stream."""
    from cuda.core import __version__ as version
    from cuda.core.utils import StridedMemoryView

    if tuple(int(n) for n in version.split(".")[:2]) < NEEDED:
        raise TypeError(f"{name} ({type(array).__name__}) comes by DLPack, for which cuda-core {version} is too old")
    try:
        view = StridedMemoryView.from_dlpack(array, stream_ptr=stream)
        dtype = view.dtype
    except (BufferError, NotImplementedError, TypeError) as error:
        raise TypeError(f"{name} ({type(array).__name__}) cannot be had by DLPack: {error}") from error
    address = Borrowed(view.ptr)
    address.view = view
    strides = None if view.strides is None else tuple(s * dtype.itemsize for s in view.strides)
    return address, (view.shape, strides, dtype, view.device_id, not view.readonly, address & 15, "lent")
