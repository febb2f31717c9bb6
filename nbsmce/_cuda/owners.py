"""Whose arrays the caller's are: how PyTorch, CuPy and Numba describe an array, allocate one, and name their stream.

No library is imported here that the owner of an array has not imported. An owner describes the arrays of a call as
:class:`View`, and makes the results, in its own memory pool, on the array's device.
"""

from __future__ import annotations

import functools
import math
import numbers
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from . import checked, driver
from .device import SIMULATED
from .dlpack import borrowed
from .launch import Pointer, follow


class View(NamedTuple):
    """An array of a plan, which is made for all addresses."""

    source: int  # its number among the plan's arrays
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    device: int
    writeable: bool
    odd: int  # bytes from a multiple of 16 to its address
    lent: bool = False  # until its library is told that it has been read

    def pointer(self) -> Pointer:
        """What a kernel is given."""
        return Pointer(self.source, self.dtype)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Owner(Protocol):
    """A library with arrays on GPUs."""

    name: str

    def __hash__(self) -> int:
        """There is one of each."""

    def facts(self, array: Any, name: str) -> tuple[int, tuple[Any, ...]]:
        """``(address, what else is known of an array)``.

        All that a call depends on but the address itself, cheap to find, and hashable. ``name`` is that of the
        argument, for errors.
        """

    def view(self, source: int, facts: tuple[Any, ...], name: str) -> View:
        """The same in the terms of a plan."""

    def maker(self, shape: tuple[int, ...], dtype: str, device: int) -> Callable[[], Any]:
        """What allocates a new array, for the current stream."""

    def address(self, array: Any, /) -> int:
        """Where a new array is."""

    def stream(self, device: int, /) -> int:
        """The current stream's handle."""

    def numbers(self, array: Any) -> list[Any]:
        """The elements of an array without gaps; waits for them."""

    def checked(self, loss: Any, record: checked.Record | None) -> Any:
        """The same loss, which looks at a record when it is read, if there is one, and can be read by ``float``."""


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array without gaps, in elements; as PyTorch counts them where there are none."""
    return tuple(math.prod(max(1, n) for n in shape[i + 1 :]) for i in range(len(shape)))


class Torch:
    """PyTorch."""

    name = "torch.Tensor"

    def __init__(self) -> None:
        self.torch = torch = sys.modules["torch"]
        self.strided = torch.strided
        self.address = torch.Tensor.data_ptr
        # What PyTorch's own compiler and Triton read it with: torch.cuda.current_stream makes an object of it first.
        self.stream = getattr(torch._C, "_cuda_getCurrentRawStream", self._stream)

    def facts(self, array: Any, name: str) -> tuple[int, tuple[Any, ...]]:
        if array.requires_grad:
            raise TypeError(f"{name} requires a gradient, which PyTorch would not get: pass {name}.detach()")
        if array.layout is not self.strided:
            raise TypeError(f"{name} must be a dense tensor, got {array.layout}, {array.dtype}")
        if array.is_neg():
            raise TypeError(f"{name} has its numbers negated when they are read: pass {name}.resolve_neg()")
        address = array.data_ptr()
        return address, (array.shape, array.stride(), array.dtype, array.get_device(), address & 15)

    def view(self, source: int, facts: tuple[Any, ...], name: str) -> View:
        shape, strides, dtype, device, odd = facts
        return View(source, str(dtype).removeprefix("torch."), tuple(shape), tuple(strides), device, True, odd)

    def maker(self, shape: tuple[int, ...], dtype: str, device: int) -> Callable[[], Any]:
        torch = self.torch
        options = {"dtype": getattr(torch, dtype), "device": torch.device("cuda", device)}
        # torch.empty, which wants no strides, takes 0.8 us longer (PyTorch 2.13, in main memory).
        return functools.partial(torch.empty_strided, shape, contiguous(shape), **options)

    def _stream(self, device: int) -> int:
        return int(self.torch.cuda.current_stream(device).cuda_stream)

    def numbers(self, array: Any) -> list[Any]:
        return list(array.reshape(-1).tolist())

    def checked(self, loss: Any, record: checked.Record | None) -> Any:
        if record is None:
            return loss
        loss.__class__ = checked.torch_class()  # 2 us less than as_subclass, which makes another tensor
        loss._nbsmce_record = record
        return loss


class _InBytes:
    """Of libraries with dtypes of NumPy, and strides in bytes, None for those of an array without gaps."""

    def view(self, source: int, facts: tuple[Any, ...], name: str) -> View:
        shape, strides, dtype, device, writeable, odd, *lent = facts
        if not dtype.isnative:
            raise TypeError(f"{name} has its bytes swapped: {dtype.str}")
        size = dtype.itemsize
        if strides is not None and any(s % size for s in strides):
            raise ValueError(f"{name} has strides {strides} that are no multiples of its {size} bytes for an element")
        steps = contiguous(shape) if strides is None else tuple(s // size for s in strides)
        return View(source, dtype.name, tuple(shape), steps, device, writeable, odd, bool(lent))


class CuPy(_InBytes):
    """CuPy."""

    name = "cupy.ndarray"

    def __init__(self) -> None:
        self.cupy = sys.modules["cupy"]

    def facts(self, array: Any, name: str) -> tuple[int, tuple[Any, ...]]:
        data = array.data
        address = data.ptr
        return address, (array.shape, array.strides, array.dtype, data.device_id, True, address & 15)

    def maker(self, shape: tuple[int, ...], dtype: str, device: int) -> Callable[[], Any]:
        cupy, kind = self.cupy, dtype_of(dtype)

        def make() -> Any:
            with cupy.cuda.Device(device):
                return cupy.empty(shape, kind)

        return make

    def address(self, array: Any, /) -> int:
        return int(array.data.ptr)

    def stream(self, device: int, /) -> int:
        return int(self.cupy.cuda.get_current_stream(device).ptr)

    def numbers(self, array: Any) -> list[Any]:
        return list(array.reshape(-1).get().tolist())

    def checked(self, loss: Any, record: checked.Record | None) -> Any:
        if record is None:
            return loss
        loss = loss.view(checked.cupy_class())
        loss._nbsmce_record = record
        return loss


def dtype_of(name: str) -> Any:
    """The NumPy dtype; bfloat16 is that of ml_dtypes, which who has such arrays has imported."""
    if name == "bfloat16":
        return np.dtype(sys.modules["ml_dtypes"].bfloat16)
    return np.dtype(name)


class Numba(_InBytes):
    """Numba, and whoever else offers ``__cuda_array_interface__`` or DLPack: results are Numba's device arrays."""

    name = "numba.cuda.DeviceNDArray"

    def facts(self, array: Any, name: str) -> tuple[int, tuple[Any, ...]]:
        if SIMULATED:
            values = array._ary
            address, device, writeable = self.address(array), 0, values.flags.writeable
            return address, (values.shape, values.strides, values.dtype, device, writeable, address & 15)
        if hasattr(array, "__cuda_ndarray__"):
            address, stream = self.address(array), array.stream
            device = _device_of(address)
            if stream:
                self._wait_for(int(stream), device)
            return address, (array.shape, array.strides, array.dtype, device, True, address & 15)
        interface = getattr(array, "__cuda_array_interface__", None)
        if interface is None:
            return borrowed(array, name, self.stream(0))
        if interface.get("mask") is not None:
            raise TypeError(f"{name} ({type(array).__name__}) has a mask, which nothing here would heed")
        address, read_only = interface["data"]
        address = address or 0
        shape, strides = tuple(interface["shape"]), interface.get("strides")
        dtype = np.dtype(getattr(array, "dtype", interface["typestr"]))
        strides = None if strides is None else tuple(strides)
        device = _device_of(address)
        self._wait_for(interface.get("stream") or 0, device)
        return address, (shape, strides, dtype, device, not read_only, address & 15)

    def _wait_for(self, stream: int, device: int) -> None:
        """Let the kernels wait for the stream that an array is written on (version 3 of the interface).

        The legacy default stream (1) is that of the kernels, and waits for a thread's own (2) by itself.
        """
        if stream > 2:
            follow(self.stream(device), stream, device)

    def maker(self, shape: tuple[int, ...], dtype: str, device: int) -> Callable[[], Any]:
        from numba import cuda

        kind = dtype_of(dtype)

        def make() -> Any:
            if SIMULATED:  # what a kernel should have written before it is read is NaN or -1
                memory = np.empty(shape, kind)
                memory.reshape(-1).view(np.uint8).fill(255)
                return cuda.to_device(memory)
            with cuda.gpus[device]:
                return cuda.device_array(shape, kind)

        return make

    def address(self, array: Any, /) -> int:
        if SIMULATED:
            return int(array._ary.__array_interface__["data"][0])
        return array.device_ctypes_pointer.value or 0

    def stream(self, device: int, /) -> int:
        return 1  # the legacy default stream, which is Numba's

    def numbers(self, array: Any) -> list[Any]:
        return list(array.copy_to_host().reshape(-1).tolist())

    def checked(self, loss: Any, record: checked.Record | None) -> Any:
        loss.__class__ = checked.numba_class()
        loss._nbsmce_record = record
        return loss


