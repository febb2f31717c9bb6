"""softmax, log_softmax and logsumexp on a GPU against the definitions: every family, dtype and access."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import reference
from cases import DTYPES, dtype_of, engineered, eps_of, random_logits, ulps, units_of
from gpu import LONGER, back, same_infinities, to, transposed

import nbsmce

pytestmark = pytest.mark.cuda
FUNCTIONS = ("softmax", "log_softmax")
sanitized = functools.partial(pytest.param, marks=pytest.mark.sanitize)
# A thread for a row; lanes; a warp; odd rows, by single elements; rows that begin at an address that is not aligned.
SHAPES = ((5, 4), (3, 8), (3, 3), (2, 40), (2, 96), (3, 37))


def check(name, x, axis=-1, actual=None):
    """Within the promised units of the exact result."""
    exact = getattr(reference, name)(x, axis)
    actual = back(getattr(nbsmce, name)(to(x), axis)) if actual is None else actual
    assert actual.dtype == x.dtype
    same_infinities(actual, exact)
    with np.errstate(all="ignore"):
        finite = np.isfinite(exact) & (np.abs(exact) > float(np.finfo(np.float32).tiny))
        off = np.where(finite, ulps(actual, exact), 0)
    assert off.max(initial=0) <= units_of(str(x.dtype))


@pytest.mark.sanitize
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows(name, dtype, shape):
    check(name, random_logits(shape, dtype, 5.0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("chunks", "more"), [(6, 0), (12, 0), (24, 0), sanitized(40, 0), sanitized(70, 0), sanitized(66, 1)]
)
def test_long_rows(name, dtype, chunks, more, short_teams):
    """Several warps with the row in their registers, and rows in sections of chunks or of single elements."""
    classes = LONGER * chunks * (16 // dtype_of(dtype).itemsize) + more
    check(name, random_logits((1, classes), dtype, 5.0))


@pytest.mark.parametrize(
    ("classes", "at", "peak"), [(160, 10, 500), (160, 150, 500), (280, 50, 6), (280, 150, 6), (280, 270, 6)]
)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_largest_may_be_in_any_warp_or_section(name, classes, at, peak, short_teams):
    x = random_logits((1, classes * LONGER), "float32", 1.0)
    x[0, at * LONGER] = peak
    check(name, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_section_without_a_number(name, dtype, short_teams):
    """Of minus infinities, as a causal mask leaves them, or with one NaN."""
    chunk = LONGER * (16 // dtype_of(dtype).itemsize)
    section = 64 * chunk
    x = random_logits((4, 150 * chunk), dtype, 5.0)
    x[0, :section] = x[1, section : 2 * section] = x[2:, : 2 * section] = -np.inf
    x[3, 1] = np.nan
    check(name, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("shape", "axis"), [((3, 5), 0), sanitized((70, 3), 0), ((2, 6, 3), 1), ((2, 70, 2), 1)])
def test_classes_apart(name, dtype, shape, axis):
    shape = tuple(n * LONGER if n == 70 else n for n in shape)  # gone over in turns
    check(name, random_logits(shape, dtype, 5.0), axis)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("case", engineered())
def test_engineered_rows(name, case):
    check(name, engineered()[case][:2])


@pytest.mark.parametrize("axis", [None, (0, 2), (1, 2), -2])
def test_any_axes(axis):
    check("softmax", random_logits((2, 3, 4), "float32"), axis)


def test_close_to_saturation_digits_are_kept():
    x = np.array([[20, 0, -5, 1]], np.float32)
    np.testing.assert_allclose(back(nbsmce.log_softmax(to(x))), reference.log_softmax(x).astype(np.float32), rtol=2e-7)
    loss = float(nbsmce.cross_entropy(to(x), to(np.array([0]))))
    np.testing.assert_allclose(loss, float(reference.cross_entropy(x, np.array([0]))[0]), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [3, 8, 37])
@pytest.mark.parametrize("values", [(np.nan,), (np.inf,), (np.nan, np.inf), (-np.inf,) * 3, (np.inf, -np.inf)])
def test_rows_without_a_softmax(dtype, width, values):
    x = np.zeros((3, width), dtype_of(dtype))
    x[1, -len(values) :] = values
    if values == (-np.inf,) * 3:
        x[1] = -np.inf
    for name in FUNCTIONS:
        check(name, x)
    np.testing.assert_array_equal(back(nbsmce.logsumexp(to(x)))[1], reference.logsumexp(x, -1)[1].astype(np.float32))


def test_in_place_and_into_other_memory():
    x = random_logits((4, 37), "float32")
    array = to(x)
    assert nbsmce.softmax(array, out=array) is array
    check("softmax", x, actual=back(array))
    memory = to(np.full((4, 80), 7, np.float32))
    nbsmce.softmax(to(x), out=memory[:, 1:75:2])
    check("softmax", x, actual=back(memory)[:, 1:75:2])
    untouched = back(memory)
    untouched[:, 1:75:2] = 7
    assert (untouched == 7).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_overlapping_memory(name):
    memory = random_logits((5, 12), "float32")
    array = to(memory)
    getattr(nbsmce, name)(array[:4], out=array[1:])
    check(name, memory[:4], actual=back(array)[1:])


def test_strides():
    base = random_logits((6, 9, 8), "float32")
    every = slice(None)  # Numba's arrays know no ellipsis
    for index in ((slice(None, None, 2),), (every, slice(None, None, -1)), (every, every, slice(7, None, -2))):
        check("softmax", base[index], actual=back(nbsmce.softmax(to(base)[index])))
    swapped = transposed(to(base), (2, 0, 1))
    check("softmax", base.transpose(2, 0, 1), actual=back(nbsmce.softmax(swapped)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_masks(name, dtype):
    x = random_logits((4, 21), dtype, 5.0)
    where = np.random.default_rng(0).random((4, 21)) < 0.6
    where[2] = False
    exact = getattr(reference, name)(x, -1, where)
    actual = back(getattr(nbsmce, name)(to(x), where=to(where)))
    assert same_infinities(actual, exact).max() <= 8 * eps_of(dtype) * max(1, np.abs(exact[np.isfinite(exact)]).max())
    one = getattr(nbsmce, name)(to(x), where=to(where[0]))
    exact = getattr(reference, name)(x, -1, where[0])
    same_infinities(back(one), exact)


def test_nothing():
    for shape in ((2, 0), (0, 3), (0,)):
        assert nbsmce.softmax(to(np.zeros(shape, np.float32))).shape == shape
    assert back(nbsmce.logsumexp(to(np.zeros((2, 0), np.float32)))).tolist() == [-np.inf] * 2
    assert back(nbsmce.softmax(to(np.array(3.0)))).tolist() == 1.0


# -- logsumexp ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 4), (3, 37), (2, 96)])
@pytest.mark.parametrize("axis", [-1, 0])
def test_logsumexp(dtype, shape, axis):
    x = random_logits(shape, dtype, 5.0)
    actual = back(nbsmce.logsumexp(to(x), axis, keepdims=True))
    exact = np.expand_dims(reference.logsumexp(x, axis), axis)
    assert actual.dtype == (np.float64 if dtype == "float64" else np.float32)
    size = np.maximum(np.abs(exact), np.abs(x.astype(float)).max())
    computed = "float64" if dtype == "float64" else "float32"
    assert (same_infinities(actual, exact) <= units_of(computed) * eps_of(computed) * size).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_logsumexp_with_factors_signs_and_a_mask(dtype):
    x, rng = random_logits((5, 19), dtype), np.random.default_rng(3)
    b = rng.integers(-2, 3, (5, 19)).astype(dtype_of(dtype))
    where = rng.random((5, 19)) < 0.7
    value, sign = nbsmce.logsumexp(to(x), b=to(b), where=to(where), return_sign=True)
    terms = np.where(where, b.astype(np.longdouble) * np.exp(x.astype(np.longdouble)), 0)
    exact, size = terms.sum(1), np.abs(terms).sum(1)
    np.testing.assert_array_equal(back(sign), np.sign(exact))
    eps = eps_of("float64" if dtype == "float64" else "float32")
    error = np.abs(back(sign).astype(np.longdouble) * np.exp(back(value).astype(np.longdouble)) - exact)
    assert (error <= 16 * eps * size).all()
    unsigned = back(nbsmce.logsumexp(to(x), b=to(b), where=to(where)))
    np.testing.assert_array_equal(np.isnan(unsigned), exact < 0)


@pytest.mark.sanitize
def test_logsumexp_in_sections(short_teams):
    x = random_logits((1, 290 * LONGER), "float32", 5.0)
    exact = reference.logsumexp(x, -1)
    assert np.abs(back(nbsmce.logsumexp(to(x))) - exact) <= 2 * eps_of("float32") * np.abs(x).max()


# -- gradients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("shape", "axis"), [((3, 8), -1), ((2, 37), -1), ((2, 96), -1), ((6, 3), 0)])
def test_gradients(name, dtype, shape, axis):
    y = getattr(reference, name)(random_logits(shape, dtype), axis).astype(dtype_of(dtype))
    dy = random_logits(shape, dtype, 1.0, seed=4)
    exact = getattr(reference, f"{name}_backward")(dy, y, axis)
    actual = back(getattr(nbsmce, f"{name}_backward")(to(dy), to(y), axis))
    scale = np.abs(dy.astype(float)).sum()
    assert same_infinities(actual, exact).max() <= 4 * eps_of(dtype) * scale


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_in_sections(name, short_teams):
    shape = (1, 290 * LONGER)
    y = getattr(reference, name)(random_logits(shape, "float32"), -1).astype(np.float32)
    dy = random_logits(shape, "float32", 1.0, seed=4)
    exact = getattr(reference, f"{name}_backward")(dy, y, -1)
    actual = back(getattr(nbsmce, f"{name}_backward")(to(dy), to(y)))
    assert same_infinities(actual, exact).max() <= 4 * eps_of("float32") * np.abs(dy).sum()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), [((3, 8), -1), ((2, 37), -1), ((6, 3), 0)])
def test_gradient_of_logsumexp(dtype, shape, axis):
    x = random_logits(shape, dtype)
    computed = np.float64 if dtype == "float64" else np.float32
    lse = reference.logsumexp(x, axis).astype(computed)
    dlse = np.random.default_rng(5).standard_normal(lse.shape).astype(computed)
    exact = np.expand_dims(dlse, axis) * np.exp(x.astype(np.longdouble) - np.expand_dims(lse, axis))
    actual = back(nbsmce.logsumexp_backward(to(dlse), to(x), to(lse), axis))
    assert same_infinities(actual, exact).max() <= 8 * eps_of(dtype) * np.abs(dlse).max()
