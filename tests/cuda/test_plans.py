"""Calls after the first of their kind: one has the plan of another only where nothing that matters differs."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest
import standins
from standins import Tensor

import nbsmce
from nbsmce._cuda import calls

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="addresses are those of a GPU")
world = pytest.fixture(standins.world)
MORE = 1 << 33  # from one array to another that is elsewhere


def plans():
    return sum(c.cache_info().currsize for c in calls._remembered)


def made():
    return sum(c.cache_info().misses for c in calls._remembered)


def seen(world, call, forgotten=False):
    """What a call asks the driver and PyTorch for; ``forgotten``: as the first call of its kind."""
    if forgotten:
        calls.forget()
    world.started.clear()
    world.allocated.clear()
    world.next = 1 << 30
    try:
        result = call()
    except (TypeError, ValueError) as error:
        return str(error), [], []
    started = [(make, vars(where), arguments) for make, where, arguments in world.started]
    allocated = [(t.address, t.shape, str(t.dtype), t.device.index) for t in world.allocated]
    results = result if isinstance(result, tuple) else (result,)
    return started, allocated, [getattr(r, "address", None) for r in results]


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


def test_the_stream_is_that_of_each_call(world):
    x = Tensor((4, 8))
    nbsmce.softmax(x)
    world.streams[0] = 7
    nbsmce.softmax(x)
    assert [where.stream for _, where, _ in world.started] == [100, 7]
    assert plans() == 1


def test_without_the_quick_way_to_the_stream(world, monkeypatch):
    import sys

    del sys.modules["torch"]._C._cuda_getCurrentRawStream
    nbsmce.softmax(Tensor((4, 8), device=2))
    assert world.started[0][1].stream == 102


def test_the_threads_gpu_is_the_same_after_a_call(world):
    world.context = 1000
    nbsmce.softmax(Tensor((4, 8), device=1))
    assert (world.started[0][1].device, world.context) == (1, 1000)
    world.context = 0  # a thread that has not chosen one
    nbsmce.softmax(Tensor((4, 8), device=1))
    assert (world.started[1][1].device, world.context) == (1, 1001)


def test_an_error_of_the_driver_is_raised_and_forgotten(world):
    class Status(int):
        name = "CUDA_ERROR_LAUNCH_FAILED"

    x = Tensor((4, 8), device=1)
    nbsmce.softmax(x)
    world.error, world.context = Status(719), 1000
    with pytest.raises(RuntimeError, match="CUDA_ERROR_LAUNCH_FAILED"):
        nbsmce.softmax(x)
    assert world.context == 1000
    world.error = 0
    assert seen(world, lambda: nbsmce.softmax(x)) == seen(world, lambda: nbsmce.softmax(x), forgotten=True)


def test_memory_that_is_not_aligned_is_not_used(world, monkeypatch):
    x = Tensor((4, 8))
    nbsmce.softmax(x)
    monkeypatch.setattr(standins.Tensor, "data_ptr", lambda self: self.address + 8 * (self is not x))
    calls.forget()
    world.started.clear()
    import nbsmce._cuda.owners as owners

    owners._KNOWN.clear()
    with pytest.raises(RuntimeError, match="no multiple of 16"):
        nbsmce.softmax(x)
    assert world.started == []


def test_memory_for_the_call_is_one_allocation_without_overlaps(world):
    nbsmce.cross_entropy_with_grad(Tensor((100, 1 << 15)), Tensor((100,), "int32", address=1 << 27))
    room = next(t for t in world.allocated if str(t.dtype) == "torch.uint8")
    assert len(world.allocated) == 4  # and gradient, loss, record
    copy, parts, main, added = (world.started[i][2] for i in (0, 1, 3, -1))
    target, divisor, weighted = copy[1][0], parts[2][0], added[1].rows[0]
    sections = -(-(1 << 15) // 8192)
    states = main[-1].states[0]
    sizes = {target: 8 * 100, divisor: 16, weighted: 800, states: 72 * 100 * sections, parts[1].status[0]: 16}
    assert len(sizes) == 5
    ordered = sorted(sizes.items())
    assert room.address == ordered[0][0]
    ends = [a + n for a, n in ordered]
    assert all(end <= start for end, (start, _) in zip(ends, ordered[1:], strict=False))
    assert ends[-1] <= room.address + room.shape[0]
    assert not any(a % 256 for a in sizes)


def test_plans_that_are_not_used_are_forgotten(world):
    x = Tensor((4, 8))
    for i in range(calls.PLANS + 10):
        x.strides = (8 + i, 1)
        nbsmce.softmax(x)
    assert plans() == calls.PLANS


def test_threads_do_not_share_the_table_of_addresses(world, monkeypatch):
    launch = world.cuLaunchKernel

    def slow(*arguments):
        time.sleep(0.0005)  # others come in between
        return launch(*arguments)

    monkeypatch.setattr(world, "cuLaunchKernel", slow)
    world.context = 1000

    def work(k):
        for i in range(20):
            address = (1 << 32) + (100 * k + i) * 4096
            nbsmce.softmax(Tensor((4, 8), address=address), out=Tensor((4, 8), address=address + 2048))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    pairs = [(a[1].x.pointer[0], a[2].y.pointer[0]) for _, _, a in world.started]
    assert len(set(pairs)) == 120
    assert {y - x for x, y in pairs} == {2048}


def test_a_check_that_waits_comes_before_the_other_kernels(world, monkeypatch):
    arguments = Tensor((4, 8)), Tensor((4,), "int64", address=1 << 27)
    nbsmce.cross_entropy(*arguments, check="sync")
    kernels = len(world.started)
    monkeypatch.setattr(Tensor, "values", [1, 99])
    for _ in range(2):
        world.started.clear()
        with pytest.raises(IndexError, match=r"target\[1\] is 99"):
            nbsmce.cross_entropy(*arguments, check="sync")
        assert len(world.started) == 2 < kernels


def test_every_loss_has_a_record_of_its_own(world):
    x, target = Tensor((4, 8)), Tensor((4,), "int64", address=1 << 27)
    losses = [nbsmce.cross_entropy(x, target) for _ in range(2)]
    statuses = [loss._nbsmce_record.status for loss in losses]
    assert statuses[0] is not statuses[1]
    for loss in losses:
        loss.value = float("nan")
    statuses[1].values = [1, 99]
    assert losses[0].item() != losses[0].item()
    with pytest.raises(IndexError, match=r"target\[1\] is 99"):
        losses[1].item()
