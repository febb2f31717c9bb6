"""Compiling a kernel for a GPU, keeping it, and starting it on a stream; or running it in the simulator.

A kernel's arguments are nested tuples of :class:`Pointer`, integers and floats, each 8 bytes for the GPU. Numba makes
PTX of a kernel, ``cuda.core`` links it, the machine code is kept on disk (``_store.py``), and the driver loads and
starts it: a start then costs one call of the driver, and not, as with Numba's own, the wrapping of arrays.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from .._store import store
from .device import SIMULATED

ELEMENTS = {
    "float16": np.uint16, "bfloat16": np.uint16, "float32": np.float32, "float64": np.float64, "int64": np.int64,
    "int32": np.int32, "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "uint16": np.uint16,
    "uint32": np.uint32, "uint64": np.uint64, "bool": np.uint8,
}  # fmt: skip


class Pointer(NamedTuple):
    """To elements of some dtype in an array of a plan, by the number of that; -1 for an argument that was not given."""

    source: int
    dtype: str


NOWHERE = -1


def nowhere(dtype: str) -> Pointer:
    """The pointer of an argument that was not given; no kernel reads it."""
    return Pointer(NOWHERE, dtype)


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


def leaves(arguments: Any) -> list[Any]:
    """The pointers and numbers in nested arguments, which is what a GPU is given."""
    found: list[Any] = []
    for argument in arguments:
        if isinstance(argument, tuple) and not isinstance(argument, Pointer):
            found += leaves(argument)
        else:
            found.append(argument)
    return found


def in_clusters(text: str, make: Any) -> str:
    """The PTX of a kernel whose blocks start in clusters of ``make.cluster``, for which Numba has no option."""
    n = getattr(make, "cluster", 1)
    return text if n == 1 else text.replace(".maxntid", f".explicitcluster\n.reqnctapercluster {n}, 1, 1\n.maxntid", 1)


def to_ptx(make: Callable[[], Any], signature: tuple[Any, ...], capability: int, threads: int) -> tuple[str, str]:
    """``(PTX, name)`` of the kernel that ``make()`` returns for a compute capability, as 90 for 9.0."""
    from numba import cuda

    blocks = getattr(make, "blocks", None)
    bounds = threads if blocks is None else (threads, blocks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Numba's of NumPy, and of few blocks
        ptx, _ = cuda.compile(
            make(), signature, device=False, abi="numba", cc=divmod(capability, 10), output="ptx", launch_bounds=bounds
        )
    text = in_clusters(ptx.decode() if isinstance(ptx, bytes) else ptx, make)
    name = re.search(r"\.visible \.entry (\w+)\(", text)
    if name is None:
        raise RuntimeError("the PTX of a kernel has no entry")
    return text, name.group(1)


# -- the driver --------------------------------------------------------------------------------------------------------

_functions: dict[tuple[Any, ...], Any] = {}
_contexts: dict[int, int] = {}


@functools.cache
def bindings() -> Any:
    """The driver's functions."""
    from cuda.bindings import driver

    return driver


def done(answer: tuple[Any, ...]) -> Any:
    """What a function of the driver has answered, without the status."""
    if answer[0]:
        raise RuntimeError(f"the CUDA driver says {answer[0].name}")
    return answer[1] if len(answer) > 1 else None


@functools.cache
def capability_of(device: int) -> int:
    """The compute capability of a GPU, as 90 for 9.0; the simulator stands for 9.0."""
    if SIMULATED:
        return 90
    from cuda.core import Device

    major, minor = Device(device).compute_capability
    return int(major) * 10 + int(minor)


def current(device: int) -> int | None:
    """Make a GPU the thread's; returns the context to :func:`restore`, or None if nothing is to be restored.

    Each library takes the thread's GPU for the one that its user has chosen, so none may find another after a call.
    """
    context = _contexts.get(device)
    if context is None:
        context = _contexts[device] = int(done(bindings().cuDevicePrimaryCtxRetain(device)))
    before = int(done(bindings().cuCtxGetCurrent()))
    if before == context:
        return None
    restore(context)
    return before or None  # a thread without one keeps it, as after any call of the CUDA runtime


def restore(context: int) -> None:
    """Make a context the thread's."""
    done(bindings().cuCtxSetCurrent(context))


def follow(stream: int, other: int, device: int) -> None:
    """What is started on a stream from now on begins when what is on another by now has ended; the host goes on."""
    driver, before = bindings(), current(device)
    try:
        event = done(driver.cuEventCreate(driver.CUevent_flags.CU_EVENT_DISABLE_TIMING))
        try:
            done(driver.cuEventRecord(event, other))
            done(driver.cuStreamWaitEvent(stream, event, 0))
        finally:
            done(driver.cuEventDestroy(event))
    finally:
        if before is not None:
            restore(before)


