"""Values of generated code. Every operation on them appends LLVM instructions at the current place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from .several import Several
from .storage import LANES, MASK, Vector, computed_type

LLVM = {
    types.float32: (ir.FloatType(), "f32"),
    types.float64: (ir.DoubleType(), "f64"),
    types.int16: (ir.IntType(16), "i16"),
    types.uint16: (ir.IntType(16), "i16"),
    types.int32: (ir.IntType(32), "i32"),
    types.int64: (ir.IntType(64), "i64"),
    types.uint8: (ir.IntType(8), "i8"),
    types.boolean: (ir.IntType(1), "i1"),
}
I32, I64 = LLVM[types.int32][0], LLVM[types.int64][0]
_BITS = {types.float32: types.int32, types.float64: types.int64}
_FLOATS = {bits: floating for floating, bits in _BITS.items()}


def vector_type(dtype: types.Type) -> ir.VectorType:
    return ir.VectorType(LLVM[dtype][0], LANES)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector_type(vector.dtype))


# -- where instructions go ---------------------------------------------------------------------------------------------

_builders: list[ir.IRBuilder] = []


@contextmanager
def emitting(builder: ir.IRBuilder) -> Iterator[None]:
    """Append instructions with ``builder``. Numba's compiler lock keeps other threads out."""
    _builders.append(builder)
    try:
        yield
    finally:
        _builders.pop()


def here() -> ir.IRBuilder:
    """The builder that instructions are appended with."""
    return _builders[-1]


def call(name: str, result: ir.Type, arguments: list[Any]) -> Any:
    """Call an LLVM intrinsic."""
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return here().call(cgutils.get_or_insert_function(here().module, kind, name), arguments)


def repeat(scalar: Any) -> Any:
    """A vector of sixteen times an LLVM scalar."""
    vector = ir.VectorType(scalar.type, LANES)
    if isinstance(scalar, ir.Constant):
        return ir.Constant(vector, [scalar.constant] * LANES)
    first = here().insert_element(ir.Constant(vector, ir.Undefined), scalar, I32(0))
    return here().shuffle_vector(first, first, ir.Constant(ir.VectorType(I32, LANES), [0] * LANES))


def counting(integer: ir.IntType) -> ir.Constant:
    return ir.Constant(ir.VectorType(integer, LANES), list(range(LANES)))


def first_lanes(k: Any) -> Any:
    """The mask of the first ``k`` lanes, all of them for the constant 16."""
    if isinstance(k, int) and k >= LANES:
        return ir.Constant(vector_type(types.boolean), [1] * LANES)
    return here().icmp_signed("<", counting(I32), repeat(integer(k, types.int32).value))


