"""Copies between arrays of any strides and dtypes, for layouts and dtypes that the kernels do not take."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .device import cuda, device, instructions
from .launch import ELEMENTS
from .layout import merged
from .owners import View
from .plan import Plan

THREADS = 256


@device
def _plain(pointer: Any, index: Any) -> Any:
    return pointer[index]


class Shape(NamedTuple):
    """The axes of a copy, and their strides in elements; missing ones are in front, with length 1."""

    n0: Any
    n1: Any
    n2: Any
    n3: Any
    n4: Any
    n5: Any


AXES = len(Shape._fields)


class Copy(NamedTuple):
    """A copy kernel. Half types are bits for it, unless it converts them. It writes 0 if there is no source."""

    source: str
    target: str

    def __call__(self) -> Any:
        read: Any = _plain
        number: Any = {"float32": np.float32, "float64": np.float64, "int64": np.int64}.get(self.target)
        converts = bool(self.source) and self.source != self.target
        reads, zero = bool(self.source), ELEMENTS[self.target](0)
        if converts and self.source in ("float16", "bfloat16"):
            low = getattr(instructions, f"{self.source}_low")
            word = instructions.load("u16", 1)

            @device
            def read(pointer: Any, index: Any) -> Any:
                return low(word(pointer, index, True, np.uint32(0)))

        def copied(source: Any, target: Any, shape: Any, source_strides: Any, target_strides: Any, size: Any) -> None:
            i = np.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
            if i < size:
                at = to = np.int64(0)
                for axis in range(AXES - 1, -1, -1):
                    place = i % shape[axis]
                    i = i // shape[axis]
                    at += place * source_strides[axis]
                    to += place * target_strides[axis]
                if converts:
                    target[to] = number(read(source, at))
                elif reads:
                    target[to] = source[at]
                else:
                    target[to] = zero

        return copied


def copy(plan: Plan, source: View, target: View) -> None:
    """Copy the elements of an array into another of its shape."""
    _over_elements(plan, Copy(source.dtype, target.dtype), source, target)


def clear(plan: Plan, target: View) -> None:
    """Write 0 everywhere."""
    _over_elements(plan, Copy("", target.dtype), target, target)


def _over_elements(plan: Plan, kernel: Copy, source: View, target: View) -> None:
    if not source.size:
        return
    pairs = list(zip(source.strides, target.strides, strict=True))
    sizes, strides = merged(list(source.shape), pairs)
    if len(sizes) > AXES:
        raise ValueError(f"an array of {len(sizes)} axes that cannot be joined has more than {AXES}")
    missing = AXES - len(sizes)
    shape = Shape(*[1] * missing, *sizes)
    read, write = ([0] * missing + [s[i] for s in strides] for i in range(2))
    arguments = source.pointer(), target.pointer(), shape, Shape(*read), Shape(*write), source.size
    plan.start(kernel, -(-source.size // THREADS), (THREADS, 1), *arguments)