def linked(text: str, capability: int) -> tuple[bytes, str]:
    """PTX as machine code, and what the assembler says of registers and of memory that it takes in their place."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    options = LinkerOptions(arch=f"sm_{capability}", ptxas_options=["-v"])
    linker = Linker(ObjectCode.from_ptx(text.encode()), options=options)
    return bytes(linker.link("cubin").code), str(linker.get_info_log())


@functools.cache
def _versions() -> tuple[str, ...]:
    """Of what machine code depends on besides this package."""
    from importlib import metadata

    names = ("numba", "llvmlite", "numpy", "numba-cuda", "cuda-core", "nvidia-nvvm", "nvidia-nvjitlink")
    installed = {d.metadata["Name"]: d.version for name in names for d in metadata.distributions(name=name)}
    return tuple(f"{name} {installed.get(name)}" for name in names)


def _named(part: Any) -> Any:
    """What a kernel is made from, as in any other process: functions by their names."""
    if isinstance(part, tuple):
        return type(part).__qualname__, *map(_named, part)
    return f"{part.__module__}.{part.__qualname__}" if callable(part) else part


def compiled(make: Any, signature: tuple[Any, ...], capability: int, threads: int) -> tuple[str, bytes]:
    """``(name, machine code)`` of a kernel: what another process has left on disk, or else new."""
    key = repr(("cuda", _named(make), str(signature), capability, threads, _versions()))
    found: tuple[str, bytes] | None = store.load(key)
    if found is None:
        text, name = to_ptx(make, signature, capability, threads)
        made = found = name, linked(text, capability)[0]
        store.save(key, lambda: made)
    return found


def _load(make: Callable[[], Any], signature: tuple[Any, ...], device: int, threads: int) -> Any:
    name, code = compiled(make, signature, capability_of(device), threads)
    library = done(bindings().cuLibraryLoadData(code, [], [], 0, [], [], 0))
    return bindings().CUfunction(int(done(bindings().cuLibraryGetKernel(library, name.encode()))))


def function_of(make: Any, threads: tuple[int, int], arguments: tuple[Any, ...], device: int) -> Any:
    """The driver's function for the kernel that ``make()`` returns. Equal ones are compiled once."""
    key = (make, device, *(leaf.dtype for leaf in leaves(arguments) if isinstance(leaf, Pointer)))
    function = _functions.get(key)
    if function is None:
        signature = tuple(type_of(a) for a in arguments)
        function = _functions[key] = _load(make, signature, device, threads[0] * threads[1])
    return function


def has_room(function: Any, blocks: int, threads: tuple[int, int], device: int) -> bool:
    """Whether a GPU can have the blocks of a cluster of a function under way together.

    Clusters of up to 8 can be started by every GPU from 9.0 on, but those whose groups of multiprocessors, or the parts
    of them that a user has been given (MIG), are smaller (CUDA C++ Programming Guide, "Thread Block Clusters").
    """
    driver, before = bindings(), current(device)
    try:
        config = driver.CUlaunchConfig()  # the size of a cluster is the function's own
        config.gridDimX, config.gridDimY, config.gridDimZ = blocks, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = *threads, 1
        answer = driver.cuOccupancyMaxActiveClusters(function, config)
        if answer[0] == driver.CUresult.CUDA_ERROR_INVALID_CLUSTER_SIZE:
            return False
        return bool(done(answer))
    finally:
        if before is not None:
            restore(before)


# -- the simulator -----------------------------------------------------------------------------------------------------


def simulate(make: Callable[[], Any], blocks: int, threads: tuple[int, int], arguments: Any, arrays: list[Any]) -> None:
    """Run a kernel as Python."""
    from numba import cuda

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # infinities and NaN are data
        cuda.jit(make())[blocks, threads](*_simulated(arguments, arrays))


def _simulated(arguments: Any, arrays: list[Any]) -> list[Any]:
    """Nested arguments with pointers into the arrays."""
    result: list[Any] = []
    for argument in arguments:
        if isinstance(argument, Pointer):
            result.append(_simulated_pointer(argument, arrays))
        elif isinstance(argument, tuple):
            result.append(type(argument)(*_simulated(argument, arrays)))
        else:
            result.append(argument)
    return result


def _simulated_pointer(pointer: Pointer, arrays: list[Any]) -> SimulatedPointer:
    if pointer.source == NOWHERE:
        return SimulatedPointer(np.empty(0, np.uint8), 0, pointer.dtype)
    values = root = arrays[pointer.source]._ary
    while isinstance(root.base, np.ndarray):
        root = root.base
    memory = (root if root.flags.c_contiguous else root.T).reshape(-1).view(np.uint8)
    offset = int(values.__array_interface__["data"][0]) - int(memory.ctypes.data)
    return SimulatedPointer(memory, offset, pointer.dtype)
