"""The memory limit of this machine: the fastest that arrays of a size can be read and written.

Candidates are loops of sixteen lanes with ordinary and with non-temporal stores, and the system's own copy; whichever
is fastest in this process is the limit. They are written as LLVM IR because neither NumPy nor Numba stores past the
cache. The same loops, many times over arrays that a cache holds, give the bandwidth of that cache; and loops that only
compute, the peak of the processor.
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
_POINTERS = "ptr %a, ptr %b, ptr %out, i64 %n, i64 %times"


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
    sums = [f"%acc{k} = phi <16 x float> [ zeroinitializer, %again ], [ %next{k}, %loop ]" for k in range(_UNROLL)]
    # They overwrite each other; volatile keeps every one of them needed.
    keep = [f"store volatile <16 x float> %next{k}, ptr %out, align 64" for k in range(_UNROLL)]
    return f"""
define void @run({_POINTERS}) {{
entry:
  br label %again
again:
  %time = phi i64 [ 0, %entry ], [ %next, %done ]
  br label %loop
loop:
  %i = phi i64 [ 0, %again ], [ %j, %loop ]
  {"" if writes else _LINE.join(sums)}
  {_body(reads, writes, stream, ahead)}
  %j = add i64 %i, {_UNROLL}
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  {"" if writes else _LINE.join(keep)}
  %next = add i64 %time, 1
  %once_more = icmp ult i64 %next, %times
  br i1 %once_more, label %again, label %end
end:
  ret void
}}
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
!0 = !{{i32 1}}
"""


_CHAINS = 12  # more than an instruction takes cycles, and few enough for sixteen registers


def _arithmetic(add: bool) -> str:
    """Fused multiply-adds that wait for nothing but themselves; every second one an addition if ``add``."""
    chains = [f"%c{k} = phi <16 x float> [ %one, %entry ], [ %d{k}, %loop ]" for k in range(_CHAINS)]
    lines = []
    for k in range(_CHAINS):
        if add and k % 2:
            lines.append(f"%d{k} = fadd <16 x float> %c{k}, %half")
        else:
            of = f"<16 x float> %c{k}, <16 x float> %half, <16 x float> %one"
            lines.append(f"%d{k} = call <16 x float> @llvm.fma.v16f32({of})")
    keep = [f"store volatile <16 x float> %d{k}, ptr %out, align 64" for k in range(_CHAINS)]
    return f"""
define void @run({_POINTERS}) {{
entry:
  %one = load <16 x float>, ptr %a, align 64
  %half = load <16 x float>, ptr %b, align 64
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  {_LINE.join(chains)}
  {_LINE.join(lines)}
  %j = add i64 %i, {_CHAINS}
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %end
end:
  {_LINE.join(keep)}
  ret void
}}
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
"""


_ENGINES = []  # own the compiled code


@functools.cache
def _compiled(source: str) -> Callable[[int, int, int, int, int], None]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(source)
    features = llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=3
    )
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _ENGINES.append(engine)
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    types = pointer, pointer, pointer, integer, integer
    return ctypes.CFUNCTYPE(None, *types)(engine.get_function_address("run"))


def _aligned(raw: np.ndarray) -> np.ndarray:
    """A view whose first byte begins a line of the cache; it is 64 bytes shorter."""
    return raw[-raw.ctypes.data % 64 :][: len(raw) - 64]


def _filled(nbytes: int) -> np.ndarray:
    return _aligned(np.ones(nbytes + 64, np.uint8))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, THREADS - 1))


def _in_threads(function: Callable[[int, int], object], nbytes: int, threads: int) -> None:
    """``function(first, last)`` for a part of the bytes on each thread, this one included."""
    part = -(-nbytes // threads // _STEP) * _STEP
    parts = [(first, min(first + part, nbytes)) for first in range(0, nbytes, part)]
    others = [_pool().submit(function, *p) for p in parts[1:]]
    function(*parts[0])
    for other in others:
        other.result()


def candidates(
    reads: int, writes: int, nbytes: int, threads: int = THREADS, times: int = 1, fresh: bool = False
) -> list[Callable[[], None]]:
    """Ways to read and to write as many arrays of ``nbytes``, each with all threads, ``times`` in a row.

    With ``fresh`` what is written is a new array each time, whose pages the system has to clear.
    """
    nbytes = max(nbytes // _STEP, threads) * _STEP
    a, b = _filled(nbytes), _filled(nbytes) if reads == 2 else None
    there = _filled(64 * 64 if fresh or not writes else nbytes)

    def each(work: Callable[[np.ndarray, int, int], object]) -> Callable[[], None]:
        def call() -> None:
            out = _aligned(np.empty(nbytes + 64, np.uint8)) if fresh else there
            _in_threads(functools.partial(work, out), nbytes, threads)

        return call

    def loop(stream: bool, ahead: int = 0) -> Callable[[], None]:
        run = _compiled(_source(reads, writes, stream, ahead))

        def part(out: np.ndarray, first: int, last: int) -> None:
            where = first if writes else 64 * (first // _STEP % 64)
            other = b.ctypes.data + first if b is not None else 0
            run(a.ctypes.data + first, other, out.ctypes.data + where, (last - first) // 64, times)

        return each(part)

    if not writes:
        return [loop(False, ahead) for ahead in (0, 1024, 4096)]

    def copy(out: np.ndarray, first: int, last: int) -> None:
        for _ in range(times):
            out[first:last] = a[first:last]

    loops = [loop(False), loop(True), loop(True, 1024), loop(True, 4096)]
    return loops if reads == 2 else [*loops, each(copy)]


def _best(calls: list[Callable[[], None]], rounds: int) -> Callable[[], None]:
    """The fastest, by its best round."""

    def seconds(call: Callable[[], None]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    for call in calls:
        call()
    return min(calls, key=lambda call: min(seconds(call) for _ in range(rounds)))


def limit(
    reads: int,
    writes: int,
    nbytes: int,
    threads: int = THREADS,
    times: int = 1,
    fresh: bool = False,
    rounds: int = 5,
) -> Callable[[], None]:
    """The fastest of the candidates."""
    return _best(candidates(reads, writes, nbytes, threads, times, fresh), rounds)


def peak(operations: int, threads: int = THREADS) -> Callable[[], None]:
    """The fastest way to do so many operations on vectors of sixteen float32, in registers, with all threads."""
    one, half, out = (_filled(64) for _ in range(3))
    one.view(np.float32)[:], half.view(np.float32)[:] = 1.0, 0.5
    each = -(-operations // threads // _CHAINS) * _CHAINS

    def way(add: bool) -> Callable[[], None]:
        run = _compiled(_arithmetic(add))

        def part(first: int, last: int) -> None:
            run(one.ctypes.data, half.ctypes.data, out.ctypes.data, each, 1)

        return functools.partial(_in_threads, part, threads * _STEP, threads)

    return _best([way(False), way(True)], rounds=5)