class Value:
    """A vector or a scalar. Python numbers in expressions take its type."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, type_: types.Type, value: Any) -> None:
        self.type, self.value = type_, value

    @property
    def dtype(self) -> types.Type:
        return self.type.dtype if isinstance(self.type, Vector) else self.type

    @property
    def single(self) -> bool:
        """Whether the lanes are float32."""
        return self.dtype == types.float32

    @property
    def floating(self) -> bool:
        return isinstance(self.dtype, types.Float)

    def of(self, number: Any) -> Value:
        """``number``, a value or Python's, in this value's type."""
        if isinstance(number, Value):
            if number.type == self.type:
                return number
            if isinstance(number.type, Vector):
                raise TypeError(f"{self.type} and {number.type} in one operation")
        scalar = self._scalar(number)
        return Value(self.type, repeat(scalar) if isinstance(self.type, Vector) else scalar)

    def _scalar(self, number: Any) -> Any:
        kind = LLVM[self.dtype][0]
        if not isinstance(number, Value):
            return ir.Constant(kind, float(number) if self.floating else int(number))
        if number.value.type == kind:
            return number.value
        if self.floating and not number.floating:
            return here().sitofp(number.value, kind)
        if self.floating:
            return (here().fpext if number.single else here().fptrunc)(number.value, kind)
        if number.type == types.boolean:
            return here().zext(number.value, kind)
        return (here().sext if number.type.bitwidth < self.dtype.bitwidth else here().trunc)(number.value, kind)

    def _pair(self, other: Any) -> tuple[Value, Value]:
        """Both operands as one type: that of a vector before a scalar's."""
        lead = other if isinstance(other, Value) and not isinstance(self.type, Vector) else self
        return lead.of(self), lead.of(other)

    def _binary(self, other: Any, floating: str, whole: str, swap: bool = False) -> Value:
        if isinstance(other, Several):
            return NotImplemented
        a, b = self._pair(other)
        if swap:
            a, b = b, a
        return Value(a.type, getattr(here(), floating if a.floating else whole)(a.value, b.value))

    def _compare(self, other: Any, symbol: str) -> Value:
        if isinstance(other, Several):
            return NotImplemented
        a, b = self._pair(other)
        compare = here().icmp_signed
        if a.floating:
            compare = here().fcmp_unordered if symbol == "!=" else here().fcmp_ordered  # as in Python
        return Value(MASK if isinstance(a.type, Vector) else types.boolean, compare(symbol, a.value, b.value))

    def __add__(self, other: Any) -> Value:
        return self._binary(other, "fadd", "add")

    def __sub__(self, other: Any) -> Value:
        return self._binary(other, "fsub", "sub")

    def __mul__(self, other: Any) -> Value:
        return self._binary(other, "fmul", "mul")

    def __truediv__(self, other: Any) -> Value:
        return self._binary(other, "fdiv", "")

    def __floordiv__(self, other: Any) -> Value:
        return self._binary(other, "", "sdiv")  # of non-negative integers

    def __mod__(self, other: Any) -> Value:
        return self._binary(other, "", "srem")  # of non-negative integers

    def __radd__(self, other: Any) -> Value:
        return self._binary(other, "fadd", "add", swap=True)

    def __rsub__(self, other: Any) -> Value:
        return self._binary(other, "fsub", "sub", swap=True)

    def __rmul__(self, other: Any) -> Value:
        return self._binary(other, "fmul", "mul", swap=True)

    def __rtruediv__(self, other: Any) -> Value:
        return self._binary(other, "fdiv", "", swap=True)

    def __lshift__(self, other: Any) -> Value:
        return self._binary(other, "", "shl")

    def __rshift__(self, other: Any) -> Value:
        return self._binary(other, "", "ashr")

    def __and__(self, other: Any) -> Value:
        return self._binary(other, "", "and_")

    def __or__(self, other: Any) -> Value:
        return self._binary(other, "", "or_")

    def __rand__(self, other: Any) -> Value:
        return self._binary(other, "", "and_")

    def __ror__(self, other: Any) -> Value:
        return self._binary(other, "", "or_")

    def __neg__(self) -> Value:
        return Value(self.type, here().fneg(self.value) if self.floating else here().neg(self.value))

    def __lt__(self, other: Any) -> Value:
        return self._compare(other, "<")

    def __gt__(self, other: Any) -> Value:
        return self._compare(other, ">")

    def __ge__(self, other: Any) -> Value:
        return self._compare(other, ">=")

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare(other, "==")

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare(other, "!=")


def integer(number: Any, type_: types.Type = types.int64) -> Value:
    """``number`` as an integer value."""
    return Value(type_, None).of(number)


def float64_of(number: Any) -> Value:
    """A number as float64."""
    return Value(types.float64, None).of(number)


# -- operations on vectors ---------------------------------------------------------------------------------------------


def zeros(like: Any) -> Value:
    """Sixteen zeros of the type of a vector, or of the type that a pointer's numbers are computed in."""
    vector = Vector(computed_type(like.dtype))
    return Value(vector, ir.Constant(vector_type(vector.dtype), None))


