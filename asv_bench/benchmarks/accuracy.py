"""The largest error in units in the last place, float32, over the standard deviation of the logits."""

import numpy as np

from .cases import Inputs
from .timing import Operation, once


def exact(operation, x):
    """In extended precision. The largest element is left out of the sum, so ``log1p`` sees what the others add."""
    rest = np.sort(x.astype(np.longdouble), axis=-1)
    largest = rest[:, -1:]
    log_sum = np.log1p(np.exp(rest[:, :-1] - largest).sum(-1, keepdims=True))
    if operation == "logsumexp":
        return (largest + log_sum)[:, 0]
    logarithms = x - largest - log_sum
    return np.exp(logarithms) if operation == "softmax" else logarithms


class Errors(Operation):
    params = (["nbsmce", "PyTorch", "SciPy", "JAX"], ["softmax", "log_softmax", "logsumexp"], [1.0, 10.0, 100.0])
    param_names = ("library", "function", "spread")
    shape = "256x1000"

    @once
    def setup(self, library, function, spread):
        self.operation = function
        self.prepare(library, Inputs(self.shape, spread=spread))

    def track_max_ulp(self, library, function, spread):
        x = self.inputs.x
        truth = exact(function, x)
        found = np.asarray(self.call()).astype(np.longdouble)
        # A sum near 0 cannot be better than the logits that it is made of.
        size = np.maximum(abs(truth), abs(x).max(-1)) if function == "logsumexp" else abs(truth)
        normal = size >= np.finfo(x.dtype).tiny
        unit = np.spacing(size.astype(x.dtype)).astype(np.longdouble)
        return round(float((abs(found - truth) / unit)[normal].max()), 3)

    track_max_ulp.unit = "ulp"
