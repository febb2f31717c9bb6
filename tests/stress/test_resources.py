"""R4: what the system refuses."""

from __future__ import annotations

import sys

import pytest
from processes import run, scaled, succeeded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")

COMPUTE = """
    x = np.random.default_rng(0).standard_normal((600, 500), dtype=np.float32)
    e = np.exp(x.astype(float) - x.max(1, keepdims=True))
    expected = e / e.sum(1, keepdims=True)
    def check():
        assert np.allclose(nbsmce.softmax(x), expected, rtol=1e-5, atol=0)
"""


def test_no_further_thread(results, warm):
    """A refused thread is done without."""
    code = (
        """
    import os, resource
    import numpy as np, nbsmce
    """
        + COMPUTE
        + """
    nbsmce.set_num_threads(1)
    check()
    if os.geteuid() == 0:
        os.setresuid(65534, 65534, 65534)  # limits on processes do not hold for root
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    nbsmce.set_num_threads(4)
    for _ in range(20): check()
    from nbsmce._cpu.team import team
    assert not team._helpers
    """
    )
    succeeded(code, env=warm)


def test_no_memory_for_results(results, warm):
    """MemoryError, and then everything is as before."""
    code = (
        """
    import resource
    import numpy as np, nbsmce
    """
        + COMPUTE
        + """
    big = np.zeros((1, 1 << 28), np.float32)
    check()
    used = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
    for _ in range(20):
        try: nbsmce.softmax(big)
        except MemoryError: pass
        else: raise AssertionError
        check()
    """
    )
    succeeded(code, env=warm)


def test_the_kth_allocation_fails(results, warm):
    """NumPy's allocations fail one after the other: MemoryError or the right result, never anything else."""
    code = (
        """
    import sys
    import numpy as np, nbsmce
    """
        + COMPUTE
        + """
    t = np.zeros(600, np.int64)
    real = np.empty, np.zeros
    state = [0, 0]
    def failing(function):
        def counted(*arguments, **options):
            state[0] += 1
            if state[0] == state[1]: raise MemoryError("planted")
            return function(*arguments, **options)
        return counted
    def calls():
        check()
        nbsmce.logsumexp(x)
        nbsmce.cross_entropy_with_grad(x[:, ::-1], t)  # nothing is prepared for that
        return nbsmce.cross_entropy_with_grad(x, t)
    loss, gradient = calls()
    np.empty, np.zeros = map(failing, real)
    failures = 0
    for state[1] in range(1, 1000):
        state[0] = 0
        try:
            calls()
        except MemoryError:
            failures += 1
            continue
        break
    assert failures == state[1] - 1 and failures >= 5, (failures, state)
    np.empty, np.zeros = real
    again = calls()
    assert again[0] == loss and (again[1] == gradient).all()
    """
    )
    succeeded(code, env=warm)


def test_no_executable_memory():
    """As with systemd's MemoryDenyWriteExecute: one exception says why, each time."""
    code = """
    import ctypes
    import numpy as np, nbsmce
    if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, since Linux 6.3
        print("none")
    else:
        for _ in range(2):
            try: nbsmce.softmax(np.ones((2, 3)))
            except Exception as error: print(type(error).__name__, error)
            else: print("computed")
    """
    done = run(code)
    if done.stdout == "none\n":
        pytest.skip("this kernel cannot forbid executable memory")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(set(done.stdout.splitlines())) == 1
    assert done.stdout.startswith("PermissionError [Errno 13] cannot allocate executable memory")


def test_calls_at_exit(results, warm):
    """From ``atexit``, before and after the helpers have gone, and from a daemon thread that does not end."""
    code = (
        """
    import atexit, sys, threading
    import numpy as np, nbsmce
    """
        + COMPUTE
        + """
    def last():
        check()
        print("right")
    atexit.register(last)
    check()
    atexit.register(last)
    def forever():
        while True: nbsmce.softmax(x)
    threading.Thread(target=forever, daemon=True).start()
    """
    )
    for _ in range(scaled(5, 100)):
        assert succeeded(code, env=warm) == "right\nright\n"
