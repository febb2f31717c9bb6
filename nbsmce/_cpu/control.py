"""A block of words that the threads of :mod:`~nbsmce._cpu.pool` share, and the instructions that they use on it.

Functions of the operating system and of Python are called by addresses that the control holds, so the compiled code
needs no symbols and is the same in every process.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .lanes.llvm import I64, LLVM, Value, call, here, integer

BYTES = ir.IntType(8).as_pointer()
CALLBACK_TYPE = ir.FunctionType(ir.VoidType(), [BYTES, I64, I64, I64])
LAUNCHER_TYPE = ir.FunctionType(ir.VoidType(), [I64] * 6)

# -- the words of a control --------------------------------------------------------------------------------------------

LAUNCH = 0  # the address of launch(): kernels call what stands here
BUSY = 1  # a call has the helpers
CANCELLED = 2  # a signal handler has raised; the next three words hold the exception
EXCEPTION = 3
MAIN, LEADER = 6, 7  # the thread that signal handlers run in; the one that has the helpers
CALLBACK, BUNDLE, COUNT, GRAIN, LIMIT = range(8, 13)  # the job, and how many helpers may join
HELPERS = 13  # that have begun: each has a number
LOCK, UNLOCK, WAIT, WAKE_ALL, YIELD, MYSELF, CLOCK, ENSURE, RELEASE, CHECK, FETCH = range(16, 27)  # addresses
CLOCK_KIND = 27
PROCESSOR, GET_MASK, SET_MASK = 28, 29, 30  # addresses; 0 where the system has no such functions
SLEEPERS, STOP, PLACE = 32, 33, 34  # PLACE is the processor of the leader
STATE, OPEN = 40, 1  # OPEN is the bit of STATE that says that a job may be joined
MUTEX, CONDITION = 48, 64
TAKEN, MOST_SECTIONS = 80, 64  # how many grains of each section have been taken, each in a cache line of its own
WORDS = TAKEN + 8 * MOST_SECTIONS


def taken_of(section: Any) -> Any:
    """The word of a section."""
    return TAKEN + 8 * section


# -- instructions ------------------------------------------------------------------------------------------------------


class Shared:
    """The control at an address, in generated code. What is read and written is seen by all threads in one order."""

    def __init__(self, address: Any) -> None:
        self.address = integer(address)

    def place(self, word: int) -> Value:
        """The address of a word."""
        return self.address + 8 * word

    def _pointer(self, word: int) -> Any:
        return here().inttoptr(self.place(word).value, I64.as_pointer())

    def __getitem__(self, word: int) -> Value:
        return Value(types.int64, here().load_atomic(self._pointer(word), "seq_cst", 8))

    def __setitem__(self, word: int, value: Any) -> None:
        here().store_atomic(integer(value).value, self._pointer(word), "seq_cst", 8)

    def add(self, word: int, value: Any) -> Value:
        """Add to a word; the result is what it was before."""
        old = here().atomic_rmw("add", self._pointer(word), integer(value).value, "seq_cst")
        return Value(types.int64, old)

    def swap(self, word: int, expected: Any, value: Any) -> Value:
        """Whether a word was as expected, and is ``value`` now."""
        values = integer(expected).value, integer(value).value
        result = here().cmpxchg(self._pointer(word), *values, "seq_cst", "seq_cst")
        return Value(types.boolean, here().extract_value(result, 1))

    def call(self, word: int, *arguments: Any, result: Any = types.int32) -> Value:
        """Call the function whose address a word holds. One that returns nothing may be called like this too."""
        kind = ir.FunctionType(LLVM[result][0], [I64] * len(arguments))
        function = here().inttoptr(self[word].value, kind.as_pointer())
        return Value(result, here().call(function, [integer(a).value for a in arguments]))

    def thread(self) -> Value:
        """What the operating system calls this thread."""
        return self.call(MYSELF, result=types.int64)

    def leave(self, processor: Value) -> None:
        """Let the system move this thread to another processor than that, without forbidding it any for long."""
        words = 16
        mask = cgutils.alloca_once(here(), ir.ArrayType(I64, words))
        start = Value(types.int64, here().ptrtoint(mask, I64))
        self.call(GET_MASK, 0, 8 * words, start)
        place = here().inttoptr((start + processor // 64 % words * 8).value, I64.as_pointer())
        bit = here().shl(I64(1), (processor % 64).value)
        for _ in ("without it", "with it"):
            here().store(here().xor(here().load(place), bit), place)
            self.call(SET_MASK, 0, 8 * words, start)

    def now(self) -> Value:
        """Nanoseconds of a clock that only goes forward."""
        time = cgutils.alloca_once(here(), ir.ArrayType(I64, 2))
        self.call(CLOCK, self[CLOCK_KIND], Value(types.int64, here().ptrtoint(time, I64)))
        seconds, rest = (Value(types.int64, here().extract_value(here().load(time), i)) for i in (0, 1))
        return seconds * 1_000_000_000 + rest


def run(callback: Value, bundle: Value, lo: Any, hi: Any, slot: Any) -> None:
    """Let a callback handle ``[lo, hi)``."""
    function = here().inttoptr(callback.value, CALLBACK_TYPE.as_pointer())
    here().call(function, [here().inttoptr(bundle.value, BYTES), *(integer(i).value for i in (lo, hi, slot))])


def pause() -> None:
    """Tell the processor that this is a loop that waits."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        call("llvm.x86.sse2.pause", ir.VoidType(), [])
