"""Writing into the caller's memory: in place, overlapping, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES, dtype_of, go_the_general_way, random_logits

import nbsmce
from nbsmce._cpu import functions, launch, losses

SHAPES = [(7, 5), (40, 5), (7, 40), (3, 9000), (4, 20, 6)]


def calls(x):
    """Every function that takes ``out``, as ``call(x, out)``, with the array that it may overwrite."""
    y = np.empty_like(x)
    y[...] = np.abs(random_logits(x.shape, "float64", seed=3))
    t = np.zeros(x.shape[:-1], int)
    lse = nbsmce.logsumexp(x)
    return {
        "softmax": lambda x, out: nbsmce.softmax(x, out=out),
        "log_softmax": lambda x, out: nbsmce.log_softmax(x, out=out),
        "masked softmax": lambda x, out: nbsmce.softmax(x, where=np.arange(x.shape[-1]) != 1, out=out),
        "softmax of axis 0": lambda x, out: nbsmce.softmax(x, 0, out=out),
        "log_softmax of axis 0": lambda x, out: nbsmce.log_softmax(x, 0, out=out),
        "softmax_backward of axis 0": lambda x, out: nbsmce.softmax_backward(x, y, 0, out=out),
        "softmax_backward": lambda x, out: nbsmce.softmax_backward(x, y, out=out),
        "log_softmax_backward": lambda x, out: nbsmce.log_softmax_backward(x, -y, out=out),
        "logsumexp_backward": lambda x, out: nbsmce.logsumexp_backward(lse, x, lse, out=out),
        "cross_entropy_with_grad": lambda x, out: nbsmce.cross_entropy_with_grad(x, t, out=out)[1],
        "smoothed": lambda x, out: nbsmce.cross_entropy_with_grad(x, t, label_smoothing=0.1, softcap=4.0, out=out)[1],
        "probabilities": lambda x, out: nbsmce.cross_entropy_with_grad(x, y, out=out)[1],
        "cross_entropy_backward": lambda x, out: nbsmce.cross_entropy_backward(1.0, x, t, out=out),
        "from lse": lambda x, out: nbsmce.cross_entropy_backward(1.0, x, t, lse=lse, out=out),
        "nll_loss_backward": lambda x, out: nbsmce.nll_loss_backward(1.0, x, t, out=out),
    }


def equal(a, b, name):
    np.testing.assert_array_equal(a.astype(np.float64), b.astype(np.float64), err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "order"), [*((shape, "C") for shape in SHAPES), ((7, 70), "C"), ((70, 7), "F")])
def test_out_and_in_place(dtype, shape, order):
    x = random_logits(shape, dtype).copy(order)
    for name, call in calls(x).items():
        expected = call(x, None)
        assert not np.may_share_memory(expected, x), name
        out = np.full(shape, 7, dtype_of(dtype), order)
        assert call(x, out) is out, name
        equal(out, expected, name)
        here = x.copy(order)
        assert call(here, here) is here, name
        equal(here, expected, name)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(8, 5), (40, 6), (8, 40), (4, 9000)])
def test_any_overlap_gives_the_result_of_no_overlap(dtype, shape):
    x = random_logits(shape, dtype)
    for name, call in calls(x).items():
        expected = call(x, None)
        memory = np.zeros(2 * x.size + 10, x.dtype)
        here = memory[5 : 5 + x.size].reshape(shape)
        for shift in (-5, -1, 1, 4, shape[-1]):
            here[...] = x
            equal(call(here, memory[5 + shift : 5 + shift + x.size].reshape(shape)), expected, f"{name} by {shift}")
        here[...] = x
        equal(call(here, here[::-1]), expected, f"{name} reversed")
        spaced = np.zeros((*shape, 2), x.dtype)
        spaced[..., 0] = x
        equal(call(spaced[..., 0], spaced[..., 1]), expected, f"{name} interleaved")


def test_out_over_another_argument():
    x, y = random_logits((40, 40), "float32"), np.abs(random_logits((40, 40), "float32", seed=2))
    expected = nbsmce.softmax_backward(x, y)
    np.testing.assert_array_equal(nbsmce.softmax_backward(x, y.copy(), out=y.copy()), expected)
    again = y.copy()
    np.testing.assert_array_equal(nbsmce.softmax_backward(x, again, out=again), expected)
    target = y / y.sum(1, keepdims=True)
    expected = nbsmce.cross_entropy_with_grad(x, target)[1]
    np.testing.assert_array_equal(nbsmce.cross_entropy_with_grad(x, target, out=target)[1], expected)
    out = np.ones((40, 40), np.float32)
    t = np.arange(40)
    expected = nbsmce.cross_entropy_with_grad(x, t, weight=np.ones(40, np.float32))[1]
    np.testing.assert_array_equal(nbsmce.cross_entropy_with_grad(x, t, weight=out[3], out=out)[1], expected)
    out = np.zeros((40, 40), np.float32)
    mask = out.view(np.uint8)[:, :160:4].view(bool)
    assert (nbsmce.softmax(x, where=mask, out=out) == 0).all()


@pytest.mark.parametrize("order", ["F", "strided", "negative"])
@pytest.mark.parametrize("shape", [(7, 5), (40, 5), (20, 40), (3, 9000)])
def test_out_of_any_layout(order, shape):
    x = random_logits(shape, "float32")
    for name, call in calls(x).items():
        out = np.zeros((2 * shape[0], 2 * shape[1]), np.float32)
        out = {"F": np.zeros(shape, np.float32, "F"), "strided": out[::2, 1::2], "negative": out[::-2, ::-2]}[order]
        assert call(x, out) is out
        equal(out, call(x, None), name)


def test_logsumexp_into_out():
    x = random_logits((4, 5, 6), "float32")
    for keepdims in (False, True):
        expected = nbsmce.logsumexp(x, 1, keepdims=keepdims)
        out = np.zeros(expected.shape, np.float32)
        assert nbsmce.logsumexp(x, 1, keepdims=keepdims, out=out) is out
        np.testing.assert_array_equal(out, expected)
    spaced = np.zeros((4, 12), np.float32)
    nbsmce.logsumexp(x, 1, out=spaced[:, ::2])
    np.testing.assert_array_equal(spaced[:, ::2], nbsmce.logsumexp(x, 1))
    assert (spaced[:, 1::2] == 0).all()
    single = np.zeros((), np.float32)
    assert nbsmce.logsumexp(x, None, out=single) is single
    assert single == nbsmce.logsumexp(x, None)
    assert nbsmce.logsumexp(x.astype(np.float16), 1, out=np.zeros((4, 6), np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((3, 5), np.float32), ValueError, r"out must have the shape \(3, 4\), got \(3, 5\)"),
        (np.zeros(12, np.float32), ValueError, r"out must have the shape"),
        (np.zeros((3, 4)), TypeError, "out must have the dtype float32, got float64"),
        (np.zeros((3, 4), ">f4"), TypeError, "out must have the dtype float32"),
        ([[0.0] * 4] * 3, TypeError, "out must be a numpy.ndarray, as the input is, got list"),
        (np.ma.zeros((3, 4), np.float32), TypeError, "out is a masked array"),
        (np.broadcast_to(np.float32(0), (3, 4)), ValueError, "out is read-only"),
    ],
)
def test_an_out_that_does_not_fit(out, error, message):
    x = random_logits((3, 4), "float32")
    for name, call in calls(x).items():
        with pytest.raises(error, match=message):
            call(x, out)
        assert (np.asarray(out) == 0).all(), name


@pytest.mark.parametrize(
    ("dtype", "classes", "kept", "past_cache"),
    [
        ("float32", 1024, False, 0),
        ("float32", 1025, False, 1),
        ("float32", 4096, True, 0),
        ("float32", 4097, True, 1),
        ("int16", 2049, False, 1),
        ("float64", 512, False, 0),
    ],
)
def test_long_rows_of_large_results_go_past_the_cache(dtype, classes, kept, past_cache):
    rows = np.empty((-(-launch.STREAM_BYTES // (classes * np.dtype(dtype).itemsize)), classes), dtype)
    assert launch.streamed(rows, rows, kept) == past_cache
    assert launch.streamed(rows[1:], rows, kept) == 0


def test_which_results_may_go_past_the_cache(monkeypatch):
    asked = []

    def noted(results, rows, kept):
        asked.append((results.shape, rows.shape, kept))
        return 0

    go_the_general_way(monkeypatch)
    monkeypatch.setattr(functions, "streamed", noted)
    monkeypatch.setattr(losses, "streamed", noted)
    x = np.ones((40, 2000), np.float32)
    lse, t = nbsmce.logsumexp(x), np.zeros(40, np.int64)
    nbsmce.softmax(x)
    nbsmce.log_softmax(x)
    nbsmce.softmax_backward(x, x)
    nbsmce.logsumexp_backward(lse, x, lse)
    nbsmce.cross_entropy_with_grad(x, t)
    nbsmce.softmax(x.reshape(4, 10, 2000))
    assert asked == [((40, 2000), (40, 2000), kept) for kept in (True, False, False, False, True)] + [
        ((4, 10, 2000), (40, 2000), True)
    ]
