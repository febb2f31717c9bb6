"""The memory limit of this machine: the fastest that arrays of a size can be read and written.

Candidates are loops of sixteen lanes with ordinary and with non-temporal stores, and the system's own copy; whichever
is fastest in this process is the limit. They are written as LLVM IR because neither NumPy nor Numba stores past the
cache.
"""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import llvmlite.binding as llvm
import numpy as np

from .cases import THREADS

_UNROLL = 8
_LINE = "\n  "
_STEP = 64 * _UNROLL  # bytes that one turn of a loop takes from each array
_POINTERS = "ptr %a, ptr %b, ptr %out, i64 %n"


def _body(reads: int, writes: int, stream: bool, ahead: int) -> str:
    """One turn: every vector of the sources is loaded, their sum stored or kept. ``ahead`` bytes are prefetched."""
    lines = []
    for k in range(_UNROLL):
        lines.append(f"%i{k} = add i64 %i, {k}")
        for source in "ab"[:reads]:
            lines.append(f"%p{source}{k} = getelementptr <16 x float>, ptr %{source}, i64 %i{k}")
            lines.append(f"%v{source}{k} = load <16 x float>, ptr %p{source}{k}, align 64")
            if ahead:
                lines.append(f"%f{source}{k} = getelementptr i8, ptr %p{source}{k}, i64 {ahead}")
                lines.append(f"call void @llvm.prefetch.p0(ptr %f{source}{k}, i32 0, i32 0, i32 1)")
        value = f"%va{k}"
        if reads == 2:
            lines.append(f"%s{k} = fadd <16 x float> %va{k}, %vb{k}")
            value = f"%s{k}"
        if writes:
            hint = ", !nontemporal !0" if stream else ""
            lines.append(f"%po{k} = getelementptr <16 x float>, ptr %out, i64 %i{k}")
            lines.append(f"store <16 x float> {value}, ptr %po{k}, align 64{hint}")
        else:
            lines.append(f"%next{k} = fadd <16 x float> %acc{k}, {value}")
    return _LINE.join(lines)


def _source(reads: int, writes: int, stream: bool, ahead: int) -> str:
    sums = [f"%acc{k} = phi <16 x float> [ zeroinitializer, %entry ], [ %next{k}, %loop ]" for k in range(_UNROLL)]
    # They overwrite each other; volatile keeps every one of them needed.
    keep = [f"store volatile <16 x float> %next{k}, ptr %out, align 64" for k in range(_UNROLL)]
    return f"""
define void @run({_POINTERS}) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  {"" if writes else _LINE.join(sums)}
  {_body(reads, writes, stream, ahead)}
  %j = add i64 %i, {_UNROLL}
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  {"" if writes else _LINE.join(keep)}
  ret void
}}
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
!0 = !{{i32 1}}
"""


_ENGINES = []  # own the compiled code


@functools.cache
def _compiled(reads: int, writes: int, stream: bool, ahead: int) -> Callable[[int, int, int, int], None]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(_source(reads, writes, stream, ahead))
    features = llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=3
    )
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _ENGINES.append(engine)
    pointer = ctypes.c_void_p
    return ctypes.CFUNCTYPE(None, pointer, pointer, pointer, ctypes.c_int64)(engine.get_function_address("run"))


def _aligned(nbytes: int) -> np.ndarray:
    raw = np.ones(nbytes + 64, np.uint8)
    return raw[-raw.ctypes.data % 64 :][:nbytes]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, THREADS - 1))


def _in_threads(function: Callable[[int, int], object], nbytes: int) -> None:
    """``function(first, last)`` for a part of the bytes on each thread, this one included."""
    part = -(-nbytes // THREADS // _STEP) * _STEP
    parts = [(first, min(first + part, nbytes)) for first in range(0, nbytes, part)]
    others = [_pool().submit(function, *p) for p in parts[1:]]
    function(*parts[0])
    for other in others:
        other.result()


def candidates(reads: int, writes: int, nbytes: int) -> list[Callable[[], None]]:
    """Ways to read and to write as many arrays of ``nbytes``, each with all threads."""
    nbytes = max(nbytes // _STEP, THREADS) * _STEP
    a, b = _aligned(nbytes), _aligned(nbytes) if reads == 2 else None
    out = _aligned(nbytes if writes else 64 * 64)

    def loop(stream: bool, ahead: int = 0) -> Callable[[], None]:
        run = _compiled(reads, writes, stream, ahead)

        def part(first: int, last: int) -> None:
            where = first if writes else 64 * (first // _STEP % 64)
            other = b.ctypes.data + first if b is not None else 0
            run(a.ctypes.data + first, other, out.ctypes.data + where, (last - first) // 64)

        return functools.partial(_in_threads, part, nbytes)

    if not writes:
        return [loop(False, ahead) for ahead in (0, 1024, 4096)]

    def copy(first: int, last: int) -> None:
        out[first:last] = a[first:last]

    loops = [loop(False), loop(True), loop(True, 1024), loop(True, 4096)]
    return loops if reads == 2 else [*loops, functools.partial(_in_threads, copy, nbytes)]


def limit(reads: int, writes: int, nbytes: int, rounds: int = 5) -> Callable[[], None]:
    """The fastest of the candidates, by its best round."""

    def seconds(call: Callable[[], None]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    calls = candidates(reads, writes, nbytes)
    for call in calls:
        call()
    return min(calls, key=lambda call: min(seconds(call) for _ in range(rounds)))
