"""ONNX's backend test cases, run by ONNX's reference evaluator with nbsmce for the operators that it has."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx.backend.test.loader import load_model_tests
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

import nbsmce

calls = []


class _Operator(OpRun):
    """An operator by nbsmce; ONNX finds it, and its attributes, by the name of the class."""

    def _run(self, *inputs, **attributes):
        calls.append(self.op_type)
        results = self.compute(*inputs, **attributes)
        return tuple(np.asarray(r) for r in (results if isinstance(results, tuple) else (results,)))


class Softmax(_Operator):
    function = staticmethod(nbsmce.softmax)

    def compute(self, x, axis):
        if self.run_params["opsets"][""] >= 13:
            return self.function(x, axis=axis)
        # Before, the axis began the classes: all axes from there on.
        return self.function(x, axis=tuple(range(axis % x.ndim, x.ndim)))


class LogSoftmax(Softmax):
    function = staticmethod(nbsmce.log_softmax)


class ReduceLogSumExp(_Operator):
    def compute(self, x, axes=None, keepdims=1, noop_with_empty_axes=0):
        assert not noop_with_empty_axes
        axes = None if axes is None or not axes.size else tuple(axes.tolist())
        return nbsmce.logsumexp(x, axes, keepdims=bool(keepdims))


def _options(weight, ignore_index, reduction):
    ignored = {} if ignore_index is None else {"ignore_index": ignore_index}
    return {"axis": 1, "weight": weight, "reduction": reduction, **ignored}


class NegativeLogLikelihoodLoss(_Operator):
    def compute(self, x, target, weight=None, ignore_index=None, reduction="mean"):
        return nbsmce.nll_loss(x, target, **_options(weight, ignore_index, reduction))


class SoftmaxCrossEntropyLoss(_Operator):
    def compute(self, x, target, weight=None, ignore_index=None, reduction="mean"):
        loss = nbsmce.cross_entropy(x, target, **_options(weight, ignore_index, reduction))
        return (loss, nbsmce.log_softmax(x, axis=1)) if len(self.output) == 2 else loss


OPERATORS = [Softmax, LogSoftmax, ReduceLogSumExp, NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss]
NAMES = {operator.__name__ for operator in OPERATORS}


def _operators(model):
    return {node.op_type for node in model.graph.node} & NAMES


def _node_cases():
    """Models of one of the operators, and models that such a one, or attention, expands to.

    Where the expansion holds none of the operators, the one that it stands for is run with the expansion's values.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # from making the values, also those of other operators
        cases = {case.name: case for case in load_model_tests(kind="node")}
    for name, case in cases.items():
        model = case.model if _operators(case.model) else cases[name.partition("_expanded")[0]].model
        if _operators(model):
            yield pytest.param(model, case.data_sets, id=name)


def _from_file(path):
    return onnx.numpy_helper.to_array(onnx.load_tensor(path))


def _model_cases():
    """Models that PyTorch wrote, of an old version of the operators."""
    for case in load_model_tests(kind="pytorch-converted"):
        folder = Path(case.model_dir)
        model = onnx.load(folder / "model.onnx")
        if not _operators(model):
            continue
        data_sets = [
            tuple([_from_file(path) for path in sorted(part.glob(f"{kind}_*.pb"))] for kind in ("input", "output"))
            for part in sorted(folder.glob("test_data_set_*"))
        ]
        yield pytest.param(model, data_sets, id=case.name)


CASES = [*_node_cases(), *_model_cases()]


@pytest.mark.parametrize(("model", "data_sets"), CASES)
def test_case(model, data_sets):
    evaluator = ReferenceEvaluator(model, new_ops=OPERATORS)
    assert data_sets
    for inputs, outputs in data_sets:
        calls.clear()
        names = [value.name for value in model.graph.input]
        results = evaluator.run(None, dict(zip(names, inputs, strict=True)))
        assert set(calls) == _operators(model)
        for result, expected in zip(results, outputs, strict=True):
            _check(result, expected, max(np.size(value) for value in inputs))


def _check(result, expected, size):
    """Equal up to roundings.

    ONNX's expected values come from NumPy in the same dtype: a softmax is off by some 2 ulp on either side, the product
    or mean that follows by another few, and NumPy's sums by a number of roundings like the logarithm of their length.
    """
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    if expected.dtype.kind in "iub":
        np.testing.assert_array_equal(result, expected)
        return
    eps = float(ml_dtypes.finfo(expected.dtype).eps)
    result, expected = np.asarray(result, np.float64), np.asarray(expected, np.float64)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(result[~finite], expected[~finite])
    largest = np.abs(expected[finite]).max(initial=0.0)
    bound = (8 + np.log2(size or 1)) * eps * largest
    np.testing.assert_allclose(result[finite], expected[finite], rtol=0.0, atol=bound)


def test_every_operator_has_cases():
    """ONNX's wheel makes its cases; none of them got lost."""
    counts = Counter(name for case in CASES for name in _operators(case.values[0]) if "_expanded" not in case.id)
    assert counts["Softmax"] >= 7 + 4
    assert counts["LogSoftmax"] >= 7 + 3
    assert counts["ReduceLogSumExp"] >= 9
    assert counts["NegativeLogLikelihoodLoss"] >= 18
    assert counts["SoftmaxCrossEntropyLoss"] >= 34
    assert sum("_expanded" in case.id for case in CASES) >= 89 + 104
