"""Calls after the first of their kind: one has the plan of another only where nothing that matters differs."""

from __future__ import annotations

import os

import numpy as np
import pytest
import standins
from standins import Tensor, seen

import nbsmce
from nbsmce._cuda import calls

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="addresses are those of a GPU")
world = pytest.fixture(standins.world)
MORE = 1 << 33  # from one array to another that is elsewhere


def plans():
    return sum(c.cache_info().currsize for c in calls._remembered)


def made():
    return sum(c.cache_info().misses for c in calls._remembered)


def arrays(more=0, **changes):
    """Arguments of every role; ``changes`` are other properties of some of them, ``more`` is added to addresses."""
    given = {
        "x": {"shape": (4, 8), "address": 1 << 20},
        "y": {"shape": (4, 8), "address": 2 << 20},
        "out": {"shape": (4, 8), "address": 3 << 20},
        "target": {"shape": (4,), "dtype": "int64", "address": 4 << 20},
        "weight": {"shape": (8,), "address": 5 << 20},
        "rows": {"shape": (4,), "address": 6 << 20},
    }
    made = {}
    for name, properties in given.items():
        properties = properties | changes.get(name, {})
        made[name] = Tensor(**{**properties, "address": properties["address"] + more})
    return made


CALLS = {
    "softmax": lambda a: nbsmce.softmax(a["x"]),
    "softmax, out": lambda a: nbsmce.softmax(a["x"], out=a["out"]),
    "softmax, in place": lambda a: nbsmce.log_softmax(a["x"], 0, out=a["x"]),
    "logsumexp": lambda a: nbsmce.logsumexp(a["x"], b=a["y"], return_sign=True),
    "logsumexp, out": lambda a: nbsmce.logsumexp(a["x"], out=a["rows"]),
    "softmax_backward": lambda a: nbsmce.softmax_backward(a["x"], a["y"]),
    "logsumexp_backward": lambda a: nbsmce.logsumexp_backward(a["rows"], a["x"], a["rows"], out=a["out"]),
    "loss": lambda a: nbsmce.cross_entropy(a["x"], a["target"], weight=a["weight"], label_smoothing=0.1),
    "losses": lambda a: nbsmce.cross_entropy(a["x"], a["target"], reduction="none", return_aux=True)[0],
    "loss, gradient": lambda a: nbsmce.cross_entropy_with_grad(
        a["x"], a["target"], sample_weight=a["rows"], dloss=2.0, out=a["out"]
    ),
    "gradient": lambda a: nbsmce.cross_entropy_backward(None, a["x"], a["target"], lse=a["rows"], out=a["x"]),
    "probabilities": lambda a: nbsmce.cross_entropy_with_grad(a["x"], a["y"], softcap=30.0),
    "waits": lambda a: nbsmce.cross_entropy(a["x"], a["target"], check="sync"),
    "likelihood": lambda a: nbsmce.nll_loss(a["x"], a["target"], weight=a["weight"]),
    "likelihood, gradient": lambda a: nbsmce.nll_loss_backward(3.0, a["x"], a["target"], out=a["out"]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_further_call_does_what_the_first_would_with_its_own_arrays(world, call):
    first = seen(world, lambda: call(arrays()), forgotten=True)
    before = made()
    further = seen(world, lambda: call(arrays(MORE)))
    assert made() == before  # no other plan
    assert further == seen(world, lambda: call(arrays(MORE)), forgotten=True)
    assert further[0] != first[0]  # the addresses


CHANGES = {
    "shape": {n: {"shape": (4, 12)} for n in ("x", "y", "out")} | {"weight": {"shape": (12,)}},
    "rows": {n: {"shape": (6, 8)} for n in ("x", "y", "out")} | {n: {"shape": (6,)} for n in ("target", "rows")},
    "strides": {"x": {"strides": (64, 1)}},
    "strides of the result": {"out": {"strides": (1, 4)}},
    "dtype": {n: {"dtype": "float64"} for n in ("x", "y", "out", "rows", "weight")},
    "dtype of the target": {"target": {"dtype": "int32"}},
    "alignment": {"x": {"address": (1 << 20) + 4}},
    "alignment of the result": {"out": {"address": (3 << 20) + 4}},
    "device": {n: {"device": 1} for n in ("x", "y", "out", "target", "weight", "rows")},
    "overlap": {"out": {"address": (1 << 20) + 32}},
    "overlap from below": {"out": {"address": (1 << 20) - 32}},
    "overlap with the target": {"out": {"address": (4 << 20) + 16}},
    "in place": {"out": {"address": 1 << 20}},
    "not in place": {"out": {"address": 1 << 20, "strides": (16, 1)}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_differs_has_a_plan_of_its_own(world, call, change):
    calls.forget()
    for before, after in (({}, change), (change, {})):
        seen(world, lambda before=before: call(arrays(**before)))
        further = seen(world, lambda after=after: call(arrays(**after)))
        assert further == seen(world, lambda after=after: call(arrays(**after)), forgotten=True)


@pytest.mark.parametrize(
    ("offset", "strides", "copied"),
    [
        (128, None, False),
        (-128, None, False),
        (124, None, True),
        (-124, None, True),
        (0, None, False),
        (0, (16, 1), True),
        (160, (-8, 1), True),
        (288, (-8, 1), False),
    ],
)
def test_a_result_that_overlaps_its_input_is_copied(world, offset, strides, copied):
    """Both of 128 bytes, at any distance in bytes; with a negative stride, from 96 bytes below its address on."""
    out = Tensor((4, 8), address=(1 << 20) + offset, strides=strides)
    nbsmce.softmax(Tensor((4, 8)), out=out)
    assert any(type(make).__name__ == "Copy" for make, _, _ in world.started) is copied


def test_a_gradient_that_overlaps_the_targets_is_copied(world):
    nbsmce.cross_entropy_with_grad(
        Tensor((4, 8)), Tensor((4,), "int64", address=1 << 28), out=Tensor((4, 8), address=(1 << 28) - 64)
    )
    assert type(world.started[-1][0]).__name__ == "Copy"


def test_numbers_reach_the_kernels_as_they_are(world):
    for scale in (-2.5, 1e-300):
        nbsmce.cross_entropy_backward(
            scale, Tensor((4, 8)), Tensor((4,), "int64"), reduction="sum", label_smoothing=0.5, ignore_index=-(2**63)
        )
    given = [arguments[-1] for _, _, arguments in world.started]
    assert [(o.upstream, o.slope, o.share, o.ignore_index) for o in given] == [
        (-2.5, 0.5, 0.0625, -(2**63)), (1e-300, 0.5, 0.0625, -(2**63))
    ]  # fmt: skip


OPTIONS = {
    "axis": ({}, {"axis": 0, "target": Tensor((8,), "int64", address=4 << 20)}),
    "reduction": ({"reduction": "sum"}, {"reduction": "none"}),
    "smoothing": ({"label_smoothing": 0.1}, {"label_smoothing": 0.2}),
    "z_loss": ({"z_loss": 0.0}, {"z_loss": 1e-4}),
    "softcap": ({"softcap": None}, {"softcap": 30.0}),
    "ignore_index": ({}, {"ignore_index": 3}),
    "dloss": ({"dloss": 1.0}, {"dloss": 2}),
    "the sign of no dloss": ({"dloss": 0.0}, {"dloss": -0.0}),
    "dloss on the GPU": ({"dloss": 1.0}, {"dloss": Tensor((), address=1 << 28)}),
}


@pytest.mark.parametrize(("one", "other"), OPTIONS.values(), ids=OPTIONS)
def test_options_have_plans_of_their_own(world, one, other):
    def call(options):
        a = arrays()
        return nbsmce.cross_entropy_with_grad(a["x"], **{"target": a["target"]} | options)

    for before, after in ((one, other), (other, one)):
        seen(world, lambda before=before: call(before), forgotten=True)
        further = seen(world, lambda after=after: call(after))
        fresh = seen(world, lambda after=after: call(after), forgotten=True)
        assert repr(further) == repr(fresh)  # where 0.0 and -0.0 differ


def test_equal_axes_that_are_no_integers_are_refused_as_before(world):
    x = Tensor((2, 4))
    nbsmce.softmax(x, 1)
    nbsmce.softmax(x, (0, 1))
    for axis in (1.0, (0, 1.0)):
        with pytest.raises(TypeError, match="axis must be an integer"):
            nbsmce.softmax(x, axis)
    nbsmce.softmax(x, np.int64(1))
    nbsmce.softmax(x, [0, 1])
    assert plans() == 2


def test_errors_are_those_of_the_first_call(world):
    a = arrays()
    for _ in range(2):
        nbsmce.cross_entropy_with_grad(a["x"], a["target"], out=a["out"])
        world.started.clear()
        with pytest.raises(ValueError, match=r"target must have the shape \(4,\)"):
            nbsmce.cross_entropy_with_grad(a["x"], Tensor((5,), "int64"), out=a["out"])
        with pytest.raises(ValueError, match=r"out must have the shape \(4, 8\), got \(8,\)"):
            nbsmce.cross_entropy_with_grad(a["x"], a["target"], out=Tensor((8,)))
        a["x"].requires_grad = True
        with pytest.raises(TypeError, match="logits requires a gradient"):
            nbsmce.cross_entropy_with_grad(a["x"], a["target"], out=a["out"])
        a["x"].requires_grad = False
        a["out"].negative = True
        with pytest.raises(TypeError, match=r"out has .* negated .*: pass out.resolve_neg\(\)"):
            nbsmce.cross_entropy_with_grad(a["x"], a["target"], out=a["out"])
        a["out"].negative = False
        with pytest.raises(TypeError, match=r"weight must be an array on the GPU, as the others are, got 2.0"):
            nbsmce.cross_entropy(a["x"], a["target"], weight=2.0)
        assert world.started == []


def test_plans_that_are_not_used_are_forgotten(world):
    x = Tensor((4, 8))
    for i in range(calls.PLANS + 10):
        x.strides = (8 + i, 1)
        nbsmce.softmax(x)
    assert plans() == calls.PLANS
