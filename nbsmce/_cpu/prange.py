"""Numba's threads, in place of those of :mod:`~nbsmce._cpu.pool`, where the system is not one of POSIX.

Of several calls at once one has them, since not every threading layer of Numba can be entered twice.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
from numba import types

from . import control as c
from .control import Shared, run
from .lanes.llvm import integer, smaller
from .lanes.llvm_control import Variable, branch, in_njit, repeat_while
from .sections import Sections


def _enter(address, n, grain, threads):
    control = Shared(address)
    entered = control.swap(c.BUSY, 0, 1)
    branch(entered, Sections(control, n, grain, threads).begin)
    return integer(entered)


def _work(address, callback, bundle, n, grain, threads, slot):
    take = Sections(Shared(address), n, grain, threads).taken_by(slot)
    lo = Variable(take() * grain)
    for _ in repeat_while(lambda: lo.value < n):
        run(callback, bundle, lo.value, smaller(lo.value + grain, n), slot)
        lo.value = take() * grain


def _leave(address):
    Shared(address)[c.BUSY] = 0


_enter, _leave, _work = in_njit(_enter), in_njit(_leave, True), in_njit(_work, True)
_run = in_njit(run, True)


@numba.njit(parallel=True, nogil=True, error_model="numpy")
def _fork_join(control, callback, bundle, n, grain, threads):
    for slot in numba.prange(threads):
        _work(control, callback, bundle, n, grain, threads, slot)


def launch(control, callback, bundle, n, grain, threads):
    """See :func:`nbsmce._cpu.pool.launch`."""
    if n > grain and threads > 1 and _enter(control, n, grain, threads):
        _fork_join(control, callback, bundle, n, grain, threads)
        _leave(control)
    else:
        _run(callback, bundle, 0, n, 0)


@functools.cache
def code() -> Any:
    """The function above, compiled in every process: code from the disk would not find Numba's threads [1]_.

    .. [1] "LLVM ERROR: Symbol not found: allocate_sched" with Numba 0.68, which ends the process.
    """
    return numba.cfunc(types.void(*[types.int64] * 6), error_model="numpy")(launch)
