"""Which kernels a function may need, to have them compiled before it is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._compile import JIT, Kernel, Kernels
from . import host
from .cross_entropy import CROSS_ENTROPY
from .gradients import LOGSUMEXP_BACKWARD, SOFTMAX_BACKWARD
from .launch import BUNDLED
from .logsumexp import LOGSUMEXP, WEIGHTED
from .nll import nll
from .softmax import SOFTMAX
from .targets import inspect_targets, total_of_rows
from .team import team

_BY_FUNCTION: dict[str, tuple[Kernels, ...]] = {
    "softmax": (SOFTMAX,),
    "log_softmax": (SOFTMAX,),
    "logsumexp": (LOGSUMEXP, WEIGHTED),
    "softmax_backward": (SOFTMAX_BACKWARD,),
    "log_softmax_backward": (SOFTMAX_BACKWARD,),
    "logsumexp_backward": (LOGSUMEXP_BACKWARD,),
}
_LOSSES = ("cross_entropy", "cross_entropy_with_grad", "cross_entropy_backward", "nll_loss", "nll_loss_backward")
FUNCTIONS = (*_BY_FUNCTION, *_LOSSES)
STORAGE = {name: dtype.char for name, dtype in host.DATA.items()}


def _needed(function: str, char: str) -> Iterator[tuple[Kernel, tuple[Any, ...]]]:
    """The kernels of a function, and their keys."""
    for kernels in _BY_FUNCTION.get(function, ()):
        yield from _of(kernels, char)
    if function not in _LOSSES:
        return
    computed = "d" if char == "d" else "f"
    yield inspect_targets, (computed,)
    yield total_of_rows, ()
    if function.startswith("nll"):
        yield nll, (3, char)
        return
    for probabilities in dict.fromkeys((char, computed)):
        yield from _of(CROSS_ENTROPY, char, probabilities)


def _of(kernels: Kernels, char: str, *more: str) -> Iterator[tuple[Kernel, tuple[Any, ...]]]:
    for kernel in (kernels.whole, kernels.split):
        if kernel is not None:
            yield from ((kernel, (ndim, char, *more)) for ndim in (2, 3))
    if kernels.tiled is not None:
        yield kernels.tiled, (3, char, *more)
    if kernels.bundled is not None and char in BUNDLED:
        yield kernels.bundled, (3, char, *more)


def missing(functions: tuple[str, ...], dtypes: tuple[str, ...]) -> list[tuple[str, Kernel, tuple[Any, ...]]]:
    """The kernels that are not there yet: a text for each, and how to get it."""
    if not JIT:
        return []
    found = {}
    for dtype in dtypes:
        for function in functions:
            for kernel, key in _needed(function, STORAGE[dtype]):
                if key not in kernel:
                    rows = " abreast" if key[:1] == (3,) else ""
                    found[id(kernel), key] = f"{kernel.function.__name__}{rows} for {dtype}", kernel, key
    return list(found.values())


def start_threads() -> None:
    """Compile what threads run, and start them."""
    team.call()
