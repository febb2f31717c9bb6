"""The sample inputs of PyTorch's operator and module databases: values and gradients."""

from __future__ import annotations

import random

import bounds
import numpy as np
import pytest
import torch
from pytorch_calls import TRANSLATIONS, of_module, to_float64, to_numpy
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

import nbsmce

HALF = (torch.float16, torch.bfloat16)
FLOATING = (torch.float32, torch.float64, *HALF)
DTYPES = (*FLOATING, torch.int64, torch.bool)
OPS = {op.full_name: op for op in op_db if op.name in TRANSLATIONS}
MODULE_NAMES = {f"nn.{name}" for name in ("CrossEntropyLoss", "NLLLoss", "Softmax", "LogSoftmax", "Softmax2d")}
MODULES = {module.name: module for module in module_db if module.name in MODULE_NAMES}


def _seeded():
    torch.manual_seed(0)
    random.seed(0)


def _op_cases():
    """Calls of nbsmce, each with the same call of PyTorch in float64 as a function of its first argument."""
    for full_name, op in OPS.items():
        for dtype in DTYPES:
            if dtype not in op.supported_dtypes("cpu"):
                continue
            _seeded()
            for number, sample in enumerate(op.reference_inputs("cpu", dtype)):
                call = TRANSLATIONS[op.name](sample.input.detach(), *sample.args, **sample.kwargs)
                args = [to_float64(value) for value in sample.args]
                kwargs = {name: to_float64(value) for name, value in sample.kwargs.items()}
                if kwargs.get("dtype") is not None:
                    kwargs["dtype"] = torch.float64

                def reference(x, function=op.op, args=args, kwargs=kwargs):
                    return function(x, *args, **kwargs)

                yield pytest.param(call, reference, id=f"{full_name}-{str(dtype)[6:]}-{number}")


def _module_cases():
    for name, info in MODULES.items():
        for dtype in FLOATING:
            _seeded()
            for number, sample in enumerate(info.module_inputs_func(info, "cpu", dtype, False, training=True)):
                new, forward = sample.constructor_input, sample.forward_input
                assert not forward.kwargs
                x, *target = forward.args
                call = of_module(info.module_cls(*new.args, **new.kwargs), x, *target)
                kwargs = {k: to_float64(v) for k, v in new.kwargs.items()}
                module = info.module_cls(*new.args, **kwargs)

                def reference(x, module=module, target=target):
                    return module(x, *map(to_float64, target))

                yield pytest.param(call, reference, id=f"{name}-{str(dtype)[6:]}-{number}{sample.desc}")


CASES = [*_op_cases(), *_module_cases()]


def _result_dtype(call):
    dtype = call.x.dtype if call.x.is_floating_point() else torch.float64
    keeps = call.function in ("softmax", "log_softmax")
    return torch.float32 if dtype in HALF and not keeps else dtype


def _as_contracted(result, call):
    """PyTorch leaves open what a softmax is where its mask hides the input; here it is 0, and the logarithm -inf."""
    hidden = {"softmax": 0.0, "log_softmax": -torch.inf}.get(call.function)
    where = call.options.get("where")
    return result if where is None or hidden is None else torch.where(where, result, hidden)


@pytest.mark.parametrize(("call", "reference"), CASES)
def test_value(call, reference):
    expected = _as_contracted(reference(call.x.double()), call)
    actual = np.asarray(call.run(to_numpy))
    dtype = _result_dtype(call)
    assert actual.dtype.name == str(dtype)[6:]
    bounds.check(actual, expected, bounds.of_value(call, expected, dtype))


GRADIENT_CASES = [case for case in CASES if case.values[0].x.dtype in (torch.float32, torch.float64)]


@pytest.mark.parametrize(("call", "reference"), GRADIENT_CASES)
def test_gradient(call, reference):
    where = call.options.get("where")
    if where is not None and call.function == "logsumexp":
        pytest.skip("the gradient of logsumexp takes no mask")
    dtype = _result_dtype(call)
    x = call.x.double().clone().requires_grad_()
    loss = reference(x)
    _seeded()
    upstream = torch.randn(loss.shape, dtype=dtype)
    if where is not None:
        upstream = torch.where(where, upstream, 0.0)  # nothing depends on what does not exist
    (expected,) = torch.autograd.grad(loss, x, upstream.double())
    bound = bounds.of_gradient(call, upstream.double(), dtype)
    for actual in _gradients(call, to_numpy(upstream)):
        assert actual.dtype == to_numpy(call.x).dtype
        bounds.check(actual, expected, bound)


def _gradients(call, upstream):
    """The gradients by all functions of nbsmce that give one."""
    value = call.run(to_numpy)
    if call.target is None:
        backward = getattr(nbsmce, f"{call.function}_backward")
        given = (to_numpy(call.x), value) if call.function == "logsumexp" else (value,)
        return [backward(upstream, *given, axis=call.options["axis"])]
    alone = call.run(to_numpy, "_backward", (upstream,))
    if call.function == "nll_loss":
        return [alone]
    loss, together = call.run(to_numpy, "_with_grad", dloss=upstream)
    np.testing.assert_array_equal(loss, value)
    return [alone, together]


@pytest.mark.parametrize(("call", "reference"), [case for case in CASES if case.values[0].x.dtype in FLOATING])
def test_tensors_in_tensors_out(call, reference):
    """With tensors instead of arrays, the same bits as tensors."""
    del reference
    actual = call.run(lambda value: value)
    assert isinstance(actual, torch.Tensor)
    assert actual.dtype == _result_dtype(call)
    expected = np.asarray(call.run(to_numpy))
    np.testing.assert_array_equal(to_numpy(actual), expected)
    assert tuple(actual.shape) == expected.shape


@pytest.mark.parametrize("size_average", [None, True, False])
@pytest.mark.parametrize("reduce", [None, True, False])
@pytest.mark.parametrize("function", ["cross_entropy", "nll_loss"])
@pytest.mark.filterwarnings("ignore:size_average and reduce args will be deprecated:UserWarning")
def test_legacy_reduction(function, size_average, reduce):
    """What PyTorch said before there was ``reduction``."""
    _seeded()
    x, target = torch.randn(4, 3, 2, dtype=torch.float64), torch.randint(0, 3, (4, 2))
    options = {"size_average": size_average, "reduce": reduce}
    expected = getattr(torch.nn.functional, function)(x, target, **options)
    call = TRANSLATIONS[f"nn.functional.{function}"](x, target, **options)
    bounds.check(np.asarray(call.run(to_numpy)), expected, bounds.of_value(call, expected, torch.float64))


COMPLEX = [
    pytest.param(op, dtype, id=f"{op.full_name}-{str(dtype)[6:]}")
    for op in OPS.values()
    for dtype in (torch.complex64, torch.complex128)
    if dtype in op.supported_dtypes("cpu") and op.variant_test_name != "with_dtype"  # which casts it to a real number
]


@pytest.mark.parametrize(("op", "dtype"), COMPLEX)
def test_complex_is_refused(op, dtype):
    for sample in op.sample_inputs("cpu", dtype):
        with pytest.raises(TypeError, match="complex"):
            TRANSLATIONS[op.name](sample.input, *sample.args, **sample.kwargs).run(to_numpy)


def test_databases_are_complete():
    """The databases have renamed or dropped nothing that is tested here."""
    assert {op.name for op in OPS.values()} == set(TRANSLATIONS)
    assert set(MODULES) == MODULE_NAMES
