"""Blocks of rows and classes, which are transposed in registers: vectors that have as many lanes as one register."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from ..._compile import MASK_REGISTERS, has_feature
from .llvm import I32, LLVM, Value, call, emitting, first_lanes, here, integer, zeros
from .llvm_half import DECODE
from .llvm_memory import Pointer, bytes_at, encoded, is_half, out_of_line, store_parts
from .storage import LANES, Vector, computed_type


def block_lanes(p: Pointer) -> int:
    """How many rows and classes a block of what ``p`` points to has."""
    register = 64 if MASK_REGISTERS else 32
    return min(LANES, register // (4 if zeros(p).single else 8))


def transposed(rows: list[Value]) -> list[Value]:
    """As many vectors as they have lanes, transposed: lane ``i`` of vector ``j`` becomes lane ``j`` of vector ``i``.

    First inside of parts of 128 bits, then part by part: every step is one instruction of x86 for each vector.
    """
    count, part = len(rows), 16 // (4 if rows[0].single else 8)

    def interleaved(j: int, second: int) -> int:  # lane j: of both vectors in turn, from the first or second halves
        return j % 2 * count + j // part * part + j % part // 2 + second * part // 2

    def every_other(j: int, odd: int) -> int:  # the even or odd parts of one vector, then of the other
        parts = count // part
        return j // part // (parts // 2) * count + (j // part % (parts // 2) * 2 + odd) * part + j % part

    for _ in range(part.bit_length() - 1):
        pairs = [(rows[i], rows[i + part // 2]) for g in range(0, count, part) for i in range(g, g + part // 2)]
        rows = [_shuffled(a, b, interleaved, half) for a, b in pairs for half in (0, 1)]
    for _ in range((count // part).bit_length() - 1):
        pairs = [(rows[i], rows[i + part]) for g in range(0, count, 2 * part) for i in range(g, g + part)]
        rows = [_shuffled(a, b, every_other, half) for half in (0, 1) for a, b in pairs]
    return rows


def _shuffled(a: Value, b: Value, source: Callable[[int, int], int], half: int) -> Value:
    lanes = [source(j, half) for j in range(a.value.type.count)]
    return Value(a.type, here().shuffle_vector(a.value, b.value, ir.Constant(ir.VectorType(I32, len(lanes)), lanes)))


def load_block(p: Pointer, k: Any = LANES) -> Value:
    """As many neighbours in memory as a block has lanes; anything from lane ``k`` on, which is not read."""
    kind = ir.VectorType(LLVM[p.dtype][0], block_lanes(p))
    if isinstance(k, int) and k >= kind.count:
        raw = here().load(here().bitcast(p.value, kind.as_pointer()), align=1)
    else:
        arguments = [bytes_at(p), integer(k).value]
        native = not is_half(p) or has_feature("avx512bw")
        raw = _masked_load(kind, *arguments) if native else out_of_line("load_first", _first(kind), kind, arguments)
    decode = DECODE.get(p.dtype)
    return Value(Vector(computed_type(p.dtype)), decode(here(), raw) if decode else raw)


def _masked(operation: str, kind: ir.VectorType, k: Any) -> tuple[str, Any]:
    """The name of a masked operation on so many numbers, and the mask of the first ``k``."""
    numbers = ir.Constant(ir.VectorType(I32, kind.count), list(range(kind.count)))
    below = here().shuffle_vector(first_lanes(Value(types.int64, k)), first_lanes(LANES), numbers)
    suffix = next(name for element, name in LLVM.values() if element == kind.element)
    return f"llvm.masked.{operation}.v{kind.count}{suffix}.p0", below


def _masked_load(kind: ir.VectorType, place: Any, k: Any) -> Any:
    name, below = _masked("load", kind, k)
    return call(name, kind, [here().bitcast(place, kind.as_pointer()), I32(1), below, ir.Constant(kind, ir.Undefined)])


def _first(kind: ir.VectorType) -> Callable[..., None]:
    """The same as a function: where the processor has no such load LLVM makes a branch for each number."""

    def body(builder: ir.IRBuilder, place: Any, k: Any) -> None:
        with emitting(builder):
            builder.ret(_masked_load(kind, place, k))

    return body


def store_block(p: Pointer, x: Value, k: Any = LANES) -> None:
    """The first ``k`` lanes of such a vector, rounded to the storage type."""
    raw = encoded(p, x)
    if isinstance(k, int) and k >= raw.type.count:
        here().store(raw, here().bitcast(p.value, raw.type.as_pointer()), align=1)
    elif has_feature("avx512bw"):
        name, below = _masked("store", raw.type, integer(k).value)
        place = here().bitcast(p.value, raw.type.as_pointer())
        call(name, ir.VoidType(), [raw, place, I32(1), below])
    else:
        store_parts(p, raw, k)
