"""scikit-learn's multinomial loss, which is the cross entropy of float32 and float64 logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn._loss.loss import HalfMultinomialLoss

from ..cases import Inputs
from . import Skip


def build(operation: str, inputs: Inputs, threads: int) -> Callable[[], Any]:
    if inputs.dtype.itemsize == 2 or len(inputs.shape) != 2 or inputs.axis != 1 or inputs.option:
        raise Skip("scikit-learn takes rows of float32 and float64")
    loss = HalfMultinomialLoss(n_classes=inputs.classes)
    x, target = inputs.x, inputs.target.astype(inputs.dtype)
    if operation == "cross_entropy":
        return lambda: loss.loss(target, x, n_threads=threads).mean()
    if operation == "cross_entropy_with_grad":
        weight = np.full(len(x), 1 / len(x), x.dtype)  # the mean, without another pass

        def both() -> tuple[Any, Any]:
            each, gradient = loss.loss_gradient(target, x, sample_weight=weight, n_threads=threads)
            return each.sum(), gradient

        return both
    raise Skip(f"scikit-learn has no {operation}")
