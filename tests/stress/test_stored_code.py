"""R3: code on the disk. Whatever happens to it, results are right and nothing is raised."""

from __future__ import annotations

import concurrent.futures
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from processes import HERE, run, scaled, succeeded

WORK = """
    import sys, numpy as np
    import nbsmce
    from nbsmce._store import store
    x = np.linspace(-4, 4, 3000).reshape(3, 1000)
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    lse = np.log(e.sum(1)) + x.max(1)
    for dtype, bound in ((np.float32, 1e-5), (np.float64, 1e-13)):
        z = x.astype(dtype)
        assert np.allclose(nbsmce.softmax(z), p, rtol=bound, atol=0), "softmax"
        assert np.allclose(nbsmce.logsumexp(z), lse, rtol=bound), "logsumexp"
        q = p.astype(dtype)
        g = nbsmce.softmax_backward(z, q)
        assert np.allclose(g, p * (x - (x * p).sum(1, keepdims=True)), rtol=bound, atol=bound), "backward"
    print(store.problem)
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder with the code that :data:`WORK` needs."""
    folder = tmp_path_factory.mktemp("filled") / "cache"
    assert succeeded(WORK, env={"NBSMCE_CACHE_DIR": str(folder)}) == "None\n"
    assert len(list(folder.iterdir())) == 6
    return folder


@pytest.fixture
def copy(filled, tmp_path):
    folder = tmp_path / "cache"
    shutil.copytree(filled, folder)
    folder.chmod(0o700)
    return folder


def test_many_cold_starts_at_once(tmp_path):
    """Several processes fill one empty folder, again and again."""
    processes = scaled(4, 32)
    for i in range(scaled(2, 20)):
        env = {"NBSMCE_CACHE_DIR": str(tmp_path / str(i))}
        with concurrent.futures.ThreadPoolExecutor(processes) as crowd:
            told = list(crowd.map(lambda env: succeeded(WORK, env=env), [env] * processes))
        assert told == ["None\n"] * processes
        assert {p.suffix for p in (tmp_path / str(i)).iterdir()} == {".bin"}
        assert len(list((tmp_path / str(i)).iterdir())) == 6
        assert succeeded("import nbsmce._compile\n" + _NO_COMPILING + WORK_PLAIN, env=env) == "None\n"


WORK_PLAIN = textwrap.dedent(WORK)
_NO_COMPILING = """
from numba.core import compiler
def refuse(*_, **__): raise AssertionError("something was compiled")
compiler.compile_extra = refuse
"""


def test_a_second_process_compiles_nothing(filled):
    env = {"NBSMCE_CACHE_DIR": str(filled)}
    assert succeeded(_NO_COMPILING + WORK_PLAIN, env=env) == "None\n"
    empty = run(_NO_COMPILING + WORK_PLAIN, env={"NBSMCE_CACHE": "0"})
    assert "something was compiled" in empty.stderr  # the check does fail


def damage(content: bytes, others: list[bytes], pick: random.Random) -> bytes:
    """A file that is not what was written."""
    kind = pick.randrange(5)
    if kind == 0:
        return content[: pick.randrange(len(content))]
    if kind == 1:
        return b""
    if kind == 2:
        return pick.choice(others)
    changed = bytearray(content)
    for _ in range(pick.choice((1, 8))):
        changed[pick.randrange(len(changed))] ^= 1 << pick.randrange(8)
    return bytes(changed) if kind == 3 else bytes(changed) + b"more"


def test_damaged_files(copy):
    """Cut, empty, exchanged, with bits flipped: none is used."""
    code = """
    import sys, random, pathlib
    sys.path.insert(0, sys.argv[3])
    from test_stored_code import damage
    from nbsmce import _store
    import numpy as np, nbsmce
    folder, pick = pathlib.Path(sys.argv[1]), random.Random(0)
    keys = {}
    original = _store.Store._load
    def noted(self, key):
        keys[_store._name(key)] = key
        return original(self, key)
    _store.Store._load = noted
    nbsmce.softmax(np.ones((3, 4), np.float32)); nbsmce.softmax(np.ones((3, 4)))
    nbsmce.logsumexp(np.ones((3, 4), np.float32)); nbsmce.logsumexp(np.ones((3, 4)))
    assert _store.store.problem is None and len(keys) == 4, keys
    good = {name: (folder / name).read_bytes() for name in keys}
    refused = 0
    for i in range(int(sys.argv[2])):
        name = pick.choice(list(keys))
        bad = damage(good[name], [c for n, c in good.items() if n != name], pick)
        if bad == good[name]:
            continue
        (folder / name).write_bytes(bad)
        _store.store.problem = None
        got = _store.store._tried(lambda: original(_store.store, keys[name]))
        assert got is None, (i, name)
        refused += 1
        (folder / name).write_bytes(good[name])
    for name in keys:
        assert original(_store.store, keys[name]) is not None
    print(refused)
    """
    told = succeeded(code, copy, scaled(2000, 10_000), HERE, env={"NBSMCE_CACHE_DIR": str(copy)}, timeout=1200)
    assert int(told) > scaled(1900, 9500)


