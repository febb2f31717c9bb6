"""Processes that time calls when they are told to, so that two libraries or two commits are measured in turns.

In one process the thread pools of two libraries disturb each other: the threads of one go on spinning for milliseconds
while the other needs the processors. A worker that waits for its next request waits in ``read`` and takes none.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.cases import THREADS, TRAFFIC, Inputs, use_threads
from benchmarks.libraries import Skip, build
from benchmarks.limit import limit
from benchmarks.timing import calls_in, seconds

ROOT = Path(__file__).parent.parent
BATCH = 0.02  # seconds of calls in a row
PAUSE = 0.003  # until a library's threads have stopped spinning

# What takes the place of a library:
LIMIT = "limit"  # the memory limit for as many reads and writes
FRESH = "fresh limit"  # the same where the result is a new array, which the system has to clear
PARALLEL = "nbsmce, always parallel"  # with the threads that it is given, however few the numbers are


@dataclasses.dataclass(frozen=True)
class Case:
    """One operation on one input (see ``benchmarks.cases.Inputs``)."""

    operation: str
    shape: str
    dtype: str = "float32"
    spread: float = 3.0
    option: str = ""

    def __str__(self) -> str:
        more = [self.option] * bool(self.option) + [f"spread {self.spread:g}"] * (self.spread != 3)
        return " ".join([self.operation, self.shape, self.dtype, *more])


@functools.cache
def _compiled() -> tempfile.TemporaryDirectory:
    """Where the processes of a run keep compiled code: measured commits do not belong among the user's."""
    return tempfile.TemporaryDirectory(prefix="nbsmce-")


class Worker:
    """A process with one library. ``path`` is the folder that nbsmce is imported from."""

    def __init__(self, library: str, path: Path = ROOT, threads: int = THREADS) -> None:
        self.name, self.threads = library, threads
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(path), "NBSMCE_CACHE_DIR": _compiled().name},
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, **request: Any) -> None:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        reply = json.loads(line) if line else {"error": f"the process of {self.name} has ended"}
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply

    def time(self, number: int, pause: float = 0.0) -> float:
        """Seconds of one call, as the mean of ``number`` in a row, each after so many seconds without work."""
        self.ask(number=number, pause=pause)
        return self.answer()["seconds"]


def prepare(workers: Iterable[tuple[Worker, Case]], duration: float = BATCH) -> list[tuple[int, str]]:
    """How many calls take ``duration``, and the reason if it is none. All compile at the same time."""
    workers = list(workers)
    for worker, case in workers:
        worker.ask(library=worker.name, threads=worker.threads, case=dataclasses.asdict(case))
    ready = [worker.answer() for worker, _ in workers]
    for (worker, _), reply in zip(workers, ready, strict=True):
        if "skip" not in reply:
            worker.ask(calibrate=duration)  # one after the other
            reply |= worker.answer()
    return [(reply.get("number", 0), reply.get("skip", "")) for reply in ready]


def rounds(workers: list[tuple[Worker, int]], count: int, pause: float = 0.0) -> list[list[float]]:
    """The seconds of each worker in each round; every round begins with another one."""
    times: list[list[float]] = [[] for _ in workers]
    for turn in range(count):
        for k in range(len(workers)):
            which = (turn + k) % len(workers)
            worker, number = workers[which]
            time.sleep(PAUSE)
            times[which].append(worker.time(number, pause))
    return times


def _prepared(library: str, threads: int, case: Case) -> Any:
    inputs = Inputs(case.shape, case.dtype, case.spread, case.option)
    if library in (LIMIT, FRESH):
        call = limit(*TRAFFIC[case.operation], inputs.x.nbytes, threads, fresh=library == FRESH)
    elif library == PARALLEL:
        from nbsmce._cpu import launch

        launch.SERIAL_WORK = 0
        call = build("nbsmce", case.operation, inputs, threads)
    else:
        call = build(library, case.operation, inputs, threads)
    call()
    return call


def _serve() -> None:
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    use_threads(THREADS)
    call = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "case" in request:
                call = None  # frees its arrays
                call = _prepared(request["library"], request["threads"], Case(**request["case"]))
                reply: dict[str, Any] = {}
            elif "calibrate" in request:
                reply = {"number": calls_in(call, request["calibrate"])}
            else:
                reply = {"seconds": seconds(call, request["number"], request["pause"])}
        except Skip as reason:
            reply = {"skip": str(reason)}
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=channel, flush=True)


if __name__ == "__main__":
    _serve()
