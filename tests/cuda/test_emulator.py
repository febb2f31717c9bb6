"""The emulated GPU itself: instructions against the manual's words, and that it says what a GPU leaves undefined."""

from __future__ import annotations

import ctypes
import math
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import emulator
import numpy as np
import pytest

pytestmark = pytest.mark.skipif("EMULATED_KERNELS" not in os.environ, reason="needs the emulated GPU")

HEAD = """.visible .shared .align 8 .b8 memory[256];
.visible .entry name(.param .u64 to, .param .u64 from) .maxntid 64, 1, 1 {
.reg .b64 %rd<9>; .reg .b32 %r<9>; .reg .f32 %f<9>; .reg .f64 %fd<9>; .reg .pred %p<9>;
ld.param.u64 %rd7, [to]; ld.param.u64 %rd8, [from]; mov.u32 %r7, %tid.x; mul.wide.u32 %rd6, %r7, 8;
"""
THREE = "ld.global.u64 %rd1, [%rd8]; ld.global.u64 %rd2, [%rd8+8]; ld.global.u64 %rd3, [%rd8+16];"
SOME = (0.3, 0.7, 1.1, 1.9, 2.3, 3.7, 5.1, 7.9)


def started(body, given, results, threads, cluster=1):
    """What threads have written, 8 bytes each, through the driver's own interface; of a cluster of blocks."""
    from cuda.bindings import driver
    from numba import cuda

    head = HEAD.replace(".maxntid", f".reqnctapercluster {cluster}, 1, 1 .maxntid") if cluster > 1 else HEAD
    path, _ = emulator.linked(head + body + " ret; }", 90)
    to, source = cuda.to_device(np.zeros(results, np.uint64)), cuda.to_device(np.array(given, np.uint64))

    def done(answer):
        if answer[0]:
            raise RuntimeError(answer[0].name)
        return answer[1] if len(answer) > 1 else None

    library = done(driver.cuLibraryLoadData(path, [], [], 0, [], [], 0))
    kernel = driver.CUfunction(int(done(driver.cuLibraryGetKernel(library, b"name"))))
    pointers = [ctypes.c_uint64(a.device_ctypes_pointer.value) for a in (to, source)]
    parameters = (ctypes.c_void_p * 2)(*[ctypes.addressof(p) for p in pointers])
    done(driver.cuLaunchKernel(kernel, cluster, 1, 1, threads, 1, 1, 0, 1, ctypes.addressof(parameters), 0))
    return to.copy_to_host().tolist()


def f32(x):
    return struct.unpack("I", struct.pack("f", x))[0]


def f64(x):
    return struct.unpack("Q", struct.pack("d", x))[0]


