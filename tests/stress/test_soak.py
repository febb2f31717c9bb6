"""R11: nothing grows."""

from __future__ import annotations

import sys

import pytest
from processes import scaled, succeeded


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_calls(results, warm):
    """Memory, threads and file descriptors after many calls are what they were."""
    code = """
    import os, sys, threading
    import numpy as np, nbsmce
    x, y = np.ones((3, 10), np.float32), np.ones((300, 400), np.float32)
    t, out = np.zeros(3, np.int64), np.empty((300, 400), np.float32)
    def some(count):
        for i in range(count):
            nbsmce.softmax(x); nbsmce.logsumexp(x); nbsmce.cross_entropy(x, t); nbsmce.log_softmax(x, out=x)
            if i % 50 == 0:
                nbsmce.softmax(y, out=out); nbsmce.cross_entropy_with_grad(y, np.zeros(300, np.int64))
                try: nbsmce.cross_entropy(x, t + 10)
                except IndexError: pass
            if i % 500 == 0:
                other = threading.Thread(target=lambda: nbsmce.softmax(y)); other.start(); other.join()
                pid = os.fork()
                if pid == 0: nbsmce.softmax(y); os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
    def state():
        nbsmce.softmax(y)
        resident = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return resident, len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
    calls = int(sys.argv[1]) // 4
    some(max(2000, calls // 10))
    before = state()
    some(calls)
    after = state()
    assert after[1:] == before[1:], (before, after)
    print(after[0] - before[0])
    """
    grown = int(succeeded(code, scaled(100_000, 10_000_000), env=warm, timeout=7200))
    assert grown < 1 << 20
