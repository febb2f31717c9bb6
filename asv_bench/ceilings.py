"""What this machine can do at most: bytes per second from each cache and from memory, and vector operations per second.

Loops that only read and write, and loops that only compute (``benchmarks/limit.py``), timed in turns.
"""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asv.machine import Machine
from benchmarks.cases import THREADS, TRAFFIC
from benchmarks.limit import limit, peak
from benchmarks.timing import calls_in, seconds

LEVELS = ["L1", "L2", "L3", "memory"]
THREAD_COUNTS = sorted({1, THREADS})
BATCH = 4e-3  # seconds of one measurement
_OPERATIONS = 20_000_000
_USUAL = {"L1": 32 << 10, "L2": 1 << 20, "L3": 32 << 20}  # bytes, where the system does not tell them
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def machine() -> str:
    """Where and when something was measured."""
    return f"{Machine.get_defaults()['cpu']}, {THREADS} processors, {platform.system()}, {time.strftime('%Y-%m-%d')}"


@functools.cache
def caches() -> dict[str, int]:
    """The bytes of each cache; those of the first and the second level are a processor's own."""
    found = dict(_USUAL)
    for folder in _CACHES.glob("index*"):
        size = folder.joinpath("size").read_text().strip()
        if folder.joinpath("type").read_text().strip() != "Instruction" and size.endswith("K"):
            found["L" + folder.joinpath("level").read_text().strip()] = int(size[:-1]) << 10
    return found


def level(nbytes: float, threads: int, sizes: dict[str, int]) -> str:
    """The smallest cache that holds so many bytes of all threads together."""
    for name in LEVELS[:-1]:
        if nbytes <= sizes[name] * (1 if name == "L3" else threads):
            return name
    return LEVELS[-1]


def mix(reads: int, writes: int) -> str:
    return f"{reads} read, {writes} written"


def _footprint(name: str, threads: int) -> int:
    """Bytes that lie well inside a cache, and well outside of all."""
    if name == "memory":
        return 4 * caches()["L3"]
    return caches()[name] // 4 if name == "L3" else caches()[name] // 2 * threads


def _bandwidth(name: str, arrays: tuple[int, int], threads: int) -> tuple[Callable[[], None], float]:
    """A loop over memory that lies in a cache, and the bytes that it moves."""
    nbytes = _footprint(name, threads) // sum(arrays)
    once = limit(*arrays, nbytes, threads, rounds=2)
    times = 1 if name == "memory" else calls_in(once, BATCH)
    while times > 1 and seconds(limit(*arrays, nbytes, threads, times, rounds=1)) < BATCH / 2:
        times *= 2  # a single call is mostly the way to the threads
    return limit(*arrays, nbytes, threads, times), float(nbytes * sum(arrays) * times)


def measure(typical: Callable[[list[float]], float] = min, rounds: int = 15) -> dict[str, Any]:
    """Bytes per second by mix, level and threads; of how many bytes; operations per second by threads.

    The number of threads is a text, as all keys of JSON.
    """
    loops = {}
    for threads in THREAD_COUNTS:
        loops["", "peak", threads] = peak(_OPERATIONS, threads), float(_OPERATIONS)
        for arrays in sorted(set(TRAFFIC.values())):
            for name in LEVELS:
                loops[mix(*arrays), name, threads] = _bandwidth(name, arrays, threads)
    times: dict[Any, list[float]] = {key: [] for key in loops}
    for _ in range(rounds):
        for key, (call, _) in loops.items():
            times[key].append(seconds(call))
    found: dict[str, Any] = {"caches": caches(), "bytes": {}, "peak": {}, "bandwidth": {}}
    for name in LEVELS:
        found["bytes"][name] = {str(threads): _footprint(name, threads) for threads in THREAD_COUNTS}
    for (arrays, name, threads), (_, amount) in loops.items():
        place = found["bandwidth"].setdefault(arrays, {}).setdefault(name, {}) if arrays else found["peak"]
        place[str(threads)] = amount / typical(times[arrays, name, threads])
    return found