NAN, INF, MINUS = math.nan, math.inf, 1 << 64
INSTRUCTIONS = [
    ("prmt.b32 %rd0, %rd1, %rd2, 0x7632", (0xAAAABBBB, 0xCCCCDDDD), 0xCCCCAAAA),
    ("prmt.b32 %rd0, %rd1, 0, 0x1044", (0x12345678,), 0x56780000),
    ("prmt.b32 %rd0, %rd1, 0, 0x3244", (0x12345678,), 0x12340000),
    ("prmt.b32 %rd0, %rd1, 0, 0xbbbb", (0x80000000,), 0xFFFFFFFF),
    ("bfe.u32 %rd0, %rd1, 16, 1", (0x00010000,), 1),
    ("bfi.b64 %rd0, %rd1, %rd2, 8, 4", (0xFFF5, 0xAAAAAAAAAAAAAAAA), 0xAAAAAAAAAAAAA5AA),
    ("bfi.b32 %rd0, %rd1, %rd2, 28, 8", (0xC, 0x01234567), 0xC1234567),
    ("shl.b32 %rd0, %rd1, 32", (5,), 0),
    ("shr.s32 %rd0, %rd1, 40", (0x80000000,), 0xFFFFFFFF),
    ("shr.s32 %rd0, %rd1, 4", (0x80000000,), 0xF8000000),
    ("shr.u32 %rd0, %rd1, 4", (0x80000000,), 0x08000000),
    ("shr.s64 %rd0, %rd1, 1", (MINUS - 8,), MINUS - 4),
    ("mul.wide.s32 %rd0, %rd1, %rd2", (0xFFFFFFFF, 7), MINUS - 7),
    ("mul.wide.u32 %rd0, %rd1, %rd2", (0xFFFFFFFF, 2), 0x1FFFFFFFE),
    ("mul.lo.s32 %rd0, %rd1, %rd2", (0x7FFFFFFF, 2), 0xFFFFFFFE),
    ("add.s32 %rd0, %rd1, %rd2", (0xFFFFFFFF, 1), 0),
    ("sub.s64 %rd0, %rd1, %rd2", (1, 2), MINUS - 1),
    ("div.s64 %rd0, %rd1, %rd2", (MINUS - 7, 2), MINUS - 3),
    ("rem.s64 %rd0, %rd1, %rd2", (MINUS - 7, 2), MINUS - 1),
    ("min.s64 %rd0, %rd1, %rd2", (MINUS - 7, 2), MINUS - 7),
    ("max.f32 %rd0, %rd1, %rd2", (f32(NAN), f32(-2.0)), f32(-2.0)),
    ("max.f32 %rd0, %rd1, %rd2", (f32(-0.0), f32(0.0)), f32(0.0)),
    ("max.f64 %rd0, %rd1, %rd2", (f64(3.0), f64(NAN)), f64(3.0)),
    ("max.f16x2 %rd0, %rd1, %rd2", (0x3C00BC00, 0x4000B800), 0x4000B800),
    ("max.bf16x2 %rd0, %rd1, %rd2", (0x3F80BF80, 0x4000BF00), 0x4000BF00),
    ("copysign.f32 %rd0, %rd1, %rd2", (f32(-1.0), f32(3.0)), f32(-3.0)),
    ("neg.f64 %rd0, %rd1", (f64(0.0),), f64(-0.0)),
    ("abs.f32 %rd0, %rd1", (f32(-1.5),), f32(1.5)),
    ("fma.rn.f32 %rd0, %rd1, %rd2, %rd3", (f32(1 + 2**-12), f32(1 + 2**-12), f32(-1.0)), f32(2**-11 + 2**-24)),
    ("mul.f32 %rd0, %rd1, %rd2", (f32(1 + 2**-12), f32(1 + 2**-12)), f32(1 + 2**-11)),
    ("cvt.rn.f32.f64 %rd0, %rd1", (f64(1 + 2**-24),), f32(1.0)),
    ("cvt.rni.f32.f32 %rd0, %rd1", (f32(2.5),), f32(2.0)),
    ("cvt.rzi.s64.f64 %rd0, %rd1", (f64(-2.7),), MINUS - 2),
    ("cvt.rzi.s64.f64 %rd0, %rd1", (f64(1e30),), 2**63 - 1),
    ("cvt.rn.f64.s64 %rd0, %rd1", (MINUS - 3,), f64(-3.0)),
    ("cvt.s64.s32 %rd0, %rd1", (0xFFFFFFFE,), MINUS - 2),
    ("cvt.u64.u32 %rd0, %rd1", (0xFFFFFFFE,), 0xFFFFFFFE),
    ("cvt.rn.bf16x2.f32 %rd0, %rd1, %rd2", (f32(1.0), f32(-2.0)), 0x3F80C000),
    ("cvt.rn.f16x2.f32 %rd0, %rd1, %rd2", (f32(1.0), f32(-2.0)), 0x3C00C000),
    ("ex2.approx.ftz.f32 %rd0, %rd1", (f32(-3.0),), f32(0.125)),
    ("ex2.approx.ftz.f32 %rd0, %rd1", (f32(-127.0),), 0),
    ("rcp.approx.ftz.f32 %rd0, %rd1", (f32(4.0),), f32(0.25)),
    ("rcp.approx.ftz.f64 %rd0, %rd1", (f64(4.0),), f64(0.25)),
    ("selp.b32 %rd0, %rd1, %rd2, %rd3", (5, 6, 0), 6),
    ("setp.lt.s32 %rd0, %rd1, %rd2", (0xFFFFFFFF, 0), 1),
    ("setp.lt.u32 %rd0, %rd1, %rd2", (0xFFFFFFFF, 0), 0),
    ("setp.lo.u32 %rd0, %rd1, %rd2", (0, 0xFFFFFFFF), 1),
    ("setp.ne.f32 %rd0, %rd1, %rd2", (f32(NAN), 0), 0),
    ("setp.neu.f32 %rd0, %rd1, %rd2", (f32(NAN), 0), 1),
    ("setp.geu.f64 %rd0, %rd1, %rd2", (f64(1.0), f64(2.0)), 0),
    ("setp.num.f64 %rd0, %rd1, %rd2", (f64(1.0), f64(INF)), 1),
    ("not.pred %rd0, %rd1", (1,), 0),
    ("mov.b64 {%r0, %r1}, %rd1; mov.b64 %rd0, {%r1, %r0}", (0x1111111122222222,), 0x2222222211111111),
    ("{.reg .b16 l,h; mov.b32 {l,h}, %rd1; cvt.f32.f16 %rd0, h;}", (0x3C00C000,), f32(1.0)),
]


