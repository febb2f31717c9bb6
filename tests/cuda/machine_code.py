"""Kernels as PTX and as machine code, without a GPU or a driver: what a compiler makes of them, as numbers.

Needs numba-cuda with its compiler (``nvidia-nvvm``, ``nvidia-cuda-nvrtc``); ``ptxas`` and ``cuobjdump`` where they are
found. Run as a program, it prints the table of expected and found figures.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

families, places, launch = (importlib.import_module(f"nbsmce._cuda.{n}") for n in ("families", "places", "launch"))
softmax, logsumexp, gradients, cross_entropy, reductions, nll, copies, options, rows = (
    importlib.import_module(f"nbsmce._cuda.{n}")
    for n in ("softmax", "logsumexp", "gradients", "cross_entropy", "reductions", "nll", "copies", "options", "rows")
)
Layout, Matrix, Extent, Pointer = places.Layout, places.Matrix, places.Extent, launch.Pointer
numbers_of_chunk = importlib.import_module("nbsmce._cuda.storage").numbers_of_chunk

CAPABILITIES = (75, 80, 90, 100, 120)
REGISTERS = 65536  # of a multiprocessor


class Kernel(NamedTuple):
    """A kernel to compile and what is expected of it."""

    name: str
    program: object
    arguments: tuple
    threads: int
    blocks: int  # on a multiprocessor, at least: the registers that this leaves to a thread are the budget
    loads: int  # of 16 bytes
    stores: int

    def budget(self) -> int:
        """The most registers that a thread may have."""
        return min(255, REGISTERS // (self.threads * self.blocks) // 8 * 8)


class Found(NamedTuple):
    """What a compiler has made."""

    registers: int
    spilled: int  # bytes
    stack: int
    loads: int
    stores: int
    local: int  # accesses of memory that should be registers


def _without_a_driver(capability: int) -> None:
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
    _without_a_driver(capability)
    signature = tuple(launch.type_of(a) for a in kernel.arguments)
    return launch.to_ptx(kernel.program(), signature, capability, kernel.threads)[0]


def parameters(kernel: Kernel) -> list[str]:
    """The types of the parameters that the launch packs for a kernel."""
    return ["f64" if isinstance(n, float) else "u64" for n in launch.leaves(kernel.arguments)]


def declared(text: str) -> list[str]:
    """The types of the parameters that a kernel's PTX has."""
    entry = text[text.index(".entry") : text.index("{", text.index(".entry"))]
    return re.findall(r"\.param \.(\w+)", entry)


def accesses(text: str) -> tuple[int, int, int]:
    """``(loads of 16 bytes, stores of 16 bytes, accesses of local memory)`` of PTX."""
    wide = r"\.(?:v4\.[fu]32|v2\.f64)"
    return (
        len(re.findall(r"\bld\.global[\w.:]*" + wide, text)),
        len(re.findall(r"\bst\.global[\w.:]*" + wide, text)),
        len(re.findall(r"\b(?:ld|st)\.local", text)) + len(re.findall(r"\.local \.align", text)),
    )


