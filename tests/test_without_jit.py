"""Every kernel on small inputs: what runs also with the JIT off, where ``.ci/run coverage-nojit`` counts its lines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference
from cases import DTYPES, dtype_of, eps_of, go_the_general_way, random_logits, write_past_the_cache
from test_layouts import everything, same

import nbsmce

SHAPES = [((3, 5), -1), ((18, 3), -1), ((2, 37), -1), ((20, 3), 0), ((2, 3, 17), 1), ((3, 33), 0), ((1, 4100), -1)]


def close(actual, exact, dtype, size=1.0):
    """Within eight units of numbers of ``size``."""
    actual, exact = np.asarray(actual).astype(np.longdouble), np.asarray(exact, np.longdouble)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(exact))
    finite = np.isfinite(exact)
    error = np.abs(actual[finite] - exact[finite])
    assert (error <= 8 * eps_of(dtype) * np.maximum(size, np.abs(exact[finite]))).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_softmax_family(dtype, shape, axis):
    x, dy = random_logits(shape, dtype), random_logits(shape, dtype, seed=1)
    computed = "float64" if dtype == "float64" else "float32"
    y, log_y, lse = nbsmce.softmax(x, axis), nbsmce.log_softmax(x, axis), nbsmce.logsumexp(x, axis)
    close(y, reference.softmax(x, axis), dtype)
    close(log_y, reference.log_softmax(x, axis), dtype)
    close(lse, reference.logsumexp(x, axis), computed, 10)
    close(nbsmce.softmax_backward(dy, y, axis), reference.softmax_backward(dy, y, axis), dtype, 10)
    size = float(np.abs(dy.astype(float)).sum(axis).max())
    close(nbsmce.log_softmax_backward(dy, log_y, axis), reference.log_softmax_backward(dy, log_y, axis), dtype, size)
    exact = np.exp(x.astype(np.longdouble) - np.expand_dims(lse, axis))
    close(nbsmce.logsumexp_backward(np.ones_like(lse), x, lse, axis), exact, dtype)
    where = np.random.default_rng(0).random(shape) < 0.7
    close(nbsmce.softmax(x, axis, where=where), reference.softmax(x, axis, where), dtype)
    close(nbsmce.log_softmax(x, axis, where=where), reference.log_softmax(x, axis, where), dtype)
    close(nbsmce.logsumexp(x, axis, where=where), reference.logsumexp(x, axis, where), computed, 10)
    b = np.abs(dy)
    b[(0,) * x.ndim] = 0
    close(nbsmce.logsumexp(x, axis, b=b), reference.logsumexp(x, axis, b=b), computed, 10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_losses(dtype, shape, axis):
    x = random_logits(shape, dtype)
    computed = "float64" if dtype == "float64" else "float32"
    rest = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    t = np.random.default_rng(0).integers(0, shape[axis], rest)
    t.reshape(-1)[:1] = -100 if t.size > 1 else t.reshape(-1)[:1]
    y = np.asarray(reference.softmax(random_logits(shape, seed=1), axis), np.float64).astype(dtype_of(dtype))
    weight = np.linspace(0.5, 2, shape[axis]).astype(dtype_of(dtype))
    hard = {"label_smoothing": 0.1, "z_loss": 0.01, "softcap": 5.0, "logit_scale": 0.9, "weight": weight}
    for target, options in itertools.product((t, y), ({}, hard)):
        exact = reference.cross_entropy(x, target, axis, **options)
        loss, gradient, aux = nbsmce.cross_entropy_with_grad(x, target, axis=axis, return_aux=True, **options)
        close(loss, exact[0], computed, 50)
        close(gradient, exact[1], dtype, 4)
        if not options:
            back = nbsmce.cross_entropy_backward(1.0, x, target, axis=axis, lse=aux.lse)
            close(back, exact[1], "float32" if dtype == "float64" else dtype, 4)
    smooth = {"label_smoothing": 0.1}
    close(
        nbsmce.cross_entropy(x, t, axis=axis, **smooth), reference.cross_entropy(x, t, axis, **smooth)[0], computed, 50
    )
    losses = nbsmce.cross_entropy(x, t, axis=axis, reduction="none")
    close(losses, reference.cross_entropy(x, t, axis, reduction="none")[0], computed, 10)
    log_y = nbsmce.log_softmax(x, axis)
    close(nbsmce.nll_loss(log_y, t, axis=axis), nbsmce.cross_entropy(x, t, axis=axis), dtype, 10)
    back = nbsmce.nll_loss_backward(1.0, log_y, t, axis=axis, reduction="sum", weight=weight)
    assert np.count_nonzero(back) == np.count_nonzero(t != -100)


@pytest.mark.parametrize("classes", [3, 20])
def test_special_values(classes):
    x = np.zeros((18, classes))
    x[0], x[1, 0], x[2, 1], x[3, 1] = -np.inf, np.inf, np.nan, -np.inf
    for axis, array in ((1, x), (0, x.T.copy())):
        y, lse = nbsmce.softmax(array, axis), nbsmce.logsumexp(array, axis)
        assert np.flatnonzero(np.isnan(y).all(axis)).tolist() == [0, 1, 2]
        assert lse[:3].tolist()[:2] == [-np.inf, np.inf]
        assert np.isnan(lse[2])
        t = np.zeros(18, int)
        t[:3] = -100
        loss, gradient = nbsmce.cross_entropy_with_grad(array, t, axis=axis)
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()
    loss, gradient = nbsmce.cross_entropy_with_grad(x, np.full(18, -100), reduction="none")
    assert (loss == 0).all()
    assert (gradient == 0).all()


def test_exponentials_that_overflow():
    with np.errstate(over="ignore"):
        actual = nbsmce.logsumexp_backward(np.ones(1), np.array([[1.0, 60.0, 800.0]]), np.zeros(1))
    np.testing.assert_allclose(actual, [[np.e, np.exp(60.0), np.inf]], rtol=1e-14)


def test_losses_of_slices():
    """Rows that come in groups of five are added up in the order of whole groups of sixteen."""
    x, t = random_logits((4, 6, 9)), np.arange(20).reshape(4, 5) % 9
    expected = nbsmce.cross_entropy(np.ascontiguousarray(x[:, 1:]), t)
    assert nbsmce.cross_entropy(x[:, 1:], t) == expected
    close(expected, reference.cross_entropy(x[:, 1:], t)[0], "float64", 10)


class TwoThreads:
    """In place of the threads: two, that are this one."""

    address = 0

    def call(self):
        return self, 2

    def settle(self):
        pass


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_in_parts(dtype, monkeypatch):
    from nbsmce._compile import Kernel
    from nbsmce._cpu import launch

    x = random_logits((1, 4100), dtype)
    y, t = nbsmce.softmax(random_logits(x.shape, dtype, seed=1)), np.array([4098])
    where = np.random.default_rng(0).random(x.shape) < 0.7

    def results():
        lse = nbsmce.logsumexp(x)
        return everything(x, y, t, 1) | {
            "with a mask": nbsmce.softmax(x, where=where),
            "in place": nbsmce.softmax(here := x.copy(), out=here),
            "from lse": nbsmce.cross_entropy_backward(1.0, x, t, lse=lse),
            "ignored": nbsmce.cross_entropy_with_grad(x, [-100], reduction="sum")[1],
        }

    whole = results()
    monkeypatch.setattr(launch, "team", TwoThreads())
    go_the_general_way(monkeypatch)
    used = set()
    monkeypatch.setattr(
        Kernel, "__getitem__", lambda self, key: used.add(self.function.__name__) or dict.__getitem__(self, key), False
    )
    same(results(), whole)
    names = ("softmax", "logsumexp", "softmax_backward", "logsumexp_backward", "cross_entropy")
    assert {f"split_{name}" for name in names} <= used


def test_the_mean_of_no_rows():
    loss, gradient = nbsmce.cross_entropy_with_grad(np.ones((3, 10)), np.full(3, -100))
    assert np.isnan(loss)
    assert (gradient == 0).all()


@pytest.mark.parametrize(("shape", "axis"), [((3, 10), 1), ((20, 10), 1), ((10, 40), 0)])
def test_a_class_that_is_none(shape, axis):
    out = np.full(shape, 7.0)
    target = np.full(shape[1 - axis], 10)
    with pytest.raises(IndexError, match=r"target\[0\] is 10"):
        nbsmce.cross_entropy_with_grad(random_logits(shape), target, axis=axis, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("shape", "dtype"), [*(((18, 70), d) for d in DTYPES), ((3, 20), "float32"), ((1, 4100), "float32")]
)
def test_results_past_the_cache(shape, dtype, monkeypatch):
    x = random_logits(shape, dtype)
    y, t = nbsmce.softmax(random_logits(shape, dtype, seed=1)), np.arange(shape[0])
    memory = np.zeros((shape[0], 2 * shape[1] + 3), x.dtype)
    outs = memory[:, 3 : shape[1] + 3], memory[:, : 2 * shape[1] : 2]

    def results():
        found = {
            "log_softmax": nbsmce.log_softmax(x),
            "softmax_backward": nbsmce.softmax_backward(x, y),
            "logsumexp_backward": nbsmce.logsumexp_backward(lse := nbsmce.logsumexp(x), x, lse),
            "gradient of probabilities": nbsmce.cross_entropy_with_grad(x, y, softcap=5.0, label_smoothing=0.1)[1],
            "in place": nbsmce.softmax(here := x.copy(), out=here),
        }
        for i, out in enumerate(outs):
            found[f"softmax to {i}"] = nbsmce.softmax(x, out=out).copy()
            found[f"gradient to {i}"] = nbsmce.cross_entropy_with_grad(x, t, out=out)[1].copy()
        return found

    kept = results()
    write_past_the_cache(monkeypatch)
    same(results(), kept)


def test_stores_past_the_cache_are_aligned():
    from nbsmce._cpu.lanes.python import LANES, Vector
    from nbsmce._cpu.lanes.python_memory import Array, advance, store_past_cache

    p = Array(np.zeros(4 * LANES, np.float32)).p
    with pytest.raises(ValueError, match="whole lines"):
        store_past_cache(advance(p, 1), Vector(np.zeros(LANES, np.float32)))


def test_vectors_of_two_types_do_not_mix():
    from nbsmce._cpu.lanes.python import LANES, Vector

    with pytest.raises(TypeError, match="float32 and float64 in one operation"):
        Vector(np.zeros(LANES, np.float32)) + Vector(np.zeros(LANES))


def test_other_layouts_and_in_place():
    x = random_logits((4, 40), "float32")
    expected = nbsmce.softmax(x)
    out = np.zeros((4, 80), np.float32)[:, ::2]
    np.testing.assert_array_equal(nbsmce.softmax(np.asfortranarray(x), out=out), expected)
    np.testing.assert_array_equal(
        nbsmce.softmax(x.copy()[:, ::-1])[:, ::-1], nbsmce.softmax(x[:, ::-1].copy())[:, ::-1]
    )
    here = x.copy()
    np.testing.assert_array_equal(nbsmce.softmax(here, out=here), expected)
    with pytest.raises(IndexError, match=r"target\[1\] is 40"):
        nbsmce.cross_entropy(x, [0, 40, 1, 2])
