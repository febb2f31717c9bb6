"""R2: forks of every kind. A child that hangs, dies, prints or computes something else is a failure."""

from __future__ import annotations

import os
import sys

import pytest
from processes import scaled, succeeded

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# ``child()`` ends a forked process with status 0 if its results are right; ``wait(pid)`` takes five seconds at most.
TOOLS = """
    import os, signal, sys, threading, time, warnings
    warnings.simplefilter("error")
    import numpy as np
    import nbsmce
    LIMIT = 5.0
    nbsmce.set_num_threads(2)
    x = np.random.default_rng(0).standard_normal((600, 500), dtype=np.float32)
    right = nbsmce.softmax(x)
    rows, other = int(sys.argv[1]), np.ones((4, 50_000), np.float32)
    other_right = nbsmce.log_softmax(other)

    def child():
        out = np.full_like(x, -7)
        good = (nbsmce.softmax(x, out=out) == right).all() and (nbsmce.log_softmax(other) == other_right).all()
        os._exit(0 if good else 9)

    def wait(pid):
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                assert status == 0, f"status {status:#x}"
                return
            time.sleep(0.0005)
        os.kill(pid, signal.SIGKILL)
        raise AssertionError("a child hangs")

    def forked(work=child):
        pid = os.fork()
        if pid == 0:
            try:
                work()
            finally:
                os._exit(8)
        wait(pid)
"""

KINDS = {
    "from the main thread": """
        forked()
        assert (nbsmce.softmax(x) == right).all()
    """,
    "twice": """
        def again():
            forked()
            child()
        forked(again)
    """,
    "of an orphan": """
        read, write = os.pipe()
        def leave():
            if os.fork() == 0:
                while os.getppid() == parent: time.sleep(0.0005)
                good = (nbsmce.softmax(x) == right).all()
                os.write(write, b"y" if good else b"n")
                os._exit(0)
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            parent = os.getpid()
            leave()
        os.waitpid(pid, 0)
        os.set_blocking(read, False)
        end = time.monotonic() + LIMIT
        got = b""
        while not got and time.monotonic() < end:
            try: got = os.read(read, 1)
            except BlockingIOError: time.sleep(0.0005)
        assert got == b"y", got
        os.close(read); os.close(write)
    """,
    "from another thread": """
        worker = threading.Thread(target=forked)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # there are two threads of Python's indeed
            worker.start()
            worker.join()
    """,
    "with SIGTERM handled": """
        signal.signal(signal.SIGTERM, lambda *_: None)
        forked()
    """,
    "with SIGTERM ignored": """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        forked()
    """,
}


@pytest.mark.parametrize("kind", KINDS)
def test_forks(kind, results, warm):
    body = "    for _ in range(rows):\n" + KINDS[kind]
    assert succeeded(TOOLS + body, scaled(20, 200), env=warm, timeout=600) == ""


def test_forks_while_another_thread_computes(results, warm):
    code = """
    import itertools
    stop = threading.Event()
    big = np.ones((2000, 1000), np.float32)
    def busy():
        while not stop.is_set():
            nbsmce.softmax(big, out=big)
    worker = threading.Thread(target=busy)
    worker.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for _ in range(rows):
            forked()
    stop.set()
    worker.join()
    """
    assert succeeded(TOOLS + code, scaled(40, 400), env=warm, timeout=600) == ""


def test_forks_while_another_thread_compiles(tmp_path):
    """At random moments of a cold start; nothing is on the disk."""
    code = """
    import random
    calls = [lambda d=d, f=f: f(np.ones((3, 40), d)) for d in (np.float64, np.float16)
             for f in (nbsmce.softmax, nbsmce.logsumexp, lambda z: nbsmce.softmax_backward(z, z))]
    worker = threading.Thread(target=lambda: [call() for call in calls])
    LIMIT = 30  # a fork waits until what is being compiled is there
    def compiles():
        assert abs(nbsmce.nll_loss(np.full((3, 4), -2.0), np.zeros(3, int)) - 2.0) < 1e-12
        child()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        worker.start()
        forks = 0
        while worker.is_alive() or forks == 0:
            time.sleep(random.random() * 0.1)
            forked(compiles)
            forks += 1
    worker.join()
    assert forks > 1
    """
    for _ in range(scaled(1, 20)):
        assert succeeded(TOOLS + code, 0, env={"NBSMCE_CACHE": "0"}, timeout=600) == ""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("pool", ["multiprocessing", "concurrent"])
def test_pools(method, pool, results, warm, tmp_path):
    (tmp_path / "pool_work.py").write_text(
        "import numpy as np, nbsmce\n"
        "def work(i):\n"
        "    return float(nbsmce.softmax(np.full((300, 400), i, np.float32)).sum())\n"
    )
    code = """
    import sys, warnings
    sys.path.insert(0, sys.argv[3])
    import multiprocessing, concurrent.futures
    import pool_work
    context = multiprocessing.get_context(sys.argv[1])
    expected = [pool_work.work(i) for i in range(6)]
    for _ in range(int(sys.argv[4])):
        if sys.argv[2] == "multiprocessing":
            with context.Pool(2) as pool:
                got = pool.map_async(pool_work.work, range(6)).get(timeout=60)
        else:
            with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
                got = list(pool.map(pool_work.work, range(6), timeout=60))
        assert got == expected, got
    """
    code = code.replace("import sys, warnings", "import sys, warnings; warnings.filterwarnings('ignore', '.*fork')")
    assert succeeded(code, method, pool, tmp_path, scaled(1, 20), env=warm, timeout=600) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_helpers_are_gone_when_a_fork_comes(results, warm):
    """So Python does not warn of threads, and no lock is in a child that nobody gives back."""
    code = """
    def threads():
        return len(os.listdir("/proc/self/task"))
    forked()
    before = threads()
    nbsmce.softmax(x)
    assert threads() == before + 1, "a helper is there"
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert threads() == before, "the helper has ended, and starts with the next call"
    """
    assert succeeded(TOOLS + code, 0, env=warm) == ""
