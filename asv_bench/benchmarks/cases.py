"""The arrays that are measured, and how many bytes an operation on them must move."""

from __future__ import annotations

import functools
import os

import numpy as np

# One shape for each regime; rows x classes, bytes in float32.
TINY = "1x10"  # the call costs more than the arithmetic
L1 = "64x128"  # 32 KB
FEW_CLASSES = "65536x10"  # 2.6 MB; vectors do not fill along the classes
L2 = "512x1000"  # 2 MB; the classes of ImageNet
MEMORY = "128x128256"  # 66 MB; the vocabulary of Llama 3
SHAPES = [TINY, L1, FEW_CLASSES, L2, MEMORY]

DTYPES = ["float32", "float64", "float16", "bfloat16"]

# Of the losses; "probabilities" are a target of the logits' shape.
OPTIONS = ["weight", "label_smoothing", "z_loss", "softcap", "probabilities"]

# How many arrays of the logits' size each operation reads and writes at the least. Every other array is smaller by the
# number of classes and not counted.
TRAFFIC = {
    "softmax": (1, 1),
    "softmax_out": (1, 1),
    "log_softmax": (1, 1),
    "log_softmax_out": (1, 1),
    "logsumexp": (1, 0),
    "softmax_backward": (2, 1),
    "softmax_backward_out": (2, 1),
    "log_softmax_backward": (2, 1),
    "log_softmax_backward_out": (2, 1),
    "logsumexp_backward": (1, 1),
    "cross_entropy": (1, 0),
    "cross_entropy_with_grad": (1, 1),
    "cross_entropy_backward": (1, 1),
}


def cpus() -> int:
    """The processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


# The same for every library, and what every machine has, so that machines can be compared.
THREADS = min(2, cpus())


def use_threads(n: int) -> None:
    """Let this process use ``n`` processors, where the system can limit that: JAX has no option of its own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n])


def dtype_of(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


class Inputs:
    """Logits of a shape such as ``"512x1000"``; ``"64x100x49@1"`` has its classes on axis 1, ``"9x7F"`` Fortran order.

    ``spread`` is their standard deviation; ``inf`` makes half of them ``-inf``. ``option`` is an option of the losses
    that is given beside them.
    """

    def __init__(self, shape: str, dtype: str = "float32", spread: float = 3.0, option: str = "") -> None:
        sizes, _, axis = shape.removesuffix("F").partition("@")
        self.shape = tuple(int(n) for n in sizes.split("x"))
        self.axis = int(axis or -1) % len(self.shape)
        self.dtype = dtype_of(dtype)
        self.option = option
        self.random = np.random.default_rng(0)
        x = self.random.standard_normal(self.shape, np.float32)
        x *= 3.0 if spread == np.inf else spread
        if spread == np.inf:
            x[self.random.random(self.shape, np.float32) < 0.5] = -np.inf
        self.x = np.asarray(x.astype(self.dtype), order="F" if shape.endswith("F") else "C")
        self.classes = self.shape[self.axis]
        self.rows = tuple(n for i, n in enumerate(self.shape) if i != self.axis)

    @functools.cached_property
    def target(self) -> np.ndarray:
        return np.asarray(self.random.integers(self.classes, size=self.rows))

    @functools.cached_property
    def lse(self) -> np.ndarray:
        x = self.x.astype(np.float32 if self.dtype.itemsize == 2 else self.dtype)
        largest = x.max(self.axis, keepdims=True)
        x -= largest
        sums = np.exp(x, out=x).sum(self.axis, keepdims=True)
        return np.squeeze(largest + np.log(sums), self.axis)

    @functools.cached_property
    def log_y(self) -> np.ndarray:
        return (self.x - np.expand_dims(self.lse, self.axis)).astype(self.dtype)

    @functools.cached_property
    def y(self) -> np.ndarray:
        return np.exp(self.log_y)

    @functools.cached_property
    def dy(self) -> np.ndarray:
        return self.random.standard_normal(self.shape, np.float32).astype(self.dtype)

    @functools.cached_property
    def dlse(self) -> np.ndarray:
        return self.random.standard_normal(self.rows, np.float32).astype(self.lse.dtype)

    @functools.cached_property
    def out(self) -> np.ndarray:
        return np.zeros_like(self.x)

    def bytes_moved(self, operation: str) -> int:
        """What any implementation must read and write, caches or not."""
        return sum(TRAFFIC[operation]) * self.x.nbytes
