"""How far results may be from PyTorch's in float64, from the roundings on both sides.

``unit`` is the spacing of the numbers that nbsmce computes with (float32 for the half types), ``UNIT`` that of the
float64 reference, which is no exact number either: an exponential of a difference up to ``spread`` and a sum of ``n``
terms err by ``UNIT * (2 + n + spread)`` relative to themselves. A bound is the sum of both sides' errors; the factors
count roundings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from pytorch_calls import Call

UNIT = np.finfo(np.float64).eps


class Loss(NamedTuple):
    """What the roundings of a loss scale with."""

    mass: torch.Tensor  # |q|, in the logits' shape
    denominator: torch.Tensor  # of the mean, else 1
    cancelled: torch.Tensor  # how much larger its terms are than it
    rows: int


def _finfo(dtype: torch.dtype) -> tuple[float, float, float]:
    """The spacing of results and of what they are computed with, and the smallest normal result."""
    result = torch.finfo(dtype)
    return result.eps, min(result.eps, torch.finfo(torch.float32).eps), result.tiny


def _axes(call: Call) -> tuple[int, ...]:
    axis = call.options["axis"]
    if axis is None:
        return tuple(range(call.x.ndim))
    return tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)


def _x(call: Call) -> torch.Tensor:
    """The logits, -inf where they do not exist."""
    where = call.options.get("where")
    return call.x.double() if where is None else torch.where(where, call.x.double(), -torch.inf)


def _reference_units(call: Call) -> float:
    finite = _x(call)[_x(call).isfinite()]
    spread = float(finite.max() - finite.min()) if finite.numel() else 0.0
    return UNIT * (2 + _classes(call) + spread)


def _classes(call: Call) -> int:
    return int(np.prod([call.x.shape[a] for a in _axes(call)])) if call.x.ndim else 1


def _over_classes(tensor: torch.Tensor, call: Call, reduce, keepdim: bool = True) -> torch.Tensor:
    return reduce(tensor, dim=_axes(call), keepdim=keepdim) if tensor.ndim and tensor.numel() else tensor


def _loss(call: Call) -> Loss:
    x, target, axis = call.x, call.target, call.options["axis"]
    classes = x.shape[axis]
    weight = call.options["weight"]
    weight = torch.ones(classes, dtype=torch.float64) if weight is None else weight.double()
    if target.is_floating_point():
        y, live, share = target.double(), torch.ones(1), torch.ones(x.numel() // classes)
    else:
        live = target != call.options["ignore_index"]
        index = torch.where(live, target, 0)
        y, share = torch.nn.functional.one_hot(index, classes).movedim(-1, axis), weight[index] * live
        live = live.unsqueeze(axis)
    smoothing = call.options.get("label_smoothing", 0.0)
    columns = weight.view(-1, *[1] * (x.ndim - 1 - axis))
    mass = ((1 - smoothing) * y + smoothing / classes).abs() * columns.abs() * live
    mean = call.options["reduction"] == "mean"
    if not mean:
        return Loss(mass, torch.tensor(1.0), torch.tensor(1.0), share.numel())
    denominator = share.sum().abs()
    denominator = torch.where(denominator > 0.0, denominator, torch.inf)  # no rows: the loss is NaN, the gradient 0
    return Loss(mass, denominator, share.abs().sum() / denominator, share.numel())


def of_value(call: Call, reference: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The largest error of a result, which has this dtype."""
    spacing, unit, tiny = _finfo(dtype)
    size, x = reference.abs(), _x(call)
    if call.function in ("softmax", "log_softmax"):
        # 2 ulp of the result, as promised for float32; the half types round that once more, to 0.5 ulp and a bit.
        # Results below the smallest normal number are 0 or rounded to a multiple of the smallest number above 0. The
        # reference's logarithm errs absolutely.
        ulps = 2 * spacing if spacing == unit else spacing
        small = torch.where(size < tiny * (1 + 4 * spacing), size.clamp_min(tiny * spacing), 0.0)
        return ulps * size + _reference_units(call) * (size if call.function == "softmax" else 1.0) + small
    if call.function == "logsumexp":
        # 2 ulp of the larger of the result and the maximum, as promised. The reference's exponents are no larger than
        # 0, where a rounded difference moves the sum by less than UNIT.
        x = torch.where(x.isfinite(), x, 0.0).abs()
        largest = (
            _over_classes(x, call, torch.amax, call.options["keepdims"]).reshape(size.shape) if x.numel() else size
        )
        return torch.maximum(size, largest) * (2 * unit + 2 * UNIT) + UNIT * (2 + _classes(call))
    loss = _loss(call)
    if call.function == "nll_loss":
        total = loss.mass * x.abs()  # two products and what is made of them
        roundings, of_reference = 4, 0.0
    else:
        # A sum over classes, each term a product of a mass and a difference to the log-sum-exp, all of one sign.
        total = loss.mass * -torch.log_softmax(x, call.options["axis"])
        roundings, of_reference = 4 + _classes(call), _reference_units(call) * loss.mass
    axis, reduction = call.options["axis"], call.options["reduction"]
    terms = [total * roundings * unit, of_reference + UNIT * (1 + loss.rows * loss.cancelled) * total]
    bound = sum(t.sum(axis) for t in terms)
    return bound if reduction == "none" else bound.sum() / loss.denominator


