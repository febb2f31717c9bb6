"""Compile what ``gpu_report.py`` measures, in several processes, into the cache on disk. Needs no GPU.

    python asv_bench/gpu_kernels.py CAPABILITY

Compiling a kernel takes 2 to 3 s of one core, and a report has to be done in minutes. Which kernels it will ask for is
found with stand-ins for the arrays and the driver, those of the tests.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

from gpu_report import CLASSES, DTYPES, rows_of

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "cuda"), str(ROOT)]


def start_all(shapes: list[tuple[str, int]]) -> None:
    """Call what is measured on arrays of each dtype and number of classes."""
    from standins import Tensor

    import nbsmce

    for dtype, classes in shapes:
        shape = rows_of(dtype, classes), classes
        x, y, out = (Tensor(shape, dtype, address=n << 40) for n in (1, 2, 3))
        for name in ("softmax", "log_softmax"):
            getattr(nbsmce, name)(x, out=out)
        nbsmce.softmax_backward(x, y, out=out)
        nbsmce.cross_entropy_with_grad(x, Tensor(shape[:1], "int64", address=4 << 40), out=out)


def compile_one(job: tuple[int, Any]) -> None:
    """In a process of its own, which asks no driver which GPU there is."""
    import machine_code

    from nbsmce._cuda import launch

    capability, kernel = job
    machine_code.without_a_driver(capability)
    launch.compiled(kernel.make, kernel.signature, capability, kernel.threads)


def main() -> int:
    import planned

    from nbsmce._store import store

    capability = int(sys.argv[1])
    shapes = [(dtype, classes) for dtype in DTYPES for classes in CLASSES]
    kernels = planned.recorded(capability, lambda: start_all(shapes))
    with multiprocessing.get_context("spawn").Pool(min(16, os.cpu_count() or 1)) as pool:
        for done, _ in enumerate(pool.imap_unordered(compile_one, [(capability, k) for k in kernels]), 1):
            print(f"{done} of {len(kernels)} kernels", flush=True)
    if store.problem is not None:
        print(f"not kept: {store.problem}", file=sys.stderr)
    return 0 if store.problem is None else 1


if __name__ == "__main__":
    sys.exit(main())
