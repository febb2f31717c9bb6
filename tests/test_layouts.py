"""The same bits from any memory layout, in any batch, on any number of threads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cases import DTYPES, dtype_of, eps_of, random_logits, strided_like

import nbsmce
from nbsmce._cpu import launch, layout

SHAPES = [
    ((37, 5), 1),
    ((19, 40), 1),
    ((3, 4500), 1),
    ((4, 6, 20), 1),
    ((2, 3, 4, 17), 3),
    ((4500, 3), 0),
    ((40, 33), 0),
]
ONES = [(shape, axis) for n in (1, 2, 3) for shape in itertools.product((1, 2, 17), repeat=n) for axis in range(n)]
HARD = {"label_smoothing": 0.1, "z_loss": 1e-3, "softcap": 8.0, "logit_scale": 0.9}


def everything(x, y, t, axis, out=True):
    """The results of every function, by name."""
    weight = np.linspace(0.5, 2, x.shape[axis]).astype(x.dtype)
    softmax = nbsmce.softmax(x, axis)
    lse = nbsmce.logsumexp(x, axis)
    results = {
        "softmax": softmax,
        "log_softmax": nbsmce.log_softmax(x, axis),
        "logsumexp": lse,
        "logsumexp with factors": nbsmce.logsumexp(x, axis, b=y),
        "softmax_backward": nbsmce.softmax_backward(x, y, axis),
        "log_softmax_backward": nbsmce.log_softmax_backward(x, y, axis),
        "logsumexp_backward": nbsmce.logsumexp_backward(lse, x, lse, axis),
    }
    for reduction in ("mean", "none"):
        for kind, target in (("indices", t), ("probabilities", y)):
            for options in ({}, {**HARD, "weight": weight}):
                loss, gradient, aux = nbsmce.cross_entropy_with_grad(
                    x, target, axis=axis, reduction=reduction, return_aux=True, **options
                )
                name = f"{kind}, {reduction}, {len(options)} options"
                results |= {f"loss of {name}": loss, f"gradient of {name}": gradient, f"lse of {name}": aux.lse}
                alone = {"axis": axis, "reduction": reduction, **options}
                results[f"loss alone of {name}"] = nbsmce.cross_entropy(x, target, **alone)
                results[f"gradient alone of {name}"] = nbsmce.cross_entropy_with_grad(x, target, **alone)[1]
    results["cross_entropy_backward"] = nbsmce.cross_entropy_backward(1.0, x, t, axis=axis, lse=lse)
    results["nll_loss"] = nbsmce.nll_loss(x, t, axis=axis)
    results["nll_loss_backward"] = nbsmce.nll_loss_backward(1.0, x, t, axis=axis)
    return results


def same(a, b):
    for name in a:
        actual, expected = np.asarray(a[name]), np.asarray(b[name])
        np.testing.assert_array_equal(actual.astype(np.float64), expected.astype(np.float64), err_msg=name)
        assert (actual.dtype, actual.tobytes()) == (expected.dtype, expected.tobytes()), name  # -0.0 is not 0.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_the_same_bits_from_any_layout(dtype, shape, axis):
    x = random_logits(shape, dtype, 5.0)
    y = nbsmce.softmax(random_logits(shape, dtype, seed=2), axis)
    t = np.random.default_rng(0).integers(0, shape[axis], [n for i, n in enumerate(shape) if i != axis])
    t.reshape(-1)[1] = -100
    expected = everything(x, y, t, axis)
    others = strided_like(y)
    for name, array in strided_like(x).items():
        target = np.asfortranarray(t) if name == "Fortran order" else t
        same(everything(array, others[name], target, axis), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((37, 5), 1), ((19, 40), 1), ((3, 4500), 1), ((4, 6, 20), 1), ((70, 40), 1), ((3, 35, 9), 2)]
)
def test_the_same_bits_with_the_class_axis_elsewhere(dtype, shape, axis):
    x = random_logits(shape, dtype, 5.0)
    y = nbsmce.softmax(random_logits(shape, dtype, seed=2), axis)
    t = np.random.default_rng(0).integers(0, shape[axis], [n for i, n in enumerate(shape) if i != axis])
    expected = everything(x, y, t, axis)
    for to in range(len(shape)):
        moved = [np.ascontiguousarray(np.moveaxis(a, axis, to)) for a in (x, y)]
        actual = everything(*moved, t, to)
        back = {n: np.moveaxis(v, to, axis) if np.ndim(v) == x.ndim else v for n, v in actual.items()}
        same(back, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [3, 40, 4500])
def test_the_same_bits_in_any_batch(dtype, classes):
    x = random_logits((41, classes), dtype, 5.0)
    t = np.arange(41) % classes
    options = {"reduction": "none", **HARD}
    lse = nbsmce.logsumexp(x)
    lse[20] -= 100  # far exponentials, which are computed in another way
    functions = [
        nbsmce.softmax,
        nbsmce.log_softmax,
        nbsmce.logsumexp,
        lambda x: nbsmce.cross_entropy_with_grad(x, t[: len(x)], **options)[1],
        lambda x: nbsmce.cross_entropy(x, t[: len(x)], **options),
        lambda x: nbsmce.logsumexp_backward(np.ones_like(lse[: len(x)]), x, lse[: len(x)]),
    ]
    for function in functions:
        whole = function(x)
        for rows in (1, 2, 15, 16, 17, 40):
            np.testing.assert_array_equal(function(x[:rows]).astype(float), whole[:rows].astype(float))


@pytest.mark.parametrize(
    ("shape", "axis"), [((8000, 10), 1), ((300, 1000), 1), ((3, 100_000), 1), ((2, 30, 5000), 2), ((20, 90, 49), 1)]
)
def test_the_same_bits_on_any_number_of_threads(shape, axis):
    x = random_logits(shape, "float32", 5.0)
    y = nbsmce.softmax(random_logits(shape, "float32", seed=2), axis)
    t = np.random.default_rng(0).integers(0, shape[axis], [n for i, n in enumerate(shape) if i != axis])
    before = nbsmce.get_num_threads()
    try:
        nbsmce.set_num_threads(1)
        expected = everything(x, y, t, axis)
        for threads in (2, 3, 5, 16):
            nbsmce.set_num_threads(threads)
            same(everything(x, y, t, axis), expected)
    finally:
        nbsmce.set_num_threads(before)


def test_the_same_bits_again():
    x = random_logits((500, 300), "float32")
    first = nbsmce.softmax(x)
    assert all((nbsmce.softmax(x) == first).all() for _ in range(20))


@pytest.mark.parametrize("offset", range(0, 64, 4))
def test_the_same_bits_from_any_address(offset):
    x = random_logits((6, 37), "float32")
    raw = np.zeros(x.nbytes + 64, np.uint8)
    moved = raw[offset : offset + x.nbytes].view(np.float32).reshape(x.shape)
    moved[...] = x
    np.testing.assert_array_equal(nbsmce.softmax(moved), nbsmce.softmax(x))


@pytest.mark.parametrize(
    ("shape", "threads", "expected"),
    [
        ((1, 10, 33), 1, True),
        ((1, 10, 32), 1, False),  # rows abreast would be half idle
        ((1, 4096, 64), 1, True),
        ((1, 4097, 64), 1, False),  # more than a chunk
        ((1, 10, 64), 2, True),
        ((1, 10, 64), 3, False),  # rows abreast would busy four threads
        ((2, 10, 64), 4, True),
    ],
)
def test_which_rows_are_in_bundles(shape, threads, expected):
    x = np.zeros(shape, np.float32)
    assert launch.in_bundles(threads, x, x.copy(), np.empty((0, 0, 0), np.uint8), 1) == expected
    assert not launch.in_bundles(threads, x, np.zeros((*shape[:2], 2 * shape[2]), np.float32)[..., ::2])
    assert not launch.in_bundles(threads, x.astype(np.float16))
    assert not launch.in_bundles(threads, x[0])


# -- slabs -------------------------------------------------------------------------------------------------------------


def test_slices_of_every_sequence():
    """Batch axes that do not merge into one."""
    whole = random_logits((6, 9, 50), "float32")
    x, t = whole[:, 1:], np.random.default_rng(0).integers(0, 50, (6, 8))
    compact = np.ascontiguousarray(x)
    np.testing.assert_array_equal(nbsmce.softmax(x), nbsmce.softmax(compact))
    for reduction in ("mean", "none"):
        a = nbsmce.cross_entropy_with_grad(x, t, reduction=reduction)
        b = nbsmce.cross_entropy_with_grad(compact, t, reduction=reduction)
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
    out = np.zeros((6, 9, 50), np.float32)
    nbsmce.softmax(x, out=out[:, 1:])
    np.testing.assert_array_equal(out[:, 1:], nbsmce.softmax(compact))
    assert (out[:, 0] == 0).all()


@pytest.mark.parametrize("axis", [0, 1, 2, 3, 4])
def test_many_small_slabs(axis):
    whole = random_logits((8, 9, 10, 6, 7), "float32")
    x = whole[::2, 1::2, ::3, ::2, 1::3]
    compact = np.ascontiguousarray(x)
    np.testing.assert_array_equal(nbsmce.softmax(x, axis), nbsmce.softmax(compact, axis))
    np.testing.assert_array_equal(nbsmce.logsumexp(x, axis), nbsmce.logsumexp(compact, axis))
    t = np.zeros([n for i, n in enumerate(x.shape) if i != axis], int)
    assert nbsmce.cross_entropy(x, t, axis=axis) == nbsmce.cross_entropy(compact, t, axis=axis)
    out = np.zeros_like(whole)
    part = out[::2, 1::2, ::3, ::2, 1::3]
    assert nbsmce.softmax(x, axis, out=part) is part
    np.testing.assert_array_equal(part, nbsmce.softmax(compact, axis))
    assert np.count_nonzero(out) == part.size


@pytest.mark.parametrize("shape", [(3, 1, 4, 20), (1, 3, 20, 1), (2, 1, 1, 1)])
def test_axes_of_length_1_do_not_stand_in_the_way(shape):
    x = random_logits(shape, "float32")
    for axis in range(4):
        moved = np.ascontiguousarray(x.transpose(3, 1, 2, 0)).transpose(3, 1, 2, 0)
        np.testing.assert_array_equal(nbsmce.softmax(x, axis), nbsmce.softmax(moved, axis))


@pytest.mark.parametrize("axes", [(0, 2), (1, 2), (0, 1), None])
def test_several_class_axes_in_any_layout(axes):
    x = random_logits((5, 6, 7), "float32")
    expected = nbsmce.softmax(x, axes)
    for array in strided_like(x).values():
        np.testing.assert_array_equal(nbsmce.softmax(array, axes), expected)
    out = np.asfortranarray(np.empty_like(x))
    nbsmce.softmax(x, axes, out=out)
    np.testing.assert_array_equal(out, expected)


def test_rows_that_are_one_row():
    x = np.broadcast_to(random_logits((40,), "float32"), (5, 40))
    np.testing.assert_array_equal(nbsmce.softmax(x), np.broadcast_to(nbsmce.softmax(x[0]), (5, 40)))
    constant = np.broadcast_to(np.float32(2), (3, 20))
    np.testing.assert_array_equal(nbsmce.softmax(constant), np.full((3, 20), np.float32(1 / 20)))


def test_more_than_2_to_the_31_elements():
    """One row of a number that is repeated: the indices are 64 bits wide, and no memory is needed."""
    n = (1 << 31) + 100
    x = np.broadcast_to(np.float16(1), (n,))
    assert nbsmce.logsumexp(x) == pytest.approx(1 + np.log(n), rel=1e-6)


def test_memory_maps(tmp_path):
    x = random_logits((20, 30), "float32")
    stored = np.memmap(tmp_path / "x", np.float32, "w+", shape=x.shape)
    stored[...] = x
    result = np.memmap(tmp_path / "y", np.float32, "w+", shape=x.shape)
    nbsmce.softmax(stored, out=result)
    np.testing.assert_array_equal(result, nbsmce.softmax(x))
    assert type(nbsmce.softmax(stored)) is np.ndarray


def test_whatever_numpy_takes_for_an_array():
    class Holder:
        def __array__(self, dtype=None, copy=None):
            return np.array([[1.0, 2.0]], dtype)

    expected = nbsmce.softmax(np.array([[1.0, 2.0]]))
    for x in ([[1, 2]], ((1.0, 2.0),), Holder(), np.array([[1, 2]], np.int8), memoryview(np.array([[1.0, 2.0]]))):
        np.testing.assert_array_equal(nbsmce.softmax(x), expected)
    assert nbsmce.softmax([[True, False]]).dtype == np.float64
    assert nbsmce.softmax(np.float32(1)).dtype == np.float32
    assert dtype_of("bfloat16") == nbsmce.softmax(np.zeros(2, dtype_of("bfloat16"))).dtype


@pytest.mark.parametrize(("shape", "order", "side_by_side"), [((64, 100), "F", True), ((64, 100), "C", False)])
def test_rows_that_lie_side_by_side_are_read_so(shape, order, side_by_side):
    """Gathering a row from column after column takes three times as long; the bits are the same."""
    x = np.zeros(shape, np.float32, order=order)
    for arrays in ([x], [x, np.zeros(shape, np.float32)]):
        assert [a.ndim for a in layout._of_matrices(arrays, layout.FEW_CLASSES)] == [3 if side_by_side else 2] * len(
            arrays
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_axes_of_one_element(dtype):
    """They merge with any other."""
    for shape, axis in ONES:
        x = random_logits(shape, dtype)
        e = np.exp(x.astype(np.float64))
        exact = e / e.sum(axis, keepdims=True)
        near = {"rtol": 4 * eps_of(dtype), "atol": 1e-7, "err_msg": f"{shape}, {axis}"}
        np.testing.assert_allclose(nbsmce.softmax(x, axis).astype(np.float64), exact, **near)
        t = np.zeros([n for i, n in enumerate(shape) if i != axis], int)
        if t.ndim:
            loss = nbsmce.cross_entropy(x, t, axis=axis, reduction="none")
            np.testing.assert_allclose(loss, -np.log(exact.take(0, axis)), **near)
