"""Running a plan: streams, the thread's GPU, memory, threads, errors of the driver, the records of losses."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest
import standins
from standins import Tensor, seen

import nbsmce
from nbsmce._cuda import calls, owners

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="addresses are those of a GPU")
world = pytest.fixture(standins.world)


def test_the_stream_is_that_of_each_call(world):
    x = Tensor((4, 8))
    nbsmce.softmax(x)
    world.streams[0] = 7
    nbsmce.softmax(x)
    assert [where.stream for _, where, _ in world.started] == [100, 7]
    assert len(world.loaded) == 1


def test_without_the_quick_way_to_the_stream(world, monkeypatch):
    del sys.modules["torch"]._C._cuda_getCurrentRawStream
    nbsmce.softmax(Tensor((4, 8), device=2))
    assert world.started[0][1].stream == 102


def test_the_threads_gpu_is_the_same_after_a_call(world):
    world.context = 1000
    for device in (0, 1, 0):
        nbsmce.softmax(Tensor((4, 8), device=device))
        assert (world.started[-1][1].device, world.context) == (device, 1000)
    world.context = 0  # a thread that has not chosen one
    nbsmce.softmax(Tensor((4, 8), device=1))
    assert (world.started[-1][1].device, world.context) == (1, 1001)


def test_kernels_are_loaded_once_for_each_gpu_and_dtype(world):
    for device in (0, 0, 1):
        for dtype in ("float32", "float64", "float32"):
            target = Tensor((4,), "int64", device)
            nbsmce.cross_entropy(Tensor((4, 8), dtype, device), target, weight=Tensor((8,), dtype, device))
            nbsmce.cross_entropy(Tensor((9, 8), dtype, device), Tensor((9,), "int64", device))
    loaded = [(str(make), str(signature)) for make, signature in world.loaded]
    once = set(loaded)
    assert len(loaded) == 2 * len(once)  # on two GPUs
    assert sum("OfSlices(alone=True)" in make for make, _ in once) == 2  # with weights of either dtype


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
    owners._KNOWN.clear()
    with pytest.raises(RuntimeError, match="no multiple of 16"):
        nbsmce.softmax(x)
    assert world.started == []


def test_memory_for_the_call_is_one_allocation_without_overlaps(world):
    nbsmce.cross_entropy_with_grad(Tensor((40, 1 << 17)), Tensor((40,), "int32", address=1 << 27))
    room = next(t for t in world.allocated if str(t.dtype) == "torch.uint8")
    assert len(world.allocated) == 4  # and gradient, loss, record
    copy, (_, sums, _), main, added = (world.started[i][2] for i in (0, 1, 2, -1))
    target, divisor, weighted = copy[1][0], sums.divisor[0], added[1].losses[0]
    sections = -(-(1 << 17) // 8192)
    states = main[-1].states[0]
    sizes = {target: 8 * 40, divisor: 8, weighted: 320, states: 72 * 40 * sections, sums.status[0]: 16}
    assert len(sizes) == 5
    ordered = sorted(sizes.items())
    assert room.address == ordered[0][0]
    ends = [a + n for a, n in ordered]
    assert all(end <= start for end, (start, _) in zip(ends, ordered[1:], strict=False))
    assert ends[-1] <= room.address + room.shape[0]
    assert not any(a % 256 for a in sizes)


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
        assert len(world.started) == 1 < kernels


@pytest.mark.parametrize(("rows", "kernels", "with_gradient"), [(4, 2, 3), (1 << 14, 2, 3), ((1 << 14) + 1, 3, 5)])
def test_how_many_kernels_a_loss_takes(world, rows, kernels, with_gradient):
    arguments = Tensor((rows, 8)), Tensor((rows,), "int64", address=1 << 40)
    nbsmce.cross_entropy(*arguments)
    assert len(world.started) == kernels
    world.started.clear()
    nbsmce.cross_entropy_with_grad(*arguments)
    assert len(world.started) == with_gradient
    world.started.clear()
    nbsmce.cross_entropy(*arguments, reduction="none")
    assert len(world.started) == 1


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


def test_machine_code_is_kept_on_disk(monkeypatch, tmp_path):
    """And found again by what it depends on: the kernel, the types of its arguments, the GPU, the threads."""
    from nbsmce._cuda import launch, reductions, rows
    from nbsmce._cuda.families import whole
    from nbsmce._cuda.places import Layout
    from nbsmce._cuda.sections import clustered
    from nbsmce._cuda.softmax import Variant, work

    made = []

    def to_ptx(make, signature, capability, threads):
        made.append((make, signature, capability, threads))
        return "text", f"name {len(made)}"

    monkeypatch.setenv("NBSMCE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(launch, "to_ptx", to_ptx)
    monkeypatch.setattr(launch, "linked", lambda text, capability: (f"{text} {len(made)}".encode(), ""))
    monkeypatch.setattr(rows.Program, "__call__", lambda program: program)
    variant, team = Variant("float32", 4, 90, False, False), Layout(512, 8, 1, False, False)
    first = rows.Program(whole, work, variant, team, True), ("float32*", "int64"), 90, 512
    program, signature, *_ = first
    others = [
        (program._replace(family=clustered), *first[1:]),
        (program._replace(cluster=4), *first[1:]),
        (program._replace(layout=team._replace(nested=True)), *first[1:]),
        (program._replace(variant=variant._replace(log=True)), *first[1:]),
        (program, ("float64*", "int64"), 90, 512),
        (program, signature, 80, 512),
        (program, signature, 90, 256),
        (reductions.OfParts(), *first[1:]),
    ]
    found = [launch.compiled(*kernel) for kernel in (first, *others)]
    assert len(made) == len(found) == len(set(found)) == 1 + len(others)
    assert [launch.compiled(*kernel) for kernel in (first, *others)] == found
    assert len(made) == len(found)
    monkeypatch.setenv("NBSMCE_CACHE", "0")
    assert launch.compiled(*first) == ("name 10", b"text 10")
