"""R1: many Python threads at once, from a cold start."""

from __future__ import annotations

import sys

import pytest
from processes import scaled, succeeded

HAMMER = """
    import sys, threading, random
    if {torch}:
        import torch
        torch.set_num_threads(2)
    import calls
    path, threads, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    known, ready = calls.expected(path), calls.calls()
    names = list(ready)
    barrier, wrong, done = threading.Barrier(threads), [], []

    def hammer(seed):
        pick = random.Random(seed)
        barrier.wait()
        for _ in range(count):
            name = pick.choice(names)
            if ready[name]().tobytes() != known[name]:
                wrong.append(name)
            if {torch} and seed % 4 == 0:
                torch.softmax(torch.ones(300, 300), -1)
        done.append(seed)

    crowd = [threading.Thread(target=hammer, args=(i,)) for i in range(threads)]
    for thread in crowd: thread.start()
    for thread in crowd: thread.join()
    assert not wrong, wrong[:5]
    assert len(done) == threads
    print(len(done) * count)
"""


@pytest.mark.parametrize(("torch", "cache"), [(False, "0"), (True, "1")])
def test_sixteen_threads_from_a_cold_start(results, tmp_path, torch, cache):
    if torch:
        pytest.importorskip("torch")
    count = scaled(150, 10_000)
    env = {"NBSMCE_CACHE": cache, "NBSMCE_CACHE_DIR": str(tmp_path / "cache")}
    told = succeeded(HAMMER.replace("{torch}", str(torch)), results, 16, count, env=env, timeout=3600)
    assert int(told) == 16 * count


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_without_openmp(results, warm):
    """No OpenMP is asked for, so it does not matter whether there is one; Numba's threads are not started either."""
    code = (
        HAMMER.replace("{torch}", "False")
        + """
    maps = open("/proc/self/maps").read()
    assert "gomp" not in maps and "omppool" not in maps and "workqueue" not in maps, "a threading layer was loaded"
    """
    )
    succeeded(code, results, 16, scaled(50, 10_000), env=warm, timeout=3600)
