"""Does the gate catch a slowdown, and is it quiet when nothing has changed?

    python asv_bench/gate_trial.py                  # ten runs of nothing changed, one of each planted slowdown
    python asv_bench/gate_trial.py --runs 2 --only 512x1000

It prints the ratios that unchanged code shows, which is what the gate's factor has to leave room for, and ends with
status 1 if there was an alarm without a reason or a reason without an alarm.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from workers import ROOT

GATE = Path(__file__).with_name("gate.py")
PLANTED = ("softmax", "cross_entropy_with_grad")
SLOWDOWN = 0.2
SLOWER = """

def _slower(function):
    import functools, time

    @functools.wraps(function)
    def wrapper(*arguments, **keywords):
        start = time.perf_counter()
        result = function(*arguments, **keywords)
        end = time.perf_counter() + SLOWDOWN * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass
        return result

    return wrapper


NAME = _slower(NAME)
"""


def gate(head: str, only: str) -> tuple[int, dict[str, float], set[str]]:
    """The exit status, the ratio of each case, and the cases that were called slower."""
    command = [sys.executable, str(GATE), str(ROOT), head, "--only", only]
    told = subprocess.run(command, capture_output=True, text=True)
    rows = re.findall(r"^\| (\S.*?) \| ([\d.]+) \| [\d.]* \| (.*?) \|$", told.stdout, flags=re.M)
    if told.returncode == 2 or not rows:
        raise SystemExit(told.stdout + told.stderr)
    return told.returncode, {n: float(r) for n, r, _ in rows}, {n for n, _, verdict in rows if "slower" in verdict}


def planted(function: str, folder: Path, slowdown: float = SLOWDOWN) -> Path:
    """The package with one function that takes longer by that share."""
    shutil.copytree(ROOT / "nbsmce", folder / "nbsmce", ignore=shutil.ignore_patterns("__pycache__"))
    init = folder / "nbsmce" / "__init__.py"
    init.write_text(init.read_text() + SLOWER.replace("NAME", function).replace("SLOWDOWN", str(slowdown)))
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose names contain it")
    options = parser.parse_args()
    wrong, seen = 0, []
    for run in range(options.runs):
        start = time.perf_counter()
        status, ratios, _ = gate(str(ROOT), options.only)
        wrong += status
        seen += ratios.values()
        spread = f"{min(ratios.values()):.3f} to {max(ratios.values()):.3f}"
        print(f"nothing changed, run {run + 1}: {'ALARM' if status else 'quiet'}, ratios {spread}, ", end="")
        print(f"{time.perf_counter() - start:.0f} s", flush=True)
    for function in PLANTED:
        with tempfile.TemporaryDirectory() as folder:
            status, ratios, slower = gate(str(planted(function, Path(folder))), options.only)
        mine = (f"{function} ", f"{function}_out ")
        hit = {name: r for name, r in ratios.items() if name.startswith(mine)}
        wrong += not status or bool(slower - hit.keys())
        text = ", ".join(f"{name} {r:.2f}" for name, r in hit.items())
        print(f"{function} slower by {100 * SLOWDOWN:.0f} %: {'caught' if status else 'MISSED'} ({text}); ", end="")
        print(f"others called slower: {len(slower - hit.keys())}", flush=True)
    if seen:
        outside = sum(abs(r - 1) > 0.05 for r in seen)
        print(f"nothing changed: {len(seen)} ratios from {min(seen):.3f} to {max(seen):.3f}, {outside} beyond 5 %")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
