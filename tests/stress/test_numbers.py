"""R7 and R8: every number there is, the longest rows, and the same bits from any number of threads and any address."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES, go_the_general_way, random_logits
from processes import FULL, scaled, succeeded
from test_layouts import everything, same
from test_vmath import _apply

import nbsmce
from nbsmce._cpu import launch, vmath


def _difference(x, m):
    return vmath.exp_difference(x, m)


def _of_scale(x, m):
    scale = vmath.Scale.of(m)
    return scale.exp(x - scale.base)


@pytest.mark.parametrize(
    ("function", "m", "power"),
    [(_difference, 0.0, 0), (_of_scale, 0.0, 0), (_of_scale, 20.3, 29), (_of_scale, 1e3, 1443)],
)
def test_exp_of_every_float32(function, m, power):
    """``exp(x)`` over a power of 2 for all ``x <= m``, against float64; every 1021st of them in the short suite."""
    step, worst, count = scaled(1021, 1), 0.0, 0
    ranges = (0x80000000, 0xFF800001), (0, int(np.float32(m).view(np.uint32)) + 1)
    for start, stop in ranges:
        for first in range(start, stop, step << 22):
            x = np.arange(first, min(first + (step << 22), stop), step, np.uint32).view(np.float32)
            actual = _apply(function, x, np.full_like(x, m)).astype(np.float64)
            near = (x >= np.float32(m - 128)) | (actual != 0)
            assert (actual[x < np.float32(m - 130)] == 0).all()
            exact = np.exp(x[near].astype(np.float64) - power * np.log(2)) * 2.0**60
            ulp = np.spacing(exact.astype(np.float32)).astype(np.float64)
            worst = max(worst, float((np.abs(actual[near] - exact) / ulp).max(initial=0)))
            count += len(x)
    assert count == sum(len(range(*bounds, step)) for bounds in ranges)
    assert 0.5 <= worst < 1.1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_half(dtype):
    """softmax and log_softmax of ``[x, 0]`` for all finite ``x``: the rounded exact result, or its neighbour."""
    x = np.arange(1 << 16, dtype=np.uint16).view(random_logits((1,), dtype).dtype)
    with np.errstate(invalid="ignore"):  # NumPy warns of casting NaN from bfloat16
        x = x[np.isfinite(x.astype(np.float64))]
    pairs = np.stack([x, np.zeros_like(x)], axis=1)
    wide = pairs.astype(np.float64)
    top = wide.max(1, keepdims=True)
    other = np.exp(wide.min(1, keepdims=True) - top)  # the sum of the exponentials is 1 more
    for actual, exact in (
        (nbsmce.softmax(pairs), np.exp(wide - top) / (1 + other)),
        (nbsmce.log_softmax(pairs), (wide - top) - np.log1p(other)),
    ):
        rounded = exact.astype(x.dtype)
        bits, expected = (a.view(np.int16).astype(int) for a in (actual, rounded))
        close = np.abs(bits - expected) <= 1
        tiny = (actual.astype(float) == 0) & (np.abs(exact) < float(np.finfo(np.float32).tiny))
        assert (close | tiny | (actual == rounded)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), [((300, 130), 1), ((5, 9000), 1), ((5000, 5), 0), ((2, 5000, 20), 1)])
def test_the_same_bits_from_any_number_of_threads(dtype, shape, axis, monkeypatch):
    go_the_general_way(monkeypatch)
    x = random_logits(shape, dtype, 5.0)
    y = nbsmce.softmax(random_logits(shape, dtype, seed=1), axis)
    t = np.random.default_rng(0).integers(0, shape[axis], [n for i, n in enumerate(shape) if i != axis])
    before = nbsmce.get_num_threads()
    try:
        nbsmce.set_num_threads(1)
        alone = everything(x, y, t, axis)
        for threads in range(2, 17, scaled(7, 1)):
            nbsmce.set_num_threads(threads)
            for _ in range(scaled(1, 20)):
                same(everything(x, y, t, axis), alone)
        monkeypatch.setattr(launch, "_LONG", 0)  # as if the rows were very long
        same(everything(x, y, t, axis), alone)
    finally:
        nbsmce.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_at_any_address(dtype):
    x = random_logits((7, 333), dtype, 5.0)
    y, t = nbsmce.softmax(random_logits(x.shape, dtype, seed=1)), np.arange(7)
    expected = everything(x, y, t, 1)
    memory = np.zeros(x.nbytes + 64, np.uint8)
    for offset in range(0, 64, scaled(9, 1)):
        moved = memory[offset : offset + x.nbytes].view(x.dtype).reshape(x.shape)
        moved[...] = x
        same(everything(moved, y, t, 1), expected)
    for layout in (np.asfortranarray(x), x[:, ::-1][:, ::-1], np.repeat(x, 3, 1)[:, ::3]):
        same(everything(layout, y, t, 1), expected)


@pytest.mark.skipif(not FULL, reason="takes 20 GB and minutes; NBSMCE_STRESS=full")
def test_a_row_of_two_billion(results, warm):
    code = """
    import numpy as np, nbsmce
    n = 2**31 + 11
    x = np.zeros((1, n), np.float32)
    x[0, -1] = 20
    exact = np.log((n - 1) * np.exp(-20.0) + 1) + 20
    assert abs(float(nbsmce.logsumexp(x)[0]) - exact) < 1e-6 * exact
    nbsmce.log_softmax(x, out=x)
    assert abs(float(x[0, 0]) + exact) < 1e-6 * exact and abs(float(x[0, -1]) - (20 - exact)) < 1e-6 * exact
    """
    succeeded(code, env=warm, timeout=3600)
