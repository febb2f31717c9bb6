"""Which kernels a function may need, to have them compiled before it is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._compile import JIT, Kernel
from . import host
from .cross_entropy import cross_entropy, inspect_targets, split_cross_entropy, total_of_rows
from .gradients import logsumexp_backward, softmax_backward, split_logsumexp_backward, split_softmax_backward
from .logsumexp import logsumexp, split_logsumexp, split_weighted_logsumexp, weighted_logsumexp
from .nll import nll
from .softmax import softmax, split_softmax
from .team import team

_Pair = tuple[Kernel, Kernel]

_BY_FUNCTION: dict[str, list[_Pair]] = {
    "softmax": [(softmax, split_softmax)],
    "log_softmax": [(softmax, split_softmax)],
    "logsumexp": [(logsumexp, split_logsumexp), (weighted_logsumexp, split_weighted_logsumexp)],
    "softmax_backward": [(softmax_backward, split_softmax_backward)],
    "log_softmax_backward": [(softmax_backward, split_softmax_backward)],
    "logsumexp_backward": [(logsumexp_backward, split_logsumexp_backward)],
}
_LOSSES = ("cross_entropy", "cross_entropy_with_grad", "cross_entropy_backward", "nll_loss", "nll_loss_backward")
FUNCTIONS = (*_BY_FUNCTION, *_LOSSES)
STORAGE = {name: dtype.char for name, dtype in host.DATA.items()}


def _needed(function: str, char: str) -> Iterator[tuple[Kernel, tuple[Any, ...]]]:
    """The kernels of a function, and their keys."""
    for whole, split in _BY_FUNCTION.get(function, ()):
        yield from ((kernel, (ndim, char)) for kernel in (whole, split) for ndim in (2, 3))
    if function not in _LOSSES:
        return
    computed = "d" if char == "d" else "f"
    yield inspect_targets, (computed,)
    yield total_of_rows, ()
    if function.startswith("nll"):
        yield nll, (3, char)
        return
    for probabilities in dict.fromkeys((char, computed)):
        for kernel in (cross_entropy, split_cross_entropy):
            yield from ((kernel, (ndim, char, probabilities)) for ndim in (2, 3))


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
