"""SciPy: float32 and float64, one thread, no gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import special

from ..cases import Inputs
from . import Skip


def build(operation: str, inputs: Inputs, _threads: int) -> Callable[[], Any]:
    if inputs.dtype.itemsize == 2:
        raise Skip("SciPy has no half types")
    x, axis = inputs.x, inputs.axis
    if operation in ("softmax", "log_softmax", "logsumexp"):
        return partial(getattr(special, operation), x, axis)
    if operation == "cross_entropy" and not inputs.option:
        target = np.expand_dims(inputs.target, axis)
        return lambda: -np.take_along_axis(special.log_softmax(x, axis), target, axis).mean()
    raise Skip(f"SciPy has no {operation}")
