"""What a call does: the memory it allocates, the kernels it starts and what it returns, whatever the addresses are.

A plan is made from what :mod:`.calls` has found out about the arrays, and then run with them and with any others of
which that is true. Its pointers are numbers of *sources*: first the arguments of the call, then what is allocated for
it; from :data:`SCRATCH` on, places in its scratch memory.
"""

from __future__ import annotations

import array
import functools
import math
import operator
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from . import checked
from .device import SIMULATED
from .launch import (
    ELEMENTS,
    Pointer,
    bindings,
    capability_of,
    current,
    done,
    function_of,
    has_room,
    leaves,
    restore,
    simulate,
)
from .owners import Owner, View, contiguous

BETWEEN = 256  # bytes: arrays in scratch memory begin at multiples of it
SCRATCH = 1 << 20
_AS_FLOAT, _AS_BITS = struct.Struct("d"), struct.Struct("Q")


class Start(NamedTuple):
    """A kernel that is started."""

    kernel: Any
    blocks: int
    threads: tuple[int, int]
    arguments: tuple[Any, ...]


class Noted(NamedTuple):
    """Where kernels have noted the first row whose index is no class; as a step, wait for it and raise."""

    source: int
    message: Any  # (row, index) -> what is said


class Plan:
    """See the module."""

    def __init__(self, owner: Owner, device: int, arguments: int) -> None:
        self.owner, self.device, self.capability = owner, device, capability_of(device)
        self.sources = arguments
        self.memory: list[Callable[[], Any]] = []  # what makes each array
        self.places: list[int] = []  # in the scratch memory
        self.room = 0  # bytes of scratch memory
        self.steps: list[Start | Noted] = []
        self.result: View | tuple[View | None, ...] = ()
        self.loss: int | None = None  # the source of a scalar, which says when it is read what was noted
        self.noted: Noted | None = None
        self.waits = False  # for the kernels to end
        self._frames: list[Frame] = []

    # -- making one ----------------------------------------------------------------------------------------------------

    def empty(self, shape: tuple[int, ...], dtype: str) -> View:
        """A new array of the caller's kind, which can be a result."""
        self.memory.append(self.owner.maker(shape, dtype, self.device))
        self.sources += 1
        return View(self.sources - 1, dtype, shape, contiguous(shape), self.device, True, 0)

    def scratch(self, shape: tuple[int, ...], dtype: str) -> View:
        """Memory until all kernels have been started. There is one allocation for all of it."""
        if SIMULATED:  # where each array has bounds that are checked
            return self.empty(shape, dtype)
        self.places.append(self.room)
        self.room += -(-math.prod(shape) * np.dtype(ELEMENTS[dtype]).itemsize // BETWEEN) * BETWEEN
        return View(SCRATCH + len(self.places) - 1, dtype, shape, contiguous(shape), self.device, True, 0)

    def start(self, kernel: Any, blocks: int, threads: tuple[int, int], *arguments: Any) -> None:
        """Start the kernel that ``kernel()`` returns; equal ones are compiled once."""
        if blocks:
            self.steps.append(Start(kernel, blocks, threads, arguments))

    def has_room(self, kernel: Any, threads: tuple[int, int], *arguments: Any) -> bool:
        """Whether the GPU can start a kernel in clusters, which it is compiled to find out."""
        return has_room(function_of(kernel, threads, arguments, self.device), kernel.cluster, threads, self.device)

    def check(self, noted: Noted) -> None:
        """Go on only if all indices are classes."""
        self.steps.append(noted)

    # -- running it ----------------------------------------------------------------------------------------------------

    def run(self, arrays: list[Any], addresses: list[int]) -> Any:
        """Do it with these arguments, on their library's current stream."""
        address_of, scratch = self.owner.address, self._scratch
        room = None if scratch is None else scratch()  # lives until the kernels have been started
        base = 0 if room is None else address_of(room)
        odd = base
        for make in self.memory:
            made = make()
            address = address_of(made)
            odd |= address
            arrays.append(made)
            addresses.append(address)
        if odd & 15:  # kernels access new memory 16 bytes at a time
            raise RuntimeError("memory was allocated at an address that is no multiple of 16 bytes")
        if SIMULATED:
            self._simulated(arrays)
        else:
            self._started(arrays, addresses, base)
        return self._finished(arrays)

    @functools.cached_property
    def _scratch(self) -> Callable[[], Any] | None:
        return self.owner.maker((self.room,), "uint8", self.device) if self.room else None

    def _started(self, arrays: list[Any], addresses: list[int], base: int) -> None:
        stream, before = self.owner.stream(self.device), current(self.device)
        try:
            try:
                frame = self._frames.pop()
            except IndexError:
                frame = Frame(self)
            frame.write(frame.table, 0, *addresses)
            if base != frame.base:
                frame.use_scratch(base)
            start = frame.start
            for function, blocks, x, y, parameters in frame.steps:
                if function is None:
                    self._record(parameters, arrays).check()
                else:
                    answer = start(function, blocks, 1, 1, x, y, 1, 0, stream, parameters, 0)
                    if answer[0]:
                        done(answer)
            if self.waits:
                done(bindings().cuStreamSynchronize(stream))
            self._frames.append(frame)
        finally:
            if before is not None:
                restore(before)

    def _simulated(self, arrays: list[Any]) -> None:
        for step in self.steps:
            if isinstance(step, Noted):
                self._record(step, arrays).check()
            else:
                simulate(step.kernel, step.blocks, step.threads, step.arguments, arrays)

    def _record(self, noted: Noted, arrays: list[Any]) -> checked.Record:
        return checked.Record(arrays[noted.source], self.owner.numbers, noted.message)

    def _finished(self, arrays: list[Any]) -> Any:
        if self.loss is not None:
            record = None if self.noted is None else self._record(self.noted, arrays)
            arrays[self.loss] = self.owner.checked(arrays[self.loss], record)
        arrays.append(None)
        return self._results(arrays)

    @functools.cached_property
    def _results(self) -> Callable[[list[Any]], Any]:
        """``f(arrays)``: those that are returned, of which the last, None, stands for what was not asked for."""
        views = (self.result,) if isinstance(self.result, View) else self.result
        return operator.itemgetter(*[-1 if view is None else view.source for view in views])


class Frame:
    """A plan's kernels for its GPU, and the table of numbers that the driver reads their parameters from.

    One call at a time has a frame: the table holds its addresses while kernels are started.
    """

    def __init__(self, plan: Plan) -> None:
        self._sources, self._places, self.base = plan.sources, plan.places, 0
        nowhere = plan.sources + len(plan.places)
        numbers = [0] * nowhere + [0]  # Pointer.source of an argument that was not given is -1
        places = [list(self._of_step(step, numbers, nowhere)) for step in plan.steps]
        self.start = bindings().cuLaunchKernel
        self.write = struct.Struct(f"{plan.sources}Q").pack_into
        self.table = array.array("Q", numbers)
        base = self.table.buffer_info()[0]
        self._parameters = [array.array("Q", [base + 8 * p for p in of_step]) for of_step in places]
        self.steps: list[tuple[Any, int, int, int, Any]] = []
        for step, parameters in zip(plan.steps, self._parameters, strict=True):
            if isinstance(step, Noted):
                self.steps.append((None, 0, 0, 0, step))
            else:
                function = function_of(step.kernel, step.threads, step.arguments, plan.device)
                self.steps.append((function, step.blocks, *step.threads, parameters.buffer_info()[0]))

    def use_scratch(self, base: int) -> None:
        """Put scratch memory at an address, which a library's pool often gives again."""
        self.base = base
        for i, at in enumerate(self._places, self._sources):
            self.table[i] = base + at

    def _of_step(self, step: Start | Noted, numbers: list[int], nowhere: int) -> Iterator[int]:
        """Where in the table a step's parameters are; those that are no pointers are put there."""
        if isinstance(step, Noted):
            return
        for leaf in leaves(step.arguments):
            if isinstance(leaf, Pointer):
                source = leaf.source
                yield nowhere if source < 0 else source if source < SCRATCH else self._sources + source - SCRATCH
            else:
                as_float = isinstance(leaf, float)
                bits = _AS_BITS.unpack(_AS_FLOAT.pack(leaf))[0] if as_float else int(leaf) & (1 << 64) - 1
                numbers.append(bits)
                yield len(numbers) - 1
