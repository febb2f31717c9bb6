"""R10: a container's share of the processors. That it is read is also in tests/test_threads.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import succeeded

ROOT = Path("/sys/fs/cgroup")


@pytest.fixture
def quota():
    """A function that makes a group with so many processors, and gives the file to join it by."""
    unified = (ROOT / "cgroup.controllers").exists()
    group = (ROOT if unified else ROOT / "cpu") / "nbsmce-test"
    if not unified and not (ROOT / "cpu" / "cpu.cfs_quota_us").exists():
        pytest.skip("there are no control groups")

    def limited(processors: float) -> Path:
        amount = str(int(processors * 100_000))
        if unified:
            (group / "cpu.max").write_text(f"{amount} 100000")
        else:
            (group / "cpu.cfs_quota_us").write_text(amount)
        return group / "cgroup.procs"

    try:
        group.mkdir(exist_ok=True)
        limited(1)
    except OSError as error:
        pytest.skip(f"no quota can be set: {error}")
    yield limited
    group.rmdir()


@pytest.mark.parametrize("processors", [0.5, 1, 2])
def test_the_default_is_nearly_the_best(quota, processors, results, warm):
    """At least 0.9 of the calls that the best fixed number of threads makes, in turns in one process.

    Processes of their own differed by 15 % with one number of threads.
    """
    code = """
    import os, sys, time
    open(sys.argv[1], "w").write(str(os.getpid()))
    import numpy as np, nbsmce
    x = np.zeros((512, 1000), np.float32)
    default = nbsmce.get_num_threads()
    nbsmce.softmax(x)
    calls = {threads: [] for threads in (default, 1, 2, 4)}
    for _ in range(20):
        for threads in calls:
            nbsmce.set_num_threads(threads)
            time.sleep(0.15)  # what the turn before has overdrawn is paid back
            end, made = time.monotonic() + 0.3, 0
            while time.monotonic() < end:
                nbsmce.softmax(x, out=x); made += 1
            calls[threads].append(made)
    typical = {threads: np.median(made) for threads, made in calls.items()}
    assert typical[default] >= 0.9 * max(typical.values()), (default, typical)
    """
    succeeded(code, quota(processors), env=warm)


def test_idle_threads_take_no_time(results, warm):
    """Of the second after a call."""
    code = """
    import time
    import numpy as np, nbsmce
    nbsmce.set_num_threads(4)
    for _ in range(50): nbsmce.softmax(np.zeros((600, 500), np.float32))
    before = time.process_time()
    time.sleep(1)
    print(time.process_time() - before)
    """
    assert float(succeeded(code, env=warm)) < 0.01
