"""SciPy's tests of logsumexp, softmax and log_softmax, from the installed SciPy, with nbsmce in their place."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from scipy._lib._array_api import array_namespace

import nbsmce

PEER = "scipy.special.tests.test_logsumexp"
NAMES = ("logsumexp", "softmax", "log_softmax")
calls = []


def _in_place_of(name):
    function = getattr(nbsmce, name)

    def adapter(x, axis=None, **options):  # SciPy's default is the whole array
        calls.append(name)
        if any(np.iscomplexobj(value) for value in (x, options.get("b"))):
            with pytest.raises(TypeError, match="complex"):
                function(x, axis, **options)
            pytest.skip("complex input, which is refused")
        return function(x, axis, **options)

    return adapter


def _load():
    """A copy of SciPy's test module of its own, to change names in."""
    spec = importlib.util.find_spec(PEER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in NAMES:
        assert hasattr(module, name)
        setattr(module, name, _in_place_of(name))
    return module


def _with_lists(tests):
    """A class with lists of parameters: SciPy gives an iterator, which pytest 9 takes with a warning."""
    for test in vars(tests).values():
        marks = getattr(test, "pytestmark", [])
        for i, mark in enumerate(marks):
            if mark.name == "parametrize":
                names, values = mark.args
                marks[i] = pytest.mark.parametrize(names, list(values), **mark.kwargs).mark
    return tests


_peer = _load()
# Its other test is of a private function for complex numbers.
TestLogSumExp = _with_lists(_peer.TestLogSumExp)
TestSoftmax = _with_lists(_peer.TestSoftmax)
TestLogSoftmax = _with_lists(_peer.TestLogSoftmax)


def test_all_classes_are_here():
    found = {name for name, value in vars(_peer).items() if name.startswith("Test") and isinstance(value, type)}
    assert found == {name for name in globals() if name.startswith("Test")}


@pytest.fixture
def xp():
    """SciPy's fixture, for the one backend."""
    return array_namespace(np.empty(0))


@pytest.fixture
def devices(xp):
    return [*xp.__array_namespace_info__().devices(), None]


@pytest.fixture(autouse=True)
def _calls_nbsmce(request):
    """SciPy's tests come here; one that did not would pass whatever nbsmce returns."""
    calls.clear()
    yield
    assert calls or request.cls is None
