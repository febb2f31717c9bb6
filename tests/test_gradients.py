"""Gradients against finite differences of the library's own forward functions, and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import DTYPES, dtype_of, engineered, eps_of, random_logits

import nbsmce

STEP = 1e-3


def numerical(function, x):
    """Central differences of order 4 of a scalar function."""
    gradient = np.empty_like(x)
    for i in np.ndindex(*x.shape):
        values = []
        for k in (-2, -1, 1, 2):
            moved = x.copy()
            moved[i] += k * STEP
            values.append(function(moved))
        gradient[i] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * STEP)
    return gradient


def check(actual, expected):
    """The differences are off by STEP**4 times a fifth derivative, and by rounding divided by STEP."""
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("shape", [(3, 4), (20, 3), (2, 17)])
def test_softmax_family(shape):
    x, above = random_logits(shape, scale=1.0), random_logits(shape, seed=5, scale=1.0)
    for forward, backward in (
        (nbsmce.softmax, nbsmce.softmax_backward),
        (nbsmce.log_softmax, nbsmce.log_softmax_backward),
    ):
        for axis in (0, 1):
            expected = numerical(lambda v, f=forward, a=axis: float((f(v, a) * above).sum()), x)
            check(backward(above, forward(x, axis), axis), expected)
    for axis in (0, 1):
        weights = above.sum(axis)
        expected = numerical(lambda v, a=axis, w=weights: float((nbsmce.logsumexp(v, a) * w).sum()), x)
        lse = nbsmce.logsumexp(x, axis)
        check(nbsmce.logsumexp_backward(weights, x, lse, axis), expected)
        kept = nbsmce.logsumexp(x, axis, keepdims=True)
        check(nbsmce.logsumexp_backward(np.expand_dims(weights, axis), x, kept, axis), expected)


@pytest.mark.parametrize("axes", [None, (0, 2), (1, 2)])
def test_several_axes(axes):
    x, above = random_logits((2, 3, 4), scale=1.0), random_logits((2, 3, 4), seed=5, scale=1.0)
    expected = numerical(lambda v: float((nbsmce.softmax(v, axes) * above).sum()), x)
    check(nbsmce.softmax_backward(above, nbsmce.softmax(x, axes), axes), expected)
    lse = nbsmce.logsumexp(x, axes)
    expected = numerical(lambda v: float(np.sum(nbsmce.logsumexp(v, axes))), x)
    check(nbsmce.logsumexp_backward(np.ones(np.shape(lse)), x, lse, axes), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"label_smoothing": 0.2},
        {"z_loss": 0.1},
        {"softcap": 2.0, "logit_scale": 1.5},
        {"label_smoothing": 0.3, "z_loss": 0.05, "softcap": 3.0, "logit_scale": 0.5},
    ],
)
@pytest.mark.parametrize("shape", [(3, 4), (20, 3)])
def test_cross_entropy(reduction, probabilities, options, shape):
    x = random_logits(shape, scale=1.0)
    rng = np.random.default_rng(0)
    target = rng.dirichlet(np.ones(shape[1]), shape[0]) if probabilities else rng.integers(0, shape[1], shape[0])
    options = {**options, "reduction": reduction, "weight": rng.random(shape[1]), "sample_weight": rng.random(shape[0])}
    expected = numerical(lambda v: float(nbsmce.cross_entropy(v, target, **options)), x)
    check(nbsmce.cross_entropy_with_grad(x, target, **options)[1], expected)
    check(nbsmce.cross_entropy_backward(1.0, x, target, **options), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (40, 37), (2, 5000)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_backward_by_definition(dtype, shape, name):
    dy = random_logits(shape, dtype, seed=5)
    y = getattr(nbsmce, name)(random_logits(shape, dtype))
    actual = getattr(nbsmce, f"{name}_backward")(dy, y)
    exact = getattr(reference, f"{name}_backward")(dy, y)
    assert actual.dtype == dy.dtype
    # The sum over a row is rounded once, at its own size, and multiplied with a probability.
    total = np.abs(dy.astype(np.longdouble)).sum(-1, keepdims=True)
    p = np.abs(y.astype(np.longdouble)) if name == "softmax" else np.exp(y.astype(np.longdouble))
    size = np.abs(exact) + p * total
    assert (np.abs(actual.astype(np.longdouble) - exact) <= 4 * eps_of(dtype) * size + 2.0**-120).all()


def test_the_sum_of_dy_y_does_not_cancel():
    """dy - sum(y dy) is small where dy is nearly constant: the sum is kept to more digits than float32 has."""
    y = nbsmce.softmax(random_logits((4, 1000), "float32"))
    dy = (1e4 + random_logits((4, 1000), "float64", 1e-3)).astype(np.float32)
    exact = reference.softmax_backward(dy, y)
    actual = nbsmce.softmax_backward(dy, y)
    plain = y * (dy - (y * dy).sum(-1, keepdims=True))
    assert np.abs(actual - exact).max() < np.abs(plain - exact).max() / 100


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("classes", [20, 200])
def test_sums_of_half_types_keep_their_digits(dtype, classes):
    """A row misses 1 by the rounding of its numbers; of the gradient a constant ``dy`` leaves nothing else."""
    y = nbsmce.softmax(random_logits((40, classes), scale=0.5).astype(dtype_of(dtype)))
    dy = np.full_like(y, 100.0)
    exact = y.astype(np.float64)
    exact *= 100.0 - (100.0 * exact).sum(1, keepdims=True)
    actual = nbsmce.softmax_backward(dy, y).astype(np.float64)
    assert np.abs(exact).max() > 2e-5
    np.testing.assert_allclose(actual, exact, rtol=eps_of(dtype), atol=2.0**-25)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logsumexp_backward_by_definition(dtype):
    for x in [random_logits((20, 50), dtype, s) for s in (1, 20)] + list(engineered(dtype).values()):
        lse = nbsmce.logsumexp(x)
        above = random_logits(lse.shape, dtype, seed=1)
        exact = above[:, None].astype(np.longdouble) * np.exp(
            x.astype(np.longdouble) - lse[:, None].astype(np.longdouble)
        )
        actual = nbsmce.logsumexp_backward(above, x, lse)
        tiny = np.finfo(dtype).tiny
        assert (np.abs(actual - exact) <= 3 * eps_of(dtype) * np.abs(exact) + 4 * tiny).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponentials_of_what_is_not_negative(dtype):
    """What no forward function returns has a gradient too."""
    y = np.array([[0.5, 10, 60, 85, 100]], dtype)
    dy = np.ones_like(y)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(nbsmce.log_softmax_backward(dy, y), dy - np.exp(y) * 5, rtol=4 * eps_of(dtype))
        actual = nbsmce.logsumexp_backward(np.ones(1), y, np.zeros(1))
        np.testing.assert_allclose(actual, np.exp(y), rtol=4 * eps_of(dtype))
    assert np.isinf(nbsmce.logsumexp_backward(np.ones(1), np.array([[800.0]]), np.zeros(1)))


def test_gradients_sum_to_0():
    x, t = random_logits((50, 30), "float64"), np.arange(50) % 30
    gradient = nbsmce.cross_entropy_with_grad(x, t, reduction="sum", label_smoothing=0.1)[1]
    assert np.abs(gradient.sum(-1)).max() < 1e-14
    assert np.abs(nbsmce.softmax_backward(x, nbsmce.softmax(x)).sum(-1)).max() < 1e-13