def assembled(text: str, capability: int) -> Found:
    """What ptxas makes of PTX."""
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder) / "k.ptx", Path(folder) / "k.cubin"
        source.write_text(text)
        command = [tool("ptxas"), f"-arch=sm_{capability}", "-v", "-O3", str(source), "-o", str(cubin)]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        report = said.stdout + said.stderr
        code = ""
        if tool("cuobjdump") and tool("nvdisasm"):
            paths = {**os.environ, "PATH": f"{Path(tool('nvdisasm')).parent}:{os.environ['PATH']}"}
            command = [tool("cuobjdump"), "-sass", str(cubin)]
            code = subprocess.run(command, capture_output=True, text=True, check=True, env=paths).stdout

    def number(pattern: str) -> int:
        found = re.search(pattern, report)
        return int(found.group(1)) if found else 0

    def count(pattern: str) -> int:
        return len(re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?" + pattern, code))

    return Found(
        number(r"Used (\d+) registers"),
        number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        number(r"(\d+) bytes stack frame"),
        count(r"LDG\.[\w.]*128") if code else accesses(text)[0],
        count(r"STG\.[\w.]*128") if code else accesses(text)[1],
        count(r"(?:LDL|STL)\b"),
    )


# -- the kernels -------------------------------------------------------------------------------------------------------


def _pointer(dtype: str) -> object:
    return Pointer(0, dtype)


def _matrix(dtype: str) -> object:
    return Matrix(_pointer(dtype), 0, 0, 0)


EXTENT = Extent(0, 0, 0)
NO_OPTIONS = options.Options(*[0.0] * 6, *[0] * 9)
PART = families.Part(_pointer("float64"), 0, 0, 0)


def _computed(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"


def _loss_arguments(dtype: str, probabilities: str) -> tuple:
    f = _computed(dtype)
    given = cross_entropy.Given(
        _matrix(dtype), _matrix(probabilities or dtype), _pointer("int64"), *[_pointer(f)] * 4, _pointer("float64")
    )
    wanted = cross_entropy.Wanted(
        _matrix(dtype), _pointer(f), _pointer("float64"), _pointer(f), _pointer(f), _pointer("int64"), _pointer("bool")
    )
    return EXTENT, given, wanted, NO_OPTIONS


def _variants(dtype: str, capability: int, unit: int):
    """``(name, work, variant, arguments, loads and stores of a chunk)`` of every work."""
    f, m = _computed(dtype), _matrix(dtype)
    for log in (False, True):
        given, wanted = softmax.Given(m, _matrix("uint8")), softmax.Wanted(m)
        variant = softmax.Variant(dtype, unit, capability, log, False)
        arguments = EXTENT, given, wanted, softmax.NO_OPTIONS
        yield ("log_softmax" if log else "softmax"), softmax.work, variant, arguments, 1, 1
        backward = gradients.Variant(dtype, unit, capability, log)
        arguments = EXTENT, gradients.Given(m, m), gradients.Wanted(m), gradients.NO_OPTIONS
        name = "log_softmax_backward" if log else "softmax_backward"
        yield name, gradients.through_softmax, backward, arguments, 2, 1
    lse = logsumexp.Given(m, _matrix("uint8"), _matrix(f)), logsumexp.Wanted(_pointer(f), _pointer(f))
    variant = logsumexp.Variant(dtype, unit, capability, False, "")
    yield "logsumexp", logsumexp.work, variant, (EXTENT, *lse, logsumexp.Options(0.0)), 1, 0
    for name, gradient, spread, probabilities, aux in (
        ("loss", False, False, "", False), ("loss, gradient", True, False, "", False),
        ("loss, gradient, smoothing", True, True, "", False),
        ("loss, gradient, probabilities", True, True, dtype, False),
        ("loss, gradient, aux", True, False, "", True),
    ):  # fmt: skip
        variant = cross_entropy.Variant(dtype, unit, capability, gradient, spread, probabilities, False, aux, False)
        loads = 2 if probabilities else 1
        yield name, cross_entropy.work, variant, _loss_arguments(dtype, probabilities), loads, int(gradient)


DTYPES = ("float32", "bfloat16", "float16", "float64")


def kernels(capability: int, thorough: bool = True):
    """The kernels in the layouts that are hardest on registers; without ``thorough``, some of every family."""
    for dtype in DTYPES if thorough else DTYPES[:2]:
        numbers = numbers_of_chunk(dtype)
        for unit in (numbers, 2, 1, 0) if thorough and numbers == 8 else (numbers, 1, 0):
            for name, work, variant, arguments, loads, stores in _variants(dtype, capability, unit):
                if thorough or name in ("softmax", "loss, gradient"):
                    yield from _of_work(dtype, unit, name, work, variant, arguments, loads, stores)
        yield _of_warps(dtype, capability)
    yield from _others(capability, DTYPES if thorough else DTYPES[:2])


def _of_work(dtype, unit, name, work, variant, arguments, loads, stores):
    numbers = numbers_of_chunk(dtype)
    narrow = getattr(variant, "probabilities", "") or (numbers == 8 and getattr(variant, "spread", False))
    chunks = 4 if narrow else 8
    wide, kind = chunks if unit == numbers else 0, dtype if unit == numbers else f"{dtype} by {unit}"
    team = Layout(512, chunks, 1, False, False)
    program = rows.Program(families.whole, work, variant, team, True)
    yield Kernel(f"{kind}: {name}, a block", program, arguments, 512, 1, wide * loads, wide * stores)
    team = Layout(256, chunks, 1, False, False)
    for family in (families.section_states, families.section_results):
        written = stores if family is families.section_results else 0
        if family is families.section_states or stores:
            program = rows.Program(family, work, variant, team, False)
            label = f"{kind}: {name}, {family.__name__}"
            yield Kernel(label, program, (*arguments, PART), 256, 1, wide * loads, wide * written)
    if unit == 0:
        for team in (Layout(32, chunks, 2 * numbers, True, True), Layout(512, chunks, 2 * numbers, True, True)):
            program = rows.Program(families.whole, work, variant, team, not team.loop)
            label = f"{kind}: {name}, apart{', in turns' if team.loop else ''}"
            yield Kernel(label, program, arguments, 64 * numbers, 1, 0, 0)


def _of_warps(dtype, capability):
    variant = softmax.Variant(dtype, numbers_of_chunk(dtype), capability, False, False)
    given, wanted = softmax.Given(_matrix(dtype), _matrix("uint8")), softmax.Wanted(_matrix(dtype))
    program = rows.Program(families.whole, softmax.work, variant, Layout(32, 8, 4, False, False), True)
    return Kernel(f"{dtype}: softmax, a warp", program, (EXTENT, given, wanted, softmax.NO_OPTIONS), 128, 4, 8, 8)


def _others(capability: int, dtypes: tuple[str, ...]):
    """Kernels that are not about registers: those of rows' numbers, copies, masks, factors, and the scaled logits."""
    block = Layout(128, 4, 1, False, True)

    def of(name, make, arguments, threads=128):
        return Kernel(name, make, arguments, threads, 1, 0, 0)

    rows_ = reductions.Rows(_pointer("int64"), _pointer("float32"), _pointer("float32"), *[0] * 6)
    sums = reductions.Sums(_pointer("float64"), _pointer("float32"), _pointer("int64"), _pointer("float64"), *[0] * 3)
    for make in (reductions.OfSlices(True), reductions.OfSlices(False), reductions.OfParts()):
        yield of(f"sums over rows: {make}", make, (rows_, sums, _pointer("float64")), reductions.THREADS)
    shape = copies.Shape(*[0] * copies.AXES)
    for pair in (
        ("float16", "float32"),
        ("bfloat16", "float64"),
        ("int32", "int64"),
        ("bool", "float64"),
        ("", "bfloat16"),
    ):
        arguments = _pointer(pair[0] or pair[1]), _pointer(pair[1]), shape, shape, shape, 0
        yield of(f"copy: {pair[0] or 'zeros'} to {pair[1]}", copies.Copy(*pair), arguments, copies.THREADS)
    for dtype in dtypes:
        f, m, mask = _computed(dtype), _matrix(dtype), _matrix("uint8")
        given = nll.Given(_pointer("int64"), *[_pointer(f)] * 3, _pointer("float64"))
        for gradient in (False, True):
            arguments = EXTENT, m, given, nll.Wanted(_pointer(f), _pointer("float64")), NO_OPTIONS
            yield of(f"{dtype}: likelihood, {gradient}", nll.Kernel(dtype, capability, True, gradient), arguments)

        def program(work, variant, family=families.whole):
            return rows.Program(family, work, variant, block, False)

        masked = softmax.Variant(dtype, 1, capability, True, True)
        arguments = EXTENT, softmax.Given(m, mask), softmax.Wanted(m), softmax.NO_OPTIONS
        yield of(f"{dtype}: a mask", program(softmax.work, masked), arguments)
        factors = logsumexp.Variant(dtype, 1, capability, True, f)
        lse = logsumexp.Given(m, mask, _matrix(f)), logsumexp.Wanted(_pointer(f), _pointer(f))
        arguments = EXTENT, *lse, logsumexp.Options(0.0)
        yield of(f"{dtype}: factors", program(logsumexp.work, factors), arguments)
        yield of(
            f"{dtype}: factors, merged",
            program(logsumexp.work, factors, families.merged_states),
            (*arguments, PART),
            32,
        )
        backward = gradients.Variant(dtype, 1, capability, False)
        given = gradients.GivenOfSum(m, _pointer(f), _pointer(f))
        arguments = EXTENT, given, gradients.Wanted(m), gradients.NO_OPTIONS, 1
        yield of(
            f"{dtype}: logsumexp_backward", program(gradients.through_logsumexp, backward, families.each), arguments
        )
        variant = cross_entropy.Variant(dtype, 1, capability, True, True, f, True, True, False)
        yield of(f"{dtype}: scaled and capped", program(cross_entropy.work, variant), _loss_arguments(dtype, f))
        variant = cross_entropy.Variant(dtype, 1, capability, True, False, "", True, False, True)
        arguments = *_loss_arguments(dtype, ""), 1
        yield of(f"{dtype}: from the logarithm", program(cross_entropy.work, variant, families.each), arguments)


def table(capability: int, some: list[Kernel]) -> list[tuple[Kernel, Found]]:
    """What the compilers make of kernels."""
    results = []
    for kernel in some:
        text = ptx(kernel, capability)
        if declared(text) != parameters(kernel):
            raise ValueError(f"{kernel.name} has the parameters {declared(text)}, and gets {parameters(kernel)}")
        found = Found(0, 0, 0, *accesses(text)) if tool("ptxas") is None else assembled(text, capability)
        results.append((kernel, found))
    return results


def show(capability: int, results: list[tuple[Kernel, Found]]) -> str:
    """The table as text."""
    lines = [f"sm_{capability}".ljust(66) + "registers (at most)  spilled  stack  local  loads  stores of 16 bytes"]
    for k, f in results:
        lines.append(
            f"{k.name:66}{f.registers:9} ({k.budget():3}) {f.spilled:14}{f.stack:7}{f.local:7}"
            f"{f.loads:4} of {k.loads:2}{f.stores:4} of {k.stores:2}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    wanted = [int(a) for a in sys.argv[1:] if a.isdigit()] or list(CAPABILITIES)
    words = [a for a in sys.argv[1:] if not a.isdigit()]
    for capability in wanted:
        for kernel in kernels(capability):
            if all(w in kernel.name for w in words):
                print(show(capability, table(capability, [kernel])), flush=True)