def splat(like: Any, number: Any) -> Value:
    """``number`` in every lane of such a vector."""
    return zeros(like).of(number)


def pinned(like: Any, number: float) -> Value:
    """``number`` in every lane of such a vector, for a loop that keeps it in a register.

    A constant that the compiler knows is fetched again in every turn of a loop that has many of them. This one has gone
    through an empty piece of assembly, once in a function.
    """
    whole = splat(like, number)
    known = here().function.__dict__.setdefault("pinned", {})
    key = (whole.type, number)
    if key not in known:
        bits, floating = (LLVM[t][0] for t in (_BITS[whole.dtype], whole.dtype))
        with here().goto_entry_block():
            constant = here().bitcast(ir.Constant(floating, number), bits)
            hidden = here().asm(ir.FunctionType(bits, [bits]), "", "=r,0", [constant], True)
            known[key] = repeat(here().bitcast(hidden, floating))
    return Value(whole.type, known[key])


def lanes_below(k: Any) -> Value:
    """The mask of the first ``k`` lanes."""
    return Value(MASK, first_lanes(k))


def lane_index() -> Value:
    """``[0, 1, ..., 15]`` as int64."""
    return Value(Vector(types.int64), counting(I64))


def _lane_by_lane(name: str, x: Value, *others: Value) -> Value:
    suffix = f".v{LANES}{LLVM[x.dtype][1]}"
    return Value(x.type, call(name + suffix, x.value.type, [x.value, *(o.value for o in others)]))


def fma(a: Value, b: Any, c: Any) -> Value:
    """``a * b + c``, rounded once."""
    return _lane_by_lane("llvm.fma", a, a.of(b), a.of(c))


def absolute(x: Value) -> Value:
    """``|x|``."""
    return _lane_by_lane("llvm.fabs", x)


def select(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where the condition, a mask or a truth value, holds, else ``b``."""
    if isinstance(condition, bool):
        return a if condition else b
    lead = a if isinstance(a, Value) else b if isinstance(b, Value) else Value(types.int64, None)
    return Value(lead.type, here().select(condition.value, lead.of(a).value, lead.of(b).value))


def invert(condition: Any) -> Any:
    """Not: a mask or a truth value the other way round."""
    if isinstance(condition, bool):
        return not condition
    return Value(condition.type, here().not_(condition.value))


def larger(a: Value, b: Any) -> Value:
    """``a > b ? a : b``: ``b`` where either is NaN. One instruction on x86, where ``llvm.maxnum`` takes three."""
    return select(a > b, a, b)


def smaller(a: Any, b: Any) -> Any:
    """The smaller of two integers."""
    return select(integer(a) < integer(b), integer(a), integer(b))


def wide(x: Value) -> Value:
    """The lanes as float64."""
    vector = Vector(types.float64)
    return x if x.type == vector else Value(vector, here().fpext(x.value, vector_type(types.float64)))


def narrow(x: Value, like: Any) -> Value:
    """float64 lanes rounded to the type that ``like`` is computed in."""
    dtype = computed_type(like.dtype)
    return x if dtype == x.dtype else Value(Vector(dtype), here().fptrunc(x.value, vector_type(dtype)))


def to_bits(x: Value) -> Value:
    """The bits of floating lanes, as integers of their width."""
    bits = _BITS[x.dtype]
    return Value(Vector(bits), here().bitcast(x.value, vector_type(bits)))


def from_bits(x: Value) -> Value:
    """Integer lanes as the floating numbers that have these bits."""
    floating = _FLOATS[x.dtype]
    return Value(Vector(floating), here().bitcast(x.value, vector_type(floating)))


def to_integer(x: Value) -> Value:
    """float64 lanes that hold integers as int64."""
    return Value(Vector(types.int64), here().fptosi(x.value, vector_type(types.int64)))


def to_float(x: Value) -> Value:
    """int64 lanes as float64."""
    return Value(Vector(types.float64), here().sitofp(x.value, vector_type(types.float64)))
