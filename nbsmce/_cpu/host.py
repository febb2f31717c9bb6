"""What callers pass, as NumPy arrays for the kernels; and results as the caller's kind of array."""

from __future__ import annotations

import sys
import threading
from typing import Any, NamedTuple

import numpy as np

_REFUSED = {
    "pandas": "pass {name}.to_numpy()",
    "polars": "pass {name}.to_numpy()",
    "xarray": "use xarray.apply_ufunc with the class dimension as core dimension, or pass {name}.to_numpy()",
    "dask": "use {name}.map_blocks, or pass {name}.compute()",
}
DATA: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.int16),
    "bfloat16": np.dtype(np.uint16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
"""What kernels read and write for each dtype: the half types are the integers of their bits."""


class Kind(NamedTuple):
    """The caller's name for what an array holds, and whose array it is."""

    dtype: np.dtype  # of NumPy; for PyTorch's bfloat16 that of its bits
    name: str
    torch: bool

    @property
    def computed(self) -> Kind:
        """The kind of losses and of logarithms of sums: float32 for the half types."""
        return self if self.name in ("float32", "float64") else Kind(np.dtype(np.float32), "float32", self.torch)


class Operand(NamedTuple):
    """A floating array argument.

    ``data`` holds what the kernels read: float32, float64, or the bits of a half type as int16 (float16) and uint16
    (bfloat16).
    """

    data: np.ndarray
    kind: Kind


PLAIN = {np.dtype(name): Kind(np.dtype(name), name, False) for name in ("float32", "float64")}
"""The kinds of NumPy arrays that kernels read as they are."""


def kind_of(dtype: np.dtype) -> Kind | None:
    """The kind of NumPy arrays that kernels read without converting a number; None if they cannot."""
    return Kind(dtype, dtype.name, False) if dtype.isnative and dtype.name in DATA else None


# -- in ----------------------------------------------------------------------------------------------------------------


def is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_floating(value: Any) -> bool:
    """Whether an argument holds floating numbers."""
    if is_torch(value):
        return bool(value.dtype.is_floating_point)
    dtype = value.dtype if type(value) is np.ndarray else np.asarray(value).dtype
    return dtype.kind == "f" or (dtype.kind == "V" and dtype.name == "bfloat16")


def as_numpy(value: Any, name: str) -> np.ndarray:
    """``value`` as a NumPy array of any dtype; refuses arrays that carry more than NumPy would keep."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and its mask would be ignored: pass {name}.data, and "
            f"where=~numpy.ma.getmaskarray({name}) to functions that take a mask"
        )
    if isinstance(value, np.matrix):
        raise TypeError(f"{name} is a numpy.matrix: pass numpy.asarray({name})")
    library = type(value).__module__.partition(".")[0]
    if library in _REFUSED:
        advice = _REFUSED[library].format(name=name)
        raise TypeError(f"{name} is a {library} {type(value).__name__}: {advice}")
    if is_torch(value):
        return _torch_to_numpy(value, name)
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} is no array: {error}") from error


def _torch_to_numpy(value: Any, name: str) -> np.ndarray:
    torch = sys.modules["torch"]
    if value.requires_grad:
        raise TypeError(f"{name} requires a gradient, which PyTorch would not get: pass {name}.detach()")
    if value.layout != torch.strided or value.is_quantized:
        raise TypeError(f"{name} must be a dense tensor, got {value.layout}, {value.dtype}")
    value = value.resolve_neg()
    array: np.ndarray = (value.view(torch.int16) if value.dtype == torch.bfloat16 else value).numpy()
    return array


def floating(value: Any, name: str) -> Operand:
    """A floating argument; integers and truth values become float64."""
    if type(value) is np.ndarray and (kind := PLAIN.get(value.dtype)) is not None:
        return Operand(value, kind)
    array = as_numpy(value, name)
    dtype, torch = array.dtype, False
    if type(value) is not np.ndarray:
        torch = is_torch(value)
        if torch and str(value.dtype) == "torch.bfloat16":
            return Operand(array.view(np.uint16), Kind(np.dtype(np.int16), "bfloat16", torch))
        array = np.asarray(array)
    if dtype.char in "fd" and dtype.isnative:
        return Operand(array, Kind(dtype, dtype.name, torch))
    if dtype.kind in "biu":
        return Operand(array.astype(np.float64), Kind(np.dtype(np.float64), "float64", torch))
    if dtype.name not in DATA:
        raise TypeError(f"{name} must be float16, bfloat16, float32, float64 or integers, got dtype {dtype.name!r}")
    native = dtype if dtype.isnative else dtype.newbyteorder("=")
    return Operand(array.astype(native, copy=False).view(DATA[dtype.name]), Kind(native, dtype.name, torch))


def numbers(value: Any, name: str, like: Operand, shape: tuple[int, ...]) -> np.ndarray:
    """A floating argument of this shape, without gaps, in the type that ``like`` is computed in."""
    operand = floating(value, name)
    if operand.data.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, got {operand.data.shape}")
    return np.ascontiguousarray(decoded(operand), dtype=like.kind.computed.dtype).reshape(-1)


def decoded(operand: Operand) -> np.ndarray:
    """An operand's numbers as float32 or float64."""
    if operand.kind.name == "bfloat16":
        return (operand.data.astype(np.uint32) << 16).view(np.float32)
    if operand.kind.name == "float16":
        return operand.data.view(np.float16).astype(np.float32)
    return operand.data


def where_mask(where: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """A mask argument as bytes of this shape."""
    if where is None:
        return None
    mask = as_numpy(where, "where")
    if mask.dtype != np.bool_:
        raise TypeError(f"where must be boolean, got dtype {mask.dtype.name!r}")
    try:
        return np.broadcast_to(mask, shape).view(np.uint8)
    except ValueError:
        raise ValueError(f"where must have a shape that broadcasts to {shape}, got {mask.shape}") from None


# -- out ---------------------------------------------------------------------------------------------------------------


def result_memory(out: Any, name: str, shape: tuple[int, ...], kind: Kind) -> np.ndarray:
    """Where kernels write a result: in ``out``, or in new memory if that is None."""
    if out is None:
        return np.empty(shape, DATA[kind.name])
    whose = "a torch.Tensor" if kind.torch else "a numpy.ndarray"
    if is_torch(out) != kind.torch or not (kind.torch or isinstance(out, np.ndarray)):
        raise TypeError(f"{name} must be {whose}, as the input is, got {type(out).__name__}")
    array = np.asarray(as_numpy(out, name))
    fits = str(out.dtype) == f"torch.{kind.name}" if kind.torch else array.dtype == kind.dtype
    if not fits:
        raise TypeError(f"{name} must have the dtype {kind.name}, got {str(out.dtype).removeprefix('torch.')}")
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only")
    return array if array.dtype == DATA[kind.name] else array.view(DATA[kind.name])


_NOTHING = {name: np.empty(0, DATA[name if name in ("float32", "float64") else "float32"]) for name in DATA}


def nothing(kind: Kind) -> np.ndarray:
    """What kernels take for numbers of rows that are not there."""
    return _NOTHING[kind.name]


def result(data: np.ndarray, out: Any, kind: Kind) -> Any:
    """A result as the caller's kind of array, ``out`` itself if there is one; a scalar where NumPy has scalars."""
    if out is not None:
        return out
    if not kind.torch:
        array = data if data.dtype == kind.dtype else data.view(kind.dtype)
        return array if array.ndim else array[()]
    torch = sys.modules["torch"]
    if kind.name == "bfloat16":
        return torch.from_numpy(data.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(data.view(kind.dtype))


def scalar(value: float, kind: Kind) -> Any:
    """A single number as the caller's kind: a NumPy scalar or a tensor without dimensions."""
    if kind.torch:
        torch = sys.modules["torch"]
        return torch.tensor(value, dtype=getattr(torch, kind.name))
    return kind.dtype.type(value)


# -- scratch memory ----------------------------------------------------------------------------------------------------

_KEPT = 1 << 20
_LINE = 64
_local = threading.local()


def scratch(nbytes: int) -> np.ndarray:
    """Memory for a kernel in this thread, which nothing interrupts. It is kept for the next call."""
    kept: np.ndarray | None = getattr(_local, "memory", None)
    if kept is None or kept.shape[1] < nbytes:
        kept = _lines(1, max(nbytes, 1 << 15))
        if kept.nbytes <= _KEPT:
            _local.memory = kept
    return kept


def scratch_of_team(threads: int, nbytes: int) -> np.ndarray:
    """Memory for a kernel in several threads, ``nbytes`` or more for each, until it is :func:`put_back`.

    A signal handler may run meanwhile, and call a kernel, too.
    """
    kept: np.ndarray | None = _local.__dict__.pop("of_team", None)
    return _lines(threads, nbytes) if kept is None or kept.shape[0] < threads or kept.shape[1] < nbytes else kept


def put_back(memory: np.ndarray) -> None:
    """Keep memory, if it is not much, for the next call of this Python thread."""
    if memory.nbytes <= _KEPT:
        _local.of_team = memory


def _lines(rows: int, nbytes: int) -> np.ndarray:
    """Bytes of which every row is whole cache lines: no vector lies across two."""
    nbytes = -(-nbytes // _LINE) * _LINE
    memory = np.empty(rows * nbytes + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + rows * nbytes].reshape(rows, nbytes)
