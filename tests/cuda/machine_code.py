"""Kernels as PTX and as machine code, without a GPU or a driver: what the compilers make of them, as numbers.

Needs numba-cuda with its compiler and linker (``nvidia-nvvm``, ``nvidia-cuda-nvrtc``, ``nvidia-nvjitlink``), and
``cuobjdump`` and ``nvdisasm`` to count instructions. The machine code is that which a GPU is given. The program
``ptxas`` gives out registers in another way: for softmax in a block 58 (float32) and 64 (bfloat16), where the linker
takes 64 and 96. Run as a program, it prints the table of kernels whose names have all of the words that it is given.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import planned
from numba.core import types
from planned import Kernel

from nbsmce._cuda import launch
from nbsmce._cuda.storage import numbers_of_chunk

CAPABILITIES = (75, 80, 90, 100, 120)
REGISTERS = 65536  # of a multiprocessor
READ = {"softmax.work": 1, "gradients.through_softmax": 2, "gradients.through_logsumexp": 1, "logsumexp.work": 1}


class Found(NamedTuple):
    """What the compilers have made."""

    registers: int
    spilled: int  # bytes
    stack: int
    loads: int  # of 16 bytes
    stores: int
    local: int  # accesses of memory that should be registers


def budget(kernel: Kernel) -> int:
    """The most registers of a thread: for four blocks of up to 128 threads on a multiprocessor, one of more."""
    blocks = 4 if kernel.threads <= 128 else 1
    return min(255, REGISTERS // (kernel.threads * blocks) // 8 * 8)


def wide(kernel: Kernel) -> tuple[int, int]:
    """``(loads, stores)`` of 16 bytes that a kernel should have: every chunk of an array by one, where it can be."""
    make = kernel.make
    if not hasattr(make, "layout") or kernel.family == "merged_states":
        return 0, 0
    variant, options = make.variant, make.variant._asdict()
    if variant.unit != numbers_of_chunk(variant.dtype):
        return 0, 0
    arrays = READ.get(f"{make.work.__module__.rpartition('.')[2]}.{make.work.__qualname__}", 1)
    arrays += variant.dtype in (options.get("factors"), options.get("probabilities"))
    writes = kernel.family != "section_states" and options.get("gradient", "factors" not in options)
    if kernel.family == "section_states" and "log" in options and arrays == 2 and variant.log:
        arrays = 1  # the sum of dy alone
    return make.layout.chunks * arrays, make.layout.chunks * writes


def without_a_driver(capability: int) -> None:
    """Numba asks the driver which GPU there is before it compiles a device function."""

    class Gpu:
        compute_capability = divmod(capability, 10)

    for name, module in list(sys.modules.items()):
        if name.startswith("numba.cuda") and hasattr(module, "get_current_device"):
            module.get_current_device = lambda: Gpu


def tool(name: str) -> str | None:
    """The path of a program of the CUDA toolkit."""
    site = Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    folders = [*site.glob("cu*/bin"), Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin"]
    found = next((str(f / name) for f in folders if os.access(f / name, os.X_OK)), None)
    return found or shutil.which(name)


def ptx(kernel: Kernel, capability: int) -> str:
    without_a_driver(capability)
    return launch.to_ptx(kernel.make(), kernel.signature, capability, kernel.threads)[0]


def parameters(signature: Iterable[object]) -> list[str]:
    """The types of the parameters that the launch packs: 8 bytes for each pointer and number."""
    found = []
    for kind in signature:
        if isinstance(kind, types.BaseNamedTuple):
            found += parameters(kind)
        else:
            found.append("f64" if kind == types.float64 else "u64")
    return found


def declared(text: str) -> list[str]:
    """The types of the parameters that a kernel's PTX has."""
    entry = text[text.index(".entry") : text.index("{", text.index(".entry"))]
    return re.findall(r"\.param \.(\w+)", entry)


def instructions(code: bytes) -> str:
    """Machine code as text."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "k.cubin"
        cubin.write_bytes(code)
        paths = {**os.environ, "PATH": f"{Path(tool('nvdisasm')).parent}:{os.environ['PATH']}"}
        command = [tool("cuobjdump"), "-sass", str(cubin)]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=paths).stdout


def assembled(text: str, capability: int) -> Found:
    """What the linker makes of PTX."""
    code, said = launch.linked(text, capability)
    lines = instructions(code)

    def number(pattern: str) -> int:
        return int(re.search(pattern, said).group(1))

    def count(pattern: str) -> int:
        return len(re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?" + pattern, lines))

    return Found(
        number(r"Used (\d+) registers"),
        number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        number(r"(\d+) bytes stack frame"),
        count(r"LDG\.[\w.]*128"),
        count(r"STG\.[\w.]*128"),
        count(r"(?:LDL|STL)\b"),
    )


def table(capability: int, some: Iterable[Kernel]) -> Iterator[tuple[Kernel, Found]]:
    """What the compilers make of kernels."""
    for kernel in some:
        text = ptx(kernel, capability)
        if declared(text) != parameters(kernel.signature):
            raise ValueError(f"{kernel.name} has the parameters {declared(text)}, and gets those of {kernel.signature}")
        yield kernel, assembled(text, capability)


def show(capability: int, results: Iterable[tuple[Kernel, Found]]) -> str:
    """The table as text."""
    lines = [f"sm_{capability}".ljust(100) + "registers (at most)  spilled  stack  local  loads  stores of 16 bytes"]
    for kernel, f in results:
        loads, stores = wide(kernel)
        lines.append(
            f"{kernel.name:100}{f.registers:9} ({budget(kernel):3}) {f.spilled:14}{f.stack:7}{f.local:7}"
            f"{f.loads:4} of {loads:2}{f.stores:4} of {stores:2}"
        )
    return "\n".join(lines)


def wrong(kernel: Kernel, found: Found) -> bool:
    """Whether anything is not as it should be."""
    kept = (found.spilled, found.stack, found.local) == (0, 0, 0)
    return not kept or found.registers > budget(kernel) or (found.loads, found.stores) != wide(kernel)


if __name__ == "__main__":
    wanted = [int(a) for a in sys.argv[1:] if a.isdigit()] or list(CAPABILITIES)
    words = [a for a in sys.argv[1:] if not a.isdigit()]
    for capability in wanted:
        for kernel in planned.hardest(planned.kernels(capability)):
            if all(w in kernel.name for w in words):
                print(show(capability, table(capability, [kernel])), flush=True)
