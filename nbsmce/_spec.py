"""The options of a loss, checked once."""

from __future__ import annotations

import functools
import math
import numbers
import operator
from typing import Any, NamedTuple


class LossSpec(NamedTuple):
    """The options that are numbers; see :func:`nbsmce.cross_entropy`."""

    ignore_index: int
    reduction: str
    label_smoothing: float
    z_loss: float
    logit_scale: float
    softcap: float  # 0 is none
    sync: bool = False  # wait for a GPU to check the class indices

    @property
    def usual(self) -> bool:
        """Whether no option changes the logits, or gives mass to other classes than the target."""
        return self.label_smoothing == 0.0 and self.logit_scale == 1.0 and self.softcap == 0.0


class Wanted(NamedTuple):
    """Which results a call is for."""

    loss: bool
    gradient: bool
    aux: bool


class Aux(NamedTuple):
    """What a loss knows of its rows, in the shape of the class indices.

    Attributes
    ----------
    lse : array
        The log-sum-exp of the effective logits, in float32 for the half types.
    z_loss : array
        ``z_loss * lse**2``, before reduction and sample weights; 0 on ignored rows.
    predicted : array of int64
        The class with the largest logit, the first of several; -1 on ignored rows.
    correct : array of bool
        Whether that is the target, or the most probable class where the target holds probabilities.
    """

    lse: Any
    z_loss: Any
    predicted: Any
    correct: Any


def _number(value: Any, name: str) -> float:
    if not isinstance(value, numbers.Real) and not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return number


def _checked(
    ignore_index: Any, reduction: Any, label_smoothing: Any, z_loss: Any, logit_scale: Any, softcap: Any, check: Any
) -> LossSpec:
    if check not in ("deferred", "sync"):
        raise ValueError(f"check must be 'deferred' or 'sync', got {check!r}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    try:
        ignored = operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index must be an integer, got {ignore_index!r}") from None
    if not -(2**63) <= ignored < 2**63:
        raise ValueError(f"ignore_index must fit into 64 bits, got {ignored}")
    smoothing = _number(label_smoothing, "label_smoothing")
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {smoothing}")
    cap = 0.0
    if softcap is not None:
        cap = _number(softcap, "softcap")
        if cap <= 0.0:
            raise ValueError(f"softcap must be positive or None, got {cap}")
    z_loss, logit_scale = _number(z_loss, "z_loss"), _number(logit_scale, "logit_scale")
    return LossSpec(ignored, reduction, smoothing, z_loss, logit_scale, cap, check == "sync")


_remembered = functools.lru_cache(maxsize=256, typed=True)(_checked)  # an index of 0 is one, 0.0 is none


def loss_spec(*options: Any) -> LossSpec:
    """Check the options, in the order of :class:`LossSpec`."""
    try:
        return _remembered(*options)
    except TypeError:  # not hashable, or wrong: then this raises again
        return _checked(*options)
