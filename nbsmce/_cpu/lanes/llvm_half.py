"""The half types as generated code converts them: vectors of any number of lanes, from and to float32."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types

from ..._compile import has_feature
from .llvm import I32

_HALF, _FLOAT = ir.IntType(16), ir.FloatType()


def has_float16() -> bool:
    """Whether the processor converts float16 by itself; LLVM would call a function that the JIT cannot find."""
    return platform.machine().lower() in ("arm64", "aarch64") or has_feature("f16c")


def _lanes_of(value: Any, element: ir.Type) -> ir.VectorType:
    """The type of a vector with as many lanes as ``value``."""
    return ir.VectorType(element, value.type.count)


def _from_float16(b: ir.IRBuilder, bits: Any) -> Any:
    """Shift the fields into place, then multiply by 2**112: exact, also for subnormals."""
    word, single = (_lanes_of(bits, kind) for kind in (I32, _FLOAT))
    if has_float16():
        return b.fpext(b.bitcast(bits, _lanes_of(bits, ir.HalfType())), single)
    of = lambda number, kind=word: _all(kind, number)  # noqa: E731
    wide = b.zext(bits, word)
    magnitude = b.shl(b.and_(wide, of(0x7FFF)), of(13))
    sign = b.shl(b.and_(wide, of(0x8000)), of(16))
    scaled = b.bitcast(b.fmul(b.bitcast(magnitude, single), of(2.0**112, single)), word)
    special = b.icmp_unsigned(">=", magnitude, of(0x7C00 << 13))
    scaled = b.select(special, b.or_(magnitude, of(0x7F800000)), scaled)
    return b.bitcast(b.or_(scaled, sign), single)


def _to_float16(b: ir.IRBuilder, value: Any) -> Any:
    """To nearest even. Adding 0.5 rounds what will be subnormal at its last bit, 2**-24."""
    word, single, half_word = (_lanes_of(value, kind) for kind in (I32, _FLOAT, _HALF))
    if has_float16():
        return b.bitcast(b.fptrunc(value, _lanes_of(value, ir.HalfType())), half_word)
    of = lambda number, kind=word: _all(kind, number)  # noqa: E731
    bits = b.bitcast(value, word)
    magnitude = b.and_(bits, of(0x7FFFFFFF))
    sign = b.and_(b.lshr(bits, of(16)), of(0x8000))
    odd = b.and_(b.lshr(magnitude, of(13)), of(1))
    normal = b.lshr(b.add(magnitude, b.add(odd, of(0xFFF - (112 << 23)))), of(13))
    small = b.bitcast(b.fadd(b.bitcast(magnitude, single), of(0.5, single)), word)
    tiny = b.sub(small, of(0x3F000000))
    half = b.select(b.icmp_unsigned("<", magnitude, of(113 << 23)), tiny, normal)
    half = b.select(b.icmp_unsigned(">=", magnitude, of(0x477FF000)), of(0x7C00), half)
    half = b.select(b.icmp_unsigned(">", magnitude, of(0x7F800000)), of(0x7E00), half)
    return b.trunc(b.or_(half, sign), half_word)


def _from_bfloat16(b: ir.IRBuilder, bits: Any) -> Any:
    word = _lanes_of(bits, I32)
    return b.bitcast(b.shl(b.zext(bits, word), _all(word, 16)), _lanes_of(bits, _FLOAT))


def _to_bfloat16(b: ir.IRBuilder, value: Any) -> Any:
    """To nearest even; x86's own instruction drops subnormals."""
    word = _lanes_of(value, I32)
    bits = b.bitcast(value, word)
    odd = b.and_(b.lshr(bits, _all(word, 16)), _all(word, 1))
    rounded = b.add(bits, b.add(odd, _all(word, 0x7FFF)))
    rounded = b.select(b.fcmp_unordered("uno", value, value), _all(word, 0x7FC00000), rounded)
    return b.trunc(b.lshr(rounded, _all(word, 16)), _lanes_of(value, _HALF))


def _all(vector: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(vector, [value] * vector.count)


DECODE = {types.int16: _from_float16, types.uint16: _from_bfloat16}
ENCODE = {types.int16: _to_float16, types.uint16: _to_bfloat16}
MINUS_INFINITY = {types.int16: 0xFC00, types.uint16: 0xFF80}