@pytest.mark.parametrize(("text", "given", "expected"), INSTRUCTIONS, ids=[i[0].split()[0] for i in INSTRUCTIONS])
def test_an_instruction(text, given, expected):
    given = [*given, 0, 0][:3]
    (found,) = started(f"{THREE} {text}; st.global.u64 [%rd7], %rd0;", given, 1, 1)
    assert hex(found) == hex(expected)


def test_what_is_not_known_is_an_error():
    for text in ("mad.lo.s32 %rd0, %rd1, %rd2, %rd3", "add.sat.s32 %rd0, %rd1, %rd2", "ld.volatile.u64 %rd0, [%rd8]"):
        with pytest.raises(emulator.Unknown):
            emulator.linked(f"{HEAD} {text}; ret; }}", 90)


def test_half_types(tmp_path):
    """All of them to float32, and back from numbers between any two."""
    import ml_dtypes

    (tmp_path / "half.c").write_text(
        '#include "gpu.h"\nfloat a(uint32_t x) { return from_f16(x); } uint32_t b(float x) { return to_f16(x); }\n'
        "float c(uint32_t x) { return from_bf16(x); } uint32_t d(float x) { return to_bf16(x); }\n"
    )
    subprocess.run([*emulator.COMPILER, tmp_path / "half.c", "-o", tmp_path / "half.so", "-lm"], check=True)
    library = ctypes.CDLL(str(tmp_path / "half.so"))
    words = np.arange(1 << 16, dtype=np.uint16)
    for dtype, widened, rounded in ((np.float16, library.a, library.b), (ml_dtypes.bfloat16, library.c, library.d)):
        widened.restype, rounded.argtypes = ctypes.c_float, [ctypes.c_float]
        exact = words.view(dtype).astype(np.float32)
        numbers = words[np.isfinite(exact)]
        assert [widened(int(w)) for w in numbers] == numbers.view(dtype).astype(np.float32).tolist()
        some = numbers[::7]
        x = some.view(dtype).astype(np.float64)
        between = np.concatenate([x, x * (1 + 2.0**-12), x * (1 + 2.0**-9), x * (1 + 2.0**-10), x + 2.0**-25])
        between = between.astype(np.float32)[np.isfinite(between.astype(np.float32))]
        with np.errstate(over="ignore"):
            expected = between.astype(dtype).view(np.uint16)
        assert [rounded(float(b)) for b in between] == expected.tolist()


def test_lanes_exchange():
    exchange = "shfl.sync.bfly.b32 %r1, %r7, 5, 0x1f, 0xffffffff; cvt.u64.u32 %rd1, %r1;"
    found = started(f"{exchange} add.s64 %rd2, %rd7, %rd6; st.global.u64 [%rd2], %rd1;", [0], 64, 64)
    assert found == [thread ^ 5 for thread in range(64)]


NEIGHBOUR = """mov.u64 %rd1, memory; mul.wide.u32 %rd2, %r7, 4; add.s64 %rd3, %rd1, %rd2; st.shared.u32 [%rd3], %r7;
{barrier} xor.b64 %rd2, %rd2, 4; add.s64 %rd3, %rd1, %rd2; ld.shared.u32 %r1, [%rd3]; cvt.u64.u32 %rd1, %r1;
add.s64 %rd2, %rd7, %rd6; st.global.u64 [%rd2], %rd1;"""


def test_estimates_have_the_error_that_is_allowed():
    """Up or down, where EMULATED_ERRORS is 1 when the package is imported; but none for a power of 2."""
    code = """
import test_emulator as t
for name in ("ex2", "lg2", "rcp"):
    text = f"{t.THREE} {name}.approx.ftz.f32 %rd0, %rd1; st.global.u64 [%rd7], %rd0;"
    print(*[t.started(text, [t.f32(x), 0, 0], 1, 1)[0] for x in (0, 3, *t.SOME)])
"""
    variables = {**os.environ, "EMULATED_ERRORS": "1"}
    options = {"cwd": Path(__file__).parent, "capture_output": True, "text": True, "check": True, "env": variables}
    told = subprocess.run([sys.executable, "-c", code], **options).stdout.splitlines()
    assert [int(bits) for bits in told[0].split()[:2]] == [f32(1.0), f32(8.0)]
    for line, function, units in zip(told, (np.exp2, np.log2, np.reciprocal), (2, 2, 1), strict=True):
        exact = function(np.float32(SOME).astype(np.float64)).astype(np.float32).view(np.uint32).astype(np.int64)
        off = np.array([int(bits) for bits in line.split()[2:]]) - exact
        assert {*off.tolist()} == {-units, units}


