"""PyTorch's calls as calls of nbsmce, and their results in float64 by PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import torch
from torch.nn._reduction import legacy_get_string

import nbsmce


class Call(NamedTuple):
    """A call of nbsmce: ``function(x, [target], **options)``, with tensors that are still to be converted."""

    function: str
    x: torch.Tensor
    target: torch.Tensor | None
    options: dict[str, Any]

    def run(self, convert: Callable[[Any], Any], suffix: str = "", first: tuple = (), **more: Any) -> Any:
        """What nbsmce returns, or its function whose name ends with ``suffix``."""
        arrays = (self.x,) if self.target is None else (self.x, self.target)
        options = {name: convert(value) for name, value in (self.options | more).items()}
        return getattr(nbsmce, self.function + suffix)(*map(convert, first + arrays), **options)


def to_numpy(value: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach()
    if value.dtype == torch.bfloat16:
        return value.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return value.numpy()


def to_float64(value: Any) -> Any:
    """A floating tensor as float64, which is exact; anything else as it is."""
    return value.detach().double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


# -- from PyTorch's arguments to nbsmce's ------------------------------------------------------------------------------


def _softmax(function):
    def translate(x, dim, dtype=None, mask=None):
        return Call(function, x if dtype is None else x.to(dtype), None, {"axis": dim, "where": mask})

    return translate


def _safe_softmax(x, dim, dtype=None):
    x = x if dtype is None else x.to(dtype)
    return Call("softmax", x, None, {"axis": dim, "where": x != -torch.inf})


def _logsumexp(x, dim=None, keepdim=False, mask=None):
    return Call("logsumexp", x, None, {"axis": dim, "keepdims": keepdim, "where": mask})


def _loss(function):
    def translate(
        x,
        target,
        weight=None,
        size_average=None,
        ignore_index=-100,
        reduce=None,
        reduction="mean",
        label_smoothing=None,
    ):
        if size_average is not None or reduce is not None:
            reduction = legacy_get_string(size_average, reduce, emit_warning=False)
        options = {"axis": 0 if x.ndim == 1 else 1, "weight": weight, "ignore_index": ignore_index}
        options["reduction"] = reduction
        if label_smoothing is not None:
            options["label_smoothing"] = label_smoothing
        return Call(function, x, target, options)

    return translate


TRANSLATIONS = {
    "softmax": _softmax("softmax"),
    "log_softmax": _softmax("log_softmax"),
    "logsumexp": _logsumexp,
    "nn.functional.cross_entropy": _loss("cross_entropy"),
    "nn.functional.nll_loss": _loss("nll_loss"),
    "masked.softmax": _softmax("softmax"),
    "masked.log_softmax": _softmax("log_softmax"),
    "masked.logsumexp": _logsumexp,
    "torch.ops.aten._safe_softmax.default": _safe_softmax,
}


def of_module(module: torch.nn.Module, x: torch.Tensor, *target: torch.Tensor) -> Call:
    """The call that a module of PyTorch makes."""
    kind = type(module).__name__
    if kind in ("Softmax", "LogSoftmax"):
        return _softmax("softmax" if kind == "Softmax" else "log_softmax")(x, module.dim)
    if kind == "Softmax2d":
        return _softmax("softmax")(x, -3)
    names = ["weight", "ignore_index", "reduction"] + ["label_smoothing"] * (kind == "CrossEntropyLoss")
    function = _loss("cross_entropy" if kind == "CrossEntropyLoss" else "nll_loss")
    return function(x, *target, **{name: getattr(module, name) for name in names})