def _device_of(address: int | None) -> int:
    """The device that has an address, from the driver."""
    if not address:
        return 0
    from cuda.bindings import driver

    attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    error, device = driver.cuPointerGetAttribute(attribute, address)
    if error != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"the driver does not know the address of an array: {error.name}")
    return int(device)


_KNOWN: dict[type, Owner] = {}


def owner_of(array: Any, name: str) -> Owner:
    """The library that an array is of."""
    owner = _KNOWN.get(type(array))
    if owner is None:
        driver.require(name)
        kind = _kind_of(array, name)
        owner = next((o for o in _KNOWN.values() if type(o) is kind), None) or kind()
        _KNOWN[type(array)] = owner
    return owner


def _kind_of(array: Any, name: str) -> type[Torch | CuPy | Numba]:
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if isinstance(array, numbers.Number):
        raise TypeError(f"{name} must be an array on the GPU, as the others are, got {array!r}")
    if torch is not None and isinstance(array, torch.Tensor):
        return Torch
    if cupy is not None and isinstance(array, cupy.ndarray):
        return CuPy
    if any(hasattr(array, a) for a in ("__cuda_array_interface__", "__cuda_ndarray__", "__dlpack__")):
        return Numba
    raise TypeError(f"{name} ({type(array).__name__}) has neither __cuda_array_interface__ nor __dlpack__")
