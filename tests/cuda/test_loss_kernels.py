"""The losses and their gradients on a GPU against the definition: options, families, targets that are no class."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import DTYPES, dtype_of, eps_of, random_logits
from gpu import LONGER, back, given, same_infinities, to

import nbsmce

pytestmark = pytest.mark.cuda


def targets(kind, shape, axis=-1, dtype="float64"):
    rng = np.random.default_rng(7)
    if kind == "probabilities":
        y = rng.random(shape)
        return (y / y.sum(axis, keepdims=True)).astype(dtype_of(dtype))
    rows = np.delete(shape, axis)
    t = rng.integers(0, shape[axis], rows)
    t.reshape(-1)[1] = -100
    return t


def options_of(shape, names, dtype, axis=-1):
    rng, rows = np.random.default_rng(0), tuple(np.delete(shape, axis))
    every = {
        "weight": (rng.random(shape[axis]) + 0.1).astype(dtype_of(dtype)),
        "sample_weight": (rng.random(rows) + 0.1).astype(dtype_of(dtype)),
        "label_smoothing": 0.1,
        "z_loss": 1e-2,
        "logit_scale": 0.7,
        "softcap": 5.0,
    }
    return {name: every[name] for name in names.split()}


def compare(logits, target, axis=-1, reduction="mean", alone=False, **options):
    """Loss and gradient together; the same bits from the functions for one of them if ``alone``."""
    dtype = str(logits.dtype)
    computed = eps_of("float64" if dtype == "float64" else "float32")
    exact_loss, exact = reference.cross_entropy(logits, target, axis=axis, reduction=reduction, **options)
    x, t, options = to(logits), to(target), {"axis": axis, "reduction": reduction, **given(options)}
    loss, gradient = nbsmce.cross_entropy_with_grad(x, t, **options)
    loss = back(loss)
    # Losses are sums of numbers of this size, gradients of probabilities and masses.
    size = 8 * (np.abs(logits[np.isfinite(logits)].astype(float)).max() + np.log(logits.shape[axis]) + 1)
    count = exact.size if reduction == "sum" else 1
    assert (same_infinities(loss, exact_loss) <= 8 * computed * size * count).all()
    assert same_infinities(back(gradient), exact).max(initial=0) <= 8 * eps_of(dtype) * 2
    if alone:
        np.testing.assert_array_equal(back(nbsmce.cross_entropy(x, t, **options)), loss)
        again = back(nbsmce.cross_entropy_backward(None, x, t, **options))
        np.testing.assert_array_equal(again, back(gradient))


EACH = ("", "weight", "sample_weight", "label_smoothing", "z_loss", "logit_scale", "softcap")
ALL = "weight sample_weight label_smoothing z_loss logit_scale softcap"


@pytest.mark.parametrize("kind", ["indices", "probabilities"])
@pytest.mark.parametrize("names", [*EACH, "weight label_smoothing", "weight sample_weight", ALL])
def test_options(kind, names):
    shape = (3, 5)
    logits = random_logits(shape, "float32")
    compare(logits, targets(kind, shape, dtype="float32"), alone=True, **options_of(shape, names, "float32"))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_reductions(kind, reduction):
    shape = (3, 8)
    options = options_of(shape, "weight sample_weight", "float64")
    compare(random_logits(shape), targets(kind, shape), reduction=reduction, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
@pytest.mark.parametrize(
    ("shape", "axis", "names"),
    [((3, 8), -1, ""), ((3, 8), -1, ALL), ((2, 19), -1, ALL), ((5, 2), 0, ""), ((68, 2), 0, ALL)],
)
def test_dtypes_and_layouts(dtype, kind, shape, axis, names):
    logits = random_logits(shape, dtype)
    compare(logits, targets(kind, shape, axis, dtype), axis, **options_of(shape, names, dtype, axis))


@pytest.mark.parametrize("kind", ["indices", "probabilities"])
@pytest.mark.parametrize(
    ("dtype", "chunks", "more"),
    [("float32", 40, 0), pytest.param("float32", 66, 1, marks=pytest.mark.sanitize), ("bfloat16", 70, 0)],
)
def test_long_rows(dtype, kind, chunks, more, short_teams):
    shape = (2, LONGER * chunks * (16 // dtype_of(dtype).itemsize) + more)
    compare(random_logits(shape, dtype), targets(kind, shape, dtype=dtype))


@pytest.mark.parametrize("kind", ["indices", "probabilities"])
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.sanitize), "bfloat16"])
def test_a_section_without_a_number(dtype, kind, short_teams):
    """Of minus infinities: a mass there makes the loss infinite, and none nothing."""
    chunk = LONGER * (16 // dtype_of(dtype).itemsize)
    section = 64 * chunk
    logits = random_logits((3, 150 * chunk), dtype)
    target = targets(kind, logits.shape, dtype=dtype)
    if kind == "probabilities":
        target[0, :section] = target[1, section : 2 * section] = 0
    logits[0, :section] = logits[1, section : 2 * section] = logits[2, : 2 * section] = -np.inf
    compare(logits, target, reduction="none")
    compare(logits, target, reduction="none", label_smoothing=0.1)


def test_probabilities_of_another_dtype():
    shape = (3, 8)
    logits = random_logits(shape, "bfloat16")
    compare(logits, targets("probabilities", shape, dtype="float32"))
    compare(random_logits(shape, "float32"), targets("probabilities", shape, dtype="float16"))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint64])
def test_indices_of_any_integer_dtype(dtype):
    shape = (4, 6)
    compare(random_logits(shape, "float32"), np.array([0, 5, 3, 3], dtype))


@pytest.mark.parametrize(("dtype", "sections"), [("float32", False), ("float32", True), ("bfloat16", False)])
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_what_is_known_of_rows(kind, dtype, sections, first, request):
    """The first of several largest, in one thread, in one word and in others; the first NaN."""
    shape = (3, 10)
    if sections:
        request.getfixturevalue("short_teams")
        shape = (3, 280 * LONGER)
    logits = random_logits(shape, dtype)
    logits[0, first : first + 2] = logits[0, 9] = logits[0].max() + 1
    logits[2, first : first + 2] = np.nan
    logits[2, 9] = np.inf
    target = targets(kind, shape, dtype=dtype)
    _, aux = nbsmce.cross_entropy(to(logits), to(target), z_loss=0.1, reduction="none", return_aux=True)
    ignored = np.zeros(3, bool) if kind == "probabilities" else target == -100
    expected = np.where(ignored, -1, np.argmax(logits, 1))
    np.testing.assert_array_equal(back(aux.predicted), expected)
    best = target if kind == "indices" else target.argmax(1)
    np.testing.assert_array_equal(back(aux.correct), (expected == best) & ~ignored)
    exact = reference.logsumexp(logits, -1)
    assert same_infinities(back(aux.lse), exact).max() <= 2 * eps_of("float32") * 20
    assert same_infinities(back(aux.z_loss), np.where(ignored, 0, 0.1 * exact**2)).max() <= 1e-5


@pytest.mark.sanitize
@pytest.mark.parametrize("sections", [False, True])
def test_gradient_in_place(sections, request):
    shape = (3, 37)
    if sections:
        request.getfixturevalue("short_teams")
        shape = (3, 280 * LONGER)
    logits, target = random_logits(shape, "float32"), targets("indices", shape)
    array = to(logits)
    _, gradient = nbsmce.cross_entropy_with_grad(array, to(target), out=array)
    assert gradient is array
    exact = reference.cross_entropy(logits, target)[1]
    assert same_infinities(back(array), exact).max() <= 16 * eps_of("float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_of_a_confident_right_answer_is_not_0(dtype):
    logits, target = np.array([[20, 0, -1, 1], [1, 18, 2, 0]], dtype), np.array([0, 1])
    exact = reference.cross_entropy(logits, target)[1]
    _, gradient = nbsmce.cross_entropy_with_grad(to(logits), to(target))
    # The definition takes p - 1 in extended precision, which leaves 11 digits of 4e-9.
    np.testing.assert_allclose(back(gradient), exact.astype(dtype), rtol=max(16 * eps_of(dtype), 1e-10))


def test_gradient_from_a_given_logarithm():
    shape = (3, 37)
    logits, target = random_logits(shape, "float32"), targets("indices", shape)
    lse = reference.logsumexp(logits, -1).astype(np.float32)
    exact = reference.cross_entropy(logits, target, z_loss=0.1)[1]
    actual = nbsmce.cross_entropy_backward(None, to(logits), to(target), lse=to(lse), z_loss=0.1)
    assert same_infinities(back(actual), exact).max() <= 64 * eps_of("float32")


def test_upstream_gradients():
    shape = (3, 8)
    logits, target = random_logits(shape, "float32"), targets("indices", shape)
    for dloss in (3.0, np.array(3.0, np.float32)):
        on_gpu = to(dloss) if isinstance(dloss, np.ndarray) else dloss
        actual = back(nbsmce.cross_entropy_backward(on_gpu, to(logits), to(target)))
        exact = reference.cross_entropy(logits, target, dloss=dloss)[1]
        assert same_infinities(actual, exact).max() <= 16 * eps_of("float32")
    dloss = np.array([1, 2, -3], np.float32)
    options = {"dloss": dloss, "reduction": "none"}
    actual = nbsmce.cross_entropy_with_grad(to(logits), to(target), **given(options))[1]
    exact = reference.cross_entropy(logits, target, **options)[1]
    assert same_infinities(back(actual), exact).max() <= 32 * eps_of("float32")


# -- rows and targets that are special ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_ignored_rows_are_exactly_0_whatever_they_hold(dtype, bad):
    logits = np.zeros((3, 8), dtype_of(dtype))
    logits[1] = bad
    target = np.array([0, -100, 2])
    for options in ({}, {"label_smoothing": 0.1, "z_loss": 0.1, "softcap": 3.0}):
        loss, gradient = nbsmce.cross_entropy_with_grad(to(logits), to(target), **options)
        assert np.isfinite(float(loss))
        gradient = back(gradient).astype(float)
        assert np.isfinite(gradient).all()
        assert (gradient[1] == 0).all()


def test_all_rows_ignored_and_no_rows():
    logits, ignored = to(np.zeros((2, 3), np.float32)), to(np.full(2, -100))
    assert np.isnan(float(nbsmce.cross_entropy(logits, ignored)))
    assert float(nbsmce.cross_entropy(logits, ignored, reduction="sum")) == 0
    assert (back(nbsmce.cross_entropy_backward(None, logits, ignored)) == 0).all()
    nothing = to(np.zeros((0, 3), np.float32))
    assert np.isnan(float(nbsmce.cross_entropy(nothing, to(np.zeros(0, int)))))
    assert float(nbsmce.cross_entropy(nothing, to(np.zeros(0, int)), reduction="sum")) == 0


def test_a_probability_of_0_on_minus_infinity_counts_0():
    logits, target = np.array([[0.0, -np.inf, 1.0]]), np.array([[0.5, 0.0, 0.5]])
    exact = reference.cross_entropy(logits[:, ::2], target[:, ::2])[0]
    loss = nbsmce.cross_entropy(to(logits), to(target))
    assert float(loss) == pytest.approx(float(exact), rel=1e-14)
    assert f"{loss} {loss:.3f}" == f"{float(loss)} {float(loss):.3f}"
    assert float(nbsmce.cross_entropy(to(logits), to(np.array([[0.5, 0.1, 0.4]])))) == np.inf


WRONG = {"beyond": 5, "far": 10**12, "negative": -1, "very negative": -(2**63)}


@pytest.mark.sanitize
@pytest.mark.parametrize("index", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_an_index_that_is_no_class_is_said_when_the_loss_is_read(index, reduction):
    logits, target = random_logits((2, 3, 5), "float32"), np.array([[0, 1, 2], [-100, index, 9]])
    message = rf"target\[1, 1\] is {index}, which is neither in \[0, 5\) nor ignore_index \(-100\)"
    loss, gradient = nbsmce.cross_entropy_with_grad(to(logits), to(target), reduction=reduction)
    with pytest.raises(IndexError, match=message):
        float(loss)
    with pytest.raises(IndexError, match=message):
        back(loss)
    for text in (str, "{:.3f}".format):
        with pytest.raises(IndexError, match=message):
            text(loss)
    bad = np.isnan(back(gradient))
    assert bad[1, 1:].all()
    assert not bad[0].any()
    with pytest.raises(IndexError, match=message):
        float(nbsmce.nll_loss(to(logits), to(target), reduction=reduction))
    # The same sentence as on the CPU.
    with pytest.raises(IndexError, match=message):
        nbsmce.cross_entropy(logits, target)


def test_an_index_that_is_no_class_makes_its_row_nan():
    logits, target = random_logits((3, 5), "float32"), np.array([0, 7, 2])
    losses = back(nbsmce.cross_entropy(to(logits), to(target), reduction="none"))
    assert np.isnan(losses).tolist() == [False, True, False]


def test_the_check_that_waits_comes_before_anything_is_written():
    logits, target = random_logits((3, 5), "float32"), np.array([0, 7, 2])
    array = to(logits)
    with pytest.raises(IndexError, match=r"target\[1\] is 7"):
        nbsmce.cross_entropy_with_grad(array, to(target), out=array, check="sync")
    np.testing.assert_array_equal(back(array), logits)
    assert np.isfinite(float(nbsmce.cross_entropy(array, to(np.array([0, -100, 2])), check="sync")))


def test_many_rows_are_added_in_slices():
    """More rows than a block adds up, at one class each side of the first and the last slice."""
    logits = random_logits((200, 2), "float32")
    target = np.random.default_rng(1).integers(0, 2, 200)
    for reduction in ("mean", "sum"):
        exact = reference.cross_entropy(logits, target, reduction=reduction)[0]
        actual = float(nbsmce.cross_entropy(to(logits), to(target), reduction=reduction))
        assert actual == pytest.approx(float(exact), rel=1e-6)
    target[150] = target[154] = target[199] = 2  # the first two in one thread of the simulator
    with pytest.raises(IndexError, match=r"target\[150\] is 2"):
        float(nbsmce.cross_entropy(to(logits), to(target)))


# -- negative log-likelihood -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("shape", "axis"), [((5, 4), -1), ((4, 3, 2), 1)])
def test_negative_log_likelihood(dtype, reduction, shape, axis):
    z = random_logits(shape, dtype)
    target = targets("indices", shape, axis)
    options = options_of(shape, "weight sample_weight", dtype, axis)
    weight, sample = (options[n].astype(np.longdouble) for n in ("weight", "sample_weight"))
    live = target != -100
    share = np.where(live, sample * weight[np.where(live, target, 0)], 0)
    picked = np.take_along_axis(z, np.expand_dims(np.where(live, target, 0), axis), axis).squeeze(axis)
    divisor = share.sum() if reduction == "mean" else 1
    exact = -share * picked.astype(np.longdouble)
    exact = exact if reduction == "none" else exact.sum() / divisor
    on_gpu = {"axis": axis, "reduction": reduction, **given(options)}
    computed = eps_of("float64" if dtype == "float64" else "float32")
    assert (same_infinities(back(nbsmce.nll_loss(to(z), to(target), **on_gpu)), exact) <= 100 * computed).all()
    gradient = back(nbsmce.nll_loss_backward(None, to(z), to(target), **on_gpu))
    expected = np.zeros(shape, np.longdouble)
    np.put_along_axis(
        expected, np.expand_dims(np.where(live, target, 0), axis), np.expand_dims(-share / divisor, axis), axis
    )
    assert same_infinities(gradient, expected).max() <= 2 * eps_of(dtype)
