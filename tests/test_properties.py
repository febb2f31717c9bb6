"""What holds for all inputs."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import dtype_of, eps_of, units_of
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nbsmce

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=40)
DTYPES = st.sampled_from(["float16", "float32", "float64"])


@st.composite
def logits(draw, dtypes=DTYPES, shapes=SHAPES, bound=60.0):
    dtype, shape = draw(dtypes), draw(shapes)
    seed, scale = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.01, 1.0, 10.0, bound]))
    x = np.random.default_rng(seed).uniform(-scale, scale, shape)
    holes = draw(st.sampled_from([0.0, 0.0, 0.3]))
    x[np.random.default_rng(seed).random(shape) < holes] = -np.inf
    return x.astype(dtype)


def finite_rows(x, axis):
    return np.isfinite(x).any(axis)


@given(logits(), st.data())
def test_probabilities_are_positive_and_sum_to_1(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    y = nbsmce.softmax(x, axis)
    live = finite_rows(x, axis)
    total = y.astype(np.float64).sum(axis)
    # Each probability is off by some units of itself, and by half the smallest number of its type.
    slack = units_of(x.dtype.name) * eps_of(x.dtype.name) + x.shape[axis] * float(np.finfo(x.dtype).smallest_subnormal)
    assert (np.abs(total[live] - 1) <= slack).all()
    assert ((y >= 0) | np.isnan(y)).all()
    assert np.isnan(total[~live]).all()


@given(logits(DTYPES.filter(lambda d: d != "float16")), st.integers(-30, 30))
def test_a_shift_changes_nothing(x, shift):
    """Where no bit of the logits is lost, and but for what both results may be off."""
    x = np.round(x * 64) / 64
    moved = x + np.asarray(shift, x.dtype)
    assume(((moved - np.asarray(shift, x.dtype) == x) | ~np.isfinite(x)).all())
    slack = {"rtol": 2 * units_of(x.dtype.name) * eps_of(x.dtype.name), "atol": np.finfo(x.dtype).tiny}
    np.testing.assert_allclose(nbsmce.softmax(moved), nbsmce.softmax(x), **slack)
    np.testing.assert_allclose(nbsmce.log_softmax(moved), nbsmce.log_softmax(x), **slack)


@given(logits(), st.randoms())
def test_rows_do_not_know_each_other(x, random):
    x = x.reshape(-1, x.shape[-1])
    order = random.sample(range(len(x)), len(x))
    np.testing.assert_array_equal(nbsmce.softmax(x[order]), nbsmce.softmax(x)[order])
    np.testing.assert_array_equal(nbsmce.logsumexp(x[order]), nbsmce.logsumexp(x)[order])
    t = np.arange(len(x)) % x.shape[1]
    losses = nbsmce.cross_entropy(x, t, reduction="none")
    np.testing.assert_array_equal(nbsmce.cross_entropy(x[order], t[order], reduction="none"), losses[order])


@given(logits(), st.randoms())
def test_the_order_of_the_classes_is_only_rounding(x, random):
    order = random.sample(range(x.shape[-1]), x.shape[-1])
    a, b = nbsmce.softmax(x)[..., order].astype(float), nbsmce.softmax(x[..., order]).astype(float)
    units = 2 * units_of(x.dtype.name)
    np.testing.assert_allclose(a, b, rtol=units * eps_of(x.dtype.name), atol=2 * float(np.finfo(x.dtype).tiny))


@given(logits(), st.data())
def test_masked_elements_are_as_good_as_dropped(x, data):
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=x.shape[-1], max_size=x.shape[-1])))
    assume(keep.any())
    kept = np.ascontiguousarray(x[..., keep])
    rtol, atol = 2 * units_of(x.dtype.name) * eps_of(x.dtype.name), 2 * float(np.finfo(x.dtype).tiny)
    masked = nbsmce.softmax(x, where=keep)
    assert (masked[..., ~keep] == 0).all()
    shown = masked[..., keep].astype(float)
    np.testing.assert_allclose(shown, nbsmce.softmax(kept).astype(float), rtol=rtol, atol=atol)
    np.testing.assert_allclose(
        nbsmce.logsumexp(x, where=keep).astype(float),
        nbsmce.logsumexp(kept).astype(float),
        rtol=4 * eps_of("float32"),
        atol=4 * eps_of("float32") * 60,
    )


@given(logits())
def test_log_softmax_is_the_logarithm(x):
    """Within what rounding the probability to its type means for its logarithm."""
    log, p = nbsmce.log_softmax(x).astype(float), nbsmce.softmax(x).astype(float)
    large = p >= 1e-4
    np.testing.assert_allclose(np.exp(log[large]), p[large], rtol=12 * eps_of(x.dtype.name))


@given(logits(st.just("float64"), hnp.array_shapes(min_dims=2, max_dims=2, max_side=30)), st.data())
def test_losses(x, data):
    """Not negative, the same from all functions, and what the definition says."""
    rows, classes = x.shape
    x = np.where(np.isfinite(x), x, -30.0)
    t = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))
    smoothing = data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    loss = nbsmce.cross_entropy(x, t, label_smoothing=smoothing, reduction="none")
    both = nbsmce.cross_entropy_with_grad(x, t, label_smoothing=smoothing, reduction="none")
    exact = reference.cross_entropy(x, t, label_smoothing=smoothing, reduction="none")
    assert (loss >= 0).all()
    np.testing.assert_array_equal(loss, both[0])
    np.testing.assert_allclose(loss, exact[0].astype(float), rtol=1e-13, atol=1e-17)
    np.testing.assert_allclose(both[1], exact[1].astype(float), rtol=1e-12, atol=1e-15)
    total = nbsmce.cross_entropy(x, t, label_smoothing=smoothing, reduction="sum")
    np.testing.assert_allclose(total, loss.sum(), rtol=1e-14)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=50))
def test_any_numbers_at_all(values):
    """Whatever the numbers are, the result is one of those that the definition allows."""
    x = np.array(values, np.float32)
    for function in (nbsmce.softmax, nbsmce.log_softmax):
        exact = getattr(reference, function.__name__)(x)
        actual = function(x)
        np.testing.assert_array_equal(np.isnan(actual), np.isnan(exact))
        with np.errstate(over="ignore", invalid="ignore"):  # what is infinite in both is compared below
            rounded = exact.astype(np.float32)
            unit = np.spacing(np.minimum(np.abs(rounded), np.float32(3e38)))
            close = np.abs(actual - exact) <= 2 * unit + 2.0**-126
        assert (close | np.isnan(exact) | (actual == rounded)).all()
    lse, exact = nbsmce.logsumexp(x), reference.logsumexp(x, -1)
    assert (lse == pytest.approx(float(exact), rel=3e-7, abs=3e-7 * float(np.abs(x).max()))) or (
        np.isnan(lse) and np.isnan(exact)
    )


@given(logits(st.just("float32")))
def test_bfloat16_is_float32_cut_off(x):
    """The result is that of the same numbers in float32, rounded."""
    short = x.astype(dtype_of("bfloat16"))
    expected = nbsmce.softmax(short.astype(np.float32)).astype(short.dtype)
    np.testing.assert_array_equal(nbsmce.softmax(short).astype(float), expected.astype(float))