def test_a_barrier_that_is_missing_is_seen():
    expected = [i ^ 1 for i in range(64)]
    for _ in range(5):
        assert started(NEIGHBOUR.format(barrier="bar.sync 0;"), [0], 64, 64) == expected
        assert started(NEIGHBOUR.format(barrier="bar.warp.sync 0xffffffff;"), [0], 64, 64) == expected
        assert started(NEIGHBOUR.format(barrier=""), [0], 64, 64) != expected


ARRIVE, WAIT = "barrier.cluster.arrive.release.aligned;", "barrier.cluster.wait.acquire.aligned;"
PUT = """mov.u64 %rd1, memory; mul.wide.u32 %rd2, %r7, 4; add.s64 %rd1, %rd1, %rd2; mov.u32 %r1, %ctaid.x;
mul.lo.s32 %r2, %r1, 64; add.s32 %r3, %r2, %r7; st.shared.u32 [%rd1], %r3;"""
READ = "xor.b32 %r4, %r1, 3; mapa.shared::cluster.u64 %rd1, %rd1, %r4; ld.shared::cluster.u32 %r5, [%rd1];"
GET = f"""{READ}
cvt.u64.u32 %rd2, %r5; mul.wide.u32 %rd3, %r3, 8; add.s64 %rd3, %rd7, %rd3; st.global.u64 [%rd3], %rd2;"""


def test_blocks_of_a_cluster_exchange():
    expected = [64 * (block ^ 3) + thread for block in range(4) for thread in range(64)]
    for _ in range(5):
        assert started(PUT + ARRIVE + WAIT + GET + ARRIVE + WAIT, [0], 256, 64, 4) == expected
        assert started(PUT + ARRIVE + GET + WAIT, [0], 256, 64, 4) != expected


ALONE = "setp.eq.u32 %p1, %r7, 3; @%p1 bra $L__1; {} $L__1: ret;"
WRONG = {
    "st.global.u64 [%rd7+8], %rd6;": ("ILLEGAL_ADDRESS", "8 bytes at .* are written, which were not allocated"),
    "ld.global.u32 %r1, [%rd8+-4];": ("ILLEGAL_ADDRESS", "4 bytes at .* are read, which were not allocated"),
    "ld.global.u32 %r1, [%rd8+2];": ("MISALIGNED_ADDRESS", "which is not aligned"),
    "mov.u64 %rd1, memory; ld.shared.u64 %rd2, [%rd1+256];": ("ILLEGAL_ADDRESS", "8 bytes at 256 of 256 of shared"),
    ALONE.format("shfl.sync.bfly.b32 %r1, %r7, 1, 0x1f, 0xffffffff;"): ("LAUNCH_FAILED", "3 .* is not where lane"),
    ALONE.format("bar.warp.sync 0xffffffff;"): ("LAUNCH_FAILED", "3 .* is not where lane"),
    f"{PUT} {ARRIVE} {WAIT} {READ}": ("LAUNCH_FAILED", r"reads .* memory of block \d of its cluster, which has ended"),
    f"{PUT} mapa.shared::cluster.u64 %rd1, %rd1, 4;": ("ILLEGAL_ADDRESS", "block 4 of a cluster of 4"),
    f"setp.eq.u32 %p1, %r7, 3; @%p1 bra $L__1; {ARRIVE} {WAIT} ret; $L__1: {ARRIVE} {WAIT} ret;": (
        "LAUNCH_FAILED", "thread 3 .* is not at the cluster's barrier where lane 0 is",
    ),
    f"{ARRIVE} {ARRIVE}": ("LAUNCH_FAILED", "arrives at the cluster's barrier again"),
    WAIT: ("LAUNCH_FAILED", "waits for the cluster, and has not arrived"),
    ALONE.format("bar.sync 0;"): ("LAUNCH_FAILED", "1 of 64 threads have ended before a barrier"),
}  # fmt: skip


@pytest.mark.parametrize("body", WRONG, ids=[name.split()[0] + f" {i}" for i, name in enumerate(WRONG)])
def test_what_a_kernel_must_not_do(body):
    """In a process of its own: after an error the GPU does nothing more, as a real one."""
    cluster = 4 if "cluster" in body else 1
    code = f"import test_emulator as t\nt.started({body!r}, [0], 1, 64, {cluster})"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    error, message = WRONG[body]
    assert f"RuntimeError: CUDA_ERROR_{error}" in ended.stderr
    assert ended.returncode == 1
    assert re.search(f"emulated GPU: .*{message}", ended.stderr), ended.stderr
