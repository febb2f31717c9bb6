"""From the arrays of a call to the backend."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import nbsmce
from nbsmce import _dispatch


class OnGpu:
    """An array on a GPU, as far as one can see from outside."""

    __cuda_array_interface__ = {"shape": (3,), "typestr": "<f4", "data": (0, False), "version": 3}  # noqa: RUF012

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("must not be copied to main memory")


class ByDlpack:
    def __init__(self, device):
        self.device = device

    def __dlpack_device__(self):
        return (self.device, 0)

    def __dlpack__(self, **_):
        raise AssertionError("must not be exported")

    def __array__(self, dtype=None, copy=None):
        return np.zeros(3)


class OnGpuByDlpackOnly(ByDlpack):
    """As JAX's of bfloat16, whose class has the interface and which themselves have none."""

    def __init__(self):
        super().__init__(2)

    @property
    def __cuda_array_interface__(self):
        raise AttributeError("not for bfloat16")


@pytest.mark.parametrize(("device", "name"), [(10, "rocm"), (8, "DLPack 8")])
def test_other_devices_are_refused(device, name):
    with pytest.raises(TypeError, match=f"x is on a device of type '{name}'; nbsmce computes on the CPU and on CUDA"):
        nbsmce.softmax(ByDlpack(device))


def test_numpy_arrays_and_numbers_go_to_the_cpu():
    from nbsmce import _cpu

    lent = [ByDlpack(device) for device in (1, 3, 11)]  # and in pinned memory of CUDA and ROCm
    for value in (np.zeros(3), [1.0], (1.0,), 1.0, np.float32(1), None, np.ma.zeros(3), *lent):
        assert _dispatch.backend({"x": value}) is _cpu


def test_arrays_on_a_gpu_go_to_the_gpu():
    from nbsmce import _cuda

    for value in (OnGpu(), ByDlpack(2), ByDlpack(13), OnGpuByDlpackOnly()):
        assert _dispatch.backend({"x": value, "out": None}) is _cuda
        assert _dispatch.backend({"dloss": 1.0, "logits": value, "lse": np.float32(1)}) is _cuda


def test_numbers_in_lists_are_not_moved_to_a_gpu():
    with pytest.raises(TypeError, match="target is a list, and logits an array on a GPU"):
        nbsmce.cross_entropy(OnGpu(), [1])


def test_a_gpu_that_cannot_be_used_says_why(monkeypatch):
    from nbsmce._cuda import driver

    monkeypatch.setattr(driver, "problem", lambda: "the CUDA driver finds no GPU")
    with pytest.raises(driver.CudaUnavailableError, match="x is on a GPU, and CUDA cannot be used: the CUDA driver"):
        nbsmce.softmax(OnGpu())
    with pytest.raises(driver.CudaUnavailableError, match="logits is on a GPU"):
        nbsmce.cross_entropy(OnGpu(), OnGpu())


def test_two_devices_in_one_call():
    message = r"the arrays of one call must be on one device: x \(ndarray\) on cpu, out \(OnGpu\) on cuda"
    with pytest.raises(TypeError, match=message):
        nbsmce.softmax(np.zeros(3, np.float32), out=OnGpu())
    with pytest.raises(TypeError, match=r"logits \(OnGpu\) on cuda, target \(ndarray\) on cpu"):
        nbsmce.cross_entropy(OnGpu(), np.zeros(3, int))


def test_no_library_is_imported_to_decide():
    code = (
        "import sys, numpy as np, nbsmce; nbsmce.softmax(np.zeros(3)); "
        "print({'torch', 'cupy', 'jax', 'dask', 'scipy.special', 'numba.cuda.cudadrv'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "set()\n"
