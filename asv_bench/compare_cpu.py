"""nbsmce beside PyTorch, SciPy, JAX and scikit-learn on the CPU, and beside the memory limit, with what is required.

    python asv_bench/compare_cpu.py --json FILE                       # everything, in four sections
    python asv_bench/compare_cpu.py --sections axes costs             # some of them
    python asv_bench/compare_cpu.py --functions softmax --shapes 1x10 8192x100 --rounds 15
    python asv_bench/compare_cpu.py --dtypes float64 --libraries PyTorch

Each library has a process of its own and the same number of threads. They are timed in turns; a ratio is the median of
the ratios of all rounds, and above 1 nbsmce is faster. In brackets stands what is required, and "!" marks less than it.

The memory limit is the time of the fastest loop that only reads and writes as many arrays, over that of nbsmce. Where
the result is a new array, the system clears its pages: the fresh limit is the same loop writing to a new array.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import goals
from benchmarks.cases import DTYPES, THREADS, TRAFFIC
from benchmarks.libraries import LIBRARIES
from workers import FRESH, LIMIT, Case, Worker, prepare, rounds

SHAPES = ["1x10", "32x10", "65536x10", "8192x100", "2048x1000", "512x32000", "128x128256", "4x2000000"]
PEERS = [name for name in LIBRARIES if name != "nbsmce"]
LIMITS = {LIMIT: "memory limit", FRESH: "fresh limit"}
LIMIT_FROM = 32e6  # bytes of logits; fewer are in a cache, and memory is no limit


class Section(NamedTuple):
    """A table: all functions on these shapes."""

    title: str
    shapes: list[str]
    dtypes: list[str]


SECTIONS = {
    "float32": Section("float32", SHAPES, ["float32"]),
    "dtypes": Section("other dtypes", ["65536x10", "8192x100", "2048x1000", "512x32000"], DTYPES[1:]),
    "axes": Section("class axis not last", ["1000x2048@0", "64x1000x49@1", "2048x1000F"], ["float32"]),
}
COSTS = "costs"


def ratio(times: list[float], own: list[float]) -> float:
    return statistics.median(t / o for t, o in zip(times, own, strict=True))


def concerns(limit: str, case: Case) -> bool:
    """Whether a limit is measured for a case."""
    if goals.size(case)[2] < LIMIT_FROM:
        return False
    return limit == LIMIT or (TRAFFIC[case.operation][1] > 0 and not case.operation.endswith("_out"))


def compare(case: Case, workers: list[Worker], count: int) -> dict[str, Any]:
    """One row: seconds of each library, ratios to nbsmce, what is required, and why some are left out."""
    present = [w for w in workers if w.name not in LIMITS or concerns(w.name, case)]
    ready = prepare((worker, case) for worker in present)
    row: dict[str, Any] = {"case": str(case), "operation": case.operation, "shape": case.shape, "dtype": case.dtype}
    row["skipped"] = {w.name: why for w, (_, why) in zip(present, ready, strict=True) if why}
    runs = [(w, number) for w, (number, why) in zip(present, ready, strict=True) if not why]
    times = dict(zip([w.name for w, _ in runs], rounds(runs, count), strict=True))
    own = times["nbsmce"]
    row["seconds"] = {name: statistics.median(each) for name, each in times.items()}
    row["ratios"] = {name: ratio(each, own) for name, each in times.items() if name != "nbsmce"}
    row["required"] = {name: goals.share(case) if name in LIMITS else goals.ratio(case, name) for name in row["ratios"]}
    return row


def judged(rows: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """For each column how many ratios are as required, and of how many something is required."""
    found = {}
    for name in [*PEERS, *LIMITS, COSTS]:
        asked = [row["ratios"][name] >= row["required"][name] for row in rows if row["required"].get(name)]
        if asked:
            found[name] = sum(asked), len(asked)
    return found


def cell(value: float | None, required: float) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" ({required:.1f})" + " !" * (value < required)) * (required > 0)


def line(row: dict[str, Any], columns: list[str]) -> str:
    cells = [f"{row['operation']:26}{row['shape']:13}{row['dtype']:9}{1e6 * row['seconds']['nbsmce']:12.1f}"]
    cells += [f"{cell(row['ratios'].get(name), row['required'].get(name, 0)):>15}" for name in columns]
    return "".join(cells)


def verdict(counts: dict[str, tuple[int, int]]) -> str:
    each = ", ".join(f"{LIMITS.get(name, name)} {good} of {count}" for name, (good, count) in counts.items())
    good, count = (sum(column) for column in zip((0, 0), *counts.values(), strict=True))
    return f"as required: {each}; together {good} of {count}"


def table(section: Section, functions: list[str], peers: list[str], count: int) -> list[dict[str, Any]]:
    columns = [*peers, *LIMITS]
    heads = "".join(f"{LIMITS.get(name, name):>15}" for name in columns)
    print(f"{'':26}{'':13}{'':9}{'nbsmce / us':>12}{heads}")
    rows = []
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(name)) for name in ["nbsmce", *columns]]
        for dtype in section.dtypes:
            for operation in functions:
                for shape in section.shapes:
                    rows.append(compare(Case(operation, shape, dtype), workers, count))
                    print(line(rows[-1], columns), flush=True)
    return rows


def costs(functions: list[str], count: int) -> list[dict[str, Any]]:
    """nbsmce against itself; a ratio is again the other time over its own, and required is one over what is allowed."""
    print(f"{'nbsmce against itself':64}{'takes, of that':>16}{'allowed':>10}")
    rows = []
    with Worker("nbsmce") as one, Worker("nbsmce") as other:
        for name, case, plain, allowed in goals.costs():
            if case.operation not in functions:
                continue
            ready = prepare([(one, case), (other, plain)])
            times, own = rounds([(one, ready[0][0]), (other, ready[1][0])], count)
            row = {"name": name, "case": str(case), "against": str(plain)}
            row |= {"ratios": {COSTS: ratio(own, times)}, "required": {COSTS: 1 / allowed}}
            rows.append(row)
            found = 1 / row["ratios"][COSTS]
            what = f"{case.operation} {case.shape}, {name}"
            print(f"{what:64}{found:16.2f}{allowed:10.2f}" + " !" * (found > allowed), flush=True)
    return rows


def chosen(options: argparse.Namespace) -> dict[str, Section]:
    """The sections that are asked for; shapes and dtypes that are named make one of their own."""
    if options.shapes or options.dtypes:
        return {"chosen": Section("chosen", options.shapes or SHAPES, options.dtypes or ["float32"])}
    return {name: SECTIONS.get(name, Section("options, dtypes and spreads", [], [])) for name in options.sections}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*SECTIONS, COSTS]
    parser.add_argument("--sections", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--functions", nargs="+", choices=TRAFFIC, default=list(TRAFFIC), metavar="NAME")
    parser.add_argument("--shapes", nargs="+", metavar="SHAPE", help="in place of the sections")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, help="in place of the sections")
    parser.add_argument("--libraries", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {THREADS} threads each, {options.rounds} rounds")
    result: dict[str, Any] = {"command": sys.argv[1:], "date": time.strftime("%Y-%m-%d"), "threads": THREADS}
    result |= {"rounds": options.rounds, "sections": {}}
    for name, section in chosen(options).items():
        start = time.perf_counter()
        print(f"\n== {section.title}")
        if name == COSTS:
            rows = costs(options.functions, options.rounds)
        else:
            rows = table(section, options.functions, options.libraries, options.rounds)
        spent = time.perf_counter() - start
        result["sections"][name] = {"minutes": round(spent / 60, 1), "as_required": judged(rows), "rows": rows}
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{verdict(judged(rows))}; {spent / 60:.1f} minutes")
    print("\nAll sections:")
    for name, found in result["sections"].items():
        print(f"{name:9}{verdict(found['as_required'])}")


if __name__ == "__main__":
    main()
