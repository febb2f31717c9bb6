"""Values of several units of rows that every operation takes in lockstep: their vectors, pointers or numbers."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any


def each(function: Callable[..., Any], *arguments: Any) -> Any:
    """``function`` of the first of all :class:`Several` arguments, of the second, and so on; or of the arguments."""
    count = next((len(a) for a in arguments if isinstance(a, Several)), 0)
    if not count:
        return function(*arguments)
    return Several(function(*(a[i] if isinstance(a, Several) else a for a in arguments)) for i in range(count))


def in_lockstep(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function take :class:`Several`, too."""

    @functools.wraps(function)
    def of_each(*arguments: Any) -> Any:
        return each(function, *arguments)

    return of_each


def combined(function: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Let a function that makes one number of a vector make one of several."""

    @functools.wraps(function)
    def of_all(x: Any) -> Any:
        return functools.reduce(combine, map(function, x)) if isinstance(x, Several) else function(x)

    return of_all


def _operator(function: Callable[..., Any]) -> Any:
    return lambda self, *others: each(function, self, *others)


def _both_ways(function: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """An operator with something on the right, and on the left."""
    return _operator(function), lambda self, other: each(lambda a, b: function(b, a), self, other)


class Several(tuple):
    """One value for each of several units. What is not, is that of all of them."""

    __hash__ = None  # type: ignore[assignment]
    __add__, __radd__ = _both_ways(operator.add)
    __sub__, __rsub__ = _both_ways(operator.sub)
    __mul__, __rmul__ = _both_ways(operator.mul)
    __truediv__, __rtruediv__ = _both_ways(operator.truediv)
    __and__, __rand__ = _both_ways(operator.and_)
    __or__, __ror__ = _both_ways(operator.or_)
    __lshift__, __rshift__ = _operator(operator.lshift), _operator(operator.rshift)
    __neg__ = _operator(operator.neg)
    __lt__, __gt__, __ge__ = _operator(operator.lt), _operator(operator.gt), _operator(operator.ge)
    __eq__, __ne__ = _operator(operator.eq), _operator(operator.ne)

    @property
    def dtype(self) -> Any:
        """That of each."""
        return self[0].dtype

    @property
    def single(self) -> bool:
        """Whether the lanes are float32."""
        return bool(self[0].single)
