"""PyTorch on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from ..cases import Inputs
from . import Skip


def tensor(x: np.ndarray) -> torch.Tensor:
    """The same memory; NumPy's bfloat16 is unknown to PyTorch."""
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def build(operation: str, inputs: Inputs, threads: int) -> Callable[[], Any]:
    torch.set_num_threads(threads)
    x, axis = tensor(inputs.x), inputs.axis
    if operation.startswith("cross_entropy"):
        return _loss(operation, inputs, x)
    if operation == "logsumexp":
        return partial(torch.logsumexp, x, axis)
    if operation == "logsumexp_backward":
        x.requires_grad_()
        lse = torch.logsumexp(x, axis)
        return partial(torch.autograd.grad, lse, x, tensor(inputs.dlse).to(x.dtype), retain_graph=True)
    name = operation.removesuffix("_out")
    out = tensor(inputs.out) if operation.endswith("_out") else None
    if name in ("softmax", "log_softmax"):
        return partial(getattr(torch, name), x, axis, **({} if out is None else {"out": out}))
    # What autograd calls; building a graph for it would time the graph.
    y = tensor(inputs.y if name == "softmax_backward" else inputs.log_y)
    dy = tensor(inputs.dy)
    if name == "softmax_backward":
        if out is None:
            return partial(torch._softmax_backward_data, dy, y, axis, x.dtype)
        return partial(torch.ops.aten._softmax_backward_data.out, dy, y, axis, x.dtype, grad_input=out)
    if out is None:
        return partial(torch._log_softmax_backward_data, dy, y, axis, x.dtype)
    return partial(torch.ops.aten._log_softmax_backward_data.out, dy, y, axis, x.dtype, out=out)


def _loss(operation: str, inputs: Inputs, x: torch.Tensor) -> Callable[[], Any]:
    if inputs.axis != 1:
        raise Skip("PyTorch's losses have their classes on axis 1")
    target = tensor(inputs.y if inputs.option == "probabilities" else inputs.target)
    options: dict[str, Any] = {
        "": {},
        "probabilities": {},
        "weight": {"weight": torch.linspace(0.5, 1.5, inputs.classes, dtype=x.dtype)},
        "label_smoothing": {"label_smoothing": 0.1},
    }.get(inputs.option)
    if options is None:
        raise Skip(f"PyTorch's cross_entropy has no {inputs.option}")
    if operation == "cross_entropy":
        return partial(cross_entropy, x, target, **options)
    x.requires_grad_()
    if operation == "cross_entropy_backward":
        loss = cross_entropy(x, target, **options)
        return partial(torch.autograd.grad, loss, x, retain_graph=True)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        loss = cross_entropy(x, target, **options)
        return loss, torch.autograd.grad(loss, x)[0]

    return both
