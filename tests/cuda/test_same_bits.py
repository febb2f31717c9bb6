"""The same bits from any memory layout of the same values, and for a row in any batch."""

from __future__ import annotations

import os

import numpy as np
import pytest
from cases import DTYPES, dtype_of, random_logits
from gpu import LONGER, back, to, transposed

import nbsmce

pytestmark = pytest.mark.cuda
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
ROWS = 4
# Up to how many chunks of 16 bytes a row may have for so many threads with so many chunks each.
TEAMS = ((1, 1, 1), (4, 4, 1), (16, 8, 2), (64, 64, 1))


@pytest.fixture(autouse=True)
def short_teams(few_threads, monkeypatch):
    """Rows of a thread, of lanes with one chunk and with several, of two warps, and in sections of two warps."""
    if not SIMULATED:
        return
    from nbsmce._cuda import calls, layout

    calls.forget()
    monkeypatch.setattr(layout, "TEAMS", dict.fromkeys(layout.TEAMS, TEAMS))
    monkeypatch.setattr(layout, "SECTIONS", dict.fromkeys(layout.SECTIONS, (64, 1)))


def from_offset(elements):
    """Without gaps, beginning so many elements behind a multiple of 16 bytes."""

    def arranged(x):
        flat = np.concatenate([np.zeros(elements, x.dtype), x.reshape(-1)])
        return to(flat)[elements:].reshape(x.shape)

    return arranged, -1, lambda y: y


