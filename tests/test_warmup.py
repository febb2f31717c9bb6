"""Compiling ahead, and what is kept of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from cases import DTYPES, go_the_general_way

import nbsmce
from nbsmce._compile import JIT, Kernel

needs_jit = pytest.mark.skipif(not JIT, reason="nothing is compiled without a JIT")


def run(*words, **env):
    path = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_jit
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_left_to_compile(dtype, monkeypatch):
    """Whatever is called afterwards: along and abreast, split or not, all kinds of targets."""
    from test_layouts import everything

    from nbsmce._cpu import launch

    nbsmce.warmup(dtypes=[dtype])
    monkeypatch.setattr(Kernel, "_compiled", lambda self, key: pytest.fail(f"{self.function.__name__}, {key}"))
    go_the_general_way(monkeypatch)
    monkeypatch.setattr(launch, "_LONG", 0)
    rng = np.random.default_rng(0)
    for shape, axis in (((3, 5), 1), ((3, 9000), 1), ((9000, 3), 0), ((40, 5), 1), ((2, 3, 4), 1)):
        x = rng.standard_normal(shape).astype(np.float32).astype(nbsmce_dtype(dtype))
        y = nbsmce.softmax(x, axis)
        t = rng.integers(0, shape[axis], [n for i, n in enumerate(shape) if i != axis])
        everything(x, y, t, axis)
        nbsmce.cross_entropy(x, y.astype(np.float32), axis=axis)  # also of another type than the logits
        nbsmce.softmax(x, axis, where=np.ones(shape, bool))


def nbsmce_dtype(name):
    import ml_dtypes

    return ml_dtypes.bfloat16 if name == "bfloat16" else name


@needs_jit
@pytest.mark.parametrize("function", [n for n in nbsmce.__all__ if n.split("_")[0] in ("softmax", "log", "nll")])
def test_a_single_function(function):
    told = []
    nbsmce.warmup([function], ["float32"], progress=lambda *what: told.append(what))
    assert told[-1][0] == told[-1][1]
    assert nbsmce.warmup([function], [np.float32]) == 0


def test_what_is_no_function_or_dtype():
    with pytest.raises(ValueError, match=r"functions must be of softmax, .*; got 'soft'"):
        nbsmce.warmup(["soft"])
    with pytest.raises(ValueError, match=r"dtypes must be of float16, .*; got 'int32'"):
        nbsmce.warmup(dtypes=[np.int32])
    with pytest.raises(ValueError, match="dtypes must be dtypes or their names, got 3"):
        nbsmce.warmup(dtypes=[3])
    with pytest.raises(TypeError, match="lists of names"):
        nbsmce.warmup("softmax")


@needs_jit
def test_the_command_line(tmp_path):
    folder = tmp_path / "cache"
    env = {"NBSMCE_CACHE_DIR": str(folder)}
    assert "0 files" in run("-m", "nbsmce", "cache", **env).stdout
    made = run("-m", "nbsmce", "warmup", "nll_loss", "--dtypes", "float32", **env)
    assert made.returncode == 0
    assert "[1/3] inspect_targets for float32" in made.stdout
    assert f"compiled code: kept in {folder}" in made.stdout
    found = json.loads(run("-m", "nbsmce", "cache", "--json", **env).stdout)
    assert found["files"] == len(list(folder.iterdir())) == 6
    info = json.loads(run("-m", "nbsmce", "info", "--json", **env).stdout)
    assert info["compiled code"] == found
    assert run("-m", "nbsmce", "cache", "--clear", **env).stdout == f"6 files removed from {folder}\n"
    assert list(folder.iterdir()) == []
    assert "off: NBSMCE_CACHE=0" in run("-m", "nbsmce", "cache", NBSMCE_CACHE="0").stdout
    assert run("-m", "nbsmce", "warmup", "soft").returncode == 2
    if os.name != "posix":
        return  # below a Windows user's folder nobody else can write
    folder.chmod(0o777)
    refused = run("-m", "nbsmce", "warmup", "nll_loss", "--dtypes", "float32", "--quiet", **env)
    assert (refused.returncode, refused.stdout, list(folder.iterdir())) == (1, "", [])


@needs_jit
def test_a_stored_kernel_is_used(tmp_path):
    """The second process compiles nothing, and its bits are the same. tests/stress has what can go wrong with files."""
    code = (
        "import sys, numpy as np, nbsmce, nbsmce._compile as c\n"
        "from numba.core import compiler\n"
        "made, real = [], compiler.compile_extra\n"
        "compiler.compile_extra = lambda *a, **k: made.append(1) or real(*a, **k)\n"
        "x = np.random.default_rng(0).standard_normal((300, 400))\n"
        "print(nbsmce.softmax(x).tobytes().hex()[:4000], len(made))\n"
    )
    env = {"NBSMCE_CACHE_DIR": str(tmp_path), "NBSMCE_NUM_THREADS": "2"}
    tmp_path.chmod(0o700)
    first, second, without = (run("-c", code, **e) for e in (env, env, {"NBSMCE_CACHE": "0"}))
    assert [done.stderr for done in (first, second, without)] == ["", "", ""]
    bits = [done.stdout.split()[0] for done in (first, second, without)]
    assert bits[0] == bits[1] == bits[2]
    made = [int(done.stdout.split()[1]) for done in (first, second, without)]
    assert made[0] == made[2] > 1
    assert made[1] == 0


@needs_jit
def test_files_that_nobody_has_used_for_a_month_go(tmp_path):
    tmp_path.chmod(0o700)
    old, draft, young, other = (
        tmp_path / n for n in ("0" * 40 + ".bin", "1" * 40 + ".bin.7.7.tmp", "2" * 40 + ".bin", "x")
    )
    for file, days in ((old, 31), (draft, 2), (young, 29), (other, 99)):
        file.write_bytes(b"")
        when = file.stat().st_mtime - days * 86400
        os.utime(file, (when, when))
    env = {"NBSMCE_CACHE_DIR": str(tmp_path)}
    assert run("-c", "import nbsmce; nbsmce.warmup(['nll_loss'], ['float32'])", **env).returncode == 0
    assert [file.exists() for file in (old, draft, young, other)] == [False, False, True, True]
