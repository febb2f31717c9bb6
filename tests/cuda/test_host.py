"""The host's side of a call, with stand-ins for PyTorch and the driver: devices, streams, memory, errors."""

from __future__ import annotations

import os
import sys
import types

import pytest
import standins
from cases import dtype_of
from standins import Tensor

import nbsmce
from nbsmce._cuda import plan

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="addresses are those of a GPU")
world = pytest.fixture(standins.world)


def test_the_result_is_the_callers_on_its_device_and_stream(world):
    x = Tensor((4, 8), device=3)
    y = nbsmce.softmax(x)
    assert type(y) is Tensor
    assert [y] == world.allocated
    assert (y.shape, y.dtype, y.device.index) == ((4, 8), x.dtype, 3)
    ((_, where, arguments),) = world.started
    assert (where.device, where.stream) == (3, 103)
    assert arguments[1].x.pointer == (x.address, "float32")
    assert arguments[2].y.pointer == (y.address, "float32")


def test_into_the_callers_memory_nothing_is_allocated(world):
    x = Tensor((4, 8))
    assert nbsmce.softmax(x, out=x) is x
    assert world.allocated == []


@pytest.mark.parametrize(
    ("shape", "address", "unit"),
    [((4, 8), 1 << 20, 4), ((4, 8), (1 << 20) + 4, 1), ((4, 7), 1 << 20, 1), ((1, 8), (1 << 20) + 8, 2)],
)
def test_16_bytes_at_a_time_only_where_all_rows_are_aligned(world, shape, address, unit):
    nbsmce.softmax(Tensor(shape, address=address))
    assert world.started[0][0].variant.unit == unit


def test_rows_that_are_apart_are_not_copied(world):
    x = Tensor((4, 8, 6), strides=(1000, 100, 10))
    nbsmce.softmax(x, 1, out=Tensor((4, 8, 6), address=1 << 28))
    assert len(world.started) == 1
    assert world.started[0][0].layout.apart
    assert world.allocated == []


def test_more_than_two_strides_are_copied(world):
    nbsmce.softmax(Tensor((2, 3, 4, 5), strides=(1000, 7, 300, 1)), -1, out=Tensor((2, 3, 4, 5), address=1 << 28))
    assert [type(make).__name__ for make, *_ in world.started] == ["Copy", "Program", "Copy"]


def test_long_rows_are_gone_over_in_panels(world):
    nbsmce.softmax(Tensor((100, 1 << 20)))
    assert families(world)[:3] == ["section_states", "merged_states", "section_results"]
    firsts = [arguments[-1].first for _, _, arguments in world.started[::3]]
    assert firsts == list(range(0, 100, 6))  # 4 MiB a row, 24 MiB a panel


def families(world):
    return [make.family.__name__ for make, *_ in world.started if hasattr(make, "family")]


