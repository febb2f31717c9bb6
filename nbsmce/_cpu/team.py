"""The threads that the calls of this process share: hiring, dismissing, forks, signals.

:mod:`~nbsmce._cpu.pool` has what they do.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import threading
import time
from typing import Any

import numpy as np

from .._compile import JIT
from .._threads import get_num_threads
from . import control as c

_SYSTEM: Any = None if sys.platform == "win32" or not JIT else ctypes.CDLL(None)
"""Functions of POSIX. Windows has others, and Numba's threads instead of ours."""


class Control:
    """The words that threads share, and the addresses that machine code calls."""

    def __init__(self) -> None:
        memory = np.zeros(c.WORDS + 8, np.int64)
        start = -memory.ctypes.data % 64
        self.address = memory.ctypes.data + start
        self.words: memoryview[int] = memory[start // 8 : start // 8 + c.WORDS].data
        self.words[c.MAIN] = threading.main_thread().ident or 0

    def fill(self, system: ctypes.CDLL) -> None:
        """The functions of the operating system and of Python."""
        python = ctypes.pythonapi
        functions = {
            c.LOCK: system.pthread_mutex_lock,
            c.UNLOCK: system.pthread_mutex_unlock,
            c.WAIT: system.pthread_cond_wait,
            c.WAKE_ALL: system.pthread_cond_broadcast,
            c.YIELD: system.sched_yield,
            c.MYSELF: system.pthread_self,
            c.CLOCK: system.clock_gettime,
            c.ENSURE: python.PyGILState_Ensure,
            c.RELEASE: python.PyGILState_Release,
            c.CHECK: python.PyErr_CheckSignals,
            c.FETCH: python.PyErr_Fetch,
        }
        if sys.platform == "linux":
            functions |= {
                c.PROCESSOR: system.sched_getcpu,
                c.GET_MASK: system.sched_getaffinity,
                c.SET_MASK: system.sched_setaffinity,
            }
        for word, function in functions.items():
            self.words[word] = ctypes.cast(function, ctypes.c_void_p).value or 0
        self.words[c.CLOCK_KIND] = time.CLOCK_MONOTONIC
        system.pthread_mutex_init(ctypes.c_void_p(self.address + 8 * c.MUTEX), None)
        system.pthread_cond_init(ctypes.c_void_p(self.address + 8 * c.CONDITION), None)

    def reopen(self) -> None:
        """Let calls have helpers again."""
        self.words[c.STOP] = self.words[c.BUSY] = self.words[c.HELPERS] = 0

    def abandon(self) -> None:
        """After a fork, which left the helpers behind: a call that has them and waits for a signal handler to return,
        which has forked, cannot be right any more."""
        if self.words[c.BUSY] and self.words[c.LEADER] == threading.get_ident():
            self.words[c.CANCELLED], self.words[c.EXCEPTION] = 1, 0
            self.words[c.STATE] = c.OPEN  # it closes the job itself
            for section in range(c.MOST_SECTIONS):
                self.words[c.taken_of(section)] = self.words[c.COUNT]

    def forget(self) -> bool:
        """Forget that a call of this thread was cancelled, if it was: returns whether.

        Before a call, since an earlier one may have ended with another exception than the one that was kept for it.
        """
        cancelled = bool(self.words[c.CANCELLED]) and threading.get_ident() == self.words[c.MAIN]
        if cancelled:
            self.words[c.CANCELLED] = 0
        return cancelled

    def settle(self) -> None:
        """Raise what a signal handler has raised while the main thread computed."""
        if self.forget():
            exception = [self.words[c.EXCEPTION + i] for i in range(3)]
            if not exception[0]:
                raise RuntimeError("this process was forked by a signal handler, and its results are not complete")
            ctypes.pythonapi.PyErr_Restore(*[ctypes.c_void_p(part) for part in exception])  # raises it


class Team:
    """Helpers, hired when they are first wanted.

    They are threads of the operating system that Python does not know. A fork finds none of them: they are dismissed
    before, unless they are at work for another thread, and both processes hire others when they need them.
    """

    def __init__(self) -> None:
        self._controls: list[Control] = []  # all are kept, since a thread may be in an old one
        self._ended = False
        self._alone()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child)
        atexit.register(self._end)

    def _alone(self) -> None:
        self._lock = threading.RLock()
        self._helpers: list[ctypes.c_ulong] = []
        self._most = sys.maxsize  # helpers that the system lets us have
        self._dismissed = False

    def call(self) -> tuple[Control, int]:
        """What a kernel is launched with, and how many threads it may use. :meth:`Control.settle` must follow."""
        control = self._controls[-1] if self._controls else self._first_control()
        control.forget()
        if _SYSTEM is None:
            return control, get_num_threads() if JIT else 1
        wanted = min(get_num_threads() - 1, self._most)
        if len(self._helpers) < wanted:
            self._hire(control, wanted)
        return control, min(len(self._helpers), wanted) + 1

    def _first_control(self) -> Control:
        with self._lock:
            if not self._controls:
                self._controls.append(_new_control())
            return self._controls[-1]

    def _hire(self, control: Control, wanted: int) -> None:
        with self._lock:
            while len(self._helpers) < wanted and not self._ended:
                helper = ctypes.c_ulong()
                self._helpers.append(helper)
                if not _start(helper, control):
                    self._helpers.pop()
                    self._most = len(self._helpers)
                    break

    def _dismiss(self) -> bool:
        """End the helpers, unless they are at work."""
        if not self._helpers or not _told_to_end(self._controls[-1]):
            return False
        for helper in self._helpers:
            if helper.value:  # else this interrupts the moment before its start
                _SYSTEM.pthread_join(helper, None)
        self._helpers.clear()
        return True

    def _before(self) -> None:
        self._lock.acquire()
        self._dismissed = self._dismiss()

    def _in_parent(self) -> None:
        if self._dismissed:
            self._controls[-1].reopen()
        self._lock.release()

    def _in_child(self) -> None:
        self._alone()
        if self._controls:
            self._controls[-1].abandon()
            self._controls.append(_new_control())

    def _end(self) -> None:
        self._ended = True
        self._dismiss()


def _new_control() -> Control:
    control = Control()
    if _SYSTEM is not None:
        control.fill(_SYSTEM)
        control.words[c.LAUNCH] = _code().launch.address
    elif JIT:
        from . import prange

        control.words[c.LAUNCH] = prange.code().address
    return control


def _code() -> Any:
    from . import pool

    return pool.code()


def _start(helper: ctypes.c_ulong, control: Control) -> bool:
    """Start a thread. It leaves signals to Python's threads."""
    function, argument = (ctypes.c_void_p(address) for address in (_code().help_out.address, control.address))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        return bool(_SYSTEM.pthread_create(ctypes.byref(helper), None, function, argument) == 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _told_to_end(control: Control) -> bool:
    """Whether the helpers were free, and are told to end."""
    dismiss = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(_code().dismiss.address)
    return bool(dismiss(control.address))


team = Team()
