"""What device code is written with: ``cuda``, the instructions, and the decorator of functions.

The only module that asks whether kernels run on a GPU or in Numba's simulator.
"""

from __future__ import annotations

import importlib
from typing import Any

from numba import config

SIMULATED = bool(config.ENABLE_CUDASIM)

if SIMULATED:
    from numba.cuda.simulator.kernel import _get_kernel_context

    class _Simulated:
        """``numba.cuda`` as the kernel that is running sees it.

        The simulator puts that in the place of the module's globals while a function runs, and back when it returns:
        too early for the other threads of a block that wait in the same function.
        """

        def __getattr__(self, name: str) -> Any:
            return getattr(_get_kernel_context(), name)

    cuda: Any = _Simulated()

    def device(function: Any) -> Any:
        """A function that kernels call."""
        return function

else:
    try:
        from numba import cuda  # type: ignore[no-redef]
    except Exception as error:
        known = "; numba-cuda 0.30 needs a NumPy older than 2.5" if "row_stack" in str(error) else ""
        raise ImportError(f"Numba's CUDA target cannot be imported: {error}{known}") from error

    # Numba's built-in target, with which nothing is compiled (see driver.py), does not know the option.
    _INLINED = {"forceinline": True} if getattr(cuda, "implementation", "") == "NVIDIA" else {}

    def device(function: Any) -> Any:
        """A function that is inlined into kernels; so arrays of a thread that it is given can stay in registers."""
        return cuda.jit(device=True, **_INLINED)(function)


instructions: Any = importlib.import_module(f"{__package__}.{'simulated' if SIMULATED else 'ptx'}")


def unrolled(step: Any, n: int) -> Any:
    """``f(…)``: ``step(0, …)``, ``step(1, …)`` and so on: a loop that the compiler takes for too long to unroll."""
    k, before = n - 1, unrolled(step, n - 1) if n > 1 else None

    @device
    def steps(*arguments: Any) -> None:
        if before is not None:
            before(*arguments)
        step(k, *arguments)

    return steps
