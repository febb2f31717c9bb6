"""Loops, branches and variables of generated code, and functions of it in ``@njit`` code."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import lower_builtin, type_callable

from .llvm import Value, emitting, here, integer
from .llvm_memory import Array, Pointer
from .several import Several, each


class Variable:
    """Something that changes from one turn of a loop to the next: ``total.value = total.value + x``."""

    def __init__(self, value: Any) -> None:
        self._first = each(lambda v: v if isinstance(v, (Value, Pointer)) else integer(v), value)
        self._slot = each(lambda v: cgutils.alloca_once(here(), v.value.type), self._first)
        self.value = self._first

    @property
    def value(self) -> Any:
        return each(lambda v, slot: type(v)(v.type, here().load(slot)), self._first, self._slot)

    @value.setter
    def value(self, value: Any) -> None:
        each(lambda v, slot: here().store(v.value, slot), value, self._slot)


def steps(start: Any, stop: Any, step: int = 1) -> Iterator[Value]:
    """``for i in steps(start, stop, step)`` is a loop of the generated code; its body runs once, to be recorded."""
    builder = here()
    i = Variable(integer(start))
    test, body, after = (builder.append_basic_block(name) for name in ("test", "body", "after"))
    builder.branch(test)
    builder.position_at_end(test)
    builder.cbranch((i.value < stop).value, body, after)
    builder.position_at_end(body)
    yield i.value
    i.value = i.value + step
    builder.branch(test)
    builder.position_at_end(after)


def repeat_while(condition: Callable[[], Value]) -> Iterator[None]:
    """``for _ in repeat_while(condition)`` is a loop of the generated code for as long as ``condition()`` holds."""
    builder = here()
    test, body, after = (builder.append_basic_block(name) for name in ("test", "body", "after"))
    builder.branch(test)
    builder.position_at_end(test)
    builder.cbranch(condition().value, body, after)
    builder.position_at_end(body)
    yield
    builder.branch(test)
    builder.position_at_end(after)


def branch(condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any] = lambda: None) -> Any:
    """``then()`` or ``otherwise()``, which return values of the same types, tuples of them, or nothing.

    One value of them may be several in the other.

    A Python truth value decides while the code is made.
    """
    if isinstance(condition, bool):
        return then() if condition else otherwise()
    builder = here()
    results: list[Any] = []
    ends: list[ir.Block] = []
    after = builder.append_basic_block("after")
    places = [builder.append_basic_block(name) for name in ("then", "otherwise")]
    builder.cbranch(condition.value, *places)
    for where, make in zip(places, (then, otherwise), strict=True):
        builder.position_at_end(where)
        results.append(make())
        ends.append(builder.block)
        builder.branch(after)
    builder.position_at_end(after)
    return _either(results[0], results[1], ends)


def _either(a: Any, b: Any, ends: list[ir.Block]) -> Any:
    """``a`` or ``b``, whichever block the code came from."""
    if a is None or b is None:
        return None
    if isinstance(a, Several) or isinstance(b, Several):
        return each(lambda x, y: _either(x, y, ends), a, b)
    if isinstance(a, tuple):
        parts = [_either(x, y, ends) for x, y in zip(a, b, strict=True)]
        return type(a)(*parts) if hasattr(a, "_fields") else tuple(parts)
    if a.type != b.type:
        raise TypeError(f"{a.type} in one branch, {b.type} in the other")
    phi = here().phi(a.value.type)
    for value, end in zip((a, b), ends, strict=True):
        phi.add_incoming(value.value, end)
    return type(a)(a.type, phi)


# -- in @njit functions ------------------------------------------------------------------------------------------------


def wrap(context: Any, type_: types.Type, value: Any) -> Any:
    """An argument as generated code handles it."""
    if isinstance(type_, types.Array):
        return Array.wrap(context, type_, value)
    if isinstance(type_, types.BaseTuple):
        parts = zip(type_.types, cgutils.unpack_tuple(here(), value, len(type_.types)), strict=True)
        made = [wrap(context, t, v) for t, v in parts]
        return type_.instance_class(*made) if isinstance(type_, types.BaseNamedTuple) else tuple(made)
    if isinstance(type_, types.CPointer):
        return Pointer(type_, value)
    return Value(types.unliteral(type_), value)


def run(function: Callable[..., Any], context: Any, argtypes: Any, values: Any) -> Any:
    """Record ``function`` on arguments of these Numba types."""
    return function(*[wrap(context, t, v) for t, v in zip(argtypes, values, strict=True)])


def in_njit(function: Callable[..., Any], returns_nothing: bool = False) -> Callable[..., Any]:
    """Let ``@njit`` code call ``function``, which returns a :class:`Value` or nothing.

    It is recorded for good where code is generated, and before, unless it is known to return nothing, for the type of
    its result, with instructions that are thrown away.
    """

    @functools.cache
    def result_type(*argtypes: types.Type) -> types.Type:
        if returns_nothing:
            return types.none
        context = cpu_target.target_context
        kinds = [context.get_value_type(t) for t in argtypes]
        draft = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), kinds), "draft")
        with emitting(ir.IRBuilder(draft.append_basic_block())):
            result = run(function, context, argtypes, draft.args)
        return types.none if result is None else result.type

    @type_callable(function)
    def _typed(context: Any) -> Callable[..., types.Type]:
        def typer(*argtypes: types.Type) -> types.Type:
            return result_type(*map(types.unliteral, argtypes))

        typer.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return typer

    @lower_builtin(function, types.VarArg(types.Any))
    def _lowered(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        with emitting(builder):
            result = run(function, context, signature.args, values)
        return context.get_dummy_value() if result is None else result.value

    return function


# -- callbacks ---------------------------------------------------------------------------------------------------------


def parts(value: Any) -> list[Any]:
    """The LLVM values that an argument consists of."""
    if isinstance(value, Array):
        return [part for inner in (value.p, *value.shape, *value.strides) for part in parts(inner)]
    return [value.value]


def rebuilt(value: Any, given: Iterator[Any]) -> Any:
    """An argument of the same kind as ``value`` from other LLVM values."""
    if isinstance(value, Array):
        ndim = len(value.shape)
        p, *extents = (rebuilt(inner, given) for inner in (value.p, *value.shape, *value.strides))
        return Array(p, extents[:ndim], extents[ndim:])
    return type(value)(value.type, next(given))
