"""What ``gpu_report.py`` measures: our functions and the peers', each as a call on the logits it is given.

The peers are called as PyTorch 2.13, Liger-Kernel 0.8.5 and quack-kernels 0.6.5 have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Call = Callable[[], Any]
Maker = Callable[[Any, Any], Call]


def triton_softmax(torch: Any) -> Callable[[Any], Any]:
    """The softmax of Triton's tutorial: a program for each row."""
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(y, x, stride, n, block: tl.constexpr):  # type: ignore[no-untyped-def]
        row, columns = tl.program_id(0), tl.arange(0, block)
        values = tl.load(x + row * stride + columns, mask=columns < n, other=-float("inf")).to(tl.float32)
        e = tl.exp(values - tl.max(values, axis=0))
        tl.store(y + row * stride + columns, e / tl.sum(e, axis=0), mask=columns < n)

    def softmax(x: Any) -> Any:
        y, block = torch.empty_like(x), triton.next_power_of_2(x.shape[1])
        kernel[(x.shape[0],)](y, x, x.stride(0), x.shape[1], block, num_warps=min(32, max(4, block // 1024)))
        return y

    return softmax


def ours(name: str) -> Maker:
    """A function of one array."""

    def make(torch: Any, x: Any) -> Call:
        import nbsmce

        function, out = getattr(nbsmce, name), torch.empty_like(x)
        return lambda: function(x, out=out)

    return make


def compiled(torch: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """``torch.compile`` for the shape of the first call alone.

    Left to itself, it compiles for the second shape what it then calls for every further one, which can be slower, and
    compiles a function no more than eight times. Guard: asv_bench/tests/test_gpu_peers.py.
    """
    torch.compiler.reset()
    return torch.compile(function, dynamic=False, fullgraph=True)


def theirs(name: str, compile: bool) -> Maker:
    """That of PyTorch."""

    def make(torch: Any, x: Any) -> Call:
        function = getattr(torch, name)
        if compile:
            function = compiled(torch, lambda a, axis: getattr(torch, name)(a, axis))
        return lambda: function(x, -1)

    return make


def tutorial_softmax(torch: Any, x: Any) -> Call:
    softmax = triton_softmax(torch)
    return lambda: softmax(x)


def cupy_softmax(_: Any, x: Any) -> Call:
    import cupy

    array = cupy.from_dlpack(x)

    def call() -> Any:
        e = cupy.exp(array - array.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    return call


def nbsmce_backward(torch: Any, x: Any) -> Call:
    import nbsmce

    y, out = torch.softmax(x, -1), torch.empty_like(x)
    return lambda: nbsmce.softmax_backward(x, y, out=out)


def torch_backward(torch: Any, x: Any) -> Call:
    y = torch.softmax(x, -1)
    return lambda: torch.ops.aten._softmax_backward_data(x, y, -1, x.dtype)


def compiled_backward(torch: Any, x: Any) -> Call:
    y = torch.softmax(x, -1)
    function = compiled(torch, lambda dy, y: torch.ops.aten._softmax_backward_data(dy, y, -1, dy.dtype))
    return lambda: function(x, y)


def quack_softmax(_: Any, x: Any) -> Call:
    import quack

    return lambda: quack.softmax(x)


def quack_backward(torch: Any, x: Any) -> Call:
    from quack.softmax import softmax_bwd

    y = torch.softmax(x, -1)
    return lambda: softmax_bwd(x, y)


def targets(torch: Any, x: Any) -> Any:
    return torch.randint(0, x.shape[1], (x.shape[0],), device=x.device)


def nbsmce_loss(torch: Any, x: Any) -> Call:
    import nbsmce

    target, out = targets(torch, x), torch.empty_like(x)
    return lambda: nbsmce.cross_entropy_with_grad(x, target, out=out)


def _with_backward(torch: Any, x: Any, function: Any) -> Call:
    leaf, target = x.detach().clone().requires_grad_(), targets(torch, x)

    def call() -> Any:
        leaf.grad = None
        function(leaf, target).backward()
        return leaf.grad

    return call


def compiled_loss(torch: Any, x: Any) -> Call:
    return _with_backward(torch, x, compiled(torch, torch.nn.functional.cross_entropy))


def liger_loss(torch: Any, x: Any) -> Call:
    """Its forward pass writes the gradient into the logits, so it has its own."""
    from liger_kernel.transformers.functional import liger_cross_entropy

    own, target = x.clone().requires_grad_(), targets(torch, x)
    return lambda: liger_cross_entropy(own, target)


def quack_loss(torch: Any, x: Any) -> Call:
    """The loss and the gradient in one pass, as ours: its autograd function takes two."""
    from quack.cross_entropy import cross_entropy_fwd

    target = targets(torch, x)
    return lambda: cross_entropy_fwd(x, target, return_dx=True)


TASKS: dict[str, dict[str, Maker]] = {
    "softmax": {
        "nbsmce": ours("softmax"), "torch": theirs("softmax", False), "torch.compile": theirs("softmax", True),
        "triton": tutorial_softmax, "cupy": cupy_softmax, "quack": quack_softmax,
    },
    "cross entropy with gradient": {
        "nbsmce": nbsmce_loss,
        "torch": lambda torch, x: _with_backward(torch, x, torch.nn.functional.cross_entropy),
        "torch.compile": compiled_loss, "liger": liger_loss, "quack": quack_loss,
    },
    "log_softmax": {
        "nbsmce": ours("log_softmax"), "torch": theirs("log_softmax", False),
        "torch.compile": theirs("log_softmax", True),
    },
    "softmax backward": {
        "nbsmce": nbsmce_backward, "torch": torch_backward, "torch.compile": compiled_backward, "quack": quack_backward,
    },
}  # fmt: skip
COMPILED = ("torch.compile", "triton", "liger", "quack")
MOVED = {"softmax backward": 3}
"""How often the bytes of the logits are moved at least; else 2 times."""
