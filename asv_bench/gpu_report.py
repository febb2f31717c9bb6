"""What a machine with a GPU says: are the results right, and how fast do they come? One command, at most 8 minutes.

    python asv_bench/gpu_report.py --output report

Compiles the kernels that are measured (``gpu_kernels.py``), runs the tests marked ``cuda`` and, on those marked
``sanitize``, NVIDIA's compute-sanitizer, and measures against the peers that are installed. Writes ``report.json``,
``report.txt`` and, with Matplotlib, ``report.png``. Without a GPU it says why there is none and ends with status 2. It
has not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from gpu_peers import COMPILED, MOVED, TASKS, Call, Maker

HERE = Path(__file__).parent
ROOT = HERE.parent
CLASSES = (2, 10, 32, 128, 1000, 1024, 4096, 8192, 16384, 32000, 32768, 50257, 65536, 131072, 262144)
ITEMSIZES = {"bfloat16": 2, "float32": 4, "float16": 2, "float64": 8}
DTYPES = tuple(ITEMSIZES)
BYTES = 1 << 28  # of the logits: several times the L2 cache
SLEEP = 40_000_000  # cycles, 20 ms at 2 GHz
PACKAGES = ("nbsmce", "numpy", "numba", "cuda-", "nvidia-nv", "torch", "triton", "cupy", "liger-kernel", "quack-")
"""How the names of those that matter begin: CuPy's, for one, ends with the version of CUDA."""
SHARES = {
    "kernels": 0.2,
    "tests": 0.4,
    "sanitizer": 0.15,
}  # of the time, at most; the rest and what is left is for speed
# Of peers that compile for each size, which takes seconds: the first of these are measured first.
FIRST = (32768, 4096, 1024, 131072, 50257, 128, 32, 8192, 262144)


def rows_of(dtype: str, classes: int) -> int:
    """So many that the logits have BYTES."""
    return max(1, BYTES // (classes * ITEMSIZES[dtype]))


def outcome(command: list[str], seconds: float, **variables: str) -> dict[str, Any]:
    """Run a program for at most so long; what it has started ends with it, lest it disturbs what is measured next."""
    start = time.monotonic()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    program = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, start_new_session=True, **pipes)
    status: int | None = None
    try:
        told, _ = program.communicate(timeout=seconds)
        status = program.returncode
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        told = f"{program.communicate()[0]}\nnot done after {seconds:.0f} s"
    return {"status": status, "seconds": round(time.monotonic() - start, 1), "tail": told[-2000:]}


def version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def packages() -> dict[str, str]:
    """What is installed of those that matter."""
    found = {d.name: d.version for d in metadata.distributions() if d.name.lower().startswith(PACKAGES)}
    return dict(sorted(found.items()))


def pytest_command(marker: str) -> list[str]:
    """Several processes where pytest-xdist is installed: most of the time goes into compiling kernels."""
    several = ["-n", str(min(16, os.cpu_count() or 1))] if version("pytest-xdist") and marker == "cuda" else []
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *several, "-m", marker, "tests/cuda"]


def sanitizer(seconds: float) -> dict[str, Any]:
    """compute-sanitizer's memcheck and racecheck, each for half of the time."""
    site = Path(sys.prefix).glob("lib/python*/site-packages/nvidia/cu*/bin/compute-sanitizer")
    program = shutil.which("compute-sanitizer") or next(map(str, site), None)
    if program is None:
        return {"skipped": "compute-sanitizer is not installed: python -m pip install nvidia-cuda-sanitizer-api"}
    options = ["--error-exitcode", "9", "--target-processes", "all"]
    return {
        tool: outcome([program, "--tool", tool, *options, *pytest_command("cuda and sanitize")], seconds / 2)
        for tool in ("memcheck", "racecheck")
    }


def capability() -> str:
    """That of the GPU, as 90 for 9.0."""
    from nbsmce._cuda.launch import capability_of

    return str(capability_of(0))


# -- speed -------------------------------------------------------------------------------------------------------------


def gpu_seconds(torch: Any, call: Callable[[], Any], repeats: int = 12) -> float:
    """The median time of a call on the GPU.

    The GPU sleeps first, until the host, which some peers keep busy for longer than the GPU, has started every call.
    """
    for _ in range(3):
        call()
    torch.cuda._sleep(SLEEP)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(events)) * 1e-3


def host_seconds(torch: Any, call: Callable[[], Any], repeats: int = 300) -> float:
    """How long the host takes to start a call."""
    call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    seconds = (time.perf_counter() - start) / repeats
    torch.cuda.synchronize()
    return seconds


def available(makers: dict[str, Maker], torch: Any, x: Any, missing: set[str]) -> Iterator[tuple[str, Call]]:
    """The calls of the libraries that can be imported."""
    for library, make in makers.items():
        try:
            yield library, make(torch, x)
        except Exception as error:  # a peer that is not installed, or does not take this
            missing.add(f"{library}: {type(error).__name__}: {error}".splitlines()[0])


