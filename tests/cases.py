"""Inputs: ordinary ones, and those engineered to go wrong."""

from __future__ import annotations

import numpy as np

DTYPES = ("float16", "bfloat16", "float32", "float64")
WIDTHS = (1, 2, 3, 10, 16, 17, 31, 64, 97, 1000)


def dtype_of(name: str) -> np.dtype:
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def eps_of(name: str) -> float:
    """The spacing of numbers just above 1."""
    return {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}[name]


def units_of(name: str) -> float:
    """How many units in the last place a probability may be off: what the API promises, and twice what was found."""
    return 8.0 if name == "float64" else 2.0


def random_logits(shape: tuple[int, ...], dtype: str = "float64", scale: float = 3.0, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype_of(dtype))


def engineered(dtype: str = "float32") -> dict[str, np.ndarray]:
    """Matrices whose rows are hard in different ways, all with finite results."""
    rng = np.random.default_rng(1)
    base = rng.standard_normal((6, 37))
    cases = {
        "random": base * 3,
        "one class": base[:, :1],
        "two classes": base[:, :2] * 10,
        "all equal": np.full((4, 37), 1.25),
        "all equal and huge": np.full((4, 37), 30000.0),
        "all zero": np.zeros((4, 37)),
        "peaked": base + 40.0 * (np.arange(37) == 5),
        "peaked at the end": base + 60.0 * (np.arange(37) == 36),
        "two peaks": base + 50.0 * np.isin(np.arange(37), (3, 20)),
        "ties for the largest": np.minimum(base, 0.5),
        "far apart": base * 100,
        "huge offset": base + 20000.0,
        "negative offset": base - 20000.0,
        "tiny": base * 1e-6,
        "ascending": np.broadcast_to(np.linspace(-90, 0, 37), (4, 37)),
        "descending": np.broadcast_to(np.linspace(0, -90, 37), (4, 37)),
        "masked by minus infinity": np.where(rng.random((6, 37)) < 0.5, -np.inf, base),
        "one finite": np.where(np.arange(37) == 7, base, -np.inf),
        "signed zeros": np.where(rng.random((4, 37)) < 0.5, 0.0, -0.0),
    }
    return {name: x.astype(dtype_of(dtype)) for name, x in cases.items()}


def strided_like(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same values in other memory layouts."""
    spaced = np.zeros([2 * n + 1 for n in x.shape], x.dtype)
    every_other = spaced[tuple(slice(1, None, 2) for _ in x.shape)]
    every_other[...] = x
    reversed_ = np.ascontiguousarray(x[tuple(slice(None, None, -1) for _ in x.shape)])
    raw = np.zeros(x.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(x.dtype).reshape(x.shape)
    misaligned[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    layouts = {
        "contiguous": np.ascontiguousarray(x),
        "Fortran order": np.asfortranarray(x),
        "every other element": every_other,
        "negative strides": reversed_[tuple(slice(None, None, -1) for _ in x.shape)],
        "misaligned": misaligned,
        "read-only": read_only,
    }
    if x.dtype.name != "bfloat16":
        layouts["byte-swapped"] = x.astype(x.dtype.newbyteorder())
    if x.ndim > 1:
        layouts["axes swapped"] = np.ascontiguousarray(x.swapaxes(0, -1)).swapaxes(0, -1)
    return layouts


def ulps(actual: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The distance in units in the last place of the exact result rounded to the dtype of ``actual``."""
    dtype = np.asarray(actual).dtype
    unit = np.spacing(np.abs(exact.astype(dtype))).astype(np.longdouble)
    return np.abs(np.asarray(actual).astype(np.longdouble) - exact) / unit


def go_the_general_way(monkeypatch) -> None:
    """From now on arrays of any size are handled as large ones are."""
    from nbsmce import _prepared
    from nbsmce._cpu import launch, short

    monkeypatch.setattr(launch, "SERIAL_WORK", 0)
    monkeypatch.setattr(short, "MOST_BYTES", 0)
    _prepared.forget()


def write_past_the_cache(monkeypatch) -> None:
    """From now on results of any size go past the cache, by the general way: the short one never writes so."""
    from nbsmce._cpu import launch

    for limit in ("STREAM_BYTES", "STREAM_ROW", "STREAM_ROW_KEPT"):
        monkeypatch.setattr(launch, limit, 0)
    go_the_general_way(monkeypatch)
