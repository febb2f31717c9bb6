"""What the GPU backend does with CuPy's own arrays; main memory stands here for a GPU's, and ``get`` is ours."""

from __future__ import annotations

import ctypes
import os
import pickle

import numpy as np
import pytest

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
from nbsmce._cuda import checked, owners  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="tests of a library's arrays")


def array_of(values, device=0):
    memory = cupy.cuda.UnownedMemory(values.ctypes.data, values.nbytes, values, device)
    return cupy.ndarray(values.shape, values.dtype, cupy.cuda.MemoryPointer(memory, 0))


@pytest.fixture
def owner(monkeypatch):
    """With scalars that can be copied from the "GPU", which takes a driver otherwise."""

    class Array(cupy.ndarray):
        def get(self, *_, **__):
            return np.array(ctypes.c_float.from_address(self.data.ptr).value, np.float32)

    monkeypatch.setattr(cupy, "ndarray", Array)
    checked.cupy_class.cache_clear()
    yield owners.CuPy()
    checked.cupy_class.cache_clear()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8", "bool"])
def test_an_array_is_described(owner, dtype):
    whole = array_of(np.zeros((4, 3, 8), dtype), device=1)
    x = whole[1:, :, ::2].transpose(1, 0, 2)
    address, facts = owner.facts(x, "x")
    assert address == x.data.ptr == owner.address(x)
    assert owner.facts(whole, "x")[1] != facts
    hash(facts)
    assert owner.view(2, facts, "x") == (2, dtype, (3, 3, 4), (8, 24, 2), 1, True, address % 16, False)


READS = {
    "float": float, "int": int, "bool": bool, "repr": repr, "str": str, "format": "{:.3f}".format,
    "item": lambda a: a.item(), "tolist": lambda a: a.tolist(), "get": lambda a: a.get(), "asnumpy": cupy.asnumpy,
    "pickle": pickle.dumps,
}  # fmt: skip


@pytest.mark.parametrize("read", READS)
def test_a_loss_raises_when_it_is_read(owner, read):
    def loss_of(value, status):
        record = checked.Record(status, lambda status: status, lambda row, index: f"target[{row}] is {index}")
        return owner.checked(array_of(np.array(value, np.float32)), record)

    with pytest.raises(IndexError, match=r"target\[3\] is 7"):
        READS[read](loss_of(np.nan, [3, 7]))
    for value, status in ((2.5, [3, 7]), (2.5, [-1, 0])):  # of a number the record is not looked at
        if read not in ("get", "asnumpy", "pickle"):
            assert READS[read](loss_of(value, status)) == READS[read](np.array(value, np.float32))
    assert np.isnan(float(loss_of(np.nan, [-1, 0])))  # NaN from the logits
