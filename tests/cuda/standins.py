"""Stand-ins for PyTorch and for the driver: what the host's side of a call looks at, and what it has asked for."""

from __future__ import annotations

import ctypes
import struct
import sys
import types

from numba.core import types as numba_types


class Dtype:
    def __init__(self, name, size):
        self.name, self.itemsize = name, size

    def __str__(self):
        return f"torch.{self.name}"


SIZES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "complex64": 8, "int64": 8, "int32": 4, "uint8": 1}
DTYPES = {name: Dtype(name, size) for name, size in (SIZES | {"bool": 1}).items()}


class Device:
    def __init__(self, kind, index=0):
        self.type, self.index = kind, index


class Tensor:
    """A PyTorch tensor, as far as the host's side looks at one."""

    is_cuda = True

    def __init__(self, shape, dtype="float32", device=0, address=1 << 20, strides=None, requires_grad=False):
        self.shape, self.dtype, self.device = shape, DTYPES[dtype], Device("cuda", device)
        self.address, self.requires_grad = address, requires_grad
        self.layout, self.negative = "strided", False
        steps = [1]
        for n in reversed(shape[1:]):
            steps.append(steps[-1] * n)
        self.strides = strides or tuple(reversed(steps))[: len(shape)]

    def data_ptr(self):
        return self.address

    def stride(self):
        return self.strides

    def get_device(self):
        return self.device.index

    def is_neg(self):
        return self.negative

    def reshape(self, *_):
        return self

    detach = reshape

    def __reduce_ex__(self, protocol):
        return Tensor, (self.shape,)

    def tolist(self):
        return self.values

    def item(self):
        return self.value

    __float__ = __bool__ = __int__ = cpu = numpy = __format__ = item
    value, values = 1.5, [-1, 0]


class Pointer(tuple):
    """``(address, dtype of Numba)`` that a kernel was given."""


def decoded(kind, numbers):
    """What a kernel reads, from its Numba type and the 8 bytes of each of its parameters."""
    if isinstance(kind, numba_types.BaseNamedTuple):
        return kind.instance_class(*[decoded(k, numbers) for k in kind])
    if isinstance(kind, numba_types.CPointer):
        return Pointer((next(numbers), str(kind.dtype)))
    bits = struct.pack("Q", next(numbers))
    return struct.unpack("d" if kind == numba_types.float64 else "q", bits)[0]


class Where:
    def __init__(self, device, stream, blocks, threads):
        self.device, self.stream, self.blocks, self.threads = device, stream, blocks, threads


class World:
    """A driver and PyTorch: the memory that was asked for, the kernels that were loaded and started."""

    def __init__(self):
        self.allocated, self.started, self.loaded, self.events, self.next = [], [], [], [], 1 << 30
        self.context, self.streams, self.error = 0, {}, 0
        self.clusters = 0, 1  # whether they can be started, as the driver answers

    # -- PyTorch

    def module(self):
        torch = types.ModuleType("torch")
        torch.Tensor, torch.strided, torch.device = Tensor, "strided", Device
        torch.empty_strided = self.empty
        for name, dtype in DTYPES.items():
            setattr(torch, name, dtype)
        torch.cuda = types.SimpleNamespace(
            current_stream=lambda device: types.SimpleNamespace(cuda_stream=self.stream(device))
        )
        torch._C = types.SimpleNamespace(_disabled_torch_function_impl=None, _cuda_getCurrentRawStream=self.stream)
        return torch

    def empty(self, shape, strides, dtype, device):
        self.next += 1 << 24
        tensor = Tensor(shape, dtype.name, device.index, self.next, strides)
        self.allocated.append(tensor)
        return tensor

    def stream(self, device):
        return self.streams.get(device, 100 + device)

    # -- the driver

    def load(self, make, signature, device, threads):
        self.loaded.append((make, signature))
        return make, signature

    def cuDevicePrimaryCtxRetain(self, device):
        return 0, 1000 + device

    def cuCtxGetCurrent(self):
        return 0, self.context

    def cuCtxSetCurrent(self, context):
        self.context = context
        return (0,)

    CUevent_flags = types.SimpleNamespace(CU_EVENT_DISABLE_TIMING=2)

    def cuEventCreate(self, flags):
        return 0, ("event", flags)

    def cuEventRecord(self, event, stream):
        self.events.append(("recorded", event, stream, self.context - 1000))
        return (0,)

    def cuStreamWaitEvent(self, stream, event, flags):
        self.events.append(("waited for", event, stream, len(self.started)))
        return (0,)

    def cuEventDestroy(self, event):
        self.events.append(("destroyed", event))
        return (0,)

    CUlaunchConfig = types.SimpleNamespace
    CUresult = types.SimpleNamespace(CUDA_ERROR_INVALID_CLUSTER_SIZE=912)

    def cuOccupancyMaxActiveClusters(self, function, config):
        self.asked = function[0], vars(config), self.context - 1000
        return self.clusters

    def cuLaunchKernel(self, function, x, y, z, threads_x, threads_y, threads_z, shared, stream, parameters, extra):
        if self.error:
            return (self.error,)
        make, signature = function
        at = (ctypes.c_uint64.from_address(parameters + 8 * i).value for i in range(1000))
        numbers = (ctypes.c_uint64.from_address(a).value for a in at)
        where = Where(self.context - 1000, stream, x, (threads_x, threads_y))
        self.started.append((make, where, tuple(decoded(kind, numbers) for kind in signature)))
        return (0,)


def world(monkeypatch):
    """Puts the stand-ins in their places."""
    from nbsmce._cuda import calls, checked, driver, launch, owners, plan

    seen = World()
    monkeypatch.setitem(sys.modules, "torch", seen.module())
    monkeypatch.setattr(owners, "_KNOWN", {})
    monkeypatch.setattr(driver, "problem", lambda: None)
    monkeypatch.setattr(launch, "bindings", lambda: seen)
    monkeypatch.setattr(plan, "bindings", lambda: seen)
    monkeypatch.setattr(launch, "_load", seen.load)
    monkeypatch.setattr(launch, "_functions", {})
    monkeypatch.setattr(launch, "_contexts", {})
    monkeypatch.setattr(plan, "capability_of", lambda device: 90)
    checked.torch_class.cache_clear()
    calls.forget()
    yield seen
    checked.torch_class.cache_clear()
    calls.forget()


def seen(world, call, forgotten=False):
    """What a call asks the driver and PyTorch for; ``forgotten``: as the first call of its kind."""
    from nbsmce._cuda import calls

    if forgotten:
        calls.forget()
    world.started.clear()
    world.allocated.clear()
    world.next = 1 << 30
    try:
        result = call()
    except (TypeError, ValueError) as error:
        return str(error), [], []
    started = [(make, vars(where), arguments) for make, where, arguments in world.started]
    allocated = [(t.address, t.shape, str(t.dtype), t.device.index) for t in world.allocated]
    results = result if isinstance(result, tuple) else (result,)
    return started, allocated, [getattr(r, "address", None) for r in results]
