"""How calls are timed beside asv's own clock, and the class that the benchmarks of an operation share."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

from .cases import THREADS, TRAFFIC, Inputs, use_threads
from .libraries import build
from .limit import limit


def once(setup: Callable[..., None]) -> Callable[..., None]:
    """A setup that does its work once for a process and its parameters: asv calls it before every sample."""

    @functools.wraps(setup)
    def wrapper(self: Any, *parameters: Any) -> None:
        if getattr(self, "_ready", None) != parameters:
            setup(self, *parameters)
            self._ready = parameters

    return wrapper


def seconds(call: Callable[[], Any], number: int = 1, pause: float = 0.0) -> float:
    """Of one call, as the mean of ``number`` in a row, each after ``pause`` seconds that do not count."""
    if pause:
        return statistics.fmean(_after(pause, call) for _ in range(number))
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def _after(pause: float, call: Callable[[], Any]) -> float:
    time.sleep(pause)
    return seconds(call)


def calls_in(call: Callable[[], Any], duration: float) -> int:
    """How many calls in a row take that long."""
    number, spent = 1, seconds(call)
    while number * spent < duration and number < 1 << 20:
        number = min(10 * number, int(duration / spent) + 1)
        spent = seconds(call, number)
        if number * spent >= duration / 2:
            break
    return number


def paired(first: Callable[[], Any], second: Callable[[], Any], rounds: int = 15) -> tuple[float, float]:
    """The medians of two calls timed in turns."""
    numbers = calls_in(first, 5e-3), calls_in(second, 5e-3)
    times: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        for each, call, number in zip(times, (first, second), numbers, strict=True):
            time.sleep(2e-3)  # until the threads of the other have stopped spinning
            each.append(seconds(call, number))
    return statistics.median(times[0]), statistics.median(times[1])


class Operation:
    """Base of benchmarks with a library and a shape: ``operation`` is the function that is timed.

    The first call in ``setup`` compiles. One process is a round; within it asv takes the samples.
    """

    operation = ""
    param_names = ("library", "shape")
    rounds = 1
    repeat = (3, 30, 0.5)
    warmup_time = 0.05

    @once
    def setup(self, library: str, shape: str) -> None:
        self.prepare(library, Inputs(shape))

    def prepare(self, library: str, inputs: Inputs) -> None:
        use_threads(THREADS)
        self.inputs = inputs
        self.call = build(library, self.operation, inputs)
        self.call()

    def share_of_limit(self) -> float:
        """How much of the memory limit, measured in turns with it, the operation reaches."""
        best = limit(*TRAFFIC[self.operation], self.inputs.x.nbytes)
        spent, least = paired(self.call, best)
        return round(100 * least / spent, 1)

    def gigabytes_per_second(self) -> float:
        number = calls_in(self.call, 5e-3)
        spent = statistics.median(seconds(self.call, number) for _ in range(15))
        return round(self.inputs.bytes_moved(self.operation) / spent / 1e9, 3)


class ByFunction(Operation):
    """Base of benchmarks with a library and a function, all on one shape."""

    param_names = ("library", "function")
    shape = ""

    @once
    def setup(self, library: str, function: str) -> None:
        self.operation = function
        self.prepare(library, Inputs(self.shape))
