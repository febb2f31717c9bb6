"""Which thread handles which part of a job.

A job is cut into grains, and the grains into as many sections as threads may come. A thread takes the grains of its own
section first, which is the one that it had in the call before: what its processor's caches hold of the arrays is used
again. Then it helps with the others, so nobody waits for a thread that has not come. In turns with one counter for all
grains, on two processors, that took 0.83 to 1.03 of the time: docs/performance-avx2.md.
"""

from __future__ import annotations

from typing import Any

from . import control as c
from .control import Shared
from .lanes.llvm import Value, integer, smaller
from .lanes.llvm_control import Variable, branch, repeat_while, steps


class Sections:
    """The grains of ``[0, n)``, in generated code."""

    def __init__(self, control: Shared, n: Any, grain: Any, threads: Any) -> None:
        self._control = control
        self._grains = (n + grain - 1) // grain
        self._count = smaller(threads, integer(c.MOST_SECTIONS))

    def begin(self) -> None:
        """Nothing has been taken."""
        for section in steps(0, self._count):
            self._control[c.taken_of(section)] = 0

    def cancel(self) -> None:
        """Everything has been."""
        for section in steps(0, self._count):
            self._control[c.taken_of(section)] = self._grains

    def taken_by(self, thread: Any) -> Any:
        """A function whose next result is the grain that the thread is to handle, or their number if all are taken."""
        section, left = Variable(integer(thread) % self._count), Variable(self._count)

        def take() -> Value:
            found = Variable(self._grains)
            for _ in repeat_while(lambda: (left.value > 0) & (found.value == self._grains)):
                start, stop = (i * self._grains // self._count for i in (section.value, section.value + 1))
                taken = self._control.add(c.taken_of(section.value), 1) + start

                def keep(taken: Value = taken) -> None:
                    found.value = taken

                def help_the_next() -> None:
                    section.value = (section.value + 1) % self._count
                    left.value = left.value - 1

                branch(taken < stop, keep, help_the_next)
            grain: Value = found.value
            return grain

        return take
