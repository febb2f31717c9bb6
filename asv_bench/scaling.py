"""Time against size, from where two threads are faster than one, and a model of what a call costs.

    python asv_bench/scaling.py --json docs/images/scaling.json --picture docs/images/scaling.png
    python asv_bench/scaling.py --read docs/images/scaling.json --picture FILE --bandwidth 100 460

Everything is timed in turns: nbsmce and PyTorch with one and two threads, each a process of its own. The crossover is
measured apart: nbsmce with one thread beside nbsmce that uses its threads for every call, calls that follow at once and
calls after half a millisecond without work. Tables are Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ceilings
import model
from gate import typical
from workers import PARALLEL, Case, Worker, prepare, rounds

from nbsmce._cpu.launch import SERIAL_WORK

FUNCTIONS = ["softmax_out", "cross_entropy", "softmax_backward_out"]
ROWS = [4**k for k in range(9)]  # 1 to 65536
ROW_CLASSES = [10, 100, 1000]
NUMBERS = 1 << 21
CLASSES = [2 * 4**k for k in range(11)]  # 2 to 2^21, of as many numbers each
RUNS = [(library, threads) for library in ("nbsmce", "PyTorch") for threads in ceilings.THREAD_COUNTS]
CROSSING = [1 << k for k in range(12, 21)]
PAUSES = [0.0, 5e-4]
BATCH = 5e-3
AFTER_PAUSE = 8  # calls of one turn that each follow a pause
CORES = [4, 8, 16, 64]  # to predict for
BANDWIDTHS = [100.0, 460.0]  # GB/s of memory: four channels of DDR4, twelve of DDR5


def name(library: str, threads: int) -> str:
    return f"{library}, {threads} thread" + "s" * (threads > 1)


def sizes() -> list[tuple[int, int, str]]:
    """Rows, classes, and what they are a part of."""
    by_rows = [(rows, classes, f"{classes} classes") for classes in ROW_CLASSES for rows in ROWS]
    return by_rows + [(NUMBERS // classes, classes, f"{NUMBERS} numbers") for classes in CLASSES]


def times(functions: list[str], count: int) -> list[dict[str, Any]]:
    """Seconds of every run at every size."""
    found = []
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(library, threads=threads)) for library, threads in RUNS]
        for function in functions:
            for rows, classes, series in sizes():
                case = Case(function, f"{rows}x{classes}")
                ready = prepare([(w, case) for w in workers], BATCH)
                runs = [(w, number) for w, (number, why) in zip(workers, ready, strict=True) if not why]
                spent = rounds(runs, count)
                seconds = {name(w.name, w.threads): typical(t) for (w, _), t in zip(runs, spent, strict=True)}
                found.append({"operation": function, "rows": rows, "classes": classes, "series": series})
                found[-1]["seconds"] = seconds
    return found


def crossings(functions: list[str], count: int) -> list[dict[str, Any]]:
    """How many times as fast as one thread the threads are, by numbers."""
    found = []
    with Worker("nbsmce", threads=1) as alone, Worker(PARALLEL) as together:
        for function in functions:
            for classes in ROW_CLASSES:
                curves: dict[float, dict[int, float]] = {pause: {} for pause in PAUSES}
                for numbers in CROSSING:
                    case = Case(function, f"{max(1, round(numbers / classes))}x{classes}")
                    (one, _), (two, _) = prepare([(alone, case), (together, case)], BATCH)
                    for pause, curve in curves.items():
                        most = AFTER_PAUSE if pause else max(one, two)
                        runs = [(alone, min(one, most)), (together, min(two, most))]
                        serial, parallel = rounds(runs, 2 * count, pause)
                        curve[numbers] = statistics.median(s / p for s, p in zip(serial, parallel, strict=True))
                for pause, curve in curves.items():
                    found.append({"operation": function, "classes": classes, "pause": pause})
                    found[-1]["ratios"] = {str(n): r for n, r in curve.items()}
    return found


def crossover(curves: Iterable[dict[int, float]]) -> int | None:
    """From how many numbers on threads are worth it: the limit by which all curves together gain most.

    A curve has how many times as fast as one thread they are. None if they are better left alone.
    """
    curves = list(curves)
    known = sorted({n for curve in curves for n in curve})

    def gain(limit: float) -> float:
        """A single size counts by a tenth at the most, since others who share the machine disturb it."""
        return sum(min(0.1, max(-0.1, r - 1)) for curve in curves for n, r in curve.items() if n >= limit)

    best = max([*known, math.inf], key=gain)
    return int(best) if best < math.inf else None


def curve_of(point: dict[str, Any]) -> dict[int, float]:
    return {int(n): r for n, r in point["ratios"].items()}


def cell(point: dict[str, Any]) -> str:
    """Microseconds of nbsmce with one and with all threads, and in brackets those of PyTorch."""
    each = []
    for library in dict.fromkeys(library for library, _ in RUNS):
        found = [point["seconds"].get(name(library, threads)) for threads in ceilings.THREAD_COUNTS]
        each.append(" / ".join("-" if t is None else f"{1e6 * t:.3g}" if t < 1e-3 else f"{1e6 * t:.0f}" for t in found))
    return f"{each[0]} ({', '.join(each[1:])})"


def time_tables(points: list[dict[str, Any]]) -> None:
    """Rows downwards for each function, and one table with classes downwards."""
    of = {(p["operation"], p["series"], p["rows"], p["classes"]): cell(p) for p in points}
    functions = list(dict.fromkeys(p["operation"] for p in points))
    threads = " / ".join(map(str, ceilings.THREAD_COUNTS))
    print(f"\nMicroseconds with {threads} threads, in brackets PyTorch")
    for function in functions:
        print(f"\n| `{function}`, rows | " + " | ".join(f"{c} classes" for c in ROW_CLASSES) + " |")
        print("|---|" + "---|" * len(ROW_CLASSES))
        for rows in ROWS:
            print(f"| {rows} | " + " | ".join(of[function, f"{c} classes", rows, c] for c in ROW_CLASSES) + " |")
    print(f"\n| classes of {NUMBERS} numbers | " + " | ".join(f"`{f}`" for f in functions) + " |")
    print("|---|" + "---|" * len(functions))
    for c in CLASSES:
        print(f"| {c} | " + " | ".join(of[f, f"{NUMBERS} numbers", NUMBERS // c, c] for f in functions) + " |")


def crossover_table(points: list[dict[str, Any]]) -> None:
    shown = [str(n) for n in CROSSING]
    print("\nOne thread's time over that of all, and from how many numbers on all are worth it\n")
    print(f"| | classes | calls | {' | '.join(shown)} | worth it from |\n|---|---|---|{'---|' * len(shown)}---|")
    for p in points:
        when = "at once" if not p["pause"] else f"after {1e3 * p['pause']:g} ms"
        cells = " | ".join(f"{p['ratios'][n]:.2f}" for n in shown)
        print(f"| `{p['operation']}` | {p['classes']} | {when} | {cells} | {crossover([curve_of(p)])} |")
    for pause in PAUSES:
        curves = [curve_of(p) for p in points if p["pause"] == pause]
        when = "that follow at once" if not pause else f"after {1e3 * pause:g} ms"
        print(f"\nCalls {when}: one limit for all would be {crossover(curves)}; it is {SERIAL_WORK}.")
    print(f"\nAll together: {crossover(map(curve_of, points))}.")


def measured(points: list[dict[str, Any]], function: str, by_rows: bool) -> list[tuple[model.Size, float]]:
    """The times of nbsmce that the model is fitted to, or those that it has not seen."""
    chosen = [p for p in points if p["operation"] == function and p["series"].endswith("classes") == by_rows]
    return [
        (model.Size(p["rows"], p["classes"], threads), p["seconds"][name("nbsmce", threads)])
        for p in chosen
        for threads in ceilings.THREAD_COUNTS
    ]


def fitted(result: dict[str, Any]) -> tuple[list[model.Model], model.Machine]:
    machine = model.Machine(*(result["ceilings"][key] for key in ("bytes", "bandwidth", "peak")))
    functions = dict.fromkeys(p["operation"] for p in result["times"])
    return [model.fit(f, measured(result["times"], f, True), machine) for f in functions], machine


def model_tables(result: dict[str, Any], bandwidths: list[float]) -> None:
    models, machine = fitted(result)
    heads = " | ".join(f"ns a number, {c} classes" for c in ROW_CLASSES)
    print("\nThe model, and by how much it is off, in the middle and in nine of ten cases: of those that it was fitted")
    print("to, and of those that it has not seen\n")
    print(f"| | call / us | wake-up / us | {heads} | of L3 | of memory | fitted | not seen |")
    print("|---|---|---|" + "---|" * len(ROW_CLASSES) + "---|---|---|---|")
    for m in models:
        each = " | ".join(f"{1e9 * m.number[c]:.3f}" for c in ROW_CLASSES)
        off = []
        for by_rows in (True, False):
            middle, most = model.errors(m, measured(result["times"], m.operation, by_rows), machine)
            off.append(f"{100 * middle:.0f} %, {100 * most:.0f} %")
        cells = [f"`{m.operation}`", f"{1e6 * m.call:.1f}", f"{1e6 * m.wake:.1f}", each]
        print(f"| {' | '.join([*cells, f'{m.cached:.2f}', f'{m.share:.2f}', *off])} |")
    print("\nPredicted, not measured: rows of 1000 classes out of cache with memory of so many GB/s: what is reached,")
    print("what limits it, and with how many processors of this kind memory is what does\n")
    print("| | memory | " + " | ".join(f"{c} processors" for c in CORES) + " | memory is full with |")
    print("|---|---|" + "---|" * len(CORES) + "---|")
    for m in models:
        for b in bandwidths:
            each = " | ".join(predicted(m, c, 1e9 * b) for c in CORES)
            print(f"| `{m.operation}` | {b:g} | {each} | {model.saturated(m, 1e9 * b):.1f} |")
    print("\nPredicted, not measured: from how many numbers, in the cache, 0.8 of all processors is reached\n")
    print("| | " + " | ".join(f"{c} processors" for c in CORES) + " |\n|---|" + "---|" * len(CORES))
    for m in models:
        each = " | ".join(f"{model.full(m, c) / 1e6:.1f} million" for c in CORES)
        print(f"| `{m.operation}` | {each} |")


def predicted(m: model.Model, processors: int, bandwidth: float) -> str:
    """GB/s out of cache, and what limits them."""
    share = processors / model.saturated(m, bandwidth)
    return f"{min(share, 1.0) * m.share * bandwidth / 1e9:.0f}, {'memory' if share >= 1 else 'arithmetic'}"


def show(result: dict[str, Any], bandwidths: list[float]) -> None:
    print(f"{result['machine']}")
    time_tables(result["times"])
    crossover_table(result["crossings"])
    model_tables(result, bandwidths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=FUNCTIONS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing; the numbers are there")
    parser.add_argument("--picture", type=Path, metavar="FILE")
    parser.add_argument("--bandwidth", nargs="+", type=float, default=BANDWIDTHS, metavar="GB/S", help="to predict for")
    options = parser.parse_args()
    if options.read:
        result = json.loads(options.read.read_text())
    else:
        start = time.perf_counter()
        result = {"machine": ceilings.machine(), "rounds": options.rounds, "ceilings": ceilings.measure(typical)}
        result["times"] = times(options.functions, options.rounds)
        result["crossings"] = crossings(options.functions, options.rounds)
        result["minutes"] = round((time.perf_counter() - start) / 60, 1)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    show(result, options.bandwidth)
    print(f"\nMeasured in {result['minutes']} minutes.")
    if options.picture:
        from scaling_picture import draw

        draw(result).savefig(options.picture, dpi=100)


if __name__ == "__main__":
    main()
