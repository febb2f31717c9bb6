"""softmax, log_softmax and logsumexp: axes, masks, factors."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import DTYPES, WIDTHS, dtype_of, eps_of, random_logits

import nbsmce

FUNCTIONS = [nbsmce.softmax, nbsmce.log_softmax]


def check(actual, exact, dtype="float64", size=0.0):
    """Within four units of the dtype, of the result or of numbers of ``size`` that it is a difference of."""
    eps = eps_of(dtype)
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(np.asarray(actual)[~finite].astype(np.float64), exact[~finite].astype(np.float64))
    error = np.abs(np.asarray(actual).astype(np.longdouble)[finite] - exact[finite])
    assert (error <= 4 * eps * np.maximum(np.abs(exact[finite]), max(size, eps))).all()


def check_lse(x, actual, exact):
    """The same for log-sum-exps, which can be 0 as a difference of numbers as large as the largest element."""
    check(actual, exact, np.asarray(actual).dtype.name, float(np.abs(np.asarray(x, np.float64)).max()))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", WIDTHS)
def test_rows_of_every_width(function, dtype, classes):
    for rows in (1, 5, 16, 37):
        x = random_logits((rows, classes), dtype, seed=classes)
        actual = function(x)
        assert actual.dtype == x.dtype
        assert actual.shape == x.shape
        check(actual, getattr(reference, function.__name__)(x), dtype)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 5, 3), (2, 3, 4, 5), (4, 40, 9), (3, 1, 50), (1, 1, 1)])
def test_every_axis(function, shape):
    x = random_logits(shape)
    for axis in range(-len(shape), len(shape)):
        check(function(x, axis), getattr(reference, function.__name__)(x, axis))


@pytest.mark.parametrize("axis", [None, (0, 1), (0, 2), (1, 2), (0, 1, 2), (-1, 0), [2, 1]])
def test_several_axes(axis):
    x = random_logits((3, 4, 5))
    axes = range(3) if axis is None else axis
    check(nbsmce.softmax(x, axis), reference.softmax(x, axes))
    check(nbsmce.log_softmax(x, axis), reference.log_softmax(x, axes))
    axis = tuple(axis) if axis is not None else None
    check_lse(x, nbsmce.logsumexp(x, axis), reference.logsumexp(x, axes))
    kept = nbsmce.logsumexp(x, axis, keepdims=True)
    assert kept.shape == np.sum(x, axis, keepdims=True).shape
    np.testing.assert_array_equal(kept.reshape(-1), np.ravel(nbsmce.logsumexp(x, axis)))


@pytest.mark.parametrize("axis", [2, -3, (0, 2), 17])
def test_axis_out_of_range(axis):
    for function in (*FUNCTIONS, nbsmce.logsumexp):
        with pytest.raises(np.exceptions.AxisError, match="out of bounds"):
            function(np.zeros((2, 3)), axis)


def test_axis_of_a_wrong_kind():
    with pytest.raises(TypeError, match="axis must be an integer"):
        nbsmce.softmax(np.zeros(3), 0.5)
    with pytest.raises(ValueError, match="axis names an axis twice"):
        nbsmce.softmax(np.zeros((3, 3)), (0, -2))


def test_the_example_of_every_tutorial():
    np.testing.assert_allclose(nbsmce.softmax([2.0, 1.0, 0.1]), [0.659, 0.242, 0.099], atol=5e-4)


# -- logsumexp ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", WIDTHS)
def test_logsumexp_of_every_width(dtype, classes):
    for rows in (1, 16, 37):
        x = random_logits((rows, classes), dtype, seed=classes)
        actual = nbsmce.logsumexp(x)
        assert actual.dtype == (np.float64 if dtype == "float64" else np.float32)
        check_lse(x, actual, reference.logsumexp(x, -1))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_logsumexp_of_every_axis(axis):
    x = random_logits((4, 20, 30))
    check_lse(x, nbsmce.logsumexp(x, axis), reference.logsumexp(x, axis))
    assert nbsmce.logsumexp(x, axis, keepdims=True).shape == tuple(1 if i == axis else n for i, n in enumerate(x.shape))


def test_logsumexp_of_one_row_is_a_scalar():
    assert isinstance(nbsmce.logsumexp(np.zeros(3)), np.float64)
    assert isinstance(nbsmce.logsumexp(np.zeros(3, np.float16)), np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (40, 37), (2, 5000), (3, 4, 5)])
def test_factors(dtype, shape):
    x = random_logits(shape, dtype)
    b = np.abs(random_logits(shape, "float32", seed=5)).astype(x.dtype)
    b[..., 1] = 0
    check_lse(x, nbsmce.logsumexp(x, b=b), reference.logsumexp(x, -1, b=b))


def test_factors_broadcast_with_the_numbers():
    x, b = random_logits((4, 1, 3)), np.array([[1.0], [2.0]])
    full = [np.broadcast_to(a, (4, 2, 3)) for a in (x, b)]
    check_lse(x, nbsmce.logsumexp(x, b=b), reference.logsumexp(full[0], -1, b=full[1]))


def test_a_factor_of_0_removes_whatever_is_there():
    x = np.array([[1.0, np.inf], [2.0, np.nan], [3.0, -np.inf]])
    np.testing.assert_array_equal(nbsmce.logsumexp(x, b=[1.0, 0.0]), [1, 2, 3])
    assert nbsmce.logsumexp(x[0], b=[0.0, 0.0]) == -np.inf


def test_the_sign_of_a_sum():
    x, b = np.log([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0]]), np.array([1.0, -1.0])
    value, sign = nbsmce.logsumexp(x, b=b, return_sign=True)
    np.testing.assert_allclose(value, [np.log(2), np.log(2), -np.inf], rtol=1e-15)
    np.testing.assert_array_equal(sign, [1, -1, 0])
    np.testing.assert_array_equal(np.isnan(nbsmce.logsumexp(x, b=b)), [False, True, False])
    value, sign = nbsmce.logsumexp([-np.inf, -np.inf], return_sign=True)
    assert (value, sign) == (-np.inf, 0)
    assert nbsmce.logsumexp([1.0, 2.0], return_sign=True)[1] == 1
    assert np.isnan(nbsmce.logsumexp([np.nan], return_sign=True)[1])


def test_difference_of_nearly_equal_sums():
    x = np.array([1e-3, 0.0])
    assert nbsmce.logsumexp(x, b=[1.0, -1.0]) == pytest.approx(np.log(np.expm1(1e-3)), rel=1e-12)


# -- masks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (40, 37), (40, 5), (2, 5000)])
def test_masked_elements_do_not_exist(dtype, shape):
    x = random_logits(shape, dtype)
    where = np.random.default_rng(3).random(shape) < 0.6
    where[0] = False
    x[~where] = np.nan
    for function, hidden in ((nbsmce.softmax, 0.0), (nbsmce.log_softmax, -np.inf)):
        actual = function(x, where=where)
        check(actual, getattr(reference, function.__name__)(x, where=where), dtype)
        np.testing.assert_array_equal(actual[~where].astype(float), hidden)
    total = nbsmce.logsumexp(x, where=where)
    check(total, reference.logsumexp(x, -1, where=where), total.dtype.name, 10.0)
    assert total[0] == -np.inf


@pytest.mark.parametrize("axis", [0, 1, 2, None, (0, 2)])
def test_masks_broadcast(axis):
    x = random_logits((4, 5, 6))
    for where in (np.arange(6) > 1, (np.arange(5) > 1)[:, None], (np.arange(4) > 0)[:, None, None], np.True_):
        full = np.broadcast_to(where, x.shape)
        axes = range(3) if axis is None else axis
        check(nbsmce.softmax(x, axis, where=where), reference.softmax(x, axes, full))
        check(nbsmce.log_softmax(x, axis, where=where), reference.log_softmax(x, axes, full))
        check_lse(x, nbsmce.logsumexp(x, axis, where=where), reference.logsumexp(x, axes, full))


def test_masked_equals_dropped():
    x = random_logits((3, 50), "float32")
    keep = np.arange(50) % 3 > 0
    np.testing.assert_allclose(nbsmce.softmax(x, where=keep)[:, keep], nbsmce.softmax(x[:, keep]), rtol=1e-6)


def test_a_row_of_minus_infinity_is_not_a_masked_row():
    x = np.array([[-np.inf, -np.inf, 1.0]])
    actual = nbsmce.softmax(x, where=[True, True, False])
    np.testing.assert_array_equal(actual, [[np.nan, np.nan, 0.0]])
    assert nbsmce.softmax(x[:, :2], where=[[False, False]]).tolist() == [[0.0, 0.0]]


def test_mask_and_factors_together():
    x, b = random_logits((6, 40)), np.abs(random_logits((6, 40), seed=4))
    where = np.random.default_rng(0).random((6, 40)) < 0.5
    check_lse(x, nbsmce.logsumexp(x, b=b, where=where), reference.logsumexp(x, -1, where, b))


def test_dtype_of_numbers_of_two_dtypes():
    assert nbsmce.logsumexp(np.zeros((2, 3), np.float32), b=np.ones(3)).dtype == np.float64
    assert nbsmce.logsumexp(np.zeros((2, 3), np.float16), b=np.ones(3, np.float32)).dtype == np.float32
    assert nbsmce.logsumexp(np.zeros((2, 3), np.float16), b=np.ones(3, dtype_of("bfloat16"))).dtype == np.float32
