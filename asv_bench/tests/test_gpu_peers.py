"""What the GPU report measures, on the CPU: each call gives what the others of its task give, and is compiled anew."""

import functools

import gpu_peers
import pytest

torch = pytest.importorskip("torch")


@pytest.fixture
def compilations(monkeypatch):
    """The shapes that ``torch.compile`` has compiled for, with a backend that needs no compiler."""
    shapes = []

    def backend(graph, inputs):
        shapes.append(next(tuple(x.shape) for x in inputs if isinstance(x, torch.Tensor)))
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    return shapes


def result(make, x):
    """The gradient, where a call gives a loss, too; targets are the same for all."""
    torch.manual_seed(1)
    found = make(torch, x)()
    return found[1] if isinstance(found, tuple) else found


@pytest.mark.parametrize(
    ("task", "library"),
    [(task, name) for task, makers in gpu_peers.TASKS.items() for name in makers if name in ("torch", "torch.compile")],
)
def test_peers_compute_the_same(task, library, compilations):
    x = torch.randn(37, 101, generator=torch.Generator().manual_seed(0)) * 3
    own, peer = (result(gpu_peers.TASKS[task][name], x) for name in ("nbsmce", library))
    assert own.abs().max() > 1e-3
    torch.testing.assert_close(peer, own)
    assert compilations == [(37, 101)] * (library == "torch.compile")


@pytest.mark.parametrize("task", gpu_peers.TASKS)
def test_torch_compile_compiles_for_every_shape(task, compilations):
    shapes = [(2, classes) for classes in range(3, 15)]  # more than it compiles of one function
    for shape in shapes:
        result(gpu_peers.TASKS[task]["torch.compile"], torch.ones(shape))
    assert compilations == shapes
