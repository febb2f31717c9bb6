"""Running over ``[0, n)`` in this thread or in several.

``in_parallel`` of recorded code calls ``function(lo, hi, slot, *arguments)`` for ranges that cover ``[0, n)``. With
``launcher`` 0 that is one direct call. Else ``launcher`` is the address of words (:mod:`~nbsmce._cpu.control`) of which
the first is that of a C function that runs a callback from several threads: the seam behind which the way of threading
can change without a kernel noticing. ``slot`` numbers the threads of one call, for their scratch memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .._compile import JIT


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
    from .control import BYTES, CALLBACK_TYPE, LAUNCHER_TYPE
    from .lanes.llvm import I64, Value, emitting, here, integer
    from .lanes.llvm_control import parts, rebuilt

    builder = here()
    bundle = cgutils.pack_struct(builder, [part for argument in arguments for part in parts(argument)])
    kept = cgutils.alloca_once_value(builder, bundle)
    numbers = [integer(number).value for number in (n, grain, threads)]

    name = builder.module.get_unique_name(function.__name__)
    callback = ir.Function(builder.module, CALLBACK_TYPE, name)
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
    with builder.if_else(builder.icmp_unsigned("==", address, I64(0))) as (serial, threaded):
        with serial:
            builder.call(callback, [builder.bitcast(kept, BYTES), I64(0), numbers[0], I64(0)])
        with threaded:
            start = builder.load(builder.inttoptr(address, LAUNCHER_TYPE.as_pointer().as_pointer()))
            builder.call(start, [address, *(builder.ptrtoint(p, I64) for p in (callback, kept)), *numbers])