def test_a_process_with_damaged_files_is_right(copy):
    pick = random.Random(1)
    files = sorted(copy.iterdir())
    for _ in range(scaled(2, 30)):
        contents = [f.read_bytes() for f in files]
        for i, file in enumerate(files):
            file.write_bytes(damage(contents[i], contents[:i] + contents[i + 1 :], pick))
        told = succeeded(WORK, env={"NBSMCE_CACHE_DIR": str(copy)})
        assert told == "None\n" or "damaged" in told
        assert succeeded(_NO_COMPILING + WORK_PLAIN, env={"NBSMCE_CACHE_DIR": str(copy)}) == "None\n"  # mended


def test_a_writer_that_is_killed_at_every_step(tmp_path):
    """SIGKILL before each system call of a save."""
    code = """
    import os, signal, sys
    step, seen = int(sys.argv[1]), 0
    def killing(function):
        def counted(*arguments, **options):
            global seen
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return counted
    from nbsmce import _store
    for name in ("open", "replace", "fdopen", "close"):
        setattr(_store.os, name, killing(getattr(os, name)))
    _store.store.save("key", lambda: list(range(100_000)))
    print("whole")
    """
    env = {"NBSMCE_CACHE_DIR": str(tmp_path)}
    tmp_path.chmod(0o700)
    for step in range(1, 100):
        done = run(code, step, env=env)
        read = succeeded(
            "from nbsmce._store import store; x = store.load('key'); print(x and len(x), store.problem)", env=env
        )
        if done.returncode == 0:
            assert read == "100000 None\n"
            break
        assert done.returncode == -signal.SIGKILL
        assert read in ("None None\n", "100000 None\n")
    assert step >= 4


def test_a_process_that_is_killed_while_it_fills_the_folder(tmp_path):
    env = {"NBSMCE_CACHE_DIR": str(tmp_path)}
    tmp_path.chmod(0o700)
    for i in range(scaled(2, 20)):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORK_PLAIN],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(1 + i * 0.37 % 3)
        worker.kill()
        worker.communicate()
    assert succeeded(WORK, env=env) == "None\n"


@pytest.mark.skipif(sys.platform != "linux", reason="has no /dev/full")
def test_a_full_disk(tmp_path):
    """``/dev/full`` in place of every new file: the result is there, and the reason is kept."""
    code = """
    import os
    from nbsmce import _store
    real = os.open
    def full(path, flags, *rest, **options):
        return real("/dev/full", os.O_WRONLY) if flags & os.O_CREAT else real(path, flags, *rest, **options)
    _store.os.open = full
    """
    told = succeeded(textwrap.dedent(code) + WORK_PLAIN, env={"NBSMCE_CACHE_DIR": str(tmp_path / "c")})
    assert "No space left on device" in told
    assert list((tmp_path / "c").iterdir()) == []


@pytest.mark.parametrize("bad", ["missing parent", "a file", "no home", "read-only"])
def test_no_folder(tmp_path, bad):
    folder = tmp_path / "c"
    env = {"NBSMCE_CACHE_DIR": str(folder)}
    if bad == "missing parent":
        env = {"NBSMCE_CACHE_DIR": "/proc/nowhere/cache"}
    elif bad == "a file":
        folder.write_text("")
    elif bad == "no home":
        env = {"NBSMCE_CACHE_DIR": "", "HOME": "/nonexistent", "XDG_CACHE_HOME": ""}
        if os.geteuid() == 0:
            env["HOME"] = "/proc"
    else:
        folder.mkdir(mode=0o500)
        if os.geteuid() == 0:
            pytest.skip("nothing is read-only for root")
    assert succeeded(WORK, env=env) != "None\n"


