"""Arrays that come by DLPack alone: what is read of them, on which stream, and how long their memory is kept."""

from __future__ import annotations

import ctypes
import os
import sys

import ml_dtypes
import numpy as np
import pytest
import standins

import nbsmce
from nbsmce._cuda import owners

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="addresses are those of a GPU")

name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
FLOAT16 = np.dtype("float16")


class Lent:
    """A NumPy array's memory as if it were a GPU's: its own capsule, with the numbers of DLPack's structs changed."""

    def __init__(self, array, kind=2, device=0, offset=0):
        self.array, self.kind, self.device, self.offset, self.asked = array, kind, device, offset, []

    def __dlpack_device__(self):
        return self.kind, self.device

    def __dlpack__(self, *, stream=None, max_version=None):
        self.asked.append(stream)
        bits = self.array.dtype == ml_dtypes.bfloat16
        capsule = (self.array.view(FLOAT16) if bits else self.array).__dlpack__(max_version=max_version)
        name = name_of(capsule)
        # DLManagedTensorVersioned: version, context, deleter, flags, 8 bytes each, and then DLTensor.
        tensor = pointer_of(capsule, name) + (32 if name == b"dltensor_versioned" else 0)
        ctypes.c_int32.from_address(tensor + 8).value = self.kind
        ctypes.c_int32.from_address(tensor + 12).value = self.device
        if bits:
            ctypes.c_uint8.from_address(tensor + 20).value = 4  # kDLBfloat
        ctypes.c_uint64.from_address(tensor + 40).value = self.offset
        return capsule


class Unversioned(Lent):
    """From before DLPack 1.0."""

    def __dlpack__(self, stream=None):
        return super().__dlpack__(stream=stream)


plain = pytest.fixture(standins.world)


@pytest.fixture
def world(plain, monkeypatch):
    """With Numba's arrays, and a driver that can be waited for."""

    def wait(stream):
        plain.waited.append((stream, len(plain.started)))
        return (0,)

    def maker(self, shape, dtype, device):
        return lambda: plain.empty(shape, None, standins.DTYPES[dtype], standins.Device("cuda", device))

    plain.waited, plain.cuStreamSynchronize = [], wait
    monkeypatch.setattr(owners.Numba, "maker", maker)
    monkeypatch.setattr(owners.Numba, "address", lambda self, array: array.address)
    return plain


def only(world):
    ((make, where, (extent, given, wanted, _)),) = world.started
    return make, where, extent, given, wanted


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16])
@pytest.mark.parametrize("kind", [2, 13])
@pytest.mark.parametrize("of", [Lent, Unversioned])
def test_what_is_read_of_an_array(world, of, kind, dtype):
    array = np.zeros((4, 5, 6), dtype)[::2, :, 1:4]
    y = nbsmce.softmax(of(array, kind, 1), 1)
    make, where, extent, given, wanted = only(world)
    assert make.variant.dtype == np.dtype(dtype).name
    assert (where.device, where.stream, y.device.index) == (1, 1, 1)
    assert tuple(extent) == (6, 3, 5)
    assert given.x == ((array.ctypes.data, given.x.pointer[1]), 60, 1, 6)
    assert (y.shape, str(y.dtype)) == (array.shape, f"torch.{np.dtype(dtype).name}")
    assert wanted.y.pointer[0] == y.address


def test_where_in_its_memory_an_array_begins(world):
    array = np.zeros((4, 8), np.float32)
    nbsmce.softmax(Lent(array, offset=32))
    assert only(world)[3].x.pointer[0] == array.ctypes.data + 32


def test_memory_is_kept_until_the_kernels_have_ended(world, monkeypatch):
    """The stream is told to the library, which knows no more of it: so the host waits."""
    x, target, held = Lent(np.zeros((4, 8), np.float32)), Lent(np.zeros(4, np.int64)), []
    before = [sys.getrefcount(a.array) for a in (x, target)]
    wait = world.cuStreamSynchronize

    def waiting(stream):
        held.append([sys.getrefcount(a.array) for a in (x, target)])
        return wait(stream)

    world.cuStreamSynchronize = waiting
    nbsmce.cross_entropy(x, target, reduction="none")
    nbsmce.cross_entropy(x, target, reduction="none")
    assert x.asked == target.asked == [1, 1]
    assert world.waited == [(1, 1), (1, 2)]  # behind the kernel of each call
    assert held == [[n + 1 for n in before]] * 2
    assert [sys.getrefcount(a.array) for a in (x, target)] == before


def test_nobody_waits_for_arrays_of_libraries_that_know_the_stream(world):
    nbsmce.softmax(standins.Tensor((4, 8)))
    assert world.waited == []


def test_results_are_written_where_they_may_be(world):
    x, out = Lent(np.zeros((4, 8), np.float32)), Lent(np.zeros((4, 8), np.float32))
    assert nbsmce.softmax(x, out=out) is out
    assert only(world)[4].y.pointer[0] == out.array.ctypes.data
    out.array.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        nbsmce.softmax(x, out=out)
    assert len(world.started) == 1


def test_errors_name_the_argument(world, monkeypatch):
    class Broken(Lent):
        def __dlpack__(self, **_):
            raise BufferError("deleted buffer")

    x = np.zeros((4, 8), np.float32)
    with pytest.raises(TypeError, match=r"target \(Broken\) cannot be had by DLPack: deleted buffer"):
        nbsmce.cross_entropy(Lent(x), Broken(x))
    with pytest.raises(TypeError, match="on one GPU: x on 0, out on 1"):
        nbsmce.softmax(Lent(x), out=Lent(x, device=1))
    with pytest.raises(TypeError, match=r"got dtype 'complex64'"):
        nbsmce.softmax(Lent(x.view(np.complex64)))
    monkeypatch.setattr("cuda.core.__version__", "1.1.1")
    with pytest.raises(TypeError, match=r"x \(Lent\) comes by DLPack, for which cuda-core 1.1.1 is too old"):
        nbsmce.softmax(Lent(x))
    assert world.started == []
