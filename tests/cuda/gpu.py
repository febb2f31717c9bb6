"""Arrays to and from a GPU, or the simulator of one, and the tolerances of results."""

from __future__ import annotations

import types

import numpy as np
from numba import config, cuda

LONGER = 1 if config.ENABLE_CUDASIM else 64
"""How many times as many classes take several warps, and sections, as in the simulator with ``short_teams``."""


def to(array):
    """A device array with the same values."""
    array = np.array(array, order="C")
    if array.dtype.kind in "biuf":
        return cuda.to_device(array)
    return cuda.to_device(array.view(np.uint16)).view(array.dtype)  # Numba copies no bfloat16


def transposed(array, axes):
    """The same memory with the axes in another order, which Numba has for matrices alone."""
    if config.ENABLE_CUDASIM:
        return array.transpose(axes)
    known = array.__cuda_array_interface__
    shape, strides = ([of[i] for i in axes] for of in (array.shape, array.strides))
    interface = {**known, "shape": tuple(shape), "strides": tuple(strides)}
    return types.SimpleNamespace(**{"__cuda_array_interface__": interface, "dtype": array.dtype, "memory": array})


def back(array):
    return array.copy_to_host()


def given(options):
    """Options with arrays on the GPU."""
    return {k: to(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}


def same_infinities(actual, exact):
    """What is NaN or infinite must be so in both; returns the errors of the others."""
    actual, exact = np.asarray(actual).astype(np.longdouble), np.asarray(exact, np.longdouble)
    assert actual.shape == exact.shape
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(exact))
    infinite = np.isinf(exact)
    np.testing.assert_array_equal(actual[infinite], exact[infinite])
    finite = np.isfinite(exact)
    return np.abs(np.where(finite, actual, 0) - np.where(finite, exact, 0))
