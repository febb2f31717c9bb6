"""How many threads the kernels may use."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterator

_CGROUPS = "/sys/fs/cgroup"
_limit = 0


def set_num_threads(n: int) -> None:
    """Let calls of this process use up to `n` threads, the calling one included.

    Parameters
    ----------
    n : int
        At least 1. Results do not depend on it, to the bit.

    See Also
    --------
    get_num_threads : The present limit.

    Examples
    --------
    >>> import nbsmce
    >>> before = nbsmce.get_num_threads()
    >>> nbsmce.set_num_threads(1)
    >>> nbsmce.get_num_threads()
    1
    >>> nbsmce.set_num_threads(before)
    """
    global _limit
    try:
        wanted = operator.index(n)
    except TypeError:
        raise TypeError(f"n must be an integer, got {n!r}") from None
    if wanted < 1:
        raise ValueError(f"n must be at least 1, got {wanted}")
    _limit = wanted


def get_num_threads() -> int:
    """How many threads a call may use.

    Returns
    -------
    int
        What :func:`set_num_threads` has set; else the environment variable ``NBSMCE_NUM_THREADS``; else the processors
        that this process may run on, which a container's quota limits too.

    See Also
    --------
    set_num_threads : Change the limit.

    Examples
    --------
    >>> import nbsmce
    >>> nbsmce.get_num_threads() >= 1
    True
    """
    global _limit
    if not _limit:
        _limit = _default()
    return _limit


def _default() -> int:
    text = os.environ.get("NBSMCE_NUM_THREADS", "")
    if not text:
        return available_cpus()
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"NBSMCE_NUM_THREADS must be a positive integer, got {text!r}")
    return int(text)


def available_cpus() -> int:
    """The processors of the affinity mask, and no more than a container's quota, rounded up."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        count = os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(quota) for quota in _quotas())]))


def _text(path: str) -> str:
    """What a file of the system says, nothing if it cannot be read. (``pathlib`` is slow to import.)"""
    try:
        with open(path) as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


def _groups(controller: str) -> Iterator[str]:
    """The paths of this process in the cgroup hierarchies: of version 2 for "", else of a controller of version 1."""
    for line in _text("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == controller or (controller and controller in controllers.split(",")):
            yield path.strip("/")


def _quotas() -> Iterator[float]:
    """Every limit, in processors, that a container or a service manager has set."""
    for group in _groups(""):
        parts = group.split("/") if group else []
        for depth in range(len(parts) + 1):
            yield from _quota("/".join([_CGROUPS, *parts[:depth], "cpu.max"]))
    for group in _groups("cpu"):
        for folder in (f"{_CGROUPS}/cpu/{group}", f"{_CGROUPS}/cpu"):
            yield from _quota(f"{folder}/cpu.cfs_quota_us", f"{folder}/cpu.cfs_period_us")


def _quota(*files: str) -> Iterator[float]:
    try:
        quota, period = " ".join(map(_text, files)).split()
        if quota not in ("max", "-1"):
            yield int(quota) / int(period)
    except ValueError:
        pass
