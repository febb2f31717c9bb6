"""The scalar loss: the caller's kind of array, which says when it is read that a target was no class.

The host does not wait for a GPU to find that an index is wrong; the loss is NaN then. Whoever reads it waits for it
anyway, and if it is NaN looks at the record that was written beside it, and raises.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .device import SIMULATED


class Record:
    """Where the kernels have written the first row whose index is no class, and that index."""

    def __init__(self, status: Any, read: Callable[[Any], list[int]], message: Any) -> None:
        self.status, self.read, self.message = status, read, message

    def check(self) -> None:
        """Raise if there is such a row. Waits for the kernels."""
        row, index = self.read(self.status)
        if row >= 0:
            raise IndexError(self.message(row, index))


def _reader(base: type, name: str, plain: Callable[[Any], Any] = lambda loss: loss) -> Any:
    """A method that reads the loss on the host, with the record looked at where that is NaN."""
    method = getattr(base, name)

    @functools.wraps(method)
    def read(self: Any, *args: Any, **options: Any) -> Any:
        record = getattr(self, "_nbsmce_record", None)
        if record is not None and self._nbsmce_is_nan():
            record.check()
        return method(plain(self), *args, **options)

    return read


def _is_nan(plain: Callable[[Any], float]) -> Callable[[Any], bool]:
    def is_nan(self: Any) -> bool:
        value = plain(self)
        return value != value

    return is_nan


@functools.cache
def torch_class() -> type:
    """A tensor whose value is checked when Python reads it; what is computed from it is a plain tensor.

    So are its copies, and what ``torch.save`` writes: a file can be read without this class. A tensor of another class
    cannot be formatted (``f"{loss:.3f}"``) either, and so a plain one is read in its place.
    """
    import sys

    torch = sys.modules["torch"]
    tensor = torch.Tensor
    methods = ("item", "tolist", "cpu", "numpy", "__float__", "__bool__", "__int__", "__repr__", "__format__")
    members = {name: _reader(tensor, name, tensor.detach) for name in (*methods, "__reduce_ex__")}
    members["__deepcopy__"] = lambda self, memo: tensor.detach(self).__deepcopy__(memo)  # stays on the GPU
    members["_nbsmce_is_nan"] = _is_nan(lambda self: float(tensor.item(self)))
    members["__torch_function__"] = torch._C._disabled_torch_function_impl
    return type("Loss", (tensor,), members)


@functools.cache
def cupy_class() -> type:
    """The same for CuPy, whose other methods that read an array call ``get`` (``cupy/_core/core.pyx``)."""
    import sys

    array = sys.modules["cupy"].ndarray
    members = {"get": _reader(array, "get")}
    members["_nbsmce_is_nan"] = _is_nan(lambda self: float(array.get(self)))
    return type("Loss", (array,), members)


@functools.cache
def numba_class() -> type:
    """The same for Numba, whose arrays have neither ``float`` nor anything to print of their own."""
    if SIMULATED:
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray as array
    else:
        from numba.cuda.cudadrv.devicearray import DeviceNDArray as array

    def as_float(self: Any) -> float:
        return float(self.copy_to_host().reshape(()))

    members: dict[str, Any] = {"copy_to_host": _reader(array, "copy_to_host"), "__float__": as_float}
    members["__str__"] = lambda self: str(as_float(self))
    members["__format__"] = lambda self, form: format(as_float(self), form)
    members["_nbsmce_is_nan"] = _is_nan(lambda self: float(np.asarray(array.copy_to_host(self)).reshape(())))
    return type("Loss", (array,), members)
