"""Calls of every kind, with results that were computed by one thread of one process beforehand."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
from processes import FULL


def calls():
    """Functions of no arguments, by name: small and large, along and abreast, split; all dtypes if full."""
    import ml_dtypes

    import nbsmce

    rng = np.random.default_rng(0)
    found = {}
    for dtype in ("float32", "float64", "float16", ml_dtypes.bfloat16) if FULL else ("float32", "float64"):
        for shape, axis in (((3, 7), -1), ((600, 10), -1), ((90, 500), -1), ((500, 90), 0), ((1, 40000), -1)):
            x = (rng.standard_normal(shape) * 5).astype(dtype)
            rows = np.moveaxis(x, axis, -1).shape[:-1]
            t = rng.integers(0, x.shape[axis], rows)
            name = f"{np.dtype(dtype).name} {shape} {axis}"
            found |= {
                f"softmax {name}": lambda x=x, axis=axis: nbsmce.softmax(x, axis),
                f"log_softmax {name}": lambda x=x, axis=axis: nbsmce.log_softmax(x, axis, out=np.empty_like(x)),
                f"logsumexp {name}": lambda x=x, axis=axis: nbsmce.logsumexp(x, axis),
                f"backward {name}": lambda x=x, axis=axis: nbsmce.softmax_backward(x, x, axis),
                f"loss {name}": lambda x=x, t=t, axis=axis: np.asarray(nbsmce.cross_entropy(x, t, axis=axis)),
                f"gradient {name}": lambda x=x, t=t, axis=axis: nbsmce.cross_entropy_with_grad(x, t, axis=axis)[1],
            }
    return found


def record(path):
    """Write the expected bytes."""
    import nbsmce

    nbsmce.set_num_threads(1)
    Path(path).write_bytes(pickle.dumps({name: call().tobytes() for name, call in calls().items()}))


def expected(path):
    """Read them."""
    return pickle.loads(Path(path).read_bytes())


def wrong(path, names=None):
    """The names of calls whose bytes are not the expected ones."""
    known, ready = expected(path), calls()
    return [name for name in (names or ready) if ready[name]().tobytes() != known[name]]


if __name__ == "__main__":
    record(sys.argv[1])
