"""nbsmce beside PyTorch, SciPy, JAX and scikit-learn on the CPU, and beside the memory limit, with what is required.

    python asv_bench/compare_cpu.py                                   # everything, float32
    python asv_bench/compare_cpu.py --functions softmax --shapes 1x10 8192x100 --rounds 5
    python asv_bench/compare_cpu.py --dtypes float64 float16 bfloat16 --libraries PyTorch
    python asv_bench/compare_cpu.py --shapes 1000x2048@0 64x1000x49@1 2048x1000F   # class axis not last
    python asv_bench/compare_cpu.py --costs                           # dtypes, spreads and options against nbsmce

Each library has a process of its own and the same number of threads. They are timed in turns; a ratio is the median of
the ratios of all rounds, and above 1 nbsmce is faster. In brackets stands what is required, and "!" marks less than it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import goals
from benchmarks.cases import DTYPES, THREADS, TRAFFIC
from benchmarks.libraries import LIBRARIES
from workers import LIMIT, Case, Worker, prepare, rounds

SHAPES = ["1x10", "32x10", "65536x10", "8192x100", "2048x1000", "512x32000", "128x128256", "4x2000000"]
LIMIT_FROM = 32e6  # bytes of logits; fewer are in a cache, and memory is no limit


def ratio(times: list[float], own: list[float]) -> float:
    return statistics.median(t / o for t, o in zip(times, own, strict=True))


def compare(case: Case, workers: list[Worker], count: int) -> dict[str, Any]:
    """One row: seconds of each library, ratios, share of the limit, and the reasons of those that are left out."""
    present = [w for w in workers if w.name != LIMIT or goals.size(case)[2] >= LIMIT_FROM]
    ready = prepare((worker, case) for worker in present)
    row: dict[str, Any] = {"case": str(case), "operation": case.operation, "shape": case.shape, "dtype": case.dtype}
    row["skipped"] = {w.name: why for w, (_, why) in zip(present, ready, strict=True) if why}
    runs = [(w, number) for w, (number, why) in zip(present, ready, strict=True) if not why]
    times = dict(zip([w.name for w, _ in runs], rounds(runs, count), strict=True))
    own = times["nbsmce"]
    row["seconds"] = {name: statistics.median(each) for name, each in times.items()}
    row["ratios"] = {name: ratio(times[name], own) for name in times if name not in ("nbsmce", LIMIT)}
    row["required"] = {name: goals.ratio(case, name) for name in row["ratios"]}
    if LIMIT in times:
        row["share_of_limit"] = ratio(times[LIMIT], own)
        row["required"][LIMIT] = goals.SHARE_OF_LIMIT if goals.size(case)[2] > goals.LARGE else 0.0
    return row


def cell(value: float | None, required: float) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} ({required:.1f})" + " !" * (value < required)


def line(row: dict[str, Any], peers: list[str]) -> str:
    cells = [f"{row['operation']:26}{row['shape']:13}{row['dtype']:9}{1e6 * row['seconds']['nbsmce']:12.1f}"]
    cells += [f"{cell(row['ratios'].get(p), row['required'].get(p, 0)):>16}" for p in peers]
    cells.append(f"{cell(row.get('share_of_limit'), row['required'].get(LIMIT, 0)):>16}")
    return "".join(cells)


def table(options: argparse.Namespace, peers: list[str]) -> list[dict[str, Any]]:
    heads = "".join(f"{p:>16}" for p in [*peers, "memory limit"])
    print(f"{'':26}{'':13}{'':9}{'nbsmce / us':>12}{heads}")
    rows = []
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(name)) for name in ["nbsmce", *peers, LIMIT]]
        for dtype in options.dtypes:
            for operation in options.functions:
                for shape in options.shapes:
                    rows.append(compare(Case(operation, shape, dtype), workers, options.rounds))
                    print(line(rows[-1], peers), flush=True)
    return rows


def costs(count: int) -> list[dict[str, Any]]:
    print(f"\n{'nbsmce against itself':64}{'takes, of that':>16}{'allowed':>10}")
    rows = []
    with Worker("nbsmce") as one, Worker("nbsmce") as other:
        for name, case, plain, allowed in goals.costs():
            ready = prepare([(one, case), (other, plain)])
            times, own = rounds([(one, ready[0][0]), (other, ready[1][0])], count)
            found = ratio(times, own)
            rows.append({"name": name, "case": str(case), "against": str(plain), "ratio": found, "allowed": allowed})
            what = f"{case.operation} {case.shape}, {name}"
            print(f"{what:64}{found:16.2f}{allowed:10.2f}" + " !" * (found > allowed), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", nargs="+", choices=TRAFFIC, default=list(TRAFFIC), metavar="NAME")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="SHAPE")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["float32"])
    peers = [name for name in LIBRARIES if name != "nbsmce"]
    parser.add_argument("--libraries", nargs="*", choices=peers, default=peers)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--costs", action="store_true", help="only nbsmce against itself")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {THREADS} threads each, {options.rounds} rounds\n")
    result: dict[str, Any] = {"command": sys.argv[1:], "threads": THREADS, "rounds": options.rounds}
    if options.costs:
        result["costs"] = costs(options.rounds)
    else:
        rows = result["rows"] = table(options, options.libraries)
        pairs = [(r, name, value) for r in rows for name, value in r["ratios"].items()]
        pairs += [(r, LIMIT, r["share_of_limit"]) for r in rows if "share_of_limit" in r]
        short = [r for r, name, value in pairs if value < r["required"][name]]
        print(f"\n{len(pairs) - len(short)} of {len(pairs)} ratios are as required, {len(short)} are not")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