def of_gradient(call: Call, upstream: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The largest error of a gradient, which has this dtype, for this gradient with respect to the result."""
    _, unit, tiny = _finfo(dtype)
    x, n, above = _x(call), _classes(call), upstream.abs()
    if call.function == "nll_loss":
        loss = _loss(call)
        above = above.unsqueeze(call.options["axis"]) if above.ndim else above
        size = loss.mass * above / loss.denominator
        return size * (4 * unit + UNIT * loss.rows * loss.cancelled) + tiny * (size > 0.0)
    p = torch.exp(x - _over_classes(x, call, torch.logsumexp)) if x.ndim else torch.ones_like(x)
    p = p.nan_to_num(0.0)  # rows of which nothing exists
    reference = _reference_units(call)
    if call.function == "softmax":  # y (dy - sum(y dy)), from a y that is off by 2 ulp
        return p * (above + _over_classes(p * above, call, torch.sum)) * ((6 + n) * unit + reference) + tiny
    if call.function == "log_softmax":  # dy - exp(y) sum(dy), from a rounded y
        of_y = -torch.log(p.clamp_min(1e-300))
        return (above + p * _over_classes(above, call, torch.sum)) * ((6 + n + of_y) * unit + reference) + tiny
    if call.function == "logsumexp":  # dlse exp(x - lse), from a rounded lse: its error is one of the exponent
        lse = _over_classes(x, call, torch.logsumexp)
        largest = torch.maximum(lse.abs(), _over_classes(x.abs(), call, torch.amax)) if x.numel() else x
        above = above if call.options["keepdims"] or not x.ndim else _with_axes(above, call)
        return p * above * (4 + 2 * largest) * (unit + UNIT) + p * above * reference + tiny
    loss = _loss(call)
    axis = call.options["axis"]
    above = above.unsqueeze(axis) if above.ndim else above
    size = (loss.mass.sum(axis, keepdim=True) * p + loss.mass) * above / loss.denominator
    return size * ((6 + n) * unit + reference + UNIT * loss.rows * loss.cancelled) + tiny * (size > 0.0)


def _with_axes(rows: torch.Tensor, call: Call) -> torch.Tensor:
    shape = list(call.x.shape)
    for axis in _axes(call):
        shape[axis] = 1
    return rows.reshape(shape)


def check(actual: np.ndarray, reference: torch.Tensor, bound: torch.Tensor) -> None:
    """Within the bound where the reference is finite, and the same special value elsewhere."""
    reference, bound = reference.detach().numpy(), np.broadcast_to(bound.detach().numpy(), reference.shape)
    assert actual.shape == reference.shape
    actual = actual.astype(np.float64)
    finite = np.isfinite(reference)
    np.testing.assert_array_equal(actual[~finite], reference[~finite])
    assert np.isfinite(bound[finite]).all(), "a bound that cannot fail"
    error = np.abs(actual[finite] - reference[finite])
    wrong = error > bound[finite]
    assert not wrong.any(), f"off by {error[wrong]}, allowed {bound[finite][wrong]}, of {reference[finite][wrong]}"
