"""nbsmce."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import nbsmce

from ..cases import Inputs
from . import Skip

ARGUMENTS = {
    "softmax": ("x",),
    "log_softmax": ("x",),
    "logsumexp": ("x",),
    "softmax_backward": ("dy", "y"),
    "log_softmax_backward": ("dy", "log_y"),
    "logsumexp_backward": ("dlse", "x", "lse"),
    "cross_entropy": ("x", "target"),
    "cross_entropy_with_grad": ("x", "target"),
    "cross_entropy_backward": ("x", "target"),
}

OPTIONS = {
    "weight": lambda i: {"weight": np.linspace(0.5, 1.5, i.classes).astype(i.lse.dtype)},
    "label_smoothing": lambda _: {"label_smoothing": 0.1},
    "z_loss": lambda _: {"z_loss": 1e-4},
    "softcap": lambda _: {"softcap": 30.0},
}


def build(operation: str, inputs: Inputs, threads: int) -> Callable[[], Any]:
    nbsmce.set_num_threads(threads)
    name = operation.removesuffix("_out")
    function = getattr(nbsmce, name, None)
    if function is None:
        raise Skip(f"nbsmce has no {name} at this commit")
    arguments = [getattr(inputs, a) for a in ARGUMENTS[name]]
    keywords: dict[str, Any] = {} if inputs.axis == len(inputs.shape) - 1 else {"axis": inputs.axis}
    if operation.endswith("_out"):
        keywords["out"] = inputs.out
    if name == "cross_entropy_backward":
        arguments.insert(0, 1.0)
        keywords["lse"] = inputs.lse
    if inputs.option == "probabilities":
        arguments[-1] = inputs.y
    elif inputs.option:
        keywords |= OPTIONS[inputs.option](inputs)
    return functools.partial(function, *arguments, **keywords)
