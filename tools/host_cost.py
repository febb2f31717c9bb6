"""What the host does for a call on a GPU, in microseconds by part, with PyTorch's tensors.

    python tools/host_cost.py

Tensors in main memory stand for those of a GPU, and a driver that does nothing for CUDA's: its part, and what PyTorch's
allocator for GPUs does otherwise than that for main memory, the figures are without. Needs PyTorch and pytest, no GPU.
"""

from __future__ import annotations

import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent.parent / "tests" / "cuda"
ROUNDS, NUMBER = 40, 300


def least(calls: dict[str, tuple[Callable[[], Any], list[tuple[str, Any]]]]) -> dict[str, float]:
    """The least mean of each call in microseconds, each with some methods of plans replaced; measured in turns."""
    from nbsmce._cuda import plan

    found = dict.fromkeys(calls, 1e9)
    for _ in range(ROUNDS):
        for name, (call, replaced) in calls.items():
            with pytest.MonkeyPatch.context() as patch:
                for method, result in replaced:
                    patch.setattr(plan.Plan, method, lambda *_, result=result: result)
                call()
                found[name] = min(found[name], timeit.timeit(call, number=NUMBER) / NUMBER * 1e6)
    return found


def parts(call: Callable[[], Any], names: tuple[str, ...], arrays: tuple[Any, ...]) -> dict[str, float]:
    """What each part adds, found by leaving out all behind it."""
    from nbsmce import _dispatch
    from nbsmce._cuda import calls

    arguments, nothing = dict(zip(names, arrays, strict=True)), (None, None, None)
    t = least(
        {
            "whole": (call, []),
            "started": (call, [("_finished", nothing)]),
            "allocated": (call, [("_finished", nothing), ("_started", None)]),
            "planned": (call, [("run", nothing)]),
            "backend": (lambda: _dispatch.backend(arguments), []),
            "described": (lambda: calls._described(names, arrays), []),
        }
    )
    return {
        "whole": t["whole"],
        "backend": t["backend"],
        "description": t["described"],
        "options and plan": t["planned"] - t["backend"] - t["described"],
        "allocations": t["allocated"] - t["planned"],
        "addresses, starts": t["started"] - t["allocated"],
        "results": t["whole"] - t["started"],
    }


def pretend(patch: pytest.MonkeyPatch) -> Any:
    """PyTorch, whose tensors in main memory pass for those of a GPU."""
    import torch

    sys.path.insert(0, str(TESTS))
    import standins

    from nbsmce import _dispatch
    from nbsmce._cuda import checked

    world, here = next(standins.world(patch)), torch.device("cpu")
    world.cuLaunchKernel = lambda *_: (0,)
    checked.torch_class.cache_clear()

    def family(value: Any) -> str:
        torch = sys.modules.get("torch")
        return "cuda" if torch is not None and isinstance(value, torch.Tensor) and value.is_cpu else "cpu"

    patch.setitem(sys.modules, "torch", torch)
    patch.setattr(torch, "device", lambda *_: here)
    patch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda _: 1, raising=False)
    patch.setattr(_dispatch, "_family", family)
    return torch


def main() -> None:
    with pytest.MonkeyPatch.context() as patch:
        torch = pretend(patch)
        import nbsmce
        from nbsmce._cuda import calls

        none = None
        x, out = torch.zeros(4096, 4), torch.zeros(4096, 4)  # small: to get much memory from the system takes time
        target = torch.zeros(4096, dtype=torch.int64)
        softmax = ("x", "where", "out")
        loss = ("logits", "target", "weight", "sample_weight", "dloss", "lse", "out")
        cases = {
            "softmax": (lambda: nbsmce.softmax(x), softmax, (x, none, none)),
            "softmax, out": (lambda: nbsmce.softmax(x, out=out), softmax, (x, none, out)),
            "cross_entropy": (lambda: nbsmce.cross_entropy(x, target), loss, (x, target, *[none] * 5)),
            "cross_entropy_with_grad": (
                lambda: nbsmce.cross_entropy_with_grad(x, target), loss, (x, target, *[none] * 5),
            ),
        }  # fmt: skip
        for name, (call, names, arrays) in cases.items():
            found = parts(call, names, arrays)
            calls.forget()
            first = min(timeit.repeat(call, setup=calls.forget, number=1, repeat=200)) * 1e6
            print(f"{name}: {found.pop('whole'):.1f}, planned anew {first:.0f}")
            print("   " + ", ".join(f"{part} {cost:.1f}" for part, cost in found.items()))


if __name__ == "__main__":
    main()
