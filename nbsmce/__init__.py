"""softmax, cross entropy and their gradients, computed by Numba kernels.

The arrays decide where: what is in main memory is computed on the CPU. Importing this package imports NumPy alone;
Numba follows with the first call.
"""

import time as _time

from ._losses import cross_entropy, cross_entropy_backward, cross_entropy_with_grad
from ._nll import nll_loss, nll_loss_backward
from ._softmax import (
    log_softmax,
    log_softmax_backward,
    logsumexp,
    logsumexp_backward,
    softmax,
    softmax_backward,
)
from ._spec import Aux
from ._threads import get_num_threads, set_num_threads
from ._warmup import warmup

__version__ = "0.1.0.dev0"

_imported_at = _time.time()  # sources that are younger are not those of this process: _store.py

__all__ = [
    "Aux",
    "cross_entropy",
    "cross_entropy_backward",
    "cross_entropy_with_grad",
    "get_num_threads",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "logsumexp_backward",
    "nll_loss",
    "nll_loss_backward",
    "set_num_threads",
    "softmax",
    "softmax_backward",
    "warmup",
]
