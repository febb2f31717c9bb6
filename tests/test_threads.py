"""Threads: limits, several callers at once, forks."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from cases import random_logits

import nbsmce
from nbsmce import _threads


def test_the_limit():
    before = nbsmce.get_num_threads()
    try:
        nbsmce.set_num_threads(np.int64(3))
        assert nbsmce.get_num_threads() == 3
        with pytest.raises(ValueError, match="n must be at least 1, got 0"):
            nbsmce.set_num_threads(0)
        with pytest.raises(TypeError, match=r"n must be an integer, got 1\.5"):
            nbsmce.set_num_threads(1.5)
        assert nbsmce.get_num_threads() == 3
    finally:
        nbsmce.set_num_threads(before)


@pytest.mark.parametrize(
    ("value", "expected"), [("3", "3"), ("", None), ("0", "error"), ("x", "error"), ("-1", "error")]
)
def test_the_environment_variable(value, expected):
    code = "import nbsmce; print(nbsmce.get_num_threads())"
    env = {**os.environ, "NBSMCE_NUM_THREADS": value}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    if expected == "error":
        assert f"NBSMCE_NUM_THREADS must be a positive integer, got '{value}'" in done.stderr
    else:
        assert done.stdout.strip() == (expected or str(_threads.available_cpus()))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, 64),
        ({"user/cpu.max": "300000 100000", "cpu.max": "max 100000"}, 3),
        ({"user/cpu.max": "max 100000", "cpu.max": "200000 100000"}, 2),
        ({"cpu/user/cpu.cfs_quota_us": "250000", "cpu/user/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ({"cpu.max": "nonsense"}, 64),
        ({}, 64),
    ],
)
def test_a_containers_quota(monkeypatch, tmp_path, files, expected):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(_threads, "_CGROUPS", str(tmp_path))
    monkeypatch.setattr(_threads, "_groups", lambda controller: iter(["user"]))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert _threads.available_cpus() == expected


def test_many_callers_at_once():
    inputs = [random_logits((200 + i, 300), "float32", seed=i) for i in range(8)]
    expected = [nbsmce.softmax(x) for x in inputs]
    wrong = []

    def call(i):
        for _ in range(30):
            if not np.array_equal(nbsmce.softmax(inputs[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def _softmax(seed):
    return nbsmce.softmax(random_logits((300, 400), "float32", seed=seed))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_computes_too():
    expected = [_softmax(seed) for seed in range(4)]  # the parent has used its threads
    with multiprocessing.get_context("fork").Pool(2) as pool:
        actual = pool.map_async(_softmax, range(4)).get(timeout=60)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


def test_more_threads_than_processors():
    """And than there are sections of a job, of which threads then share some."""
    before, x = nbsmce.get_num_threads(), random_logits((2000, 300), "float32")
    nbsmce.set_num_threads(1)
    expected = nbsmce.softmax(x)
    try:
        for n in (2, 3, 70):
            nbsmce.set_num_threads(n)
            for _ in range(20):
                np.testing.assert_array_equal(nbsmce.softmax(x), expected)
    finally:
        nbsmce.set_num_threads(before)
