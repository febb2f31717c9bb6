"""The four floating types, exhaustively where they are small."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from cases import dtype_of, random_logits

import nbsmce


def every(dtype):
    """Every number of a half type, in both halves of pairs with 0."""
    values = np.arange(1 << 16, dtype=np.uint16).view(dtype_of(dtype))
    return np.stack([values, np.zeros_like(values)], axis=1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_half_is_read_and_written_right(dtype):
    """softmax of (x, 0) for all x, against float64 rounded to the type."""
    x = every(dtype)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        exact = 1 / (1 + np.exp(-wide[:, ::1] + wide[:, ::-1]))
        exact[~np.isfinite(wide[:, 0]) & (wide[:, 0] != -np.inf)] = np.nan
    actual = nbsmce.softmax(x)
    nan = np.isnan(exact)
    np.testing.assert_array_equal(np.isnan(actual.astype(float)), nan)
    # float32's two units can change the rounding to the half type only next to a tie.
    low, high = (np.nextafter(np.float32(exact[~nan]), np.float32(s * np.inf)) for s in (-1, 1))
    low, high = (np.nextafter(v, np.float32(s * np.inf)) for v, s in ((low, -1), (high, 1)))
    tiny = exact[~nan] < 2.0**-125
    inside = (low.astype(x.dtype) <= actual[~nan]) & (actual[~nan] <= high.astype(x.dtype))
    assert (inside | (tiny & (actual[~nan] == 0))).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_half_goes_through_unchanged(dtype):
    """The gradient of log_softmax where exp(y) is 0 is what comes from above."""
    x = every(dtype)[:, :1]
    with np.errstate(invalid="ignore"):
        x = x[np.isfinite(x)[:, 0]]
    y = np.full(x.shape, -np.inf, x.dtype)
    np.testing.assert_array_equal(
        nbsmce.log_softmax_backward(x, y).view(np.uint16) & 0x7FFF, x.view(np.uint16) & 0x7FFF
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounding_to_half_is_to_nearest_even(dtype):
    """logsumexp's gradient with one class is dlse: any float32 can be sent through it."""
    rng = np.random.default_rng(0)
    bits = np.concatenate(
        [rng.integers(0, 1 << 32, 200_000), np.arange(1 << 16) << 16, (np.arange(1 << 16) << 16) + 0x8000]
    )
    above = bits.astype(np.uint32).view(np.float32)
    x = np.zeros((above.size, 1), dtype_of(dtype))
    with np.errstate(all="ignore"):
        expected = above.astype(x.dtype)
        actual = nbsmce.logsumexp_backward(above, x, np.zeros(above.size, np.float32))[:, 0]
    nan = np.isnan(above)
    np.testing.assert_array_equal(np.isnan(actual.astype(float)), nan)
    # Subnormal numbers of float32 may count as 0 on the way.
    normal = ~nan & (np.abs(above) >= np.finfo(np.float32).tiny)
    np.testing.assert_array_equal(actual[normal].astype(float), expected[normal].astype(float))


def test_float16_without_the_processors_help():
    """The conversions by integer operations, which processors without F16C need, give the same bits."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import hashlib, numpy as np, nbsmce\n"
        "from cases import random_logits\n"
        "from nbsmce._cpu.lanes import llvm_half\n"
        "llvm_half.has_float16 = lambda: HELP\n"
        "digest = hashlib.sha256()\n"
        "every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 1)\n"
        "with np.errstate(all='ignore'):\n"
        "    pairs = np.concatenate([every, np.zeros_like(every)], 1)\n"
        "    digest.update(np.nan_to_num(nbsmce.softmax(pairs)).tobytes())\n"
        "    above = np.random.default_rng(0).integers(0, 1 << 32, 100_000, np.uint32).view(np.float32)\n"
        "    zeros = np.zeros((above.size, 1), np.float16)\n"
        "    result = nbsmce.logsumexp_backward(above, zeros, zeros[:, 0])\n"
        "    digest.update(np.where(np.isnan(result), 0, result).tobytes())\n"
        "digest.update(nbsmce.softmax(random_logits((9, 300), 'float16')).tobytes())\n"
        "print(digest.hexdigest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code.replace("HELP", help_), *sys.path],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for help_ in ("False", "True")
    }
    assert len(digests) == 1


def test_integers_and_truth_values_are_computed_in_float64():
    x = np.array([[1, 2, 3], [4, 4, 0]])
    expected = nbsmce.softmax(x.astype(float))
    for dtype in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4"):
        actual = nbsmce.softmax(x.astype(dtype))
        assert actual.dtype == np.float64
        np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(nbsmce.softmax(x > 2), nbsmce.softmax((x > 2).astype(float)))
    assert nbsmce.logsumexp(x).dtype == np.float64
    assert nbsmce.cross_entropy_with_grad(x, [0, 1])[1].dtype == np.float64


def test_operands_of_two_dtypes_are_computed_in_the_wider():
    dy, y = random_logits((3, 4), "float64"), nbsmce.softmax(random_logits((3, 4), "float32"))
    assert nbsmce.softmax_backward(dy, y).dtype == np.float64
    assert nbsmce.softmax_backward(y, y.astype(np.float16)).dtype == np.float32
    mixed = nbsmce.softmax_backward(y.astype(dtype_of("bfloat16")), y.astype(np.float16))
    assert mixed.dtype == np.float32


def test_the_callers_array_is_not_changed():
    for dtype in ("float16", "float32", ">f4", "i8"):
        x = (random_logits((30, 40)) * 10).astype(dtype)
        before = x.copy()
        nbsmce.softmax(x)
        nbsmce.cross_entropy_with_grad(x, np.zeros(30, int), softcap=3.0)
        nbsmce.logsumexp(x, b=np.arange(40.0))
        np.testing.assert_array_equal(x, before)
