"""The functions on vectors, against mpmath."""

from __future__ import annotations

import mpmath
import numba
import numpy as np
import pytest

from nbsmce._compile import JIT
from nbsmce._cpu import vmath
from nbsmce._cpu.lanes import LANES, at, in_njit, load, steps, store

TYPES = (np.float32, np.float64)


def _apply(function, *arrays):
    """A function of vectors on arrays."""
    n = len(arrays[0])
    padded = [np.concatenate([a, np.zeros(-n % LANES, a.dtype)]) for a in arrays]
    out = np.empty_like(padded[0])
    if len(arrays) == 1:

        def run(x, out):
            for v in steps(0, x.shape[0] // LANES):
                store(at(out.p, v), function(load(at(x.p, v))))

        run = in_njit(run)
        entry = numba.njit(lambda x, out: run(x, out))
    else:

        def run2(x, m, out):
            for v in steps(0, x.shape[0] // LANES):
                store(at(out.p, v), function(load(at(x.p, v)), load(at(m.p, v))))

        run2 = in_njit(run2)
        entry = numba.njit(lambda x, m, out: run2(x, m, out))
    entry(*padded, out)
    return out[:n]


def worst(actual, exact):
    """The largest error in ulp, of exact results from mpmath."""
    with mpmath.workdps(40):
        return max(
            float(abs(mpmath.mpf(float(a)) - e) / mpmath.mpf(float(np.spacing(np.abs(a)))))
            for a, e in zip(actual, exact, strict=True)
        )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0, 80.0])
def test_exp_difference(dtype, scale):
    rng = np.random.default_rng(0)
    m = (rng.standard_normal(3000) * scale).astype(dtype)
    x = np.minimum((m - np.abs(rng.standard_normal(3000)) * min(scale, 25)).astype(dtype), m)
    actual = _apply(vmath.exp_difference, x, m)
    with mpmath.workdps(40):
        exact = [mpmath.exp(mpmath.mpf(float(a)) - mpmath.mpf(float(b))) * 2**60 for a, b in zip(x, m, strict=True)]
    assert 0.5 < worst(actual, exact) <= 1.1


@pytest.mark.parametrize("dtype", TYPES)
def test_exp_difference_at_its_ends(dtype):
    lowest = -128.0 if dtype == np.float32 else -749.0
    x = np.array([0, lowest, np.nextafter(dtype(lowest), dtype(-np.inf)), -np.inf, np.nan, -3e38, -1e-30], dtype)
    actual = _apply(vmath.exp_difference, x, np.zeros_like(x))
    assert actual[0] == 2.0**60
    assert actual[1] == pytest.approx(float(mpmath.exp(lowest) * 2**60), rel=1e-5)
    assert actual[2] == 0
    assert actual[3] == 0
    assert np.isnan(actual[4])
    assert actual[5] == 0
    assert actual[6] == 2.0**60


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [0.1, 3.0, 100.0, 65500.0, 70000.0, 2.0**41, 1e30])
def test_the_exponential_of_a_scale(dtype, size):
    """Of numbers near a largest one of any size: right but for a power of 2, and ``exp(base)``, that are theirs."""
    rng = np.random.default_rng(3)
    m = (rng.choice([-size, size], 3000) * rng.uniform(0.5, 1, 3000)).astype(dtype)
    below = np.concatenate([rng.exponential(3, 2000), rng.uniform(0, 120, 990), np.zeros(10)])
    x = np.minimum((m - below).astype(dtype), m)
    base = _apply(lambda x, m: vmath.Scale.of(m).base, x, m)
    actual = _apply(lambda x, m: vmath.Scale.of(m).exp(x - vmath.Scale.of(m).base), x, m)
    inverse = _apply(lambda m: vmath.scale_of_peak(m, Like(dtype)), m.astype(np.float64))
    with mpmath.workdps(60):
        difference = [mpmath.mpf(float(b)) - mpmath.mpf(float(a)) for a, b in zip(base, m, strict=True)]
        power = [
            mpmath.nint((d + mpmath.log(i)) / mpmath.log(2)) for d, i in zip(difference, inverse.tolist(), strict=True)
        ]
        exact = [
            mpmath.exp(mpmath.mpf(float(a)) - mpmath.mpf(float(b)) - n * mpmath.log(2)) * 2**60
            for a, b, n in zip(x, base, power, strict=True)
        ]
        of_peak = [mpmath.exp(n * mpmath.log(2) - d) for d, n in zip(difference, power, strict=True)]
        errors = [abs(mpmath.mpf(a) / b - 1) for a, b in zip(inverse.tolist(), of_peak, strict=True)]
    assert worst(actual, exact) <= 1.1
    assert 0.7 < inverse.min() <= inverse.max() < 1.43
    assert max(errors) < (0.07 * 2.0**-24 if dtype == np.float32 else 2.0**-51)


class Like:
    """Names a type to compute in."""

    def __init__(self, dtype):
        self.dtype = numba.from_dtype(np.dtype(dtype))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("m", [0.0, 3.3, -100.0, 65500.0, -70000.0, 1e30])
