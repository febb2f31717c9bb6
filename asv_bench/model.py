"""What a call costs, from few numbers: t = call + wake-up + max(numbers x ns / processors, bytes / bandwidth).

``ns`` is what one number takes a processor while all arrays lie in a cache; it depends on the number of classes, and is
interpolated between those that were measured. Threads are worth as many processors as they are to loops that only
compute. ``bandwidth`` is what loops that only read and write reach with as many bytes, and in the last cache and in
memory shares of it. The wake-up is paid by calls that use more than one thread. Parameters are fitted to measured
times; whatever has more processors than were measured is a prediction, in which each is worth as much as the first.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Sequence

import numpy as np
from benchmarks.cases import TRAFFIC
from ceilings import LEVELS, mix

from nbsmce._cpu import launch

NUMBER = 4  # bytes of a float32


@dataclasses.dataclass(frozen=True)
class Size:
    """A call: float32 rows, classes, and the threads that it may use."""

    rows: int
    classes: int
    threads: int

    @property
    def numbers(self) -> int:
        return self.rows * self.classes

    @property
    def used(self) -> int:
        """Threads that have something to do: few numbers stay in one, and each takes a grain at a time."""
        if self.numbers < launch.SERIAL_WORK:
            return 1
        return min(self.threads, -(-self.numbers // launch._GRAIN))


@dataclasses.dataclass(frozen=True)
class Machine:
    """What ``ceilings.measure`` has found: for each level bytes per second, and of how many bytes; and the peak."""

    bytes: dict[str, dict[str, int]]
    bandwidth: dict[str, dict[str, dict[str, float]]]
    peak: dict[str, float]

    def processors(self, threads: int) -> float:
        """What so many threads are worth."""
        return self.peak[str(threads)] / self.peak["1"]

    def reached(self, operation: str, size: Size, shares: tuple[float, float]) -> float:
        """The bandwidth of an operation that reaches these shares of the last cache's and the memory's.

        It is interpolated between the levels.
        """
        arrays, threads = TRAFFIC[operation], str(size.used)
        known = [self.bytes[name][threads] for name in LEVELS]
        speeds = [self.bandwidth[mix(*arrays)][name][threads] for name in LEVELS]
        speeds[-2:] = [speed * share for speed, share in zip(speeds[-2:], shares, strict=True)]
        return math.exp(np.interp(math.log(sum(arrays) * NUMBER * size.numbers), np.log(known), np.log(speeds)))


@dataclasses.dataclass(frozen=True)
class Model:
    """The parameters of one function, in seconds and as a share."""

    operation: str
    call: float
    wake: float
    cached: float  # of the last cache's bandwidth
    share: float  # of the memory's
    number: dict[int, float]  # seconds of a number for a processor, by classes

    def of_number(self, classes: int) -> float:
        known = sorted(self.number)
        logs = [math.log(self.number[c]) for c in known]
        return math.exp(np.interp(math.log(classes), [math.log(c) for c in known], logs))

    def seconds(self, size: Size, machine: Machine) -> float:
        compute = size.numbers * self.of_number(size.classes) / machine.processors(size.used)
        nbytes = sum(TRAFFIC[self.operation]) * NUMBER * size.numbers
        moved = nbytes / machine.reached(self.operation, size, (self.cached, self.share))
        return self.call + (size.used > 1) * self.wake + max(compute, moved)


Measured = Sequence[tuple[Size, float]]


def fit(operation: str, measured: Measured, machine: Machine) -> Model:
    """The parameters whose times differ by the smallest factors from what was measured."""
    from scipy.optimize import least_squares

    classes = sorted({size.classes for size, _ in measured})

    def model(logs: np.ndarray) -> Model:
        values = [float(v) for v in np.exp(logs)]
        return Model(operation, *values[:4], dict(zip(classes, values[4:], strict=True)))

    def errors(logs: np.ndarray) -> list[float]:
        found = model(logs)
        return [math.log(found.seconds(size, machine) / t) for size, t in measured]

    shortest = min(t for _, t in measured)
    each = [min(t / size.numbers for size, t in measured if size.classes == c) for c in classes]
    least, most = [1e-9, 1e-9, 0.05, 0.05, *[1e-12] * len(classes)], [1, 1, 1, 1, *[1e-3] * len(classes)]
    bounds = np.log(least), np.log(most)
    found = []
    for wake, share in itertools.product((1, 5), (0.3, 0.8)):  # what limits a size changes by steps
        start = np.log([shortest, wake * shortest, share, share, *each])
        found.append(least_squares(errors, np.clip(start, *bounds), bounds=bounds, loss="soft_l1", f_scale=0.1))
    return model(min(found, key=lambda fitted: fitted.cost).x)


def errors(model: Model, measured: Measured, machine: Machine) -> tuple[float, float]:
    """By which factor, less 1, the model is off: in the middle, and at the most of nine tenths."""
    found = [math.exp(abs(math.log(model.seconds(size, machine) / t))) - 1 for size, t in measured]
    return statistics.median(found), statistics.quantiles(found, n=10)[-1]


def saturated(model: Model, bandwidth: float, classes: int = 1000) -> float:
    """How many processors it takes until memory of so many bytes per second is what limits them."""
    return bandwidth * model.share * model.of_number(classes) / (sum(TRAFFIC[model.operation]) * NUMBER)


def full(model: Model, processors: int, classes: int = 1000) -> float:
    """From how many numbers on a call takes at most 1.25 of what the arithmetic takes all processors, in cache."""
    fixed = model.call + model.wake
    return max(4 * fixed * processors / model.of_number(classes), float(launch._GRAIN * processors))
