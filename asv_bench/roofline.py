"""The roofline of this machine: what its memory, its caches and its arithmetic allow, and where each kernel stands.

    python asv_bench/roofline.py --json docs/images/roofline.json --picture docs/images/roofline.png
    python asv_bench/roofline.py --read docs/images/roofline.json --picture FILE

The ceilings are the fastest rounds of loops that only move or only compute (``ceilings.py``), the points the fastest
rounds of the kernels: others who share the machine only ever add time. Across are vector operations (``operations.py``)
for each byte of the arrays that a function has to read and write, upwards such operations in a second.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import ceilings
import operations
from benchmarks.cases import TRAFFIC
from workers import Case, Worker, prepare, rounds

FUNCTIONS = [name for name in TRAFFIC if f"{name}_out" not in TRAFFIC]  # new results would show how pages are cleared
SHAPES = {"in cache": "64x1000", "out of cache": "128x128256"}  # for each thread; the latter for all
COUNTED = {"in cache": "16x1000", "out of cache": "1x128256"}
BATCH = 4e-3


def shape_of(place: str, threads: int) -> str:
    rows, classes = SHAPES[place].split("x")
    return f"{int(rows) * threads}x{classes}" if place == "in cache" else SHAPES[place]


def points(functions: list[str], count: int) -> list[dict[str, Any]]:
    """For each function, place and number of threads the numbers handled in a second, and what each of them takes."""
    cases = [(function, place) for function in functions for place in SHAPES]
    each = operations.each_number([(function, COUNTED[place]) for function, place in cases])
    found = []
    for threads in ceilings.THREAD_COUNTS:
        with Worker("nbsmce", threads=threads) as worker:
            for (function, place), number in zip(cases, each, strict=True):
                shape = shape_of(place, threads)
                ((calls, _),) = prepare([(worker, Case(function, shape))], BATCH)
                (times,) = rounds([(worker, calls)], count)
                rows, classes = map(int, shape.split("x"))
                nbytes = 4 * sum(TRAFFIC[function])
                found.append({"operation": function, "place": place, "threads": threads, "shape": shape})
                found[-1] |= {"numbers_per_second": rows * classes / min(times), "bytes_per_number": nbytes}
                found[-1] |= {"operations_per_number": number}
    return found


def roof(found: dict[str, Any], point: dict[str, Any]) -> tuple[float, str]:
    """Numbers per second that the ceilings allow, and which of them it is."""
    threads = point["threads"]
    rows, classes = map(int, point["shape"].split("x"))
    arrays = TRAFFIC[point["operation"]]
    name = ceilings.level(4 * sum(arrays) * rows * classes, threads, found["caches"])
    moved = found["bandwidth"][ceilings.mix(*arrays)][name][str(threads)] / point["bytes_per_number"]
    computed = found["peak"][str(threads)] / point["operations_per_number"]
    return min((moved, name), (computed, "arithmetic"))


def show(result: dict[str, Any]) -> None:
    found = result["ceilings"]
    print(f"{result['machine']}\n\n| GB/s | threads | " + " | ".join(ceilings.LEVELS) + " |")
    print("|---|---|" + "---|" * len(ceilings.LEVELS))
    for arrays, levels in found["bandwidth"].items():
        for threads in levels["L1"]:
            each = " | ".join(f"{levels[name][threads] / 1e9:.0f}" for name in ceilings.LEVELS)
            print(f"| {arrays} | {threads} | {each} |")
    peaks = ", ".join(f"{p / 1e9:.1f} with {threads} threads" for threads, p in found["peak"].items())
    print(f"\nOperations on sixteen float32, 10^9 in a second: {peaks}.\n")
    print("| | shape | threads | operations for 16 numbers | 10^9 in a second | GB/s | of the roof | which is |")
    print("|---|---|---|---|---|---|---|---|")
    for p in result["points"]:
        limit, which = roof(found, p)
        done = p["numbers_per_second"]
        cells = [f"`{p['operation']}`", p["shape"].replace("x", " x "), str(p["threads"])]
        cells += [f"{16 * p['operations_per_number']:.1f}", f"{done * p['operations_per_number'] / 1e9:.2f}"]
        cells += [f"{done * p['bytes_per_number'] / 1e9:.1f}", f"{done / limit:.2f}", which]
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=FUNCTIONS, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing; the numbers are there")
    parser.add_argument("--picture", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.read:
        result = json.loads(options.read.read_text())
    else:
        start = time.perf_counter()
        result = {"machine": ceilings.machine(), "ceilings": ceilings.measure(rounds=options.rounds)}
        result["points"] = points(options.functions, options.rounds)
        result["minutes"] = round((time.perf_counter() - start) / 60, 1)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    print(f"\nMeasured in {result['minutes']} minutes.")
    if options.picture:
        from roofline_picture import draw

        draw(result).savefig(options.picture, dpi=100)


if __name__ == "__main__":
    main()
