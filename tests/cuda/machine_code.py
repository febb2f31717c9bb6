"""Kernels as PTX and as machine code, without a GPU or a driver: what the compilers make of them, as numbers.

Needs numba-cuda with its compiler and linker (``nvidia-nvvm``, ``nvidia-cuda-nvrtc``, ``nvidia-nvjitlink``), and
``cuobjdump`` and ``nvdisasm`` to count instructions. The machine code is that which a GPU is given. The program
``ptxas`` gives out registers in another way: for softmax in a block 58 (float32) and 64 (bfloat16), where the linker
takes 64 and 96.

As a program (``python tests/cuda/machine_code.py [90] [WORD]...``) it compiles every kernel that can be chosen, in the
layouts that are hardest on registers: some 2000, on every processor 2 to 10 s for each with all capabilities.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import planned
from numba.core import types
from numba.cuda.cudadrv import nvrtc, nvvm
from planned import Kernel

from nbsmce._cuda import launch
from nbsmce._cuda.access import exchanges
from nbsmce._cuda.rows import CLUSTERS
from nbsmce._cuda.storage import HALVES, numbers_of_chunk

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
    """The most registers of a thread with which a multiprocessor has 512 threads or a block, whatever is more.

    With 8 chunks each those have 64 KB of reads under way, which is what CUB asks for on the fastest GPUs (its
    ``cc_to_min_bytes_in_flight``: 16 KB on 8.0, 48 on 9.0, 64 on 10.0). Of rows side by side it is 256 threads: the
    kernels that need so many registers read those again from the L2 cache.
    """
    layout = getattr(kernel.make, "layout", None)
    threads = 256 if layout is not None and layout.apart else 512
    blocks = max(1, threads // kernel.threads)
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


def ptx(forms: Mapping[int, Kernel]) -> Iterator[tuple[int, str]]:
    """``(capability, PTX)`` for each capability; the kernel's form for it is given.

    What Numba itself does takes most of the time, and is done once where it is the same: before 9.0 there are other
    barriers where units are exchanged (``access.py``), before 8.0 other instructions for half types (``storage.py``).
    """
    made: dict[tuple[str, bool, bool], tuple[Any, dict[str, Any]]] = {}
    for capability, kernel in forms.items():
        layout, dtype = getattr(kernel.make, "layout", None), kernel.dtype
        exchanged = layout is not None and exchanges(layout, kernel.make.variant.unit, numbers_of_chunk(dtype))
        halves = any(half in kernel.name for half in HALVES)
        key = kernel.name, exchanged and capability < 90, halves and capability < 80
        if key in made:
            modules, options = made[key]
            arch = nvrtc.get_arch_option(*divmod(capability, 10))
            text = launch.in_clusters(nvvm.compile_ir(modules, **{**options, "arch": arch}).decode(), kernel.make)
        else:
            without_a_driver(capability)
            with mock.patch.object(nvvm, "compile_ir", wraps=nvvm.compile_ir) as asked:
                text = launch.to_ptx(kernel.make, kernel.signature, capability, kernel.threads)[0]
            (modules,), options = asked.call_args
            made[key] = modules, options
        yield capability, text


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


def assembled(text: str, capability: int, disassemble: bool = True) -> Found:
    """What the linker makes of PTX. The accesses are counted in the machine code, or, which is faster, in the PTX."""
    code, said = launch.linked(text, capability)
    if disassemble:
        lines = instructions(code)
        start = r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?"
        loads, stores, local = (start + name for name in (r"LDG\.[\w.]*128", r"STG\.[\w.]*128", r"(?:LDL|STL)\b"))
    else:
        lines, wide = text, r"[\w.:]*\.(?:v4\.[fu]32|v2\.f64)\b"
        loads, stores, local = r"@p ld\.global" + wide, r"@p st\.global" + wide, r"(?:ld|st)\.local\b"

    def number(pattern: str) -> int:
        return int(re.search(pattern, said).group(1))

    def count(pattern: str) -> int:
        return len(re.findall(pattern, lines))

    return Found(
        number(r"Used (\d+) registers"),
        number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        number(r"(\d+) bytes stack frame"),
        count(loads),
        count(stores),
        count(local),
    )


def table(some: Iterable[Mapping[int, Kernel]], disassemble: bool = True) -> Iterator[tuple[int, Kernel, Found]]:
    """What the compilers make of kernels, of which each is given by its forms for several capabilities."""
    for forms in some:
        for capability, text in ptx(forms):
            kernel = forms[capability]
            if declared(text) != parameters(kernel.signature):
                wanted = f"{declared(text)}, and gets those of {kernel.signature}"
                raise ValueError(f"{kernel.name} has the parameters {wanted}")
            yield capability, kernel, assembled(text, capability, disassemble)


def wrong(kernel: Kernel, found: Found) -> bool:
    """Whether anything is not as it should be."""
    kept = (found.spilled, found.stack, found.local) == (0, 0, 0)
    return not kept or found.registers > budget(kernel) or (found.loads, found.stores) != wide(kernel)


HEADING = "       " + "kernel".ljust(100) + "registers (at most)  spilled  stack  local  loads  stores of 16 bytes"


def line(capability: int, kernel: Kernel, f: Found) -> str:
    """What was found and what was expected, as text."""
    loads, stores = wide(kernel)
    return (
        f"sm_{capability:<4}{kernel.name:100}{f.registers:9} ({budget(kernel):3}) {f.spilled:14}{f.stack:7}{f.local:7}"
        f"{f.loads:4} of {loads:2}{f.stores:4} of {stores:2}" + "  WRONG" * wrong(kernel, f)
    )


def forms_of_every_kernel(capabilities: Sequence[int]) -> list[dict[int, Kernel]]:
    """The kernels that can be chosen, in the layouts that are hardest on registers, each for every capability.

    All that have clusters choose the same, and so do all that have not.
    """
    planned_for = {capability: planned.hardest(planned.kernels(capability)) for capability in capabilities}
    codes = {capability >= CLUSTERS: set(kernels) for capability, kernels in planned_for.items()}
    if any(set(kernels) != codes[capability >= CLUSTERS] for capability, kernels in planned_for.items()):
        raise ValueError(f"other kernels are chosen for some of {capabilities}")
    every = dict.fromkeys(code for kernels in planned_for.values() for code in kernels)
    return [{c: kernels[code] for c, kernels in planned_for.items() if code in kernels} for code in every]


def summary(results: Iterable[tuple[int, Kernel, Found]]) -> str:
    """A table of what was found for each capability and dtype, in Markdown."""
    groups: dict[tuple[int, str], list[tuple[Kernel, Found]]] = {}
    for capability, kernel, found in results:
        groups.setdefault((capability, kernel.dtype), []).append((kernel, found))
    lines = [
        "| GPU | dtype | kernels | most registers | spilled | stack | not as expected |",
        "|---|---|---|---|---|---|---|",
    ]
    for (capability, dtype), group in sorted(groups.items()):
        registers, spilled, stack = (max(values) for values in list(zip(*(f for _, f in group), strict=True))[:3])
        failed = sum(wrong(*one) for one in group)
        lines.append(f"| sm_{capability} | {dtype} | {len(group)} | {registers} | {spilled} | {stack} | {failed} |")
    return "\n".join(lines)


_chosen: list[dict[int, Kernel]] = []  # what the processes that are forked find there


def _compile(number: int) -> tuple[int, dict[int, Found]]:
    return number, {c: found for c, _, found in table([_chosen[number]], disassemble=False)}


def main(arguments: list[str]) -> int:
    """Compile every kernel whose name has all the words that are given, for the capabilities that are given."""
    capabilities = [int(a) for a in arguments if a.isdigit()] or list(CAPABILITIES)
    words = [a for a in arguments if not a.isdigit()]
    every = forms_of_every_kernel(capabilities)
    _chosen.extend(f for f in every if all(w in next(iter(f.values())).name for w in words))
    print(HEADING)
    results = []
    # Kernels that follow each other have most functions in common, which Numba keeps in a process: eight at a time take
    # 0.6 of its time. Processes that end after so many make room for others.
    gc.freeze()  # else every process copies what was planned, to count who refers to it
    with multiprocessing.get_context("fork").Pool(maxtasksperchild=6) as pool:
        for number, found in pool.imap_unordered(_compile, range(len(_chosen)), chunksize=8):
            for capability, one in found.items():
                results.append((capability, _chosen[number][capability], one))
                print(line(*results[-1]), flush=True)
    print(summary(results))
    return 1 if any(wrong(kernel, found) for _, kernel, found in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
