"""A GPU that is not there: kernels run as their PTX says, behind the driver's own interface.

``library(folder)`` makes a ``libcuda.so.1``, which processes load whose ``LD_LIBRARY_PATH`` has that folder.
``linked`` takes the place of the linker: a kernel's PTX becomes C, and that a library, which the driver is given for
machine code. So what Numba, ``cuda.bindings`` and the package do is what they do for a GPU, down to the driver.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from .translate import Kernel, Unknown

__all__ = ["COMPILER", "Unknown", "library", "linked"]

HERE = Path(__file__).parent
# No fused multiplications but those that PTX asks for.
COMPILER = ["cc", "-O1", "-w", "-shared", "-fPIC", "-ffp-contract=off", f"-I{HERE}"]
COMPILER.append(f"-DERRORS={int(os.environ.get('EMULATED_ERRORS', '0'))}")


def library(folder: Path) -> None:
    """The driver."""
    subprocess.run([*COMPILER, HERE / "driver.c", "-o", folder / "libcuda.so.1", "-lm", "-ldl"], check=True)


def linked(text: str, capability: int) -> tuple[bytes, str]:
    """``launch.linked`` for the driver above."""
    folder = Path(os.environ["EMULATED_KERNELS"])
    code = Kernel(text).code()
    whole = f"{COMPILER} {(HERE / 'gpu.h').read_text()} {code}"
    source = folder / f"{hashlib.sha256(whole.encode()).hexdigest()[:32]}.c"
    made = source.with_suffix(".so")
    if not made.exists():
        source.write_text(code)
        part = source.with_suffix(f".{os.getpid()}")
        subprocess.run([*COMPILER, source, "-o", part, "-lm"], check=True)
        part.replace(made)
    return str(made).encode() + b"\0", ""
