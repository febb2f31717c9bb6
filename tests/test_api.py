"""The public names and signatures, and that they are documented."""

from __future__ import annotations

import doctest
import importlib
import inspect
import subprocess
import sys

import numpy as np
import pytest

import nbsmce

SIGNATURES = {
    "softmax": "(x, axis=-1, *, where=None, out=None)",
    "log_softmax": "(x, axis=-1, *, where=None, out=None)",
    "logsumexp": "(x, axis=-1, *, b=None, where=None, keepdims=False, return_sign=False, out=None)",
    "softmax_backward": "(dy, y, axis=-1, *, out=None)",
    "log_softmax_backward": "(dy, y, axis=-1, *, out=None)",
    "logsumexp_backward": "(dlse, x, lse, axis=-1, *, out=None)",
    "cross_entropy": "(logits, target, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100, "
    "reduction='mean', label_smoothing=0.0, z_loss=0.0, logit_scale=1.0, softcap=None, return_aux=False, "
    "check='deferred')",
    "cross_entropy_with_grad": "(logits, target, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100, "
    "reduction='mean', label_smoothing=0.0, z_loss=0.0, logit_scale=1.0, softcap=None, return_aux=False, dloss=None, "
    "out=None, check='deferred')",
    "cross_entropy_backward": "(dloss, logits, target, *, lse=None, out=None, axis=-1, weight=None, "
    "sample_weight=None, ignore_index=-100, reduction='mean', label_smoothing=0.0, z_loss=0.0, logit_scale=1.0, "
    "softcap=None, check='deferred')",
    "nll_loss": "(log_probs, target, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100, reduction='mean', "
    "check='deferred')",
    "nll_loss_backward": "(dloss, log_probs, target, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100, "
    "reduction='mean', out=None, check='deferred')",
    "warmup": "(functions=None, dtypes=('float32', 'float64'), *, progress=None)",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    signature = inspect.signature(getattr(nbsmce, name))
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(bare)) == SIGNATURES[name]


def test_public_names():
    assert set(SIGNATURES) | {"Aux", "set_num_threads", "get_num_threads"} == set(nbsmce.__all__)
    assert nbsmce.Aux._fields == ("lse", "z_loss", "predicted", "correct")


@pytest.mark.parametrize("name", nbsmce.__all__)
def test_docstrings_are_numpydoc(name):
    validate = pytest.importorskip("numpydoc.validate").validate
    ignored = {"ES01", "SA04"}  # no extended summary; names of this package need no description twice
    if name == "Aux":
        ignored |= {"EX01", "SA01", "PR01"}  # a tuple that is not made by its readers
    errors = [(code, text) for code, text in validate(f"nbsmce.{name}")["errors"] if code not in ignored]
    assert errors == []


@pytest.mark.parametrize("module", ["nbsmce._softmax", "nbsmce._losses", "nbsmce._nll", "nbsmce._threads"])
def test_examples(module):
    with np.printoptions(legacy=False):
        failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried > 1
    assert failed == 0


def test_importing_imports_numpy_alone():
    code = (
        "import sys, numpy; before = set(sys.modules); import nbsmce; "
        "print([m for m in sys.modules if m not in before and m.split('.')[0] not in sys.stdlib_module_names])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    imported = {m.split(".")[0] for m in eval(printed)}
    assert imported == {"nbsmce"}


def test_importing_starts_and_writes_nothing(tmp_path):
    code = "import threading, nbsmce; print(threading.active_count())"
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert version("nbsmce") == nbsmce.__version__
