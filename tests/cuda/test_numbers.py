"""The exponentials of the GPU kernels, which the simulator has as Python, against mpmath."""

from __future__ import annotations

import os

import mpmath
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") != "1", reason="device functions as Python")
SMALLEST = 2.0**-149  # of float32
rng = np.random.default_rng(5)


def units_off(found, x, m):
    """How far from ``exp(x - m)``, in units in the last place of float32."""
    exact = mpmath.exp(mpmath.mpf(float(x)) - mpmath.mpf(float(m)))
    unit = max(SMALLEST, 2.0 ** (np.floor(float(mpmath.log(exact, 2))) - 23))
    return abs(float((mpmath.mpf(float(found)) - exact) / unit))


def pairs(peaks, spread):
    """Numbers up to the largest one, close to it and far from it."""
    for m in np.float32(peaks):
        for d in [0, *-(10 ** rng.uniform(-8, np.log10(spread), 60))]:
            yield np.float32(min(m + d, m)), m


@pytest.mark.parametrize("name", ["exact_exp", "exact_exp_any"])
def test_the_exponential_of_a_difference(name):
    """Also where the difference is rounded, to 2**-18 for these, and where the result is subnormal."""
    from nbsmce._cuda import numbers

    exp = getattr(numbers, name)
    with np.errstate(all="ignore"):
        off = [units_off(exp(x, m), x, m) for x, m in pairs([0, 1, -3.3, 17.7, 88.4, -1000.1, 3.3e4], 103)]
    assert max(off) <= 1.1


@pytest.mark.parametrize("name", ["exact_exp", "exact_exp_any"])
def test_its_special_values(name):
    from nbsmce._cuda import numbers

    exp, f = getattr(numbers, name), np.float32
    with np.errstate(all="ignore"):
        for m in f([0, 5, -7.5, 1e30]):
            assert exp(m, m) == 1
            assert exp(f(-np.inf), m) == 0
            assert np.isnan(exp(f(np.nan), m))
        for x in f([-104.1, -120, -131, -139, -150, -1e4, -1e9, -1e30, -3e38]):
            assert exp(x, f(0)) == 0
        assert exp(f(-103.9), f(0)) == f(SMALLEST)
        assert np.isnan(exp(f(-np.inf), f(-np.inf)))


def test_the_exponential_of_a_positive_difference():
    """A log-sum-exp that the caller gives may be less than the logits."""
    from nbsmce._cuda.numbers import exact_exp_any

    f = np.float32
    with np.errstate(all="ignore"):
        off = [
            units_off(exact_exp_any(x, m), x, m) for x, m in zip(f(rng.uniform(0, 88, 300)), f([0] * 300), strict=True)
        ]
        assert max(off) <= 1.1
        for x in f([90.5, 1e3, 1e30, np.inf]):
            assert exact_exp_any(x, f(0)) == np.inf