@pytest.mark.parametrize(
    ("function", "dtype", "classes", "blocks"),
    [
        (nbsmce.softmax, "float32", 16385, 4),  # 8192 in each
        (nbsmce.softmax, "float32", 32768, 4),
        (nbsmce.softmax, "float32", 32769, 8),
        (nbsmce.softmax, "float32", 65536, 8),
        (nbsmce.softmax, "float64", 8193, 4),
        (nbsmce.log_softmax, "bfloat16", 131072, 8),
        (lambda x: nbsmce.softmax_backward(x, x), "float32", 65536, 8),
    ],
)  # fmt: skip
def test_long_rows_are_gone_over_by_clusters(world, function, dtype, classes, blocks):
    function(Tensor((100, classes), dtype))
    assert families(world) == ["clustered"]
    ((make, where, arguments),) = world.started
    assert make.cluster == blocks == arguments[-1]
    assert where.blocks == 100 * blocks
    assert where.threads == (256, 1)
    assert blocks * 256 * make.layout.chunks * (16 // dtype_of(dtype).itemsize) >= classes


@pytest.mark.parametrize("answer", [(0, 0), (912, 0)], ids=["none", "an error"])
def test_a_gpu_without_room_for_a_cluster_has_rows_in_sections(world, answer):
    world.clusters = answer
    world.context = 5
    nbsmce.softmax(Tensor((100, 40000), device=1))
    assert families(world) == ["section_states", "merged_states", "section_results"]
    make, config, device = world.asked
    assert (make.family.__name__, make.cluster, device, world.context) == ("clustered", 8, 1, 5)
    grid, block = ([config[f"{of}Dim{axis}"] for axis in "XYZ"] for of in ("grid", "block"))
    assert (grid, block) == ([8, 1, 1], [256, 1, 1])


def test_another_error_is_raised(world):
    world.clusters = types.SimpleNamespace(name="CUDA_ERROR_INVALID_CONTEXT"), 0
    raises(RuntimeError, "CUDA_ERROR_INVALID_CONTEXT", nbsmce.softmax, Tensor((100, 40000)))


@pytest.mark.parametrize(
    ("start", "capability"),
    [
        (lambda: nbsmce.softmax(Tensor((100, 65536))), 80),
        (lambda: nbsmce.softmax(Tensor((100, 65537))), 90),
        (lambda: nbsmce.softmax(Tensor((65536, 100)), axis=0), 90),
        (lambda: nbsmce.logsumexp(Tensor((100, 65536))), 90),
        (lambda: nbsmce.cross_entropy_with_grad(
            Tensor((100, 65536)), Tensor((100,), "int64"), label_smoothing=0.1
        ), 90),
        (lambda: nbsmce.cross_entropy_with_grad(Tensor((100, 9000), "float64"), Tensor((100,), "int64")), 120),
    ],
    ids=["8.0", "too long", "side by side", "no results for every class", "too many registers", "float64"],
)  # fmt: skip
def test_where_clusters_cannot_be_or_gain_nothing(world, monkeypatch, start, capability):
    monkeypatch.setattr(plan, "capability_of", lambda device: capability)
    start()
    assert "section_states" in families(world)
    assert "clustered" not in families(world)


def raises(error, text, function, *arguments, **options):
    with pytest.raises(error, match=text):
        function(*arguments, **options)


def test_bad_calls_start_nothing(world):
    x, t = Tensor((4, 8)), Tensor((4,), "int64")
    raises(TypeError, "on one GPU: x on 0, out on 1", nbsmce.softmax, x, out=Tensor((4, 8), device=1))
    raises(
        TypeError, r"x requires a gradient, .* pass x.detach\(\)", nbsmce.softmax, Tensor((4, 8), requires_grad=True)
    )
    raises(TypeError, "x must be float16, .* got dtype 'complex64'", nbsmce.softmax, Tensor((4, 8), "complex64"))
    raises(TypeError, "out must have the dtype float32, got float64", nbsmce.softmax, x, out=Tensor((4, 8), "float64"))
    raises(ValueError, r"out must have the shape \(4, 8\), got \(8,\)", nbsmce.softmax, x, out=Tensor((8,)))
    raises(ValueError, r"target must have the shape \(4,\)", nbsmce.cross_entropy, x, Tensor((3,), "int64"))
    raises(ValueError, r"weight must have the shape \(8,\)", nbsmce.cross_entropy, x, t, weight=Tensor((4,)))
    raises(ValueError, "dloss must be a scalar", nbsmce.cross_entropy_backward, Tensor((4,)), x, t)
    raises(ValueError, "check must be 'deferred' or 'sync', got 'now'", nbsmce.cross_entropy, x, t, check="now")
    raises(ValueError, "logits must have at least one dimension", nbsmce.cross_entropy, Tensor(()), Tensor((), "int64"))
    raises(ValueError, "dy and y must have one shape", nbsmce.softmax_backward, x, Tensor((4, 4)))
    assert world.started == []


def test_two_libraries_in_one_call(world):
    class Other:
        __cuda_array_interface__ = {"shape": (4,), "typestr": "<i8", "data": (1 << 20, False), "version": 3}  # noqa: RUF012

    raises(
        TypeError,
        "of one library: logits is a torch.Tensor, target a numba",
        nbsmce.cross_entropy,
        Tensor((4, 8)),
        Other(),
    )


def test_the_loss_raises_when_it_is_read_and_not_before(world):
    loss = nbsmce.cross_entropy(Tensor((4, 8)), Tensor((4,), "int64"))
    assert isinstance(loss, Tensor)
    status = loss._nbsmce_record.status
    status.values = [2, 9]
    assert float(loss) == 1.5  # a number: the record is not looked at
    loss.value = float("nan")
    for read in (float, lambda a: a.item(), lambda a: f"{a:.3}"):
        with pytest.raises(IndexError, match=r"target\[2\] is 9, which is neither in \[0, 8\) nor ignore_index"):
            read(loss)
    status.values = [-1, 0]
    assert loss.item() != loss.item()


# -- the driver --------------------------------------------------------------------------------------------------------


def problem_with(monkeypatch, **core):
    from nbsmce._cuda import driver

    numba_cuda = types.SimpleNamespace(implementation="NVIDIA")
    import numba

    monkeypatch.setattr(numba, "cuda", numba_cuda, raising=False)
    package = types.ModuleType("cuda.core")
    package.Device = types.SimpleNamespace(**core)
    monkeypatch.setitem(sys.modules, "cuda.core", package)
    driver.problem.cache_clear()
    found = driver.problem()
    driver.problem.cache_clear()
    return found


def test_a_driver_that_is_missing_broken_or_without_a_gpu(monkeypatch):
    def missing():
        raise OSError("libcuda.so.1: cannot open shared object file\nand more")

    said = problem_with(monkeypatch, get_all_devices=missing)
    assert said == "the CUDA driver cannot be started: OSError: libcuda.so.1: cannot open shared object file"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    said = problem_with(monkeypatch, get_all_devices=list)
    assert said == "the CUDA driver finds no GPU; CUDA_VISIBLE_DEVICES is ''"
    assert problem_with(monkeypatch, get_all_devices=lambda: [1]) is None


def test_without_numba_cuda(monkeypatch):
    import numba

    from nbsmce._cuda import driver

    monkeypatch.setattr(numba, "cuda", types.SimpleNamespace(implementation="Built-in"), raising=False)
    driver.problem.cache_clear()
    assert driver.problem() == "the package numba-cuda is not installed: python -m pip install 'nbsmce[cuda]'"
    driver.problem.cache_clear()
