"""Is HEAD slower than BASE? Exit status 0: no. 1: yes. 2: it could not be measured.

    python asv_bench/gate.py main                      # the last commit against main
    python asv_bench/gate.py BASE HEAD --markdown FILE # two commits, with a table for a pull request
    python asv_bench/gate.py BASE .                    # the working tree, or any folder with the package

Both commits are unpacked, and a process of each is timed in turns, some milliseconds at a time: what slows the machine
down slows both. Where a process lands in memory can make the same code some percent slower for as long as it lives, so
this is done with several pairs of processes, and a case counts by the median of its pairs. A second process of BASE
takes turns with them: by how much it differs from the first is noise, and raises the factor where there is much. What
is slower by more than the factor is measured once more in fresh processes, and has to be slower again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from benchmarks.cases import FEW_CLASSES, L1, L2, MEMORY, TINY
from workers import ROOT, Case, Worker, prepare, rounds

# Between what unchanged code shows and a slowdown of a fifth: gate_trial.py measures both.
FACTOR = 1.10
PAIRS, ROUNDS = 3, 40
BATCH = 4e-3  # seconds of calls in a row: many short turns, so that some meet a quiet machine

Ratios = dict[Case, float]

FUNCTIONS = [
    "softmax",
    "log_softmax",
    "logsumexp",
    "softmax_backward",
    "cross_entropy",
    "cross_entropy_with_grad",
    "cross_entropy_backward",
]
CASES = [
    *(Case(function, shape) for function in FUNCTIONS for shape in (TINY, L1, L2, FEW_CLASSES)),
    *(Case(function, MEMORY) for function in ("softmax_out", "logsumexp", "cross_entropy_with_grad")),
    Case("softmax", "64x21x1024@1"),
    *(
        Case(function, L2, dtype)
        for function in ("softmax", "cross_entropy_with_grad")
        for dtype in ("float64", "bfloat16")
    ),
]


def unpacked(commit: str, folder: Path) -> Path:
    """The package of a commit, or of a folder such as "."; it is Python alone, so there is nothing to build."""
    if (Path(commit) / "nbsmce").is_dir():
        return Path(commit).resolve()
    archive = subprocess.run(["git", "archive", commit, "nbsmce"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def typical(times: list[float]) -> float:
    """The lower quartile: other work on the machine only ever adds time."""
    return statistics.quantiles(times, n=4)[0]


def measure(base: Path, head: Path, cases: list[Case], pairs: int) -> tuple[Ratios, Ratios]:
    """How long head takes of base, and a second process of base of the first, for each case that both have."""
    ratios: dict[Case, list[float]] = {case: [] for case in cases}
    controls: dict[Case, list[float]] = {case: [] for case in cases}
    for _ in range(pairs):
        with Worker("nbsmce", base) as old, Worker("nbsmce", head) as new, Worker("nbsmce", base) as again:
            for case in cases:
                (number, no_base), (_, no_head), _ = prepare([(w, case) for w in (old, new, again)], BATCH)
                if no_head and not no_base:
                    raise RuntimeError(f"{case}: {no_head}")
                if no_base:
                    continue
                before, after, control = map(typical, rounds([(w, number) for w in (old, new, again)], ROUNDS))
                ratios[case].append(after / before)
                controls[case].append(control / before)
    return tuple({case: statistics.median(v) for case, v in each.items() if v} for each in (ratios, controls))


def seen(factor: float, controls: Ratios) -> float:
    """The factor that this run can tell from nothing: more than asked for where base differs from itself by much."""
    noise = sorted(abs(math.log(ratio)) for ratio in controls.values())
    return max(factor, math.exp(1.5 * noise[int(0.9 * len(noise))]))


def report(first: Ratios, second: Ratios, factor: float, asked: float) -> tuple[str, list[Case]]:
    """A table in Markdown, and the cases that were slower twice."""
    slower = [case for case, ratio in second.items() if ratio > factor]
    lines = ["| case | head / base | again | |", "|---|---|---|---|"]
    for case, ratio in sorted(first.items(), key=lambda item: -item[1]):
        again = f"{second[case]:.3f}" if case in second else ""
        verdict = "**slower**" if case in slower else "faster" if ratio < 1 / factor else ""
        lines.append(f"| {case} | {ratio:.3f} | {again} | {verdict} |")
    count = f"{len(slower)} of {len(first)} cases are slower, twice, by more than {100 * (factor - 1):.0f} %."
    if factor > asked:
        count += " Smaller differences could not be told from noise."
    return "\n".join([count, "", *lines, ""]), slower


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("head", nargs="?", default="HEAD")
    parser.add_argument("--factor", type=float, default=FACTOR)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of processes")
    parser.add_argument("--again", type=int, default=PAIRS + 2, help="pairs for what looks slower")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose names contain it")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in str(case)]
    with contextlib.ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        try:
            base, head = (unpacked(c, f) for c, f in zip((options.base, options.head), folders, strict=True))
            first, controls = measure(base, head, cases, options.pairs)
            if not first:
                raise RuntimeError("no case was measured")
            factor = seen(options.factor, controls)
            suspects = [case for case, ratio in first.items() if ratio > factor]
            second: Ratios = {}
            if suspects:
                second, controls = measure(base, head, suspects, options.again)
                factor = seen(factor, controls)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", None)
            print(f"not measured: {told.decode() if told else error}", file=sys.stderr)
            return 2
    text, slower = report(first, second, factor, options.factor)
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    return int(bool(slower))


if __name__ == "__main__":
    raise SystemExit(main())
