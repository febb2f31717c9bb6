"""Calls of small arrays are prepared once and kept: what they must not mix up, and what they must not keep."""

from __future__ import annotations

import functools
import itertools
import sys
import threading

import numpy as np
import pytest
from cases import random_logits

import nbsmce
from nbsmce import _prepared
from nbsmce._compile import JIT
from nbsmce._cpu import short
from nbsmce._cpu.softmax import SOFTMAX

needs_jit = pytest.mark.skipif(not JIT, reason="compiled code unpacks the arguments")


def test_what_equals_an_integer_is_still_none():
    x, t = np.ones((2, 3)), np.zeros(2, np.int64)
    nbsmce.softmax(x, 1)
    with pytest.raises(TypeError, match="axis"):
        nbsmce.softmax(x, 1.0)
    nbsmce.cross_entropy(x, t, ignore_index=0)
    with pytest.raises(TypeError, match="ignore_index"):
        nbsmce.cross_entropy(x, t, ignore_index=0.0)


def test_the_call_before_was_for_other_arrays():
    """Or for another axis, function or option: each is found again, in any order."""
    cases = []
    for shape, dtype, axis in itertools.product([(4, 9), (9, 4), (4, 3, 3)], ["float32", "float64"], [0, -1, 1]):
        x = random_logits(shape, dtype)
        t = np.zeros(np.delete(shape, axis), np.int64)
        cases += [functools.partial(f, x, axis) for f in (nbsmce.softmax, nbsmce.log_softmax, nbsmce.logsumexp)]
        for ignore_index in (0, -100):
            cases.append(functools.partial(nbsmce.cross_entropy, x, t, axis=axis, ignore_index=ignore_index))
    expected = []
    for case in cases:
        _prepared.forget()
        expected.append(case())
    for i in np.random.default_rng(0).integers(0, len(cases), 1000):
        actual = cases[i]()
        assert (actual.dtype, actual.tobytes()) == (expected[i].dtype, expected[i].tobytes()), cases[i]


@pytest.mark.parametrize("shape", [(3, 10), (40, 10)])
def test_a_class_that_is_none_after_ones_that_are(shape):
    x, t, out = random_logits(shape), np.ones(shape[0], np.int64), np.full(shape, 7.0)
    right = nbsmce.cross_entropy_with_grad(x, t)
    wrong = t.copy()
    wrong[[1, 2]] = 10, -1
    for _ in range(2):
        with pytest.raises(IndexError, match=r"^target\[1\] is 10, which is neither in \[0, 10\) nor"):
            nbsmce.cross_entropy_with_grad(x, wrong, out=out)
        with pytest.raises(IndexError, match=r"^target\[1\] is 10"):
            nbsmce.cross_entropy(x, wrong, reduction="none")
        assert (out == 7).all()
        again = nbsmce.cross_entropy_with_grad(x, t)
        assert [a.tobytes() for a in again] == [a.tobytes() for a in right]


def test_threads_do_not_share_what_is_prepared():
    xs = [random_logits((20, 30), seed=i) for i in range(8)]
    t = np.arange(20)

    def results(x):
        loss, gradient = nbsmce.cross_entropy_with_grad(x, t)
        return loss.tobytes() + gradient.tobytes() + nbsmce.softmax(x).tobytes() + nbsmce.logsumexp(x, 0).tobytes()

    expected, wrong = [results(x) for x in xs], []

    def many(i):
        wrong.extend(i for _ in range(300) if results(xs[i]) != expected[i])

    threads = [threading.Thread(target=many, args=(i,)) for i in range(len(xs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nothing_holds_the_arrays_of_a_call():
    x, t, out = random_logits((3, 10)), np.zeros(3, np.int64), np.empty((3, 10))
    counts = [sys.getrefcount(a) for a in (x, t, out)]
    for _ in range(3):
        nbsmce.cross_entropy_with_grad(x, t, out=out)
        nbsmce.softmax(x, out=out)
        nbsmce.logsumexp_backward(nbsmce.logsumexp(x), x, nbsmce.logsumexp(x), out=out)
    assert [sys.getrefcount(a) for a in (x, t, out)] == counts


def test_an_input_that_is_the_result_backwards():
    """The result owns its memory, and the input lies in it."""
    x, t = random_logits((6, 10)), np.arange(6)
    expected = nbsmce.softmax(x[::-1].copy()), nbsmce.cross_entropy_with_grad(x[::-1].copy(), t)[1]
    for _ in range(2):
        first, second = x.copy(), x.copy()
        nbsmce.softmax(first[::-1], out=first)
        nbsmce.cross_entropy_with_grad(second[::-1], t, out=second)
        assert [first.tobytes(), second.tobytes()] == [e.tobytes() for e in expected]


@needs_jit
@pytest.mark.parametrize("wrong", [None, [[1.0]], 3, np.ones((1, 3))], ids=str)
def test_a_kernel_takes_nothing_but_arrays_of_its_type(wrong):
    layout = short._layout(SOFTMAX, 1, 1, x := np.ones((1, 3), np.float32))
    with pytest.raises(TypeError, match="not an array of float32"):
        layout.entry(wrong, layout.no_mask, x, 0, 0, *layout.last)


def test_many_shapes_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(_prepared, "_MOST", 8)
    for n in range(1, 40):
        nbsmce.softmax(np.ones((1, n)))
    assert len(_prepared._prepared.calls) <= 8


@pytest.mark.parametrize(("shape", "axis", "bundled"), [((5, 40), 0, True), ((5, 30), 0, False), ((40, 5), 1, False)])
def test_rows_side_by_side_are_in_bundles(shape, axis, bundled):
    found = short._layout(SOFTMAX, 1, axis, np.ones(shape))
    assert (found.entry is SOFTMAX.bundled[3, "d"]) == bundled
