"""Which kernels a function may need, to have them compiled before it is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._compile import JIT, Kernel
from . import host
from .cross_entropy import bundled_cross_entropy, cross_entropy, inspect_targets, split_cross_entropy, total_of_rows
from .gradients import (
    bundled_logsumexp_backward,
    bundled_softmax_backward,
    logsumexp_backward,
    softmax_backward,
    split_logsumexp_backward,
    split_softmax_backward,
)
from .launch import BUNDLED
from .logsumexp import (
    bundled_logsumexp,
    logsumexp,
    split_logsumexp,
    split_weighted_logsumexp,
    weighted_logsumexp,
)
from .nll import nll
from .softmax import bundled_softmax, softmax, split_softmax
from .team import team

# Of each function the kernel for rows in bundles, then the others.
_SOFTMAX = bundled_softmax, softmax, split_softmax
_SOFTMAX_BACKWARD = bundled_softmax_backward, softmax_backward, split_softmax_backward
_BY_FUNCTION: dict[str, tuple[Kernel, ...]] = {
    "softmax": _SOFTMAX,
    "log_softmax": _SOFTMAX,
    "logsumexp": (bundled_logsumexp, logsumexp, split_logsumexp, weighted_logsumexp, split_weighted_logsumexp),
    "softmax_backward": _SOFTMAX_BACKWARD,
    "log_softmax_backward": _SOFTMAX_BACKWARD,
    "logsumexp_backward": (bundled_logsumexp_backward, logsumexp_backward, split_logsumexp_backward),
}
_LOSSES = ("cross_entropy", "cross_entropy_with_grad", "cross_entropy_backward", "nll_loss", "nll_loss_backward")
FUNCTIONS = (*_BY_FUNCTION, *_LOSSES)
STORAGE = {name: dtype.char for name, dtype in host.DATA.items()}


def _needed(function: str, char: str) -> Iterator[tuple[Kernel, tuple[Any, ...]]]:
    """The kernels of a function, and their keys."""
    if function in _BY_FUNCTION:
        bundled, *others = _BY_FUNCTION[function]
        yield from ((kernel, (ndim, char)) for kernel in others for ndim in (2, 3))
        if char in BUNDLED:
            yield bundled, (3, char)
        return
    computed = "d" if char == "d" else "f"
    yield inspect_targets, (computed,)
    yield total_of_rows, ()
    if function.startswith("nll"):
        yield nll, (3, char)
        return
    if char in BUNDLED:
        yield bundled_cross_entropy, (3, char, char)
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
