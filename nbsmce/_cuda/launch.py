"""Compiling a kernel for a GPU, keeping it, and starting it on a stream; or running it in the simulator.

A kernel's arguments are nested tuples of :class:`Pointer`, integers and floats, each 8 bytes for the GPU. Numba makes
PTX of a kernel, ``cuda.core`` links, loads and starts it: a call then costs the packing of integers, and not, as with
Numba's own launch, the wrapping of arrays.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from .device import SIMULATED

ELEMENTS = {
    "float16": np.uint16, "bfloat16": np.uint16, "float32": np.float32, "float64": np.float64, "int64": np.int64,
    "int32": np.int32, "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "uint16": np.uint16,
    "uint32": np.uint32, "uint64": np.uint64, "bool": np.uint8,
}  # fmt: skip


class Pointer(NamedTuple):
    """An address in a GPU's memory, of elements of some dtype; 0 for an argument that was not given."""

    address: int
    dtype: str


class SimulatedPointer:
    """The same for the simulator: elements of an array's memory, with an error for one outside of it."""

    def __init__(self, memory: np.ndarray, offset: int, dtype: str) -> None:
        self.memory, self.offset, self.type = memory, offset, np.dtype(ELEMENTS[dtype])
        self.itemsize = self.type.itemsize
        self.dtype = dtype

    def address(self, index: int) -> int:
        """Of an element, in bytes."""
        return int(self.memory.ctypes.data) + self._at(index)

    def _at(self, index: int) -> int:
        return self.offset + int(index) * self.itemsize

    def _bytes(self, index: int) -> np.ndarray:
        at = self._at(index)
        if not 0 <= at <= self.memory.size - self.itemsize:
            raise IndexError(f"element {index} is outside of the array")
        return self.memory[at : at + self.itemsize]

    def __getitem__(self, index: int) -> Any:
        return np.frombuffer(self._bytes(index).tobytes(), self.type)[0]

    def __setitem__(self, index: int, value: Any) -> None:
        self._bytes(index)[:] = np.frombuffer(self.type.type(value).tobytes(), np.uint8)


def nowhere(dtype: str) -> Any:
    """The pointer of an argument that was not given; no kernel reads it."""
    return SimulatedPointer(np.empty(0, np.uint8), 0, dtype) if SIMULATED else Pointer(0, dtype)


def type_of(argument: Any) -> Any:
    """The Numba type of a kernel's argument."""
    if isinstance(argument, Pointer):
        return types.CPointer(_number(argument.dtype))
    if isinstance(argument, tuple):
        inner = [type_of(a) for a in argument]
        if len(set(inner)) == 1:
            return types.NamedUniTuple(inner[0], len(inner), type(argument))
        return types.NamedTuple(inner, type(argument))
    return types.float64 if isinstance(argument, float) else types.int64


def _number(dtype: str) -> Any:
    return getattr(types, np.dtype(ELEMENTS[dtype]).name)


def flatten(arguments: Any, numbers: list[int | float], dtypes: list[str]) -> None:
    """Append the numbers that a GPU is given for nested arguments, and the dtypes of the pointers among them."""
    for argument in arguments:
        if isinstance(argument, Pointer):
            numbers.append(argument.address)
            dtypes.append(argument.dtype)
        elif isinstance(argument, tuple):
            flatten(argument, numbers, dtypes)
        else:
            numbers.append(argument)


def to_ptx(kernel: Callable[..., Any], signature: tuple[Any, ...], capability: int, threads: int) -> tuple[str, str]:
    """``(PTX, name)`` of a kernel for a compute capability, as 90 for 9.0."""
    from numba import cuda

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Numba's of NumPy, and of few blocks
        ptx, _ = cuda.compile(
            kernel, signature, device=False, abi="numba", cc=divmod(capability, 10), output="ptx", launch_bounds=threads
        )
    text = ptx.decode() if isinstance(ptx, bytes) else ptx
    name = re.search(r"\.visible \.entry (\w+)\(", text)
    if name is None:
        raise RuntimeError("the PTX of a kernel has no entry")
    return text, name.group(1)


class Launch(NamedTuple):
    """Where and how often a kernel runs."""

    device: int
    stream: int
    blocks: int
    threads: tuple[int, int]


_kernels: dict[tuple[Any, ...], Any] = {}


def _load(make: Callable[[], Any], signature: tuple[Any, ...], device: int, threads: int) -> Any:
    from cuda.core import Linker, LinkerOptions, ObjectCode

    capability = capability_of(device)
    text, name = to_ptx(make(), signature, capability, threads)
    options = LinkerOptions(arch=f"sm_{capability}")
    linked = Linker(ObjectCode.from_ptx(text.encode()), options=options).link("cubin")
    return ObjectCode.from_cubin(bytes(linked.code)).get_kernel(name)


@functools.cache
def capability_of(device: int) -> int:
    """The compute capability of a GPU, as 90 for 9.0; the simulator stands for 9.0."""
    if SIMULATED:
        return 90
    from cuda.core import Device

    major, minor = Device(device).compute_capability
    return int(major) * 10 + int(minor)


@functools.cache
def _configuration(blocks: int, threads: tuple[int, int]) -> Any:
    from cuda.core import LaunchConfig

    return LaunchConfig(grid=(blocks, 1, 1), block=(*threads, 1))


@functools.cache
def _stream(device: int, handle: int) -> Any:
    from cuda.core import Device, Stream

    Device(device).set_current()
    return Stream.from_handle(handle)


def run(make: Any, where: Launch, *arguments: Any) -> None:
    """Start the kernel that ``make`` returns. ``make`` is hashable: equal ones are compiled once."""
    if not where.blocks:
        return
    if SIMULATED:
        _simulate(make, where, arguments)
        return
    from cuda.core import Device, launch

    Device(where.device).set_current()
    numbers: list[int | float] = []
    dtypes: list[str] = []
    flatten(arguments, numbers, dtypes)
    key = (make, where.device, *dtypes)
    kernel = _kernels.get(key)
    if kernel is None:
        signature = tuple(type_of(a) for a in arguments)
        kernel = _kernels[key] = _load(make, signature, where.device, where.threads[0] * where.threads[1])
    launch(_stream(where.device, where.stream), _configuration(where.blocks, where.threads), kernel, *numbers)


def _simulate(make: Callable[[], Any], where: Launch, arguments: tuple[Any, ...]) -> None:
    from numba import cuda

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # infinities and NaN are data
        cuda.jit(make())[where.blocks, where.threads](*arguments)
