"""How far results are from the exact ones, in units in the last place, beside what the API promises."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import reference
from cases import dtype_of, engineered, random_logits, ulps

import nbsmce
from nbsmce._cpu import launch

SCALES = (0.1, 1.0, 5.0, 20.0, 100.0)
SHAPES = ((64, 10), (40, 37), (16, 1000), (4, 4097), (2, 20011))


def single_inputs():
    for scale in SCALES:
        for shape in SHAPES:
            yield random_logits(shape, "float32", scale, seed=shape[1])
    for offset in (-30.0, 2.0**16, -(2.0**16), 1e6, -1e9):  # the power of 2 that is taken out, and where none is
        yield (random_logits((16, 1000), "float32", 20.0, seed=7) + offset).astype(np.float32)
    yield from engineered("float32").values()


@pytest.mark.parametrize("function", [nbsmce.softmax, nbsmce.log_softmax], ids=lambda f: f.__name__)
def test_float32_is_within_2_ulp(function):
    worst = 0.0
    for x in single_inputs():
        exact = getattr(reference, function.__name__)(x)
        finite = np.isfinite(exact) & (np.abs(exact) >= np.finfo(np.float32).tiny)
        worst = max(worst, ulps(function(x)[finite], exact[finite]).max(initial=0))
    assert 0.5 <= worst <= 2.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_has_the_exact_probability(dtype):
    """1 where it is alone or far above, 1 / n of n, whatever its own exponential is off by."""
    tops = (np.random.default_rng(4).standard_normal(2000) * 30).astype(dtype)
    assert (nbsmce.softmax(tops[:, None]) == 1).all()
    far = np.stack([tops, tops - dtype_of(dtype).type(2000)], -1)
    np.testing.assert_array_equal(nbsmce.softmax(far), [[1, 0]] * len(tops))
    for n in (3, 50, 5000):
        equal = np.repeat(tops[:40, None], n, axis=1)
        assert (nbsmce.softmax(equal) == dtype_of(dtype).type(1 / n)).all()


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("split", [False, True])
def test_long_rows_whose_exponentials_are_not_kept(offset, split, monkeypatch):
    """There is no room for them: the result has gaps, and the row is longer than scratch memory."""
    monkeypatch.setattr(launch, "_LONG", 0 if split else 1 << 62)  # whether chunks are given to all threads
    x = (random_logits((2, 140_001), scale=5.0) + offset).astype(np.float32)
    out = np.empty((2, 140_001, 2), np.float32)[:, :, 0]
    exact, threads = reference.softmax(x), nbsmce.get_num_threads()
    try:
        nbsmce.set_num_threads(1)
        assert ulps(nbsmce.softmax(x, out=out), exact).max() <= 2
    finally:
        nbsmce.set_num_threads(threads)


def test_float32_logsumexp_is_within_2_ulp_of_the_larger_of_result_and_largest():
    worst = 0.0
    for x in single_inputs():
        exact = reference.logsumexp(x, -1)
        size = np.maximum(np.abs(exact), np.abs(x.max(-1)))
        unit = np.spacing(size.astype(np.float32)).astype(np.longdouble)
        worst = max(worst, (np.abs(nbsmce.logsumexp(x) - exact) / unit).max())
    assert 0.4 <= worst <= 2.0


@pytest.mark.parametrize("function", ["softmax", "log_softmax"])
def test_float64_is_within_8_ulp_of_mpmath(function):
    """No promise of the API: rounding ``x - max`` alone would cost 40 ulp here."""
    with mpmath.workdps(40):
        for seed, (scale, n) in enumerate([(1, 50), (20, 50), (20, 2500)]):
            x = random_logits((n,), "float64", scale, seed)
            actual = getattr(nbsmce, function)(x)
            total = mpmath.fsum(mpmath.exp(mpmath.mpf(v)) for v in x)
            for i in range(0, n, 7):
                exact = mpmath.exp(mpmath.mpf(x[i])) / total
                exact = mpmath.log(exact) if function == "log_softmax" else exact
                assert abs(mpmath.mpf(actual[i]) - exact) <= 8 * np.spacing(abs(float(exact)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("function", [nbsmce.softmax, nbsmce.log_softmax], ids=lambda f: f.__name__)
def test_half_types_are_rounded_once(function, dtype):
    """At most half a unit of the half type, and what float32's two units are of it."""
    spacing = {"float16": 2.0**13, "bfloat16": 2.0**16}[dtype]
    for x in [random_logits((40, 37), dtype, s) for s in (0.1, 1, 5, 20)] + list(engineered(dtype).values()):
        exact = getattr(reference, function.__name__)(x)
        actual = function(x)
        assert actual.dtype == x.dtype
        finite = np.isfinite(exact) & (np.abs(exact) >= 2.0**-14)
        unit = np.spacing(np.abs(exact[finite].astype(np.float32))) * spacing
        assert (np.abs(actual.astype(np.longdouble)[finite] - exact[finite]) <= (0.5 + 2 / spacing) * unit).all()


def test_log_softmax_keeps_its_digits_close_to_0():
    actual = nbsmce.log_softmax(np.array([20, 0], np.float32))
    assert actual[0] == pytest.approx(-2.061153620314381e-09, rel=1e-7)
    assert actual[1] == np.float32(-20.000000002061153)


def test_logsumexp_keeps_its_digits_close_to_0():
    x = np.array([0, -30], np.float32)
    assert nbsmce.logsumexp(x) == pytest.approx(float(np.log1p(np.exp(-30.0))), rel=1e-7)


def test_many_small_terms_count():
    """Each is below the smallest float32, together they are not."""
    x = np.full(1 << 20, -88.0, np.float32)
    x[12345] = 0.0
    assert nbsmce.logsumexp(x) == pytest.approx((x.size - 1) * float(np.exp(-88.0)), rel=1e-6)


def test_long_rows_do_not_stall():
    """A running float32 sum of ones ends at 2**24."""
    n = (1 << 24) + 12345
    x = np.zeros(n, np.float32)
    assert nbsmce.logsumexp(x) == np.float32(np.log(n))
    assert nbsmce.softmax(x)[0] == np.float32(1 / n)


def test_the_loss_of_a_confident_right_answer_is_not_0():
    logits = np.array([[20.0, 0.0], [0.0, 60.0]], np.float32)
    losses = nbsmce.cross_entropy(logits, [0, 1], reduction="none")
    np.testing.assert_allclose(losses, [2.061153620314381e-09, 8.75651076269652e-27], rtol=2e-7)


def test_the_gradient_of_a_confident_right_answer_is_not_0():
    logits = np.array([[20.0, 0.0], [0.0, 60.0]], np.float32)
    _, gradient = nbsmce.cross_entropy_with_grad(logits, [0, 1], reduction="sum")
    p = 1 / (1 + np.exp([20.0, 60.0]))  # of the other class; the target's gradient is minus that
    np.testing.assert_allclose(gradient, [[-p[0], p[0]], [p[1], -p[1]]], rtol=4e-7)


def test_half_types_sum_in_float32():
    """70,000 is infinite in float16."""
    logits = random_logits((70_000, 3), "float16")
    target = np.arange(70_000) % 3
    loss, gradient = nbsmce.cross_entropy_with_grad(logits, target)
    exact = nbsmce.cross_entropy(logits.astype(np.float64), target)
    assert loss.dtype == np.float32
    assert loss == pytest.approx(exact, rel=1e-6)
    assert gradient.dtype == np.float16
    assert np.abs(gradient).max() > 0
