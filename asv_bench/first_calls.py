"""What is compiled: the kernels of each function, and how long its first call takes in a fresh process.

    python asv_bench/first_calls.py --json FILE

A first call compiles, or loads what an earlier process has stored; the second dtype is float64 after float32. Times
are the medians of processes; asv measures the same (``benchmarks/cold_start.py``). The table is Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import ceilings
from benchmarks.cold_start import ARRAYS, COUNT, FIRST, FirstCall, Specialisations, printed

# In a process that has compiled none yet.
POSSIBLE = """
from nbsmce._cpu import warmup
for text, *_ in warmup.missing(({!r},), ("float32",)):
    print(text)
"""
COLUMNS = {
    "compiled by the first call": "kernels",
    "first call / s": "first",
    "with stored code / s": "stored",
    "second dtype / s": "second",
    "kernels for a dtype": "possible",
}


def row(function: str, count: int) -> dict[str, Any]:
    """The kernels and the seconds of a function's first calls."""
    clocks = FirstCall()

    def seconds(track: Any) -> float:
        return statistics.median(track(function) for _ in range(count))

    return {
        "function": function,
        "kernels": int(printed(f"{ARRAYS}; {FIRST[function]}\n{COUNT}")),
        "first": seconds(clocks.track_first_call_seconds),
        "stored": seconds(clocks.track_first_call_seconds_stored),
        "second": seconds(clocks.track_second_dtype_seconds),
        "possible": sorted(printed(POSSIBLE.format(function)).splitlines()),
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['machine']}\n\n| | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS))
    for each in result["functions"]:
        values = [each[key] for key in COLUMNS.values()]
        cells = [f"{v:.2f}" if isinstance(v, float) else str(v if isinstance(v, int) else len(v)) for v in values]
        print(f"| `{each['function']}` | {' | '.join(cells)} |")
    kernels = sorted({text.removesuffix(" for float32") for each in result["functions"] for text in each["possible"]})
    print(f"\nAll kernels for float32, {len(kernels)}: {', '.join(f'`{text}`' for text in kernels)}.")
    print(f"\nCompiled after every function was called with three layouts and options: {result['after_all']}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", nargs="+", choices=FIRST, default=list(FIRST), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    options = parser.parse_args()
    start = time.perf_counter()
    result = {"machine": ceilings.machine(), "functions": [row(name, options.rounds) for name in options.functions]}
    result["after_all"] = Specialisations().track_compiled_specialisations()
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    print(f"\nMeasured in {(time.perf_counter() - start) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
