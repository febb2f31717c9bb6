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
    from numba import cuda  # type: ignore[no-redef]

    def device(function: Any) -> Any:
        """A function that is inlined into kernels; so arrays of a thread that it is given can stay in registers."""
        return cuda.jit(device=True, forceinline=True)(function)


instructions: Any = importlib.import_module(f"{__package__}.{'simulated' if SIMULATED else 'ptx'}")
