"""What the host does for a call on a GPU, in microseconds by part; with stand-ins for PyTorch and the driver.

    python tools/host_cost.py

The stand-ins do nothing when memory is allocated and kernels are started: that is the libraries' and the driver's part,
which the figures are without. Needs numba-cuda and pytest, and no GPU.
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
            "started": (call, [("_result", nothing)]),
            "allocated": (call, [("_result", nothing), ("_started", None)]),
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


def main() -> None:
    sys.path.insert(0, str(TESTS))
    import standins

    with pytest.MonkeyPatch.context() as patch:
        world = next(standins.world(patch))
        import nbsmce
        from nbsmce._cuda import calls

        tensor, none = standins.Tensor, None
        memory = tensor((1,), address=1 << 30)
        world.cuLaunchKernel = lambda *_: (0,)
        sys.modules["torch"].empty = lambda *_, **__: memory
        x, out = tensor((4096, 1024)), tensor((4096, 1024), address=1 << 28)
        target = tensor((4096,), "int64", address=1 << 27)
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
