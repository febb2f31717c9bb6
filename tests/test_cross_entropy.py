"""The losses and their gradients against the definition, for every option together with every other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference
from cases import DTYPES, dtype_of, engineered, eps_of, random_logits

import nbsmce

REDUCTIONS = ("mean", "sum", "none")


def options_of(classes, rows, dtype="float64", seed=0):
    """A choice for each option: the default, and another."""
    rng = np.random.default_rng(seed)
    return {
        "weight": [None, (rng.random(classes) + 0.1).astype(dtype_of(dtype))],
        "sample_weight": [None, (rng.random(rows) + 0.1).astype(dtype_of(dtype))],
        "label_smoothing": [0.0, 0.1],
        "z_loss": [0.0, 1e-2],
        "logit_scale": [1.0, 0.7],
        "softcap": [None, 5.0],
    }


def choices(options):
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]


def targets(kind, rows, classes, dtype="float64"):
    rng = np.random.default_rng(7)
    if kind == "probabilities":
        y = rng.random((rows, classes))
        return (y / y.sum(1, keepdims=True)).astype(dtype_of(dtype))
    t = rng.integers(0, classes, rows)
    t[:: max(3, rows // 3)] = -100
    return t


def check(actual, exact, eps, size):
    """Within eight units of numbers of ``size``; what is infinite or NaN is so in both."""
    actual, exact = np.asarray(actual).astype(np.longdouble), np.asarray(exact, np.longdouble)
    assert actual.shape == exact.shape
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(exact))
    assert np.abs(np.where(np.isfinite(exact), actual - exact, 0)).max(initial=0) <= 8 * eps * size


def sizes(logits, options):
    """The size of the numbers that losses and gradients are sums of."""
    x = np.asarray(logits, np.float64) * options.get("logit_scale", 1.0)
    largest = min(np.abs(x[np.isfinite(x)]).max(initial=1.0), options.get("softcap") or np.inf)
    weight = options.get("weight")
    mass = 1.0 if weight is None else float(np.asarray(weight, np.float64).max())
    sample = options.get("sample_weight")
    mass *= 1.0 if sample is None else float(np.asarray(sample, np.float64).max())
    lse = largest + np.log(np.shape(logits)[-1])
    z = options.get("z_loss", 0.0)
    return mass * (2 * lse) + z * lse**2 + mass, mass + 2 * z * lse * max(mass, 1.0)


def compare(logits, target, options, reduction, dtype="float64"):
    """All three functions against the definition."""
    computed = "float64" if dtype == "float64" else "float32"
    exact_loss, exact_gradient = reference.cross_entropy(logits, target, reduction=reduction, **options)
    loss, gradient = nbsmce.cross_entropy_with_grad(logits, target, reduction=reduction, **options)
    loss_size, gradient_size = sizes(logits, options)
    count = max(1, np.size(target)) if reduction == "sum" else 1
    check(loss, exact_loss, eps_of(computed), loss_size * count)
    check(gradient, exact_gradient, eps_of(dtype), gradient_size)
    assert gradient.dtype == np.asarray(logits).dtype
    alone = nbsmce.cross_entropy(logits, target, reduction=reduction, **options)
    np.testing.assert_array_equal(alone, loss)
    again = nbsmce.cross_entropy_backward(None, logits, target, reduction=reduction, **options)
    np.testing.assert_array_equal(again, gradient)


@pytest.mark.parametrize("kind", ["indices", "probabilities"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("classes", [5, 40])
def test_every_option_with_every_other(kind, reduction, classes):
    logits = random_logits((7, classes))
    for options in choices(options_of(classes, 7)):
        compare(logits, targets(kind, 7, classes), options, reduction)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
@pytest.mark.parametrize("classes", [2, 17, 1000, 4100])
def test_dtypes_and_widths(dtype, kind, classes):
    logits = random_logits((20, classes), dtype, seed=classes)
    chosen = [{}, {"label_smoothing": 0.1, "weight": options_of(classes, 20, dtype)["weight"][1]}]
    chosen.append({"z_loss": 1e-3, "softcap": 4.0, "logit_scale": 1.5})
    for options in chosen:
        compare(logits, targets(kind, 20, classes, dtype), options, "mean", dtype)


@pytest.mark.parametrize("case", sorted(engineered()))
def test_engineered_logits(case):
    logits = engineered("float32")[case]
    rows, classes = logits.shape
    target = np.arange(rows) % classes
    target = np.where(np.isfinite(logits[np.arange(rows), target]), target, logits.argmax(1))
    compare(logits, target, {}, "none", "float32")
    finite = np.where(np.isfinite(logits), logits, -50)
    compare(finite, target, {"label_smoothing": 0.1, "z_loss": 1e-4}, "mean", "float32")


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 5, 3), (2, 20, 3, 2), (2, 3, 4, 40)])
def test_every_axis(shape):
    logits = random_logits(shape)
    for axis in range(-len(shape), len(shape)):
        rest = [n for i, n in enumerate(shape) if i != axis % len(shape)]
        t = np.random.default_rng(0).integers(0, shape[axis], rest)
        y = np.asarray(reference.softmax(random_logits(shape, seed=3), axis), np.float64)
        for target in (t, y):
            for reduction in REDUCTIONS:
                exact = reference.cross_entropy(logits, target, axis, reduction=reduction, label_smoothing=0.1)
                actual = nbsmce.cross_entropy_with_grad(
                    logits, target, axis=axis, reduction=reduction, label_smoothing=0.1
                )
                for a, e in zip(actual, exact, strict=True):
                    check(a, e, eps_of("float64"), 20.0 * max(1, np.size(t)))


@pytest.mark.parametrize("integer", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u2"])
def test_class_indices_of_any_integer_dtype(integer):
    logits, t = random_logits((6, 5)), np.array([0, 4, 2, 1, 3, 3])
    expected = nbsmce.cross_entropy(logits, t)
    assert nbsmce.cross_entropy(logits, t.astype(integer)) == expected
    spaced = np.zeros((6, 2), integer)
    spaced[:, 1] = t
    assert nbsmce.cross_entropy(logits, spaced[:, 1]) == expected
    assert nbsmce.cross_entropy(logits, t[::-1].astype(integer)[::-1]) == expected


def test_ignore_index_may_be_a_class():
    logits = random_logits((6, 5))
    t = np.array([0, 4, 2, 0, 3, 3])
    loss, gradient = nbsmce.cross_entropy_with_grad(logits, t, ignore_index=0)
    exact = reference.cross_entropy(logits, t, ignore_index=0)
    check(loss, exact[0], eps_of("float64"), 20)
    check(gradient, exact[1], eps_of("float64"), 1)
    assert (gradient[[0, 3]] == 0).all()


def test_upstream_gradient():
    logits, t = random_logits((6, 5)), np.array([0, 4, 2, -100, 3, 3])
    above = np.arange(6) + 0.5
    _, gradient = nbsmce.cross_entropy_with_grad(logits, t, reduction="none", dloss=above)
    exact = reference.cross_entropy(logits, t, reduction="none", dloss=above)[1]
    check(gradient, exact, eps_of("float64"), 6)
    for reduction in ("mean", "sum"):
        loss, scaled = nbsmce.cross_entropy_with_grad(logits, t, reduction=reduction, dloss=65536.0)
        plain_loss, plain = nbsmce.cross_entropy_with_grad(logits, t, reduction=reduction)
        assert loss == plain_loss
        np.testing.assert_array_equal(scaled, plain * 65536.0)
        np.testing.assert_array_equal(
            nbsmce.cross_entropy_backward(np.float64(65536.0), logits, t, reduction=reduction), scaled
        )


def test_gradient_from_the_log_sum_exp():
    for classes in (5, 40, 4100):
        logits, t = random_logits((20, classes), "float32"), targets("indices", 20, classes)
        _, aux = nbsmce.cross_entropy(logits, t, return_aux=True, z_loss=0.1)
        gradient = nbsmce.cross_entropy_backward(2.0, logits, t, lse=aux.lse, z_loss=0.1)
        exact = reference.cross_entropy(logits, t, z_loss=0.1, dloss=2.0)[1]
        # lse is rounded, so p is off by half its spacing, and the factor of p is 1 + 0.2 lse.
        check(gradient, exact, eps_of("float32"), 0.2 * float(np.abs(aux.lse).max()) ** 2)


def test_what_is_known_of_the_rows():
    logits = random_logits((7, 5))
    logits[2, 3] = logits[2].max()
    t = logits.argmax(1)
    t[0] = (t[0] + 1) % 5
    t[4] = -100
    for classes_first in (False, True):
        x, axis = (logits.T.copy(), 0) if classes_first else (logits, -1)
        for options in ({}, {"softcap": 2.0}, {"logit_scale": 0.5}, {"z_loss": 0.5}):
            loss, aux = nbsmce.cross_entropy(x, t, axis=axis, return_aux=True, **options)
            assert isinstance(aux, nbsmce.Aux)
            assert loss == nbsmce.cross_entropy(x, t, axis=axis, **options)
            np.testing.assert_array_equal(aux.predicted, np.where(t == -100, -1, logits.argmax(1)))
            np.testing.assert_array_equal(aux.correct, [False, True, True, True, False, True, True])
            effective = logits * options.get("logit_scale", 1.0)
            effective = 2.0 * np.tanh(effective / 2.0) if "softcap" in options else effective
            np.testing.assert_allclose(aux.lse, reference.logsumexp(effective, -1).astype(float), rtol=1e-14)
            z = np.where(t == -100, 0, options.get("z_loss", 0.0) * aux.lse**2)
            np.testing.assert_allclose(aux.z_loss, z, rtol=1e-14)
            three = nbsmce.cross_entropy_with_grad(x, t, axis=axis, return_aux=True, **options)
            assert len(three) == 3
            np.testing.assert_array_equal(three[2].predicted, aux.predicted)


def test_an_ignored_row_is_never_correct():
    _, aux = nbsmce.cross_entropy(np.eye(3), np.array([-1, 1, 2]), ignore_index=-1, return_aux=True)
    assert aux.predicted.tolist() == [-1, 1, 2]
    assert aux.correct.tolist() == [False, True, True]


def test_the_first_of_several_largest_and_nan():
    logits = np.zeros((4, 40), np.float32)
    logits[1, [7, 20]] = 1
    logits[2, [9, 30]] = np.nan
    logits[3] = -np.inf
    long = np.zeros((1, 9000), np.float32)
    long[0, [5000, 8500]] = 2
    assert nbsmce.cross_entropy(logits, [0] * 4, return_aux=True)[1].predicted.tolist() == [0, 7, 9, 0]
    assert nbsmce.cross_entropy(logits.T.copy(), [0] * 4, axis=0, return_aux=True)[1].predicted.tolist() == [0, 7, 9, 0]
    assert nbsmce.cross_entropy(long, [0], return_aux=True)[1].predicted.tolist() == [5000]


def test_correct_for_probabilities_is_the_most_probable_class():
    _, aux = nbsmce.cross_entropy(np.eye(3), np.array([[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0, 0, 1]]), return_aux=True)
    assert aux.correct.tolist() == [False, True, True]


def test_logits_without_a_batch():
    loss, gradient, aux = nbsmce.cross_entropy_with_grad(np.array([1.0, 2.0]), 1, return_aux=True)
    assert loss == pytest.approx(np.log1p(np.exp(-1.0)))
    assert gradient.shape == (2,)
    assert (aux.predicted, aux.correct) == (1, True)
    assert nbsmce.cross_entropy(np.array([1.0, 2.0]), [0.0, 1.0]) == loss


def test_losses_have_the_dtype_that_sums_are_taken_in():
    for dtype, expected in (("float16", "f4"), ("bfloat16", "f4"), ("float32", "f4"), ("float64", "f8")):
        logits = random_logits((3, 4), dtype)
        for reduction in REDUCTIONS:
            assert nbsmce.cross_entropy(logits, [0, 1, 2], reduction=reduction).dtype == expected
            assert nbsmce.nll_loss(logits, [0, 1, 2], reduction=reduction).dtype == expected
    assert nbsmce.cross_entropy([[1, 2], [3, 4]], [0, 1]).dtype == np.float64


def test_probabilities_of_another_dtype_than_the_logits():
    logits, y = random_logits((5, 6)), targets("probabilities", 5, 6)
    for dtype in DTYPES:
        for other in DTYPES:
            x, t = logits.astype(dtype_of(dtype)), y.astype(dtype_of(other))
            exact = reference.cross_entropy(x, t.astype(np.float64))
            loss, gradient = nbsmce.cross_entropy_with_grad(x, t)
            check(loss, exact[0], eps_of("float64" if dtype == "float64" else "float32"), 20)
            check(gradient, exact[1], eps_of(dtype), 1)


# -- negative log-likelihood -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "axis"), [((7, 5), -1), ((7, 40), 1), ((5, 7), 0), ((2, 6, 3, 4), 1), ((6,), 0)])
def test_nll_loss(dtype, reduction, shape, axis):
    x = nbsmce.log_softmax(random_logits(shape, dtype), axis)
    rest = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    t = np.random.default_rng(0).integers(0, shape[axis], rest)
    t = np.where(np.arange(t.size).reshape(t.shape) == 1, -100, t)
    rows = np.moveaxis(x, axis, -1).reshape(-1, shape[axis]).astype(np.float64)
    live = t.reshape(-1) != -100
    index = np.where(live, t.reshape(-1), 0)
    for options in choices({k: options_of(shape[axis], rest, dtype)[k] for k in ("weight", "sample_weight")}):
        w = live * (1.0 if options["weight"] is None else options["weight"].astype(float)[index])
        if options["sample_weight"] is not None:
            w = w * options["sample_weight"].astype(float).reshape(-1)
        losses = -w * rows[np.arange(len(rows)), index]
        divisor = w.sum() if reduction == "mean" else 1.0
        exact = (losses if reduction == "none" else losses.sum()) / divisor
        actual = nbsmce.nll_loss(x, t, axis=axis, reduction=reduction, **options)
        check(np.ravel(actual), np.ravel(exact), eps_of("float64" if dtype == "float64" else "float32"), 20.0)
        gradient = nbsmce.nll_loss_backward(
            2.0 if reduction != "none" else None, x, t, axis=axis, reduction=reduction, **options
        )
        expected = np.zeros_like(rows)
        expected[np.arange(len(rows)), index] = -w / divisor * (2.0 if reduction != "none" else 1.0)
        check(np.moveaxis(gradient, axis, -1).reshape(rows.shape), expected, eps_of(dtype), 1.0)


def test_nll_loss_of_log_softmax_is_cross_entropy():
    logits, t = random_logits((30, 12), "float32"), np.arange(30) % 12
    direct = nbsmce.cross_entropy(logits, t, reduction="none")
    np.testing.assert_allclose(nbsmce.nll_loss(nbsmce.log_softmax(logits), t, reduction="none"), direct, rtol=3e-7)
