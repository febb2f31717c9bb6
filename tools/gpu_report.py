"""What a machine with a GPU says: are the results right, and how fast do they come? One command, at most 8 minutes.

    python tools/gpu_report.py --output report

Runs the tests marked ``cuda``, NVIDIA's compute-sanitizer on those marked ``sanitize``, and measures against the peers
that are installed. Writes ``report.json``, ``report.txt`` and, with Matplotlib, ``report.png``. Without a GPU it says
why there is none and ends with status 2. It has not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from gpu_peers import COMPILED, MOVED, TASKS, Call, Maker

ROOT = Path(__file__).parent.parent
CLASSES = (2, 10, 32, 128, 1000, 1024, 4096, 8192, 16384, 32000, 32768, 50257, 65536, 131072, 262144)
DTYPES = ("bfloat16", "float32", "float16", "float64")
BYTES = 1 << 28  # of the logits: several times the L2 cache
PACKAGES = ("nbsmce", "numpy", "numba", "numba-cuda", "cuda-core", "torch", "triton", "cupy", "liger-kernel", "quack")
SHARES = {"tests": 0.4, "sanitizer": 0.15}  # of the time, at most


def outcome(command: list[str], seconds: float, **variables: str) -> dict[str, Any]:
    """Run a program for at most so long."""
    start = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=seconds, check=False
        )
        tail, status = (done.stdout + done.stderr)[-2000:], done.returncode
    except subprocess.TimeoutExpired:
        tail, status = f"not done after {seconds:.0f} s", None
    return {"status": status, "seconds": round(time.monotonic() - start, 1), "tail": tail}


def version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def pytest_command(marker: str) -> list[str]:
    """Several processes where pytest-xdist is installed: most of the time goes into compiling kernels."""
    several = ["-n", str(min(8, os.cpu_count() or 1))] if version("pytest-xdist") and marker == "cuda" else []
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


# -- speed -------------------------------------------------------------------------------------------------------------


def gpu_seconds(torch: Any, call: Callable[[], Any], repeats: int = 12) -> float:
    """The median time of a call on the GPU."""
    for _ in range(3):
        call()
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


def measure(torch: Any, until: float) -> dict[str, Any]:
    """Every task, dtype and number of classes, until the time is over; the peers that compile for each size last."""
    missing: set[str] = set()
    rate = copy_rate(torch)
    found = {"copy bytes per second": rate, "host seconds": overhead(torch, missing), "rows": [], "cut": False}
    ours: dict[tuple[str, str, int], float] = {}
    for compiled, dtype, classes, task in itertools.product((False, True), DTYPES, CLASSES, TASKS):
        makers = {name: make for name, make in TASKS[task].items() if (name in COMPILED) is compiled}
        itemsize, key = getattr(torch, dtype).itemsize, (task, dtype, classes)
        x = (torch.randn(max(1, BYTES // (classes * itemsize)), classes, device="cuda") * 3).to(getattr(torch, dtype))
        for library, call in available(makers, torch, x, missing):
            if time.monotonic() > until:
                return found | {"missing": sorted(missing), "cut": True}
            try:
                seconds = gpu_seconds(torch, call)
            except Exception as error:  # a peer that does not take this size
                missing.add(f"{library}, {dtype}, {classes} classes: {type(error).__name__}")
                continue
            if library == "nbsmce":
                ours[key] = seconds
            moved = MOVED.get(task, 2) * x.numel() * itemsize / seconds
            row = {"task": task, "dtype": dtype, "classes": classes, "library": library, "seconds": seconds}
            ratio = seconds / ours[key] if key in ours else None
            found["rows"].append(row | {"bytes per second": moved, "of copy": moved / rate, "times nbsmce": ratio})
    return found | {"missing": sorted(missing)}


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
        "packages": {name: version(name) for name in PACKAGES},
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
