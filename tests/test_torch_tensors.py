"""PyTorch tensors in main memory: the same functions, without a copy, and tensors come back."""

from __future__ import annotations

import numpy as np
import pytest
from cases import units_of

import nbsmce

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_function(dtype):
    x = (torch.randn(20, 30, generator=torch.Generator().manual_seed(0)) * 3).to(dtype)
    t = torch.arange(20) % 30
    computed = torch.float64 if dtype == torch.float64 else torch.float32
    y = nbsmce.softmax(x)
    assert isinstance(y, torch.Tensor)
    assert y.dtype == dtype
    eps = torch.finfo(dtype).eps * units_of(str(dtype).removeprefix("torch."))
    torch.testing.assert_close(y.double(), torch.softmax(x.double(), -1), rtol=eps, atol=eps**2)
    lse = nbsmce.logsumexp(x)
    assert lse.dtype == computed
    torch.testing.assert_close(lse.double(), torch.logsumexp(x.double(), -1), rtol=1e-6, atol=0)
    loss, gradient, aux = nbsmce.cross_entropy_with_grad(x, t, return_aux=True)
    assert loss.dtype == computed
    assert loss.shape == ()
    leaf = x.double().clone().requires_grad_()
    exact = torch.nn.functional.cross_entropy(leaf, t)
    exact.backward()
    torch.testing.assert_close(loss.double(), exact.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient.double(), leaf.grad, rtol=2 * eps, atol=eps**2)
    assert aux.predicted.dtype == torch.int64
    assert (aux.predicted == x.argmax(-1)).all()
    assert aux.correct.dtype == torch.bool
    assert nbsmce.softmax_backward(x, y).dtype == dtype
    assert isinstance(nbsmce.logsumexp(x[0]), torch.Tensor)


def test_out_and_in_place():
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(5, 6).to(dtype)
        expected = nbsmce.softmax(x)
        out = torch.empty_like(x)
        assert nbsmce.softmax(x, out=out) is out
        assert torch.equal(out, expected)
        nbsmce.softmax(x, out=x)
        assert torch.equal(x, expected)
    with pytest.raises(TypeError, match=r"out must be a torch.Tensor, as the input is, got ndarray"):
        nbsmce.softmax(torch.ones(3), out=np.ones(3, np.float32))
    with pytest.raises(TypeError, match=r"out must be a numpy.ndarray, as the input is, got Tensor"):
        nbsmce.softmax(np.ones(3, np.float32), out=torch.ones(3))
    with pytest.raises(TypeError, match="out must have the dtype bfloat16, got int16"):
        nbsmce.softmax(torch.ones(3, dtype=torch.bfloat16), out=torch.ones(3, dtype=torch.int16))


def test_layouts_are_not_copied():
    x = torch.randn(6, 8)
    for view in (x.T, x[::2, 1::3], x[:, None, :].expand(6, 3, 8)):
        torch.testing.assert_close(nbsmce.softmax(view, 0), torch.softmax(view, 0))


def test_numpy_and_torch_in_one_call():
    x = torch.randn(4, 5)
    assert isinstance(nbsmce.cross_entropy(x, np.zeros(4, int)), torch.Tensor)
    assert isinstance(nbsmce.cross_entropy(x.numpy(), torch.zeros(4, dtype=torch.int32)), np.float32)


def test_what_is_refused():
    with pytest.raises(TypeError, match=r"x requires a gradient, which PyTorch would not get: pass x.detach\(\)"):
        nbsmce.softmax(torch.ones(3, requires_grad=True))
    with pytest.raises(TypeError, match="logits requires a gradient"):
        nbsmce.cross_entropy(torch.ones(3, 4, requires_grad=True), torch.zeros(3, dtype=torch.long))
    with pytest.raises(TypeError, match="x must be a dense tensor"):
        nbsmce.softmax(torch.eye(3).to_sparse())
    with pytest.raises(TypeError, match=r"x must be .* got dtype 'complex64'"):
        nbsmce.softmax(torch.ones(3, dtype=torch.complex64))
    with pytest.raises(TypeError, match="x is on a device of type 'meta'"):
        nbsmce.softmax(torch.ones(3, device="meta"))
    with pytest.raises(TypeError, match="the arrays of one call must be on one device"):
        nbsmce.softmax(torch.ones(3, device="meta"), out=torch.ones(3))