def test_the_exponential_of_a_scale_at_its_ends(dtype, m):
    """Right or 0, and 0 only where 2**31 of them together are nothing."""
    kept, gone = (-128.0, -129.5) if dtype == np.float32 else (-749.0, -751.0)
    m = dtype(m)
    x = (m + np.linspace(gone - 2, kept + 2, 4000)).astype(dtype)
    of_scale = lambda x, m: vmath.Scale.of(m).exp(x - vmath.Scale.of(m).base)  # noqa: E731
    actual, largest = (_apply(of_scale, a, np.full_like(a, m)) for a in (x, np.full_like(x, m)))
    with mpmath.workdps(40):
        exact = np.array([float(mpmath.exp(mpmath.mpf(float(v)) - mpmath.mpf(float(m))) * 2**60) for v in x])
    right = np.abs(actual / exact / (float(largest[0]) / 2.0**60) - 1) < 4 * np.finfo(dtype).eps
    assert (right | (actual == 0)).all()
    assert right[x > m + kept].all()
    assert (actual[x < m + gone] == 0).all()
    ends = np.array([-np.inf, np.nan, -3e38], dtype)
    np.testing.assert_array_equal(_apply(of_scale, ends, np.full_like(ends, m)), [0, np.nan, 0])


@pytest.mark.parametrize("dtype", TYPES)
def test_the_scale_of_infinite_logits(dtype):
    x = np.array([np.inf, 3.0, -np.inf, np.nan], dtype)
    of_scale = lambda x, m: vmath.Scale.of(m).exp(x - vmath.Scale.of(m).base)  # noqa: E731
    np.testing.assert_array_equal(_apply(of_scale, x, np.full_like(x, np.inf)), [np.nan, 0, 0, np.nan])


@pytest.mark.parametrize("dtype", TYPES)
def test_exp_any(dtype):
    largest = float(np.log(np.finfo(dtype).max))
    x = np.concatenate([np.linspace(-80, largest - 1e-3, 500), [largest + 1, 1e4, np.inf, -np.inf, np.nan]]).astype(
        dtype
    )
    actual = _apply(vmath.exp_any, x, np.zeros_like(x))
    with mpmath.workdps(40):
        exact = [mpmath.exp(mpmath.mpf(float(a))) for a in x[:500]]
    assert worst(actual[:500], exact) <= 3
    np.testing.assert_array_equal(actual[500:], [np.inf, np.inf, np.inf, 0, np.nan])


def test_log1p():
    rng = np.random.default_rng(1)
    a = np.concatenate([10.0 ** rng.uniform(-300, 18, 2000), rng.uniform(-0.99, 3, 2000), [0.0, 1.0, 2.0**52, 2.0**62]])
    actual = _apply(vmath.log1p, a)
    with mpmath.workdps(330):
        exact = [mpmath.log1p(mpmath.mpf(v)) for v in a]
    assert worst(actual[a != 0], [e for e, v in zip(exact, a, strict=True) if v]) <= 1.1
    assert actual[a == 0].tolist() == [0.0]
    np.testing.assert_array_equal(_apply(vmath.log1p, np.array([np.inf, np.nan])), [np.inf, np.nan])


@pytest.mark.parametrize("dtype", TYPES)
def test_tanh(dtype):
    rng = np.random.default_rng(2)
    u = np.concatenate([rng.uniform(-1, 1, 2000), rng.uniform(-12, 12, 2000), 10.0 ** rng.uniform(-30, 0, 500)])
    u = u.astype(dtype)
    with mpmath.workdps(40):
        exact = [mpmath.tanh(mpmath.mpf(float(v))) for v in u]
    assert worst(_apply(vmath.tanh, u), exact) <= 1.5
    ends = _apply(vmath.tanh, np.array([0, np.inf, -np.inf, np.nan, 1e30], dtype))
    np.testing.assert_array_equal(ends, [0, 1, -1, np.nan, 1])


def test_the_coefficients_are_minimax():
    """The polynomials alone, in exact arithmetic, are within the error that the comment states."""
    with mpmath.workdps(40):
        for coefficients, unit, bound in (
            (vmath._EXP_SINGLE, mpmath.mpf(2) ** -24, 0.0615),
            (vmath._EXP_DOUBLE, mpmath.mpf(2) ** -53, 0.1),
        ):
            points = [mpmath.log(2) / 2 * i / 500 for i in range(-500, 501)]
            terms = [mpmath.mpf(c) for c in coefficients]
            q = [mpmath.fsum(c * r**k for k, c in enumerate(terms)) for r in points]
            errors = [abs((1 + r + r * r * v) / mpmath.exp(r) - 1) for r, v in zip(points, q, strict=True)]
            assert max(errors) / unit < bound


@pytest.mark.skipif(not JIT, reason="there is nothing to compare with when the JIT is off")
def test_generated_code_and_python_agree_to_the_bit():
    """The same functions, recorded and run step by step."""
    import subprocess
    import sys

    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import hashlib, numpy as np, nbsmce\n"
        "from cases import random_logits\n"
        "digest = hashlib.sha256()\n"
        "for shape in ((3, 20), (17, 4)):\n"
        "    x = random_logits(shape, 'float32', 6)\n"
        "    t = np.arange(shape[0]) % shape[1]\n"
        "    digest.update(nbsmce.softmax(x).tobytes())\n"
        "    digest.update(nbsmce.log_softmax(x).tobytes())\n"
        "    digest.update(nbsmce.logsumexp(x).tobytes())\n"
        "    digest.update(nbsmce.cross_entropy_with_grad(x, t, label_smoothing=0.1)[1].tobytes())\n"
        "print(digest.hexdigest())\n"
    )
    import os

    digests = {
        subprocess.run(
            [sys.executable, "-c", code, *sys.path],
            env={**os.environ, "NUMBA_DISABLE_JIT": off},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for off in ("0", "1")
    }
    assert len(digests) == 1
