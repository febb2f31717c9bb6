"""How much memory a call takes, and that no layout is copied."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from cases import random_logits

import nbsmce

ROWS, CLASSES = 2000, 1000
SMALL = 500_000  # bytes, against the 8 MB of the logits: scratch memory of two threads, for sixteen rows each


def peak(call) -> int:
    """The bytes allocated at most during a call, beyond what was there before."""
    call()
    tracemalloc.start()
    try:
        result = call()
        _, most = tracemalloc.get_traced_memory()
        del result
    finally:
        tracemalloc.stop()
    return most


LAYOUTS = {
    "contiguous": lambda x: (x, -1),
    "classes first": lambda x: (np.ascontiguousarray(x.T), 0),
    "Fortran order": lambda x: (np.asfortranarray(x), -1),
    "classes in the middle": lambda x: (x.reshape(40, CLASSES, -1), 1),
    "slices": lambda x: (np.concatenate([x, x], 1).reshape(20, -1, 2 * CLASSES)[:, :, ::2], -1),
    "read-only": lambda x: (np.broadcast_to(x, x.shape), -1),
    "reversed": lambda x: (x[::-1, ::-1], -1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_of_the_size_of_the_logits(layout):
    x, axis = LAYOUTS[layout](random_logits((ROWS, CLASSES), "float32"))
    t = np.zeros([n for i, n in enumerate(x.shape) if i != axis % x.ndim], int)
    out = np.empty_like(x)
    assert peak(lambda: nbsmce.cross_entropy(x, t, axis=axis)) < SMALL
    assert peak(lambda: nbsmce.cross_entropy(x, t, axis=axis, label_smoothing=0.1, softcap=5.0)) < SMALL
    assert peak(lambda: nbsmce.logsumexp(x, axis)) < SMALL
    assert peak(lambda: nbsmce.cross_entropy_with_grad(x, t, axis=axis, out=out)) < SMALL
    assert peak(lambda: nbsmce.softmax(x, axis, out=out)) < SMALL
    assert peak(lambda: nbsmce.softmax_backward(x, out, axis, out=out)) < SMALL
    for call in (
        lambda: nbsmce.softmax(x, axis),
        lambda: nbsmce.log_softmax(x, axis),
        lambda: nbsmce.cross_entropy_with_grad(x, t, axis=axis),
        lambda: nbsmce.nll_loss_backward(1.0, x, t, axis=axis),
    ):
        assert x.nbytes <= peak(call) < x.nbytes + SMALL


def test_probabilities_are_not_copied():
    x = random_logits((ROWS, CLASSES), "float32")
    y = nbsmce.softmax(x)
    assert peak(lambda: nbsmce.cross_entropy(x, y)) < SMALL


@pytest.mark.parametrize("classes", [2, 10])
def test_a_loss_of_many_rows_with_few_classes(classes):
    """The losses of the rows are float64 and there are as many as logits in some cases: not all are kept at once."""
    x, t = random_logits((1 << 20, classes), "float32"), np.zeros(1 << 20, int)
    assert peak(lambda: nbsmce.cross_entropy(x, t)) < 1_000_000
    assert peak(lambda: nbsmce.cross_entropy(x.T, t, axis=0)) < 1_000_000


def test_half_types_are_not_widened_as_a_whole():
    x = random_logits((ROWS, CLASSES), "float16")
    out = np.empty_like(x)
    assert peak(lambda: nbsmce.softmax(x, out=out)) < SMALL
    assert peak(lambda: nbsmce.cross_entropy_with_grad(x, np.zeros(ROWS, int), out=out)) < SMALL