def copy_rate(torch: Any) -> float:
    """Bytes read and written in a second by a copy."""
    source = torch.empty(BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * BYTES / gpu_seconds(torch, lambda: target.copy_(source))


def overhead(torch: Any, missing: set[str]) -> dict[str, float]:
    """What the host takes for each call of each library."""
    small = torch.randn(8, 128, device="cuda")
    return {
        f"{task}: {library}": host_seconds(torch, call)
        for task, makers in TASKS.items()
        for library, call in available(makers, torch, small, missing)
    }


def cases() -> Iterator[tuple[bool, str, int, str]]:
    """``(whether by peers that compile for each size, dtype, classes, task)``: what matters most comes first."""
    yield from itertools.product((False,), DTYPES, CLASSES, TASKS)
    later = [c for c in CLASSES if c not in FIRST]
    for classes, dtype, task in itertools.product((*FIRST, *later), DTYPES, TASKS):
        yield True, dtype, classes, task


def measure(torch: Any, until: float) -> dict[str, Any]:
    """Every case, until the time is over; those that are left are named."""
    missing: set[str] = set()
    rate = copy_rate(torch)
    found: dict[str, Any] = {"copy bytes per second": rate, "host seconds": overhead(torch, missing), "rows": []}
    ours: dict[tuple[str, str, int], float] = {}
    left = list(cases())
    while left and time.monotonic() < until:
        compiled, dtype, classes, task = left.pop(0)
        makers = {name: make for name, make in TASKS[task].items() if (name in COMPILED) is compiled}
        x = (torch.randn(rows_of(dtype, classes), classes, device="cuda") * 3).to(getattr(torch, dtype))
        for library, call in available(makers, torch, x, missing):
            try:
                seconds = gpu_seconds(torch, call)
            except Exception as error:  # a peer that does not take this size
                missing.add(f"{library}, {dtype}, {classes} classes: {type(error).__name__}")
                continue
            if library == "nbsmce":
                ours[task, dtype, classes] = seconds
            moved = MOVED.get(task, 2) * x.numel() * ITEMSIZES[dtype] / seconds
            row = {"task": task, "dtype": dtype, "classes": classes, "library": library, "seconds": seconds}
            own = ours.get((task, dtype, classes))
            row |= {"bytes per second": moved, "of copy": moved / rate, "times nbsmce": own and seconds / own}
            found["rows"].append(row)
    cut = [
        f"{task}, {dtype}, {classes} classes{', compiled peers' * compiled}" for compiled, dtype, classes, task in left
    ]
    return found | {"missing": sorted(missing), "not measured": cut}


# -- the report --------------------------------------------------------------------------------------------------------


def as_table(found: dict[str, Any]) -> str:
    # A task's peers together, in whichever order they were measured.
    rows = sorted(found.get("rows", []), key=lambda r: (r["task"], DTYPES.index(r["dtype"]), r["classes"]))
    lines = [f"{'task':29}{'dtype':10}{'classes':>8}  {'library':15}{'GB/s':>8}{'of copy':>9}{'time / nbsmce':>15}"]
    for r in rows:
        ratio = f"{r['times nbsmce']:.2f}" if r["times nbsmce"] else ""
        rate = f"{r['bytes per second'] / 1e9:8.0f}{r['of copy']:9.0%}"
        lines.append(f"{r['task']:29}{r['dtype']:10}{r['classes']:8}  {r['library']:15}{rate}{ratio:>15}")
    lines += [f"host: {name}: {s * 1e6:.1f} us" for name, s in found.get("host seconds", {}).items()]
    if found.get("not measured"):
        lines.append(
            f"{len(found['not measured'])} cases were not measured, for the time was over; the JSON names them"
        )
    return "\n".join(lines)


def draw(found: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(DTYPES), len(TASKS), figsize=(18, 12), sharex=True, sharey=True, squeeze=False)
    for i, dtype in enumerate(DTYPES):
        for j, task in enumerate(TASKS):
            chosen = [r for r in found["rows"] if (r["dtype"], r["task"]) == (dtype, task)]
            for library in dict.fromkeys(r["library"] for r in chosen):
                own = [r for r in chosen if r["library"] == library]
                axes[i][j].plot([r["classes"] for r in own], [r["of copy"] for r in own], ".-", label=library)
            axes[i][j].set(xscale="log", title=f"{task}, {dtype}", ylim=(0, 1.1))
            axes[i][j].legend(fontsize=6)
    figure.supxlabel("classes")
    figure.supylabel("share of the measured copy rate (bytes that must be moved, for each byte of logits 2 or 3)")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("report"), help="a folder")
    parser.add_argument("--minutes", type=float, default=8.0)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from nbsmce._cuda import driver
    from nbsmce._cuda.device import SIMULATED

    reason = "NUMBA_ENABLE_CUDASIM is set, and a simulator has no speed" if SIMULATED else driver.problem()
    if reason is not None:
        print(f"no report: {reason}", file=sys.stderr)
        return 2
    start, seconds = time.monotonic(), options.minutes * 60
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "devices": driver.devices(),
        "packages": packages(),
        "kernels": outcome([sys.executable, str(HERE / "gpu_kernels.py"), capability()], seconds * SHARES["kernels"]),
        "tests": outcome(pytest_command("cuda"), seconds * SHARES["tests"]),
        "sanitizer": sanitizer(seconds * SHARES["sanitizer"]),
    }  # fmt: skip
    try:
        import torch

    except ImportError as error:
        report["speed"] = {"skipped": f"PyTorch measures the time: {error}"}
    else:
        report["speed"] = measure(torch, start + seconds - 20)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "report.json").write_text(json.dumps(report, indent=1))
    table = as_table(report["speed"])
    (options.output / "report.txt").write_text(table + "\n")
    print(table)
    print(f"tests: status {report['tests']['status']}; {options.output / 'report.json'} has the rest")
    if report["speed"].get("rows"):
        try:
            draw(report["speed"], options.output / "report.png")
        except ImportError:
            print("no picture: Matplotlib is not installed")
    return 0 if report["tests"]["status"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
