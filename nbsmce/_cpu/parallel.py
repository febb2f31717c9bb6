"""Running over ``[0, n)`` in this thread or in several.

``in_parallel`` of recorded code calls ``function(lo, hi, slot, *arguments)`` for ranges that cover ``[0, n)``. With
``launcher`` 0 that is one direct call. Else ``launcher`` is the address of a C function that runs a callback from
several threads: the seam behind which the way of threading can change without a kernel noticing. ``slot`` numbers the
threads of one call, for their scratch memory.

The launcher here is one ``prange`` of Numba over threads that take ranges from a shared counter, so a thread that the
system delays does not hold up the others. It is compiled once for all kernels, which are themselves serial code.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from .._compile import JIT
from .._threads import get_num_threads

_I64, _BYTES = ir.IntType(64), ir.IntType(8).as_pointer()
_CALLBACK = ir.FunctionType(ir.VoidType(), [_BYTES, _I64, _I64, _I64])
_LAUNCHER = ir.FunctionType(ir.VoidType(), [_I64] * 6)


def in_parallel(
    function: Callable[..., None], n: Any, grain: Any, launcher: Any, threads: Any, *arguments: Any
) -> None:
    """Call ``function(lo, hi, slot, *arguments)`` for ranges of ``grain`` that cover ``[0, n)``, or for all at once."""
    if JIT:
        _emit(function, n, grain, launcher, threads, arguments)
    else:
        function(0, n, 0, *arguments)


def _emit(
    function: Callable[..., None], n: Any, grain: Any, launcher: Any, threads: Any, arguments: tuple[Any, ...]
) -> None:
    from .lanes.llvm import Value, emitting, here, integer
    from .lanes.llvm_control import parts, rebuilt

    builder = here()
    bundle = cgutils.pack_struct(builder, [part for argument in arguments for part in parts(argument)])
    kept = cgutils.alloca_once_value(builder, bundle)
    numbers = [integer(number).value for number in (n, grain, threads)]

    name = builder.module.get_unique_name(function.__name__)
    callback = ir.Function(builder.module, _CALLBACK, name)
    callback.linkage = "internal"
    body = ir.IRBuilder(callback.append_basic_block())
    inside = body.load(body.bitcast(callback.args[0], kept.type))
    given = (body.extract_value(inside, i) for i in range(len(bundle.type.elements)))
    with emitting(body):
        range_and_slot = [Value(types.int64, value) for value in callback.args[1:]]
        function(*range_and_slot, *[rebuilt(argument, given) for argument in arguments])
    body.ret_void()

    builder.store(bundle, kept)  # where the code is, not only where the function begins
    address = integer(launcher).value
    with builder.if_else(builder.icmp_unsigned("==", address, _I64(0))) as (serial, threaded):
        with serial:
            builder.call(callback, [builder.bitcast(kept, _BYTES), _I64(0), numbers[0], _I64(0)])
        with threaded:
            counter = cgutils.alloca_once(builder, _I64)
            builder.store(_I64(0), counter)
            addresses = [builder.ptrtoint(p, _I64) for p in (callback, kept, counter)]
            start = builder.inttoptr(address, _LAUNCHER.as_pointer())
            builder.call(start, [*addresses, *numbers])


@intrinsic
def _take(typing: Any, counter: Any) -> Any:
    """The shared counter before adding 1 to it."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", builder.inttoptr(arguments[0], _I64.as_pointer()), _I64(1), "monotonic")

    return types.intp(types.intp), generate


@intrinsic
def _call(typing: Any, callback: Any, bundle: Any, lo: Any, hi: Any, slot: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        function = builder.inttoptr(arguments[0], _CALLBACK.as_pointer())
        builder.call(function, [builder.inttoptr(arguments[1], _BYTES), *arguments[2:]])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


@functools.cache
def _launcher() -> Any:
    """The compiled launcher. It must be kept: its code goes with it."""

    @numba.njit(parallel=True, nogil=True, error_model="numpy")
    def fork_join(callback: int, bundle: int, counter: int, n: int, grain: int, threads: int) -> None:
        for slot in prange(threads):
            lo = _take(counter) * grain
            while lo < n:
                _call(callback, bundle, lo, min(lo + grain, n), slot)
                lo = _take(counter) * grain

    @numba.cfunc(types.void(*[types.intp] * 6))
    def launch(callback: int, bundle: int, counter: int, n: int, grain: int, threads: int) -> None:
        fork_join(callback, bundle, counter, n, grain, threads)

    return launch


class Team:
    """``with team as (launcher, threads):`` decides how many threads a call may use.

    One call at a time has the threads; what other Python threads call meanwhile runs in them alone. A forked child
    runs everything serially when its parent had started the threads: they did not come along, and asking OpenMP for
    them ends the process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._local = threading.local()
        self._started = False
        self._orphaned = False
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._orphaned = self._started

    def __enter__(self) -> tuple[int, int]:
        if get_num_threads() == 1 or self._orphaned or not JIT or not self._lock.acquire(blocking=False):
            self._local.held = False
            return 0, 1
        self._local.held = True
        try:
            address = _launcher().address
        except BaseException:
            self._lock.release()
            raise
        self._started = True
        return address, get_num_threads()

    def __exit__(self, *_: object) -> None:
        if self._local.held:
            self._lock.release()


team = Team()
