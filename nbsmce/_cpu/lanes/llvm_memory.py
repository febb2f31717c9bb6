"""Pointers and arrays of generated code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ..._compile import has_feature
from .llvm import I32, I64, LLVM, Value, call, counting, first_lanes, here, integer, larger, repeat, vector_type
from .llvm_half import DECODE, ENCODE, MINUS_INFINITY
from .storage import COMPUTED, LANES, MASK, Vector, computed_type

_BYTE = ir.IntType(8)


# -- pointers ----------------------------------------------------------------------------------------------------------


class Pointer:
    """An address, with the type of what lies there."""

    def __init__(self, type_: types.CPointer, value: Any) -> None:
        self.type, self.value = type_, value
        self.dtype = type_.dtype


class Array:
    """An array argument: a pointer to its first element, its shape and its strides in bytes."""

    def __init__(self, p: Pointer, shape: list[Value], strides: list[Value]) -> None:
        self.p, self.shape, self.strides = p, shape, strides

    @classmethod
    def wrap(cls, context: Any, type_: types.Array, value: Any) -> Array:
        struct = context.make_array(type_)(context, here(), value)
        shape, strides = (
            [Value(types.int64, v) for v in cgutils.unpack_tuple(here(), packed, type_.ndim)]
            for packed in (struct.shape, struct.strides)
        )
        return cls(Pointer(types.CPointer(type_.dtype), struct.data), shape, strides)


def itemsize(p: Pointer) -> int:
    """The bytes that a stored number takes."""
    return p.dtype.bitwidth // 8


def is_half(p: Pointer) -> bool:
    """Whether numbers are stored in another type than they are computed in."""
    return p.dtype in COMPUTED


def advance(p: Pointer, nbytes: Any) -> Pointer:
    """The pointer moved by a number of bytes."""
    byte = here().gep(here().bitcast(p.value, _BYTE.as_pointer()), [integer(nbytes).value])
    return Pointer(p.type, here().bitcast(byte, p.value.type))


def at(p: Pointer, v: Any, shift: Any = 0) -> Pointer:
    """Where vector ``v`` starts, of numbers that follow each other from number ``shift`` after ``p`` on."""
    return advance(p, (v * LANES + shift) * itemsize(p))


def _as(p: Pointer, dtype: types.Type) -> Pointer:
    return Pointer(types.CPointer(dtype), here().bitcast(p.value, LLVM[dtype][0].as_pointer()))


def computed(p: Pointer, like: Any) -> Pointer:
    """``p`` as a pointer to the type that ``like`` is computed in."""
    return _as(p, computed_type(like.dtype))


def stored(p: Pointer, like: Any) -> Pointer:
    """``p`` as a pointer to the storage type that ``like`` points to."""
    return _as(p, like.dtype)


def float64_at(p: Pointer) -> Pointer:
    """``p`` as a pointer to float64."""
    return _as(p, types.float64)


def stripes() -> Pointer:
    """Room for sixteen vectors of float64 on the stack."""
    room = cgutils.alloca_once(here(), ir.ArrayType(vector_type(types.float64), LANES))
    return Pointer(types.CPointer(types.float64), here().bitcast(room, ir.DoubleType().as_pointer()))


def on_stack(like: Value) -> Pointer:
    """Room for such a vector on the stack."""
    room = cgutils.alloca_once(here(), like.value.type)
    return _as(Pointer(types.CPointer(like.dtype), room), like.dtype)


def add_products(p: Pointer, x: Value, y: Value) -> None:
    """Add the products of float32 lanes to the float64 numbers at ``p``.

    In four parts: what x86 reads from memory it widens by fours in two thirds of the time that it takes by eights.
    """
    part, sums = LANES // 4, ir.VectorType(ir.DoubleType(), LANES // 4)
    for first in range(0, LANES, part):
        lanes = ir.Constant(ir.VectorType(I32, part), list(range(first, first + part)))
        a, b = (here().fpext(here().shuffle_vector(v.value, v.value, lanes), sums) for v in (x, y))
        place = here().bitcast(at(p, 0, first).value, sums.as_pointer())
        total = call(f"llvm.fma.v{part}f64", sums, [a, b, here().load(place, align=8)])
        here().store(total, place, align=8)


# -- loads and stores --------------------------------------------------------------------------------------------------


def _neighbours(p: Pointer) -> Any:
    return here().bitcast(p.value, vector_type(p.dtype).as_pointer())


def _apart(p: Pointer, stride: Any) -> Any:
    """The addresses of sixteen numbers ``stride`` bytes apart."""
    offsets = here().mul(counting(I64), repeat(integer(stride).value))
    addresses = here().add(repeat(here().ptrtoint(p.value, I64)), offsets)
    return here().inttoptr(addresses, ir.VectorType(p.value.type, LANES))


def _masked(p: Pointer, operation: str, result: ir.Type, arguments: list[Any]) -> Any:
    space = f"v{LANES}p0" if operation in ("gather", "scatter") else "p0"
    return call(f"llvm.masked.{operation}.v{LANES}{LLVM[p.dtype][1]}.{space}", result, arguments)


def _read(p: Pointer, operation: str, where: Any, k: Any, pad: float) -> Value:
    kind = vector_type(p.dtype)
    stored_pad = ir.Constant(kind, None)
    if pad:
        stored_pad = ir.Constant(kind, [MINUS_INFINITY.get(p.dtype, pad)] * LANES)
    raw = _masked(p, operation, kind, [where, I32(1), first_lanes(k), stored_pad])
    decode = DECODE.get(p.dtype)
    return Value(Vector(computed_type(p.dtype)), decode(here(), raw) if decode else raw)


def encoded(p: Pointer, x: Value) -> Any:
    """The lanes as they are stored at ``p``."""
    encode = ENCODE.get(p.dtype)
    return encode(here(), x.value) if encode else x.value


def _write(p: Pointer, operation: str, where: Any, x: Value, k: Any) -> None:
    _masked(p, operation, ir.VoidType(), [encoded(p, x), where, I32(1), first_lanes(k)])


def load(p: Pointer, k: Any = LANES) -> Value:
    """Sixteen neighbours in memory, 0 from lane ``k`` on."""
    return _read(p, "load", _neighbours(p), k, 0.0)


def load_logits(p: Pointer, k: Any = LANES) -> Value:
    """Sixteen neighbours in memory, minus infinity from lane ``k`` on."""
    return _read(p, "load", _neighbours(p), k, float("-inf"))


def gather(p: Pointer, stride: Any, k: Any = LANES) -> Value:
    """Sixteen numbers ``stride`` bytes apart, 0 from lane ``k`` on."""
    return _read(p, "gather", _apart(p, stride), k, 0.0)


def gather_at(p: Pointer, offsets: Value, k: Any = LANES) -> Value:
    """Sixteen numbers at int64 byte offsets from ``p``, 0 from lane ``k`` on."""
    addresses = here().add(repeat(here().ptrtoint(p.value, I64)), offsets.value)
    return _read(p, "gather", here().inttoptr(addresses, ir.VectorType(p.value.type, LANES)), k, 0.0)


def store(p: Pointer, x: Value, k: Any = LANES) -> None:
    """The first ``k`` lanes to neighbours in memory, rounded to the storage type."""
    if (isinstance(k, int) and k >= LANES) or has_feature("avx512bw"):
        _write(p, "store", _neighbours(p), x, k)
    else:
        store_parts(p, encoded(p, x), k)


def store_parts(p: Pointer, raw: Any, k: Any) -> None:
    """The first ``k`` of the lanes of an LLVM vector: all at once, or in parts."""
    kind, count = raw.type, larger(integer(k), integer(0)).value
    with here().if_else(here().icmp_signed(">=", count, I64(kind.count))) as (all_lanes, fewer):
        with all_lanes:
            here().store(raw, here().bitcast(p.value, kind.as_pointer()), align=1)
        with fewer:
            out_of_line("store_parts", _store_parts, ir.VoidType(), [bytes_at(p), raw, count])


def bytes_at(p: Pointer) -> Any:
    return here().bitcast(p.value, _BYTE.as_pointer())


def out_of_line(name: str, body: Callable[..., Any], result: ir.Type, arguments: list[Any]) -> Any:
    """Call ``body(builder, *arguments)`` as a function of its own, for what would take long to compile everywhere."""
    module, kinds = here().module, [a.type for a in arguments]
    name = ".".join([name, *(str(kind).replace(" ", "") for kind in kinds)])
    if name not in module.globals:
        function = ir.Function(module, ir.FunctionType(result, kinds), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        body(ir.IRBuilder(function.append_basic_block()), *function.args)
    return here().call(module.globals[name], arguments)


def _store_parts(builder: ir.IRBuilder, place: Any, lanes: Any, k: Any) -> None:
    """Store half of the lanes, then a quarter and so on, as the bits of ``k`` say.

    AMD's processors without AVX-512 take 16 ns for a masked store of 8 float32, and 0.6 for an ordinary one (Zen 3,
    2026-11-22; docs/performance-avx2.md).
    """
    element, width = lanes.type.element, lanes.type.count // 2
    while width:
        part = ir.VectorType(element, width)
        first, rest = (
            builder.shuffle_vector(lanes, lanes, ir.Constant(ir.VectorType(I32, width), list(which)))
            for which in (range(width), range(width, 2 * width))
        )
        there = builder.icmp_unsigned("!=", builder.and_(k, I64(width)), I64(0))
        with builder.if_then(there):
            builder.store(first, builder.bitcast(place, part.as_pointer()), align=1)
        behind = builder.gep(builder.bitcast(place, element.as_pointer()), [I64(width)])
        place = builder.select(there, builder.bitcast(behind, place.type), place)
        lanes = builder.select(there, rest, first)
        width //= 2
    builder.ret_void()


def scatter(p: Pointer, stride: Any, x: Value, k: Any = LANES) -> None:
    """The first ``k`` lanes to places ``stride`` bytes apart."""
    _write(p, "scatter", _apart(p, stride), x, k)


def peek(p: Pointer, i: Any) -> Value:
    """Number ``i`` of numbers that follow each other from ``p`` on, not of a half type."""
    return Value(p.dtype, here().load(here().gep(p.value, [integer(i).value])))


def poke(p: Pointer, i: Any, x: Value) -> None:
    """Write a scalar as number ``i``."""
    here().store(x.value, here().gep(p.value, [integer(i).value]))


def copy_number(p: Pointer, i: Any, to: Pointer) -> None:
    """Write what is stored as number ``i`` to another place."""
    here().store(here().load(here().gep(p.value, [integer(i).value])), to.value, align=1)


def past(p: Pointer, nbytes: int) -> Value:
    """How many bytes ``p`` is past a multiple of ``nbytes``, a power of 2."""
    return Value(types.int64, here().and_(here().ptrtoint(p.value, I64), I64(nbytes - 1)))


def same_place(p: Pointer, q: Pointer) -> Value:
    """Whether two pointers are equal."""
    address, other = (here().ptrtoint(pointer.value, I64) for pointer in (p, q))
    return Value(types.boolean, here().icmp_unsigned("==", address, other))


def store_past_cache(p: Pointer, x: Value) -> None:
    """All lanes to memory that they fill in whole cache lines, which are then not read first; ``fence`` must follow."""
    raw = encoded(p, x)
    place = here().bitcast(p.value, raw.type.as_pointer())
    where = here().store(raw, place, align=min(64, LANES * itemsize(p)))
    where.set_metadata("nontemporal", here().module.add_metadata([I32(1)]))


def prefetch(p: Pointer) -> None:
    """Ask for the cache line at ``p``, which may be any address, to be brought into the caches."""
    byte = here().bitcast(p.value, _BYTE.as_pointer())
    call("llvm.prefetch.p0", ir.VoidType(), [byte, I32(0), I32(3), I32(1)])


def fence() -> None:
    """Order what was stored past the cache before what follows."""
    here().fence("seq_cst")


def gather_mask(p: Pointer, stride: Any, k: Any = LANES) -> Value:
    """Which of sixteen bytes ``stride`` apart are not 0; false from lane ``k`` on."""
    none = ir.Constant(vector_type(types.uint8), None)
    raw = _masked(p, "gather", none.type, [_apart(p, stride), I32(1), first_lanes(k), none])
    return Value(MASK, here().icmp_unsigned("!=", raw, none))
