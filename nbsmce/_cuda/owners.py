"""Whose arrays the caller's are: how PyTorch, CuPy and Numba describe an array, allocate one, and name their stream.

No library is imported here that the owner of an array has not imported. An owner describes the arrays of a call as
:class:`View`, and makes the results, in its own memory pool, on the array's device.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple, Protocol

import numpy as np

from . import checked
from .device import SIMULATED
from .launch import Pointer, SimulatedPointer


class View(NamedTuple):
    """An array in a GPU's memory."""

    address: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    device: int
    writeable: bool
    memory: Any  # of the simulator: the bytes that the address is among

    def pointer(self) -> Any:
        """What a kernel is given."""
        if SIMULATED:
            return SimulatedPointer(self.memory, self.address - int(self.memory.ctypes.data), self.dtype)
        return Pointer(self.address, self.dtype)

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size


class Owner(Protocol):
    """A library with arrays on GPUs."""

    name: str

    def view(self, array: Any, name: str) -> View:
        """Describe an array; ``name`` is that of the argument, for errors."""

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> Any:
        """A new array, for the current stream."""

    def stream(self, device: int) -> int:
        """The current stream's handle."""

    def numbers(self, array: Any) -> list[float]:
        """The elements of an array without gaps; waits for them."""

    def checked(self, loss: Any, record: checked.Record | None) -> Any:
        """The same loss, which looks at a record when it is read, if there is one."""


def _elements(strides: tuple[int, ...] | None, shape: tuple[int, ...], itemsize: int, name: str) -> tuple[int, ...]:
    """Strides in elements from strides in bytes; None stands for those of an array without gaps."""
    if strides is None:
        result, step = [], 1
        for n in reversed(shape):
            result.append(step)
            step *= max(n, 1)
        return tuple(reversed(result))
    if any(s % itemsize for s in strides):
        raise ValueError(f"{name} has strides {strides} that are no multiples of its {itemsize} bytes for an element")
    return tuple(s // itemsize for s in strides)


class Torch:
    """PyTorch."""

    name = "torch.Tensor"

    def __init__(self) -> None:
        self.torch = sys.modules["torch"]

    def view(self, array: Any, name: str) -> View:
        if array.requires_grad:
            raise TypeError(f"{name} requires a gradient, which PyTorch would not get: pass {name}.detach()")
        if array.layout != self.torch.strided or array.is_quantized:
            raise TypeError(f"{name} must be a dense tensor, got {array.layout}, {array.dtype}")
        array = array.resolve_neg()
        dtype = str(array.dtype).removeprefix("torch.")
        return View(
            array.data_ptr(), dtype, tuple(array.shape), tuple(array.stride()), array.device.index or 0, True, array
        )

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> Any:
        return self.torch.empty(shape, dtype=getattr(self.torch, dtype), device=self.torch.device("cuda", device))

    def stream(self, device: int) -> int:
        return int(self.torch.cuda.current_stream(device).cuda_stream)

    def numbers(self, array: Any) -> list[float]:
        return list(array.reshape(-1).tolist())

    def checked(self, loss: Any, record: checked.Record | None) -> Any:
        if record is None:
            return loss
        loss = loss.as_subclass(checked.torch_class())
        loss._nbsmce_record = record
        return loss


class CuPy:
    """CuPy."""

    name = "cupy.ndarray"

    def __init__(self) -> None:
        self.cupy = sys.modules["cupy"]

    def view(self, array: Any, name: str) -> View:
        strides = _elements(tuple(array.strides), tuple(array.shape), array.dtype.itemsize, name)
        return View(
            int(array.data.ptr), array.dtype.name, tuple(array.shape), strides, int(array.device.id), True, array
        )

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> Any:
        with self.cupy.cuda.Device(device):
            return self.cupy.empty(shape, dtype_of(dtype))

    def stream(self, device: int) -> int:
        with self.cupy.cuda.Device(device):
            return int(self.cupy.cuda.get_current_stream().ptr)

    def numbers(self, array: Any) -> list[float]:
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


class Numba:
    """Numba, and whoever else offers ``__cuda_array_interface__``: results are Numba's device arrays."""

    name = "numba.cuda.DeviceNDArray"

    def view(self, array: Any, name: str) -> View:
        if SIMULATED:
            return _simulated_view(array)
        interface = array.__cuda_array_interface__
        address, read_only = interface["data"]
        dtype = np.dtype(getattr(array, "dtype", interface["typestr"]))
        shape = tuple(interface["shape"])
        strides = _elements(interface.get("strides"), shape, dtype.itemsize, name)
        return View(address or 0, dtype.name, shape, strides, _device_of(address), not read_only, array)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> Any:
        from numba import cuda

        if SIMULATED:
            return cuda.to_device(np.empty(shape, dtype_of(dtype)))
        with cuda.gpus[device]:
            return cuda.device_array(shape, dtype_of(dtype))

    def stream(self, device: int) -> int:
        return 1  # the legacy default stream, which is Numba's

    def numbers(self, array: Any) -> list[float]:
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


def _simulated_view(array: Any) -> View:
    values = array._ary
    root = values
    while isinstance(root.base, np.ndarray):
        root = root.base
    memory = (root if root.flags.c_contiguous else root.T).reshape(-1).view(np.uint8)
    address = int(values.__array_interface__["data"][0])
    strides = tuple(s // values.itemsize for s in values.strides)
    return View(address, values.dtype.name, values.shape, strides, 0, values.flags.writeable, memory)


_KNOWN: dict[str, Any] = {}


def owner_of(array: Any, name: str) -> Owner:
    """The library that an array is of."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    kind: Any = Numba
    if torch is not None and isinstance(array, torch.Tensor):
        kind = Torch
    elif cupy is not None and isinstance(array, cupy.ndarray):
        kind = CuPy
    elif not hasattr(array, "__cuda_array_interface__") and not hasattr(array, "__cuda_ndarray__"):
        raise TypeError(
            f"{name} ({type(array).__name__}) has no __cuda_array_interface__: pass torch.from_dlpack({name}) or "
            f"cupy.from_dlpack({name})"
        )
    if kind.__name__ not in _KNOWN:
        _KNOWN[kind.__name__] = kind()
    owner: Owner = _KNOWN[kind.__name__]
    return owner
