"""Whether CUDA can be used, and why not."""

from __future__ import annotations

import functools
import os


class CudaUnavailableError(RuntimeError):
    """CUDA was asked for, by an array on a GPU, and cannot be used."""


@functools.cache
def problem() -> str | None:
    """Why CUDA cannot be used, None if it can. Imports what it takes, and starts the driver."""
    try:
        from numba import config, cuda
    except Exception as error:
        return f"Numba's CUDA target cannot be imported: {type(error).__name__}: {error}"
    if config.ENABLE_CUDASIM:
        return None
    if getattr(cuda, "implementation", "Built-in") != "NVIDIA":
        return "the package numba-cuda is not installed: python -m pip install 'nbsmce[cuda]'"
    try:
        from cuda.core import Device

        count = len(Device.get_all_devices())
    except Exception as error:
        return f"the CUDA driver cannot be started: {_first_line(error)}"
    if not count:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        return "the CUDA driver finds no GPU" + (f"; CUDA_VISIBLE_DEVICES is {hidden!r}" if hidden is not None else "")
    return None


def devices() -> list[str]:
    """The GPUs, by name and compute capability."""
    from numba import config

    if config.ENABLE_CUDASIM:
        return ["Numba's simulator, because NUMBA_ENABLE_CUDASIM is set"]
    from cuda.core import Device

    found = Device.get_all_devices()
    return [f"{d.name}, compute capability {'.'.join(str(n) for n in d.compute_capability)}" for d in found]


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"


def require(name: str) -> None:
    """Raise unless CUDA can be used; ``name`` is the argument that asks for it."""
    reason = problem()
    if reason is not None:
        raise CudaUnavailableError(f"{name} is on a GPU, and CUDA cannot be used: {reason}")