LAYOUTS = {
    "aligned": from_offset(0),
    "from 1": from_offset(1),
    "from 2": from_offset(2),
    "from 4": from_offset(4),
    "every other": (lambda x: to(np.repeat(x, 2, axis=1))[:, ::2], -1, lambda y: y),
    "backwards": (lambda x: to(x[:, ::-1])[:, ::-1], -1, lambda y: y),
    "apart": (lambda x: to(x.T), 0, lambda y: y.T if y.ndim == 2 else y),
    "Fortran's": (lambda x: transposed(to(x.T), (1, 0)), -1, lambda y: y),
    "in the middle": (
        lambda x: to(x.reshape(2, ROWS // 2, -1).transpose(0, 2, 1)), 1,
        lambda y: y.transpose(0, 2, 1).reshape(ROWS, -1) if y.ndim == 3 else y.reshape(y.shape and ROWS),
    ),
}  # fmt: skip
FEWER = ("from 1", "in the middle")


def of_rows(values, axis):
    """Numbers of rows in the shape that rows have where the class axis is there."""
    return values.reshape(2, -1) if axis == 1 else values


def loss(x, y, arranged, axis, **options):
    """A loss for each row, its gradient and what is known of rows; for class indices, or probabilities if there are."""
    rows = of_rows(np.array([0, x.shape[1] - 1, -100, x.shape[1] // 2]), axis)
    target = to(rows) if y is None else arranged(y)
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    options["weight"] = to(np.linspace(0.1, 2, x.shape[1]).astype(dtype))
    reduction = {"reduction": "none", "return_aux": True}
    losses, gradient, aux = nbsmce.cross_entropy_with_grad(arranged(x), target, axis=axis, **reduction, **options)
    mean = nbsmce.cross_entropy(arranged(x), target, axis=axis, **options)
    return losses, gradient, *aux, mean


def masked(x, arranged, axis):
    where = arranged(np.random.default_rng(2).random(x.shape) < 0.7)
    return nbsmce.softmax(arranged(x), axis, where=where), nbsmce.logsumexp(arranged(x), axis, where=where)


def factors(x, y, arranged, axis):
    return nbsmce.logsumexp(arranged(x), axis, b=arranged(y), return_sign=True)


FUNCTIONS = {
    "softmax": lambda x, y, a, axis: (nbsmce.softmax(a(x), axis), nbsmce.logsumexp(a(x), axis)),
    "log_softmax": lambda x, y, a, axis: nbsmce.log_softmax(a(x), axis),
    "softmax_backward": lambda x, y, a, axis: nbsmce.softmax_backward(a(x), a(y), axis),
    "log_softmax_backward": lambda x, y, a, axis: nbsmce.log_softmax_backward(a(x), a(y), axis),
    "a mask": lambda x, y, a, axis: masked(x, a, axis),
    "factors": factors,
    "loss": lambda x, y, a, axis: loss(x, None, a, axis),
    "loss, smoothing": lambda x, y, a, axis: loss(x, None, a, axis, label_smoothing=0.1, z_loss=0.01),
    "loss, capped": lambda x, y, a, axis: loss(x, None, a, axis, softcap=3.0, logit_scale=0.7),
    "loss, probabilities": lambda x, y, a, axis: loss(x, y, a, axis),
    "loss, other probabilities": lambda x, y, a, axis: loss(x, y.astype(np.float32), a, axis),
}


def bits(result, restored):
    """The bytes of all results, a row after the other; every NaN is the same."""
    arrays = [back(r) for r in (result if isinstance(result, tuple) else (result,))]
    arrays = [a if a.dtype.kind in "ib" else np.where(np.isnan(a), a.dtype.type(np.nan), a) for a in arrays]
    return [np.ascontiguousarray(restored(a)).tobytes() for a in arrays]


def of_layout(function, x, y, layout):
    arranged, axis, restored = LAYOUTS[layout]
    return bits(FUNCTIONS[function](x, y, arranged, axis), restored)


def operands(classes, dtype):
    x = random_logits((ROWS, classes), dtype, 3.0)
    y = np.random.default_rng(9).random((ROWS, classes)).astype(dtype_of(dtype))
    return x, y


@pytest.mark.parametrize("chunks", [1, 12])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout(dtype, chunks):
    """Rows of whole chunks, which the aligned layout reads 16 bytes at a time."""
    x, y = operands(chunks * (16 // dtype_of(dtype).itemsize), dtype)
    expected = of_layout("softmax", x, y, "aligned")
    assert [name for name in LAYOUTS if of_layout("softmax", x, y, name) != expected] == []


# A sum in float64 shows in float64, and one in float32 in the losses of half types; most others are rounded away.
SUMS = ("log_softmax", "softmax_backward", "log_softmax_backward", "factors", "loss, smoothing", "loss, probabilities")


@pytest.mark.parametrize(
    ("function", "dtype"), [*[(f, "bfloat16") for f in FUNCTIONS], *[(f, "float64") for f in SUMS]]
)
def test_any_function(function, dtype):
    x, y = operands(10 * (16 // dtype_of(dtype).itemsize), dtype)
    expected = of_layout(function, x, y, "aligned")
    assert [name for name in FEWER if of_layout(function, x, y, name) != expected] == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("function", ["log_softmax_backward", "loss, smoothing"])
def test_any_layout_of_odd_rows(function, dtype):
    x, y = operands(21, dtype)
    expected = of_layout(function, x, y, "aligned")
    assert [name for name in FEWER if of_layout(function, x, y, name) != expected] == []


@pytest.mark.parametrize(
    ("function", "dtype", "chunks"),
    [
        ("log_softmax", "float64", 40), ("loss, smoothing", "bfloat16", 40), ("softmax_backward", "float64", 100),
    ],
)  # fmt: skip
def test_any_layout_of_long_rows(function, dtype, chunks):
    """Rows of several warps, and of sections."""
    x, y = operands(LONGER * chunks * (16 // dtype_of(dtype).itemsize), dtype)
    expected = of_layout(function, x, y, "aligned")
    assert [name for name in FEWER if of_layout(function, x, y, name) != expected] == []


@pytest.mark.skipif(SIMULATED, reason="the simulator has no clusters")
@pytest.mark.parametrize(("numbers", "blocks"), [(2.0, 4), (4.5, 8), (8.0, 8)], ids=["one more", "half", "full"])
@pytest.mark.parametrize(
    ("function", "dtype", "chunks"),
    [
        ("softmax", "float32", 8), ("log_softmax", "float16", 8), ("a mask", "float32", 8), ("a mask", "bfloat16", 4),
        ("softmax_backward", "bfloat16", 4), ("softmax_backward", "float64", 8), ("log_softmax_backward", "float64", 4),
        ("loss", "float16", 8), ("loss, smoothing", "bfloat16", 4), ("loss, capped", "float32", 4),
        ("loss, probabilities", "float64", 2), ("loss, other probabilities", "bfloat16", 2),
    ],
)  # fmt: skip
def test_clusters_and_sections(function, dtype, chunks, numbers, blocks, monkeypatch):
    """Of so many sections of 256 threads with so many chunks, the last one of one number, half full, or full."""
    from nbsmce._cuda import calls, layout, plan, rows

    if plan.capability_of(0) < rows.CLUSTERS:
        pytest.skip("this GPU has no clusters")
    found, cluster = [], layout.cluster
    monkeypatch.setattr(layout, "cluster", lambda *arguments: found.append(cluster(*arguments)) or found[-1])
    calls.forget()
    section = 256 * chunks * (16 // dtype_of(dtype).itemsize)
    x, y = operands(int(numbers * section) + (numbers == 2), dtype)
    clustered = of_layout(function, x, y, "aligned")
    assert found == [blocks]
    monkeypatch.setattr(rows, "CLUSTERS", 1000)
    calls.forget()
    assert of_layout(function, x, y, "aligned") == clustered
    assert found == [blocks]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("function", ["softmax", "log_softmax", "logsumexp"])
def test_a_mask_that_hides_nothing(function, dtype):
    x, _ = operands(48, dtype)
    call, where = getattr(nbsmce, function), to(np.ones(x.shape, bool))
    assert bits(call(to(x), where=where), np.copy) == bits(call(to(x)), np.copy)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [5, 45])
def test_a_row_is_the_same_in_any_batch(dtype, classes):
    x, y = operands(classes, dtype)
    for call in (nbsmce.softmax, nbsmce.logsumexp, lambda x: nbsmce.softmax_backward(x, to(y[: x.shape[0]]))):
        alone = back(call(to(x[:1])))
        assert back(call(to(x)))[:1].tobytes() == alone.tobytes()
