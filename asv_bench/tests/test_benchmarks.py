"""Every benchmark runs once, at its smallest, and times the function that it names."""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import benchmarks
import numpy as np
import pytest
from asv_runner.benchmarks.mark import SkipNotImplemented
from benchmarks.cases import TRAFFIC, Inputs
from benchmarks.libraries import LIBRARIES, Skip, build

import nbsmce

FOLDER = Path(benchmarks.__file__).parent
METHOD = re.compile(r"(time|timeraw|peakmem|track)_")
SMALLER = {"shape": "8x100", "SHAPE": "8x100", "MEMORY": "8x100", "L2": "8x100"}


def all_cases():
    """Each benchmark with each value of its first two parameters, and the first, smallest value of the others."""
    for module in pkgutil.iter_modules([str(FOLDER)]):
        if module.ispkg:
            continue
        found = importlib.import_module(f"benchmarks.{module.name}")
        for name, group in inspect.getmembers(found, inspect.isclass):
            if group.__module__ != found.__name__ or name.startswith("_"):
                continue
            for method in filter(METHOD.match, dir(group)):
                for parameters in choices(group):
                    yield pytest.param(group, method, parameters, id=f"{module.name}.{name}.{method}-{parameters}")


def choices(group):
    """Names (libraries, functions, options) all; of sizes the smallest; of processes that compile one."""
    lists = []
    for name, values in zip(getattr(group, "param_names", ()), getattr(group, "params", ()), strict=True):
        smallest = name in ("shape", "classes", "rows", "threads", "spread") or group.__name__ == "FirstCall"
        lists.append(values[:1] if smallest else values)
    return itertools.product(*lists)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Sizes that are no parameter are cut down, too."""
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("benchmarks."):
            for name in SMALLER.keys() & vars(module).keys():
                monkeypatch.setattr(module, name, SMALLER[name])
            for group in vars(module).values():
                if inspect.isclass(group) and "shape" in vars(group):
                    monkeypatch.setattr(group, "shape", SMALLER["shape"])


def run(group, method, parameters):
    benchmark = group()
    if hasattr(benchmark, "setup"):
        benchmark.setup(*parameters)
    return getattr(benchmark, method)(*parameters)


CASES = list(all_cases())


@pytest.mark.parametrize(("group", "method", "parameters"), CASES)
def test_it_runs(group, method, parameters):
    if method.startswith("track_"):
        assert getattr(group, method).unit
    try:
        result = run(group, method, parameters)
    except (Skip, SkipNotImplemented) as reason:
        if parameters[0] == "nbsmce" and group.__module__ != "benchmarks.cuda":
            raise
        pytest.skip(str(reason) or pytest.fail("skipped without a reason"))
    if method.startswith("timeraw_"):
        code, setup = result
        subprocess.run([sys.executable, "-c", f"{setup}\n{code}"], check=True)
    elif method.startswith("track_"):
        assert np.isfinite(result)


def named(group, method, parameters):
    """The function that a benchmark's name and parameters promise."""
    values = dict(zip(group.param_names, parameters, strict=True))
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", group.__name__).lower()
    of_method = method.partition("_")[2]
    if "function" in values:
        return values["function"]
    return of_method if of_method in TRAFFIC else words


def recorded(name, called):
    """A function of nbsmce that notes its name, with ``_out`` if it was given the array for its result."""
    function = getattr(nbsmce, name)

    def call(*arguments, **keywords):
        called.add(name + "_out" * ("out" in keywords))
        return function(*arguments, **keywords)

    return call


CALLING = [
    case
    for case in CASES
    if case.values[2] and case.values[2][0] == "nbsmce" and case.values[0].__module__ != "benchmarks.cuda"
]


@pytest.mark.parametrize(("group", "method", "parameters"), CALLING)
def test_the_function_that_it_names_is_called(group, method, parameters, monkeypatch):
    called = set()
    for name in TRAFFIC.keys() & vars(nbsmce).keys():
        monkeypatch.setattr(nbsmce, name, recorded(name, called))
    benchmark = group()
    benchmark.setup(*parameters)
    called.clear()
    getattr(benchmark, method)(*parameters)
    assert called == {named(group, method, parameters)}


def numbers(result):
    """Any library's results as NumPy arrays."""
    parts = result if isinstance(result, tuple) else (result,)
    return [np.asarray(part.detach() if hasattr(part, "detach") else part, np.float64) for part in parts]


@pytest.mark.parametrize("operation", TRAFFIC)
@pytest.mark.parametrize("library", [name for name in LIBRARIES if name != "nbsmce"])
@pytest.mark.parametrize("shape", ["7x12", "1x10"])
def test_peers_compute_the_same(operation, library, shape):
    inputs = Inputs(shape)
    try:
        theirs = numbers(build(library, operation, inputs)())
    except Skip as reason:
        pytest.skip(str(reason))
    ours = numbers(build("nbsmce", operation, inputs)())
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(b.reshape(a.shape), a, rtol=2e-4, atol=1e-6)


def test_asv_finds_and_runs_them(asv):
    """Through asv itself: the whole suite is read, and one case is timed."""
    told = asv.run("test", r"softmax.Softmax.time_softmax\('nbsmce', '1x10'", "--dry-run")
    assert re.search(r"nbsmce.*[\d.]+(±[\d.]+)?[nμm]s", told), told