def test_folders_and_files_of_others(copy, tmp_path):
    """Nothing is read from where others could have written, and nothing is written there."""
    names = {p.name: p.stat().st_mtime_ns for p in copy.iterdir()}
    copy.chmod(0o777)
    compiled = run(_NO_COMPILING + WORK_PLAIN, env={"NBSMCE_CACHE_DIR": str(copy)})
    assert "something was compiled" in compiled.stderr
    assert "can be written by other users" in succeeded(WORK, env={"NBSMCE_CACHE_DIR": str(copy)})
    assert {p.name: p.stat().st_mtime_ns for p in copy.iterdir()} == names
    copy.chmod(0o700)
    for file in copy.iterdir():
        file.chmod(0o666)
    assert "something was compiled" in run(_NO_COMPILING + WORK_PLAIN, env={"NBSMCE_CACHE_DIR": str(copy)}).stderr
    for file in copy.iterdir():
        file.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(copy, 12345, -1)
        assert "belongs to another user" in succeeded(WORK, env={"NBSMCE_CACHE_DIR": str(copy)})
        os.chown(copy, 0, -1)
    for file in copy.iterdir():  # a link to a file that could be exchanged
        real = tmp_path / f"real-{file.name}"
        file.rename(real)
        file.symlink_to(real)
    assert "something was compiled" in run(_NO_COMPILING + WORK_PLAIN, env={"NBSMCE_CACHE_DIR": str(copy)}).stderr


def test_another_version_of_a_helper(tmp_path):
    """An edit in a module that the kernel's own does not mention by time or name is noticed."""
    package = tmp_path / "nbsmce"
    shutil.copytree(HERE.parent.parent / "nbsmce", package, ignore=shutil.ignore_patterns("__pycache__"))
    env = {"NBSMCE_CACHE_DIR": str(tmp_path / "c"), "PYTHONDONTWRITEBYTECODE": "1"}
    code = f"""
    import sys
    sys.path.insert(0, {str(tmp_path)!r})
    import numpy as np, nbsmce
    assert nbsmce.__file__.startswith({str(tmp_path)!r})
    print(nbsmce.log_softmax(np.array([[1.0, 1.0]]))[0, 0])
    """
    time.sleep(1.1)  # a file that is younger than a process could be another than the one it has imported
    assert float(succeeded(code, env=env)) == -0.6931471805599453
    module = package / "_cpu" / "softmax.py"
    text = module.read_text()
    changed = text.replace("(x - high) - low", "(x + high) - low")  # of the same length
    assert changed != text
    before = module.stat()
    module.write_text(changed)
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))  # as an archive or rsync would leave it
    time.sleep(1.1)
    assert abs(float(succeeded(code, env=env)) - 2.6931471805599454) < 1e-12
    module.write_text(text)
    time.sleep(1.1)
    assert float(succeeded(code, env=env)) == -0.6931471805599453


def test_sources_that_change_under_a_process(tmp_path):
    """What was imported is not what lies there: such a process neither reads nor writes."""
    package = tmp_path / "nbsmce"
    shutil.copytree(HERE.parent.parent / "nbsmce", package, ignore=shutil.ignore_patterns("__pycache__"))
    code = f"""
    import sys, pathlib
    sys.path.insert(0, {str(tmp_path)!r})
    import numpy as np, nbsmce
    path = pathlib.Path(nbsmce.__file__).parent / "_cpu" / "sums.py"
    path.write_text(path.read_text() + "# edited\\n")
    nbsmce.softmax(np.ones((2, 3)))
    from nbsmce._store import store
    print(store.problem)
    """
    told = succeeded(code, env={"NBSMCE_CACHE_DIR": str(tmp_path / "c")})
    assert "sums.py has changed since nbsmce was imported" in told
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "option", ["NUMBA_OPT=1", "NUMBA_BOUNDSCHECK=1", "NUMBA_ENABLE_AVX=0", "NUMBA_SLP_VECTORIZE=1"]
)
def test_options_of_numba_that_change_the_code(filled, option):
    """Not the same entry: code that was made with other options."""
    name, _, value = option.partition("=")
    env = {"NBSMCE_CACHE_DIR": str(filled), name: value}
    assert "something was compiled" in run(_NO_COMPILING + WORK_PLAIN, env=env).stderr
