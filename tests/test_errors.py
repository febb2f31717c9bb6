"""Bad input: a clear error that names the argument, before anything is written."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cases import random_logits

import nbsmce

X = random_logits((3, 4), "float32")
T = np.array([0, 1, 2])
UNARY = [nbsmce.softmax, nbsmce.log_softmax, nbsmce.logsumexp]
LOSSES = [
    nbsmce.cross_entropy,
    nbsmce.cross_entropy_with_grad,
    lambda x, t, **options: nbsmce.cross_entropy_backward(1.0, x, t, **options),
]
NLL = [nbsmce.nll_loss, lambda x, t, **options: nbsmce.nll_loss_backward(1.0, x, t, **options)]


def raises(error, message, call, *arguments, **options):
    """The error has this message, of at most two lines."""
    with pytest.raises(error, match=message) as caught:
        call(*arguments, **options)
    assert str(caught.value).count("\n") < 2


@pytest.mark.parametrize("function", UNARY, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X.astype(complex), r"x must be float16, bfloat16, float32, float64 or integers, got dtype 'complex128'"),
        (np.array([[1, None]], object), "x must be .* got dtype 'object'"),
        (np.array(["a", "b"]), "x must be .* got dtype 'str"),
        (np.array([b"a"]), "x must be .* got dtype 'bytes"),
        (np.zeros(2, "M8[s]"), r"x must be .* got dtype 'datetime64\[s\]'"),
        (np.zeros(2, "m8[s]"), r"x must be .* got dtype 'timedelta64\[s\]'"),
        (np.zeros(2, [("a", "f4")]), "x must be .* got dtype 'void"),
        (np.zeros(2, np.longdouble), "x must be .* got dtype 'longdouble'|'float128'"),
        (None, "x must be .* got dtype 'object'"),
        (object(), "x must be .* got dtype 'object'"),
        ({"a": 1}, "x must be .* got dtype 'object'"),
        (
            np.ma.array([1.0, 2.0], mask=[True, False]),
            "x is a masked array, and its mask would be ignored: pass x.data",
        ),
    ],
    ids=lambda v: str(getattr(v, "dtype", type(v).__name__)),
)
def test_arrays_that_cannot_be_computed_on(function, x, message):
    raises(TypeError, message, function, x)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_matrices():
    raises(TypeError, r"x is a numpy.matrix: pass numpy.asarray\(x\)", nbsmce.softmax, np.matrix([[1.0, 2.0]]))


@pytest.mark.parametrize("function", UNARY, ids=lambda f: f.__name__)
def test_ragged_lists(function):
    raises(ValueError, "x is no array: ", function, [[1.0], [1.0, 2.0]])


def test_types_of_other_small_floats():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    raises(TypeError, "x must be .* got dtype 'float8_e4m3fn'", nbsmce.softmax, np.zeros(3, ml_dtypes.float8_e4m3fn))


class _Pretender:
    """Stands in for a library that is not installed."""

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("must not be converted")


@pytest.mark.parametrize(
    ("library", "name", "advice"),
    [
        ("pandas.core.frame", "DataFrame", r"pass x.to_numpy\(\)"),
        ("polars.dataframe.frame", "DataFrame", r"pass x.to_numpy\(\)"),
        ("xarray.core.dataarray", "DataArray", "xarray.apply_ufunc"),
        ("dask.array.core", "Array", r"x.map_blocks, or pass x.compute\(\)"),
    ],
)
def test_arrays_that_carry_more_than_numpy_keeps(library, name, advice):
    x = type(name, (_Pretender,), {"__module__": library})()
    raises(TypeError, f"x is a {library.partition('.')[0]} {name}: .*{advice}", nbsmce.softmax, x)
    raises(TypeError, "target is a ", nbsmce.cross_entropy, X, x)


def test_masks():
    raises(TypeError, "where must be boolean, got dtype 'int64'", nbsmce.softmax, X, where=[1, 0, 1, 1])
    message = re.escape("where must have a shape that broadcasts to (3, 4), got (3,)")
    raises(ValueError, message, nbsmce.softmax, X, where=[True, False, True])
    raises(ValueError, "where must have a shape", nbsmce.logsumexp, X, where=np.ones((2, 3, 4), bool))
    raises(TypeError, "where is a masked array", nbsmce.softmax, X, where=np.ma.ones(4, bool))


def test_factors():
    message = re.escape("x and b must have shapes that broadcast together, got (3, 4) and (3,)")
    raises(ValueError, message, nbsmce.logsumexp, X, b=[1.0, 2.0, 3.0])
    raises(TypeError, "b must be .* got dtype 'complex128'", nbsmce.logsumexp, X, b=np.ones(4, complex))


def test_backward_shapes():
    for function in (nbsmce.softmax_backward, nbsmce.log_softmax_backward):
        raises(ValueError, r"dy and y must have one shape, got \(3, 4\) and \(3, 3\)", function, X, X[:, :3])
        raises(TypeError, "y must be .* got dtype 'complex64'", function, X, X.astype("c8"))
    message = re.escape("dlse must have the shape (3,) or (3, 1), got (4,)")
    raises(ValueError, message, nbsmce.logsumexp_backward, np.ones(4), X, np.ones(3))
    raises(ValueError, r"lse must have the shape \(3,\)", nbsmce.logsumexp_backward, np.ones((3, 1)), X, 1.0)


# -- losses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [*LOSSES, *NLL])
@pytest.mark.parametrize(
    ("target", "where"),
    [
        ([0, 4, 1], r"target\[1\] is 4, which is neither in \[0, 4\) nor ignore_index \(-100\)"),
        ([0, 1, -1], r"target\[2\] is -1, which is"),
        ([-101, 7, 1], r"target\[0\] is -101, which is"),
        (np.array([0, 1, 2**40]), r"target\[2\] is 1099511627776, which is"),
        (np.array([2**63 - 1, 1, 2]), r"target\[0\] is 9223372036854775807, which is"),
        (np.array([-(2**63), 1, 2]), r"target\[0\] is -9223372036854775808, which is"),
        (np.array([0, 2**64 - 100, 2], np.uint64), r"target\[1\] is 18446744073709551516, which is"),
        (np.array([0, 200, 2], np.uint8), r"target\[1\] is 200, which is"),
    ],
)
def test_class_indices_out_of_range(function, target, where):
    out = np.full((3, 4), 7, np.float32)
    raises(IndexError, where, function, X, target)
    if function is nbsmce.cross_entropy_with_grad:
        raises(IndexError, where, function, X, target, out=out)
    assert (out == 7).all()


def test_the_position_of_an_index_out_of_range():
    t = np.zeros((5, 6, 7), int)
    t[3, 1, 4] = 10
    t[4, 0, 0] = 11
    raises(IndexError, r"target\[3, 1, 4\] is 10,", nbsmce.cross_entropy, np.zeros((5, 6, 7, 10)), t)
    raises(IndexError, r"target\[3, 1, 4\] is 10,", nbsmce.cross_entropy, np.zeros((5, 10, 6, 7)), t, axis=1)
    raises(IndexError, r"target is 5,", nbsmce.cross_entropy, np.zeros(3), 5)
    many = np.zeros(100_000, int)
    many[77_777] = -7
    raises(IndexError, r"target\[77777\] is -7,", nbsmce.cross_entropy, np.zeros((100_000, 2)), many)


@pytest.mark.parametrize("function", LOSSES)
def test_targets_that_do_not_fit(function):
    raises(
        ValueError, re.escape("target must have the shape (3,) for class indices, got (4,)"), function, X, [0, 1, 2, 3]
    )
    raises(ValueError, r"target must have the shape \(3,\)", function, X, np.zeros((3, 4), int))
    message = re.escape("must have the logits' shape (3, 4), got (3,) of float64; class indices must be integers")
    raises(ValueError, message, function, X, [0.0, 1.0, 2.0])
    raises(TypeError, "target must hold class indices of an integer dtype, got 'bool'", function, X, T > 0)
    raises(TypeError, "target must hold class indices of an integer dtype, got 'str", function, X, ["a", "b", "c"])
    raises(TypeError, "target must hold class indices", function, X, None)
    raises(TypeError, "target is a masked array", function, X, np.ma.array(T))
    raises(ValueError, "logits must have at least one dimension", function, 1.0, 0)


@pytest.mark.parametrize("function", NLL)
def test_nll_loss_takes_class_indices_only(function):
    raises(TypeError, "target must hold class indices of an integer dtype, got 'float32'", function, X, X)
    raises(ValueError, r"target must have the shape \(3,\)", function, X, [0])
    raises(ValueError, "log_probs must have at least one dimension", function, 1.0, 0)


@pytest.mark.parametrize("function", [*LOSSES, *NLL])
def test_weights(function):
    raises(ValueError, re.escape("weight must have the shape (4,), got (3,)"), function, X, T, weight=np.ones(3))
    raises(TypeError, "weight must be .* got dtype 'complex128'", function, X, T, weight=np.ones(4, complex))
    message = re.escape("sample_weight must have the shape (3,), got ()")
    raises(ValueError, message, function, X, T, sample_weight=1.0)
    raises(ValueError, "sample_weight must have the shape", function, X, T, sample_weight=np.ones(4))


@pytest.mark.parametrize("function", [*LOSSES, *NLL])
def test_reduction_and_ignore_index(function):
    raises(ValueError, "reduction must be 'mean', 'sum' or 'none', got 'max'", function, X, T, reduction="max")
    raises(ValueError, "reduction must be 'mean', 'sum' or 'none', got None", function, X, T, reduction=None)
    raises(ValueError, "reduction must be", function, X, T, reduction=["mean"])
    raises(TypeError, "ignore_index must be an integer, got 1.5", function, X, T, ignore_index=1.5)
    raises(TypeError, "ignore_index must be an integer, got None", function, X, T, ignore_index=None)
    raises(ValueError, "ignore_index must fit into 64 bits", function, X, T, ignore_index=2**64)
    raises(TypeError, "axis must be an integer, got None", function, X, T, axis=None)
    raises(TypeError, r"axis must be an integer, got \(0, 1\)", function, X, T, axis=(0, 1))
    raises(np.exceptions.AxisError, "out of bounds", function, X, T, axis=2)


@pytest.mark.parametrize("function", LOSSES)
def test_numbers(function):
    raises(ValueError, "label_smoothing must be between 0 and 1, got 1.5", function, X, T, label_smoothing=1.5)
    raises(ValueError, "label_smoothing must be between 0 and 1, got -0.1", function, X, T, label_smoothing=-0.1)
    raises(TypeError, "label_smoothing must be a number, got 'x'", function, X, T, label_smoothing="x")
    raises(TypeError, "z_loss must be a number, got None", function, X, T, z_loss=None)
    raises(ValueError, "z_loss must be finite, got nan", function, X, T, z_loss=np.nan)
    raises(ValueError, "logit_scale must be finite, got inf", function, X, T, logit_scale=np.inf)
    raises(TypeError, "logit_scale must be a number", function, X, T, logit_scale=1j)
    raises(TypeError, r"logit_scale must be a number, got \[1\]", function, X, T, logit_scale=[1])
    raises(ValueError, "softcap must be positive or None, got 0.0", function, X, T, softcap=0)
    raises(ValueError, "softcap must be positive or None, got -1.0", function, X, T, softcap=-1.0)
    assert function(X, T, label_smoothing=np.array(0.5)) is not None


def test_upstream_gradients():
    for function in (nbsmce.cross_entropy_with_grad, None):
        call = function or (lambda x, t, dloss, **o: nbsmce.cross_entropy_backward(dloss, x, t, **o))
        message = re.escape("dloss must be a scalar where the reduction is 'mean', got shape (3,)")
        raises(ValueError, message, call, X, T, dloss=np.ones(3))
        message = re.escape("dloss must have the shape (3,), got ()")
        raises(ValueError, message, call, X, T, dloss=1.0, reduction="none")
    raises(ValueError, "dloss must have the shape", nbsmce.nll_loss_backward, np.ones(2), X, T, reduction="none")
    raises(ValueError, r"lse must have the shape \(3,\)", nbsmce.cross_entropy_backward, 1.0, X, T, lse=np.ones(2))


def test_options_are_keywords():
    raises(TypeError, "positional", nbsmce.softmax, X, -1, None)
    raises(TypeError, "positional", nbsmce.cross_entropy, X, T, 1)


def test_asserts_are_not_needed():
    """Under ``python -O`` the errors are the same: no check of user input is an assert."""
    import ast
    from pathlib import Path

    for path in Path(nbsmce.__file__).parent.rglob("*.py"):
        assert not [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Assert)], path
