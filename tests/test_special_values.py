"""Infinities, NaN, nothing at all, and numbers too small to be normal."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES, dtype_of

import nbsmce

INF, NAN = np.inf, np.nan
WIDTHS = (3, 20, 40, 5000)


def row(dtype, width, *values):
    """A row of zeros that ends with ``values``."""
    x = np.zeros(width, dtype_of(dtype))
    x[-len(values) :] = values
    return x


def results(function, x):
    """The results of a row, wherever it sits."""
    ordinary = np.zeros_like(x)
    yield function(x)
    yield function(np.stack([ordinary, x, ordinary]))[1]
    yield function(np.stack([ordinary] * 20 + [x]))[-1]
    stacked = np.stack([ordinary] * 20 + [x], axis=-1)
    yield (
        np.moveaxis(function(stacked, axis=0), 0, -1)[-1]
        if function is not nbsmce.logsumexp
        else function(stacked, 0)[-1]
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("values", "lse"),
    [
        ((NAN,), NAN),
        ((NAN, INF), NAN),
        ((INF, NAN), NAN),
        ((NAN, -INF), NAN),
        ((INF,), INF),
        ((INF, -INF), INF),
        ((INF, INF), INF),
    ],
)
def test_a_row_with_nan_or_infinity(dtype, width, values, lse):
    x = row(dtype, width, *values)
    for actual in results(nbsmce.softmax, x):
        assert np.isnan(actual.astype(float)).all()
    for actual in results(nbsmce.log_softmax, x):
        assert np.isnan(actual.astype(float)).all()
    for actual in results(nbsmce.logsumexp, x):
        np.testing.assert_array_equal(actual, lse)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, *WIDTHS])
def test_a_row_of_minus_infinity(dtype, width):
    x = np.full(width, -INF, dtype_of(dtype))
    for function in (nbsmce.softmax, nbsmce.log_softmax):
        for actual in results(function, x):
            assert np.isnan(actual.astype(float)).all()
    for actual in results(nbsmce.logsumexp, x):
        assert actual == -INF


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_minus_infinity_beside_numbers_is_a_probability_of_0(dtype, width):
    x = np.full(width, -INF, dtype_of(dtype))
    x[1] = 3
    for actual in results(nbsmce.softmax, x):
        assert actual.astype(float).tolist() == [float(i == 1) for i in range(width)]
    for actual in results(nbsmce.log_softmax, x):
        assert actual.astype(float).tolist() == [0.0 if i == 1 else -INF for i in range(width)]
    for actual in results(nbsmce.logsumexp, x):
        assert actual == 3


def test_nan_stays_in_its_row():
    x = np.zeros((40, 20), np.float32)
    x[17, 3] = NAN
    for axis, array in ((1, x), (0, x.T.copy())):
        bad = np.isnan(nbsmce.softmax(array, axis)).any(axis)
        assert np.flatnonzero(bad).tolist() == [17]


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing(dtype):
    for shape in ((2, 0), (0, 3), (0,), (0, 0), (2, 0, 3)):
        x = np.empty(shape, dtype_of(dtype))
        assert nbsmce.softmax(x).shape == shape
        assert nbsmce.log_softmax(x).shape == shape
        assert nbsmce.logsumexp(x).shape == shape[:-1]
        assert (nbsmce.logsumexp(x) == -INF).all()
        assert nbsmce.softmax_backward(x, x).shape == shape
    assert nbsmce.logsumexp(np.empty((2, 0)), keepdims=True).tolist() == [[-INF], [-INF]]
    assert nbsmce.logsumexp(np.empty((0, 3)), axis=0).tolist() == [-INF] * 3


def test_a_number_counts_as_one_class():
    assert isinstance(nbsmce.softmax(3.0), np.float64)
    assert nbsmce.softmax(3.0) == 1
    assert isinstance(nbsmce.softmax(np.zeros((), np.float16)), np.float16)
    assert nbsmce.log_softmax(3.0, 0).tolist() == 0.0
    assert nbsmce.logsumexp(3.0) == 3.0
    assert nbsmce.softmax_backward(2.0, 1.0).tolist() == 0.0
    with pytest.raises(np.exceptions.AxisError):
        nbsmce.softmax(3.0, 1)


def test_results_below_the_smallest_normal_number():
    """0 or correctly rounded, and the others are not disturbed."""
    x = np.linspace(-110, 0, 441, dtype=np.float32)
    actual = nbsmce.softmax(x)
    exact = np.exp(x.astype(np.longdouble))
    exact /= exact.sum()
    small = exact < np.finfo(np.float32).tiny
    assert small.any()
    assert ((actual[small] == 0) | (actual[small] == exact[small].astype(np.float32))).all()
    assert (actual[~small] > 0).all()


def test_extreme_logits():
    largest = float(np.finfo(np.float32).max)
    x = np.array([[largest, -largest, 0], [largest, largest, -largest], [-largest, -largest, -INF]], np.float32)
    np.testing.assert_array_equal(nbsmce.softmax(x), [[1, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0]])
    np.testing.assert_array_equal(nbsmce.logsumexp(x), [largest, largest, -largest])
    np.testing.assert_array_equal(nbsmce.log_softmax(x)[0, 2], -largest)


# -- losses ------------------------------------------------------------------------------------------------------------


def test_an_impossible_target_has_an_infinite_loss():
    logits = np.array([[0.0, -INF]])
    assert nbsmce.cross_entropy(logits, [1]) == INF
    loss, gradient = nbsmce.cross_entropy_with_grad(logits, [1])
    assert loss == INF
    np.testing.assert_array_equal(gradient, [[1, -1]])
    assert nbsmce.cross_entropy(logits, [0]) == 0


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("values", [(NAN,), (INF,), (INF, INF)])
def test_a_loss_of_nan_or_infinity_is_nan(width, values):
    logits = np.stack([row("float32", width, *values), row("float32", width, 0.0)])
    losses = nbsmce.cross_entropy(logits, [0, 0], reduction="none")
    np.testing.assert_array_equal(np.isnan(losses), [True, False])
    _, gradient = nbsmce.cross_entropy_with_grad(logits, [0, 0], reduction="sum")
    assert np.isnan(gradient[0]).all()
    assert np.isfinite(gradient[1]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("rows", [3, 40])
@pytest.mark.parametrize("width", [5, 40])
def test_ignored_rows_are_exactly_0_whatever_they_hold(dtype, bad, rows, width):
    logits = np.zeros((rows, width), dtype_of(dtype))
    logits[1] = bad
    target = np.zeros(rows, int)
    target[1] = -100
    for options in ({}, {"label_smoothing": 0.1}, {"z_loss": 0.1}, {"softcap": 3.0}):
        loss, gradient = nbsmce.cross_entropy_with_grad(logits, target, reduction="none", **options)
        assert loss[1] == 0
        assert (gradient[1] == 0).all()
        mean, gradient = nbsmce.cross_entropy_with_grad(logits, target, **options)
        assert np.isfinite(mean)
        assert np.isfinite(gradient.astype(float)).all()
        assert (gradient[1] == 0).all()


def test_a_probability_of_0_on_minus_infinity_counts_0():
    logits = np.array([[0.0, -INF, 1.0]])
    target = np.array([[0.5, 0.0, 0.5]])
    expected = nbsmce.cross_entropy(logits[:, ::2], target[:, ::2])
    assert nbsmce.cross_entropy(logits, target) == pytest.approx(expected, rel=1e-15)
    _, gradient = nbsmce.cross_entropy_with_grad(logits, target)
    assert gradient[0, 1] == 0
    assert nbsmce.cross_entropy(logits, np.array([[0.5, 0.1, 0.4]])) == INF
    assert nbsmce.cross_entropy(logits, [1], weight=[1.0, 0.0, 1.0], reduction="sum") == 0


@pytest.mark.parametrize("weight", [None, [1.0, 1.0, 1.0]])
def test_smoothing_that_is_0_in_the_type_of_the_logits_counts_0(weight):
    logits = np.array([[1.0, -INF, 0.5]], np.float32)
    loss = nbsmce.cross_entropy(logits, [0], weight=weight, label_smoothing=1e-60)
    np.testing.assert_allclose(loss, np.log1p(np.exp(-0.5)), rtol=1e-6)
    assert nbsmce.cross_entropy(logits, [0], weight=weight, label_smoothing=1e-6) == INF


def test_no_rows_and_only_ignored_rows():
    logits = np.zeros((2, 3), np.float32)
    ignored = np.full(2, -100)
    for some, target in ((logits, ignored), (logits[:0], ignored[:0])):
        assert np.isnan(nbsmce.cross_entropy(some, target))
        assert nbsmce.cross_entropy(some, target, reduction="sum") == 0
        assert nbsmce.cross_entropy(some, target, reduction="none").tolist() == [0.0] * len(some)
        assert np.isnan(nbsmce.nll_loss(some, target))
        assert nbsmce.nll_loss(some, target, reduction="sum") == 0
        _, gradient = nbsmce.cross_entropy_with_grad(some, target)
        assert gradient.shape == some.shape
        assert (gradient == 0).all()
    assert np.isnan(nbsmce.cross_entropy(np.zeros((0, 3)), np.zeros((0, 3))))
    assert np.isnan(nbsmce.cross_entropy(np.zeros((0, 3)), []))


def test_no_classes():
    assert nbsmce.cross_entropy(np.zeros((2, 0)), np.zeros((2, 0)), reduction="none").tolist() == [0, 0]
    assert np.isnan(nbsmce.cross_entropy(np.zeros((2, 0)), [-100, -100]))
    with pytest.raises(IndexError, match="target\\[0\\] is 0"):
        nbsmce.cross_entropy(np.zeros((2, 0)), [0, 0])


def test_gradients_of_special_rows():
    y = np.array([[NAN, NAN], [0.5, 0.5]])
    assert np.isnan(nbsmce.softmax_backward(np.ones((2, 2)), y)[0]).all()
    x = np.array([[-INF, -INF], [0.0, -INF]])
    gradient = nbsmce.logsumexp_backward(np.ones(2), x, nbsmce.logsumexp(x))
    np.testing.assert_array_equal(gradient, [[0, 0], [1, 0]])
