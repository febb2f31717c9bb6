"""Arrays of CuPy and Numba and those with ``__cuda_array_interface__``, with stand-ins: what is read of them."""

from __future__ import annotations

import os
import sys
import types

import numpy as np
import pytest
import standins

import nbsmce
from nbsmce._cuda import owners

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="addresses are those of a GPU")
plain = pytest.fixture(standins.world)
SHAPE, STRIDES = (4, 3, 8), (384, 128, 4)  # in bytes


def strides_of(shape, itemsize=4):
    return tuple(int(np.prod(shape[i + 1 :])) * itemsize for i in range(len(shape)))


class CupyArray:
    def __init__(self, shape, dtype=np.float32, strides=None, address=1 << 20, device=0):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.strides = strides or strides_of(shape, self.dtype.itemsize)
        self.data = types.SimpleNamespace(ptr=address, device_id=device)

    @property
    def __cuda_array_interface__(self):
        raise AssertionError("costs a microsecond")


class NumbaArray:
    """And of whoever subclasses Numba's."""

    __cuda_ndarray__ = True

    def __init__(self, shape, dtype=np.float32, strides=None, address=1 << 20, device=0, stream=0):
        self.stream = stream
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.strides = strides or strides_of(shape, self.dtype.itemsize)
        self.device_ctypes_pointer = types.SimpleNamespace(value=address + (device << 40))


class Foreign:
    """With the interface, and nothing else that is known."""

    def __init__(self, shape, dtype=np.float32, strides=None, address=1 << 20, device=0, read_only=False, **more):
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": np.dtype(dtype).str, "strides": strides, "version": 3,
            "data": (address + (device << 40), read_only), **more,
        }  # fmt: skip


@pytest.fixture
def world(plain, monkeypatch):
    """CuPy, and Numba where its arrays are made; the device of an address is in its upper bits."""
    entered = []

    class Device:
        def __init__(self, number):
            self.number = number

        def __enter__(self):
            entered.append(self.number)

        def __exit__(self, *_):
            entered.pop()

    def empty(shape, dtype):
        plain.next += 1 << 24
        made = CupyArray(shape, dtype, address=plain.next, device=entered[-1])
        plain.allocated.append(made)
        return made

    cupy = types.ModuleType("cupy")
    cupy.ndarray, cupy.empty = CupyArray, empty
    cupy.cuda = types.SimpleNamespace(
        Device=Device, get_current_stream=lambda device: types.SimpleNamespace(ptr=200 + device)
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(owners, "_device_of", lambda address: address >> 40)
    made = lambda self, shape, dtype, device: lambda: NumbaArray(shape, dtype, None, 1 << 30, device)  # noqa: E731
    monkeypatch.setattr(owners.Numba, "maker", made)
    return plain


@pytest.mark.parametrize(
    ("array", "result", "stream"), [(CupyArray, CupyArray, 202), (NumbaArray, NumbaArray, 1), (Foreign, NumbaArray, 1)]
)
def test_what_is_read_of_an_array(world, array, result, stream):
    y = nbsmce.softmax(array(SHAPE, strides=STRIDES, device=2), 1)
    z = nbsmce.softmax(array(SHAPE, address=1 << 21, device=2), 1)
    assert (type(y), y.shape, y.dtype) == (type(z), z.shape, z.dtype) == (result, SHAPE, np.float32)
    if array is CupyArray:
        assert y.data.device_id == 2
    for (_, where, (_, given, wanted, _)), address, strides in zip(
        world.started, (1 << 20, 1 << 21), ((96, 1, 32), (24, 1, 8)), strict=True
    ):
        assert (where.device, where.stream) == (2, stream)
        assert given.x[1:] == strides
        assert wanted.y[1:] == (24, 1, 8)
        assert given.x.pointer[0] % (1 << 40) == address


def test_nothing_is_written_to_what_is_read_only(world):
    with pytest.raises(ValueError, match="out is read-only"):
        nbsmce.softmax(Foreign((4, 8)), out=Foreign((4, 8), address=1 << 21, read_only=True))
    assert world.started == []


@pytest.mark.parametrize("array", [CupyArray, NumbaArray, Foreign])
def test_elements_that_are_no_numbers_of_a_gpu(world, array):
    with pytest.raises(TypeError, match="x has its bytes swapped: >f4"):
        nbsmce.softmax(array((4, 8), ">f4"))
    with pytest.raises(ValueError, match=r"x has strides \(34, 4\) that are no multiples of its 4 bytes"):
        nbsmce.softmax(array((4, 8), strides=(34, 4)))
    with pytest.raises(ValueError, match="x begins at an address that is no multiple of its 4 bytes"):
        nbsmce.softmax(array((4, 8), address=(1 << 20) + 2))
    with pytest.raises(ValueError, match="x begins at an address that is no multiple of its 2 bytes"):
        nbsmce.softmax(standins.Tensor((4, 8), "bfloat16", address=(1 << 20) + 1))


@pytest.mark.parametrize("array", [NumbaArray, Foreign])
def test_the_kernels_wait_for_the_stream_of_an_array(world, array):
    world.context = 1001
    nbsmce.softmax(array((4, 8), device=2, stream=77))
    event = ("event", 2)
    assert world.events == [("recorded", event, 77, 2), ("waited for", event, 1, 0), ("destroyed", event)]
    assert len(world.started) == 1
    assert world.context == 1001  # the thread's GPU is what it was


@pytest.mark.parametrize("stream", [None, 0, 1, 2])
def test_default_streams_need_no_waiting(world, stream):
    nbsmce.softmax(Foreign((4, 8), stream=stream))
    nbsmce.softmax(Foreign((4, 8)))
    assert world.events == []


def test_an_array_with_a_mask_is_refused(world):
    with pytest.raises(TypeError, match=r"x \(Foreign\) has a mask"):
        nbsmce.softmax(Foreign((4, 8), mask=Foreign((4, 8), "bool")))
