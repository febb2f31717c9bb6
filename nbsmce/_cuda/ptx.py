"""Instructions that Numba has no name for, as inline PTX.

``simulated.py`` has the same names for the simulator. Loads and stores are predicated and not branched around, so that
those of an unrolled loop are issued back to back; memory is addressed as ``pointer[index]`` in elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import cuda
from numba.core import cgutils, types
from numba.cuda.extending import intrinsic

_BITS = ir.IntType(64)
_FLAG = ir.IntType(32)
# Names of words: LLVM type, Numba type, letter of an operand in PTX.
_WORDS = {
    "f32": (ir.FloatType(), types.float32, "f"),
    "f64": (ir.DoubleType(), types.float64, "d"),
    "u32": (ir.IntType(32), types.uint32, "r"),
    "u16": (ir.IntType(32), types.uint32, "r"),  # in a register of 32 bits
    "u8": (ir.IntType(32), types.uint32, "r"),
    "s32": (ir.IntType(32), types.int32, "r"),
    "s64": (ir.IntType(64), types.int64, "l"),
}
_REGISTER = {"f32": "f32", "f64": "f64", "u32": "u32", "u16": "u32", "u8": "u32"}
_VECTOR = {1: "", 2: ".v2", 4: ".v4"}
_CONVERGENT = ("convergent",)
"""What threads do together: no compiler may put copies of it into the branches that they take before or behind it."""


def _named(function: Callable[..., Any], name: str) -> Any:
    function.__name__ = function.__qualname__ = name
    return intrinsic(function)


def _address(context: Any, builder: Any, pointer: Any, index: Any, types_: Any) -> Any:
    element = types_[0].dtype.bitwidth // 8
    index = context.cast(builder, index, types_[1], types.int64)
    return builder.add(builder.ptrtoint(pointer, _BITS), builder.mul(index, _BITS(element)))


def _flag(context: Any, builder: Any, predicate: Any, type_: Any) -> Any:
    return builder.zext(context.cast(builder, predicate, type_, types.boolean), _FLAG)


def _names(first: int, n: int) -> str:
    names = ", ".join(f"${first + i}" for i in range(n))
    return f"{{{names}}}" if n > 1 else names


def load(word: str, n: int) -> Any:
    """``f(pointer, index, predicate, fill)``: ``n`` words, ``fill`` where the predicate is false."""
    llvm, numba, letter = _WORDS[word]
    cache = ".L1::no_allocate" if n * numba.bitwidth == 128 else ""  # narrower ones share a sector with a neighbour
    move = " ".join(f"mov.{_REGISTER[word]} ${i}, ${n + 2};" for i in range(n))
    text = (
        f"{{ .reg .pred p; setp.ne.u32 p, ${n + 1}, 0; {move} "
        f"@p ld.global{cache}{_VECTOR[n]}.{word} {_names(0, n)}, [${n}]; }}"
    )
    # "=&": outputs are written by the moves before the address is read
    constraints = ",".join([f"=&{letter}"] * n + ["l", "r", letter, "~{memory}"])
    returned = llvm if n == 1 else ir.LiteralStructType([llvm] * n)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        asm = ir.InlineAsm(ir.FunctionType(returned, [_BITS, _FLAG, llvm]), text, constraints, side_effect=True)
        result = builder.call(
            asm,
            [
                _address(context, builder, args[0], args[1], signature.args),
                _flag(context, builder, args[2], signature.args[2]),
                context.cast(builder, args[3], signature.args[3], numba),
            ],
        )
        if n == 1:
            return result
        return context.make_tuple(builder, signature.return_type, [builder.extract_value(result, i) for i in range(n)])

    def loader(_: Any, pointer: Any, index: Any, predicate: Any, fill: Any) -> Any:
        returns = numba if n == 1 else types.UniTuple(numba, n)
        return returns(pointer, index, predicate, fill), code

    return _named(loader, f"load_{word}_{n}")


def store(word: str, n: int) -> Any:
    """``f(pointer, index, words, predicate)``; ``words`` is a tuple, or one word if ``n`` is 1."""
    llvm, numba, letter = _WORDS[word]
    cache = ".cs" if n * numba.bitwidth == 128 else ""
    text = f"{{ .reg .pred p; setp.ne.u32 p, $1, 0; @p st.global{cache}{_VECTOR[n]}.{word} [$0], {_names(2, n)}; }}"
    constraints = ",".join(["l", "r"] + [letter] * n + ["~{memory}"])

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = [args[2]] if n == 1 else cgutils.unpack_tuple(builder, args[2], n)
        kinds = [signature.args[2]] if n == 1 else list(signature.args[2])
        words = [context.cast(builder, value, kind, numba) for value, kind in zip(given, kinds, strict=True)]
        function = ir.FunctionType(ir.VoidType(), [_BITS, _FLAG] + [llvm] * n)
        builder.call(
            ir.InlineAsm(function, text, constraints, side_effect=True),
            [
                _address(context, builder, args[0], args[1], signature.args),
                _flag(context, builder, args[3], signature.args[3]),
                *words,
            ],
        )
        return context.get_dummy_value()

    def storer(_: Any, pointer: Any, index: Any, words: Any, predicate: Any) -> Any:
        return types.void(pointer, index, words, predicate), code

    return _named(storer, f"store_{word}_{n}")


def _operation(
    name: str, text: str, result: str, *operands: str, volatile: bool = False, attributes: tuple[str, ...] = ()
) -> Any:
    llvm, numba, letter = _WORDS[result]
    kinds = [_WORDS[o] for o in operands]

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = [context.cast(builder, v, t, kind[1]) for v, t, kind in zip(args, signature.args, kinds, strict=True)]
        function = ir.FunctionType(llvm, [kind[0] for kind in kinds])
        constraints = ",".join([f"={letter}", *(kind[2] for kind in kinds)])
        return builder.call(ir.InlineAsm(function, text, constraints, side_effect=volatile), values, attrs=attributes)

    if len(operands) == 1:

        def typed(_: Any, a: Any) -> Any:
            return numba(a), code
    else:

        def typed(_: Any, a: Any, b: Any) -> Any:  # type: ignore[misc]
            return numba(a, b), code

    return _named(typed, name)


# -- arithmetic --------------------------------------------------------------------------------------------------------

ex2 = _operation("ex2", "ex2.approx.ftz.f32 $0, $1;", "f32", "f32")
larger32 = _operation("larger32", "max.f32 $0, $1, $2;", "f32", "f32", "f32")
larger64 = _operation("larger64", "max.f64 $0, $1, $2;", "f64", "f64", "f64")
to_bits = _operation("to_bits", "mov.b32 $0, $1;", "s32", "f32")
from_bits = _operation("from_bits", "mov.b32 $0, $1;", "f32", "s32")
reciprocal_estimate = _operation("reciprocal_estimate", "rcp.approx.ftz.f64 $0, $1;", "f64", "f64")


@intrinsic
def fma(_: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*(context.cast(builder, v, t, a) for v, t in zip(args, signature.args, strict=True)))

    return a(a, b, c), code


# -- half types: two in a word -----------------------------------------------------------------------------------------

bfloat16_low = _operation("bfloat16_low", "shl.b32 $0, $1, 16;", "f32", "u32")
bfloat16_high = _operation("bfloat16_high", "and.b32 $0, $1, 0xffff0000;", "f32", "u32")
float16_low = _operation("float16_low", "{.reg .b16 l,h; mov.b32 {l,h}, $1; cvt.f32.f16 $0, l;}", "f32", "u32")
float16_high = _operation("float16_high", "{.reg .b16 l,h; mov.b32 {l,h}, $1; cvt.f32.f16 $0, h;}", "f32", "u32")
# The same once more in other words: else ptxas finds that a later pass computes what an earlier one has, and keeps all
# of it in registers, which takes twice as many.
bfloat16_low_again = _operation("bfloat16_low_again", "prmt.b32 $0, $1, 0, 0x1044;", "f32", "u32")
bfloat16_high_again = _operation("bfloat16_high_again", "prmt.b32 $0, $1, 0, 0x3244;", "f32", "u32")
bfloat16_low_later = _operation("bfloat16_low_later", "prmt.b32 $0, $1, 0, 0x1055;", "f32", "u32")
bfloat16_high_later = _operation("bfloat16_high_later", "prmt.b32 $0, $1, 0, 0x3255;", "f32", "u32")
_SWAPPED = "{.reg .b16 l,h; .reg .b32 s; prmt.b32 s, $1, 0, 0x1032; mov.b32 {l,h}, s; "
float16_low_again = _operation("float16_low_again", _SWAPPED + "cvt.f32.f16 $0, h;}", "f32", "u32")
float16_high_again = _operation("float16_high_again", _SWAPPED + "cvt.f32.f16 $0, l;}", "f32", "u32")
_LOW = "{.reg .b16 l,h; .reg .b32 s; prmt.b32 s, $1, $1, 0x1010; mov.b32 {l,h}, s; cvt.f32.f16 $0, h;}"
_HIGH = "{.reg .b16 l,h; .reg .b32 s; prmt.b32 s, $1, $1, 0x3232; mov.b32 {l,h}, s; cvt.f32.f16 $0, l;}"
float16_low_later = _operation("float16_low_later", _LOW, "f32", "u32")
float16_high_later = _operation("float16_high_later", _HIGH, "f32", "u32")
bfloat16_larger = _operation("bfloat16_larger", "max.bf16x2 $0, $1, $2;", "u32", "u32", "u32")
float16_larger = _operation("float16_larger", "max.f16x2 $0, $1, $2;", "u32", "u32", "u32")
bfloat16_pack = _operation("bfloat16_pack", "cvt.rn.bf16x2.f32 $0, $2, $1;", "u32", "f32", "f32")
float16_pack = _operation("float16_pack", "cvt.rn.f16x2.f32 $0, $2, $1;", "u32", "f32", "f32")
# For sm_75, which has neither of these two: rounded to nearest, ties to even, NaN kept.
_HALVES = "{.reg .b16 l,h; cvt.rn.f16.f32 l, $1; cvt.rn.f16.f32 h, $2; mov.b32 $0, {l,h};}"
float16_pack_sm75 = _operation("float16_pack_sm75", _HALVES, "u32", "f32", "f32")
_ROUND = "bfe.u32 t, {0}, 16, 1; add.u32 {0}, {0}, t; add.u32 {0}, {0}, 0x7fff; @{1} mov.b32 {0}, 0x7fff0000; "
bfloat16_pack_sm75 = _operation(
    "bfloat16_pack_sm75",
    "{.reg .b32 a,b,t; .reg .pred p,q; mov.b32 a, $1; mov.b32 b, $2; "
    "setp.nan.f32 p, $1, $1; setp.nan.f32 q, $2, $2; "
    + _ROUND.format("a", "p")
    + _ROUND.format("b", "q")
    + "prmt.b32 $0, a, b, 0x7632;}",
    "u32",
    "f32",
    "f32",
)


# -- between the lanes of a warp ---------------------------------------------------------------------------------------


def shuffle32(mask: int) -> Any:
    """``f(x)``: the float32 of the lane whose number differs in the bits of ``mask``."""
    text = f"shfl.sync.bfly.b32 $0, $1, {mask}, 0x1f, 0xffffffff;"
    return _operation(f"shuffle32_{mask}", text, "f32", "f32", volatile=True, attributes=_CONVERGENT)


def shuffle64(mask: int) -> Any:
    """The same for float64."""
    one = "shfl.sync.bfly.b32 {0}, {0}, " + f"{mask}, 0x1f, 0xffffffff; "
    text = "{.reg .b32 l,h; mov.b64 {l,h}, $1; " + one.format("l") + one.format("h") + "mov.b64 $0, {l,h};}"
    return _operation(f"shuffle64_{mask}", text, "f64", "f64", volatile=True, attributes=_CONVERGENT)


# The same number, but no compiler knows that: what was computed from it before is not kept in registers to be used
# again. Every lane of the warp must come here.
opaque32, opaque64 = shuffle32(0), shuffle64(0)

# The same for what is computed in a loop: it is computed there, and not before it. Any lane may come here alone.
in_loop = _operation("in_loop", "mov.b64 $0, $1;", "s64", "s64", volatile=True)


def _barrier(name: str, text: str) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = ir.FunctionType(ir.VoidType(), [])
        builder.call(ir.InlineAsm(function, text, "~{memory}", side_effect=True), [], attrs=_CONVERGENT)
        return context.get_dummy_value()

    def typed(_: Any) -> Any:
        return types.void(), code

    return _named(typed, name)


# What lanes of the warp have written to shared memory before it is seen by all of them behind it.
warp_barrier = _barrier("warp_barrier", "bar.warp.sync 0xffffffff;")


# -- between the blocks of a cluster -----------------------------------------------------------------------------------

# What threads have written before they arrive is seen by all of the cluster that have waited behind it. Every thread
# comes to each: to arrive, then to wait, in turn.
cluster_arrive = _barrier("cluster_arrive", "barrier.cluster.arrive.release.aligned;")
cluster_wait = _barrier("cluster_wait", "barrier.cluster.wait.acquire.aligned;")


@intrinsic
def of_block(_: Any, shared: Any, index: Any, rank: Any) -> Any:
    """The float64 that another block of the cluster has at the index of an array in shared memory."""
    text = "{.reg .b64 a; cvta.to.shared.u64 a, $1; mapa.shared::cluster.u64 a, a, $2; ld.shared::cluster.f64 $0, [a];}"

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        memory = context.make_array(kind)(context, builder, args[0])
        at = _address(context, builder, memory.data, args[1], signature.args)
        block = context.cast(builder, args[2], signature.args[2], types.int32)
        function = ir.FunctionType(ir.DoubleType(), [_BITS, _FLAG])
        return builder.call(ir.InlineAsm(function, text, "=d,l,r,~{memory}", side_effect=True), [at, block])

    return types.float64(shared, index, rank), code


# -- of the mathematical library ---------------------------------------------------------------------------------------


@cuda.jit(device=True)
def exp(x: Any) -> Any:
    return math.exp(x)


@cuda.jit(device=True)
def log1p(x: Any) -> Any:
    return math.log1p(x)


@cuda.jit(device=True)
def tanh(x: Any) -> Any:
    return math.tanh(x)
