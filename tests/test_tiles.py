"""Rows of few classes: sixteen at a time, transposed."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES, dtype_of, random_logits

import nbsmce
from nbsmce._cpu import launch

ROWS = (16, 17, 45)


def by_row(x, y, t, memory=lambda: None):
    """What every function makes of each row, by name; in arrays that ``memory()`` makes."""
    lse = nbsmce.logsumexp(x)
    loss, gradient = nbsmce.cross_entropy_with_grad(x, t, reduction="none", out=memory())
    return {
        "softmax": nbsmce.softmax(x, out=memory()),
        "log_softmax": nbsmce.log_softmax(x, out=memory()),
        "logsumexp": lse,
        "softmax_backward": nbsmce.softmax_backward(x, y, out=memory()),
        "log_softmax_backward": nbsmce.log_softmax_backward(x, y, out=memory()),
        "logsumexp_backward": nbsmce.logsumexp_backward(lse, x, lse, out=memory()),
        "loss": loss,
        "gradient": gradient,
        "cross_entropy_backward": nbsmce.cross_entropy_backward(np.ones_like(loss), x, t, reduction="none", lse=lse),
    }


def same(results, expected):
    for name, array in results.items():
        assert (array.dtype, array.tobytes()) == (expected[name].dtype, expected[name].tobytes()), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 25, 31, 32, 33])
def test_the_same_bits_as_rows_along(classes, dtype):
    """Which fewer than sixteen rows are."""
    for rows in ROWS:
        x, y = random_logits((rows, classes), dtype, 5.0), nbsmce.softmax(random_logits((rows, classes), dtype, seed=1))
        x[3], x[-1, 0], x[-2] = -np.inf, np.inf, x[-2, 0]
        t = np.arange(rows) % classes
        t[5], t[-1] = -100, -100
        parts = [by_row(x[i : i + 8], y[i : i + 8], t[i : i + 8]) for i in range(0, rows, 8)]
        expected = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        same(by_row(x, y, t), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 3, 7, 8, 9, 16, 17, 32])
def test_only_the_results_are_written(classes, dtype):
    """Rows are written past their ends, but not the last."""
    for rows in ROWS:
        memory = np.full((rows + 12, classes), 7, dtype_of(dtype))
        inside = memory[6 : 6 + rows]
        x, t = random_logits((rows, classes), dtype), np.full(rows, -100)
        y, lse = nbsmce.softmax(x), nbsmce.logsumexp(x)
        for function, arguments in (
            (nbsmce.softmax, (x,)),
            (nbsmce.log_softmax, (x,)),
            (nbsmce.softmax_backward, (x, y)),
            (nbsmce.logsumexp_backward, (lse, x, lse)),
            (nbsmce.cross_entropy_with_grad, (x, t)),
            (nbsmce.cross_entropy_with_grad, (x, t + 100)),
        ):
            memory[...] = 7
            function(*arguments, out=inside)
            assert (memory[:6] == 7).all()
            assert (memory[6 + rows :] == 7).all()
            assert (inside != 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 5, 10, 16, 31])
def test_in_place_on_all_threads(classes, dtype):
    """A tile reads what belongs to the rows behind, which another thread may have written by then."""
    shape = (1 << 17) // classes + 5, classes
    x, t = random_logits(shape, dtype), np.zeros(shape[0], np.int64)
    expected = nbsmce.softmax(x), nbsmce.softmax_backward(x, x), nbsmce.cross_entropy_with_grad(x, t)[1]
    a, b, c = x.copy(), x.copy(), x.copy()
    nbsmce.softmax(a, out=a)
    nbsmce.softmax_backward(b, b, out=b)
    nbsmce.cross_entropy_with_grad(c, t, out=c)
    for actual, array in zip((a, b, c), expected, strict=True):
        assert actual.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_with_gaps_and_classes_with_gaps(dtype):
    x, y = random_logits((40, 10), dtype), nbsmce.softmax(random_logits((40, 10), dtype, seed=1))
    t = np.arange(40) % 10
    expected = by_row(x, y, t)
    whole = np.full((80, 26), 7, dtype_of(dtype))
    views = [
        lambda a: a[:40, 2:12],
        lambda a: a[:40, 2:12][::-1],
        lambda a: a[::2, :20:2],
        lambda a: a.T[2:12, :40].T,
    ]
    for view in views:
        array = view(whole.copy())
        array[...] = x
        same(by_row(array, y, t), expected)
        results = by_row(x, y, t, lambda view=view: view(whole.copy()))
        same(results, expected)
        view(rest := results["softmax"].base)[...] = 7
        assert (rest == 7).all()
    assert (nbsmce.softmax(np.broadcast_to(x[:1], x.shape)) == expected["softmax"][0]).all()


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 1, 40), False), ((1, 2, 40), True), ((1, 32, 40), True), ((1, 33, 40), False)]
)
def test_which_rows_are_in_tiles(shape, expected):
    x = np.zeros((shape[0], shape[2], shape[1]), np.float32).transpose(0, 2, 1)
    assert launch.in_tiles(x, x.copy(order="K"), np.empty((0, 0, 0), np.uint8), 1) == expected
    assert launch.in_tiles(x.astype(np.float16)) == expected
    assert not launch.in_tiles(x, np.zeros(shape, np.float32)) or shape[1] == 1
    assert not launch.in_tiles(x[0])
