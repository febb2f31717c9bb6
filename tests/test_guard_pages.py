"""Kernels touch nothing outside their arrays: every buffer ends, or begins, where memory must not be touched.

A kernel that does ends the process with a signal.
"""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np
import pytest
from cases import DTYPES, random_logits, write_past_the_cache
from test_layouts import everything, same

import nbsmce

pytestmark = pytest.mark.skipif(os.name != "posix", reason="mprotect is a function of POSIX")


def guarded(array, at_end):
    """A copy with a forbidden page right behind it, or right before."""
    array = np.ascontiguousarray(array)
    page = mmap.PAGESIZE
    inside = -(-max(array.nbytes, 1) // page) * page
    memory = mmap.mmap(-1, inside + 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for forbidden in (address, address + page + inside):
        assert protect(ctypes.c_void_p(forbidden), ctypes.c_size_t(page), 0) == 0
    first = page + inside - array.nbytes if at_end else page
    copy = np.frombuffer(memory, array.dtype, array.size, first).reshape(array.shape)
    copy[...] = array
    return copy


def test_guards_guard():
    """What the other tests rely on, in a process that may die of it."""
    import subprocess
    import sys

    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import ctypes, numpy as np\n"
        "from test_guard_pages import guarded\n"
        "a = guarded(np.zeros(4), {at_end})\n"
        "ctypes.c_double.from_address(a.ctypes.data + {offset}).value\n"
    )
    for at_end, offset, dies in ((True, 32, True), (False, -8, True), (True, 24, False), (False, 0, False)):
        command = [sys.executable, "-c", code.format(at_end=at_end, offset=offset), *sys.path]
        assert (subprocess.run(command, capture_output=True, check=False).returncode < 0) == dies


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((3, 5), 1),
        ((17, 3), 1),
        ((35, 10), 1),
        ((32, 2), 1),
        ((48, 31), 1),
        ((19, 37), 1),
        ((2, 4100), 1),
        ((18, 5), 0),
        ((3, 40, 7), 1),
        ((5, 33), 0),
        ((2, 6, 97), 1),
    ],
)
@pytest.mark.parametrize("past_cache", [True, False])
def test_nothing_outside(shape, axis, dtype, at_end, past_cache, monkeypatch, request):
    from nbsmce import _prepared
    from nbsmce._cpu import host

    x = random_logits(shape, dtype, 5.0)
    y = nbsmce.softmax(random_logits(shape, dtype, seed=2), axis)
    t = np.random.default_rng(0).integers(0, shape[axis], [n for i, n in enumerate(shape) if i != axis])
    where = np.random.default_rng(1).random(shape) < 0.8
    expected = everything(x, y, t, axis) | {"masked": nbsmce.softmax(x, axis, where=where)}

    if past_cache:
        write_past_the_cache(monkeypatch)
    monkeypatch.setattr(host, "scratch", lambda n: guarded(np.zeros((1, n), np.uint8), at_end))
    monkeypatch.setattr(host, "scratch_of_team", lambda threads, n: guarded(np.zeros((threads, n), np.uint8), at_end))
    monkeypatch.setattr(host, "put_back", lambda memory: None)
    request.addfinalizer(_prepared.forget)
    _prepared.forget()  # what is prepared has its memory
    x, y, t, where = (guarded(a, at_end) for a in (x, y, t, where))
    same(everything(x, y, t, axis) | {"masked": nbsmce.softmax(x, axis, where=where)}, expected)
    out = guarded(np.zeros_like(x), at_end)
    same({"out": nbsmce.softmax(x, axis, out=out)}, {"out": expected["softmax"]})
    gradient = nbsmce.cross_entropy_with_grad(x, t, axis=axis, out=out)[1]
    same({"gradient": gradient}, {"gradient": expected["gradient of indices, mean, 0 options"]})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [3, 10, 40])
def test_rows_backwards_and_rows_that_are_one(classes, dtype):
    """Nothing follows their ends but the guard."""
    x = random_logits((48, classes), dtype, 5.0)
    same({"backwards": nbsmce.softmax(guarded(x, True)[::-1])}, {"backwards": nbsmce.softmax(x[::-1].copy())})
    one = np.broadcast_to(guarded(x[:1], True), x.shape)
    same({"one": nbsmce.softmax(one)}, {"one": nbsmce.softmax(one.copy())})
