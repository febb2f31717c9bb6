"""What depends on the processor: how parts of vectors are stored, and which rows are taken abreast."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES, dtype_of, random_logits

import nbsmce
from nbsmce import _prepared
from nbsmce._cpu import layout


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_behind_a_row_is_written(dtype):
    """Of any number of classes; rows begin anywhere in their cache lines."""
    for classes in range(1, 36):
        for rows in (3, 18):
            x, t = random_logits((rows, classes), dtype), np.zeros(rows, np.int64)
            y, lse = nbsmce.softmax(x), nbsmce.logsumexp(x)
            memory = np.full((rows, classes + 5), 7, dtype_of(dtype))
            inside = memory[:, 2 : classes + 2]
            calls = {
                "softmax": nbsmce.softmax(x, out=inside),
                "softmax_backward": nbsmce.softmax_backward(x, y, out=inside),
                "logsumexp_backward": nbsmce.logsumexp_backward(lse, x, lse, out=inside),
                "cross_entropy": nbsmce.cross_entropy_with_grad(x, t, out=inside)[1],
            }
            assert all(result is inside for result in calls.values())
            assert (memory[:, :2] == 7).all(), classes
            assert (memory[:, classes + 2 :] == 7).all(), classes
            assert (inside.astype(float) != 7).all(), classes
            assert inside.tobytes() == nbsmce.cross_entropy_with_grad(x, t)[1].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(16, 16), (40, 32), (17, 32), (20000, 16)], ids=str)
def test_gradients_of_classes_that_fill_vectors_along_and_abreast(dtype, shape, monkeypatch):
    x, y = random_logits(shape, dtype), nbsmce.softmax(random_logits(shape, dtype, seed=1))
    results = []
    for filled in (1, 1 << 20):  # all along, none
        monkeypatch.setattr(layout, "FILLED", filled)
        assert layout.abreast(*shape, x.itemsize, True) == (filled > 1)
        _prepared.forget()
        results.append([nbsmce.softmax_backward(x, y).tobytes(), nbsmce.log_softmax_backward(x, y).tobytes()])
    _prepared.forget()
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("register", "classes", "itemsize", "abreast"),
    [
        (64, 16, 4, True), (64, 32, 4, False), (64, 16, 8, False), (64, 32, 2, False), (64, 16, 2, True),
        (32, 16, 4, False), (32, 16, 2, False), (32, 24, 4, True), (64, 24, 8, True),
    ],
)  # fmt: skip
def test_gradients_of_classes_that_fill_two_registers_go_along(register, classes, itemsize, abreast, monkeypatch):
    """Half types in the numbers that they become. What is more than products goes abreast."""
    monkeypatch.setattr(layout, "FILLED", 2 * register)
    assert layout.abreast(16, classes, itemsize, True) == abreast
    assert layout.abreast(16, classes, itemsize, False)
