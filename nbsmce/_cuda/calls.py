"""From the arrays of a call to its plan, which is remembered by all that it depends on, and made where that is new."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .arrays import Call
from .owners import Owner, owner_of
from .plan import Plan

PLANS = 512
"""How many plans of a function are remembered; the one that has not been used for longest is forgotten."""

_remembered: list[Any] = []


def forget() -> None:
    """Forget all plans; for tests that change what plans are made by."""
    for plans in _remembered:
        plans.cache_clear()


def planned(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function that plans a call one that does it, given the arrays of these names, and options.

    The function is given a :class:`Call`, which knows all of the arrays but their addresses, and the options, so that a
    plan can depend on nothing else. The last of the names is that of the array that is written to, if it is given.
    Options are hashable, and such that equal ones are the same.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.lru_cache(PLANS)
        def plan_of(owner: Owner, facts: tuple[Any, ...], mixed: bool, *options: Any) -> tuple[Plan, Any]:
            call = Call(owner, names, facts, mixed)
            call.plan.result = function(call, *options)
            return call.plan, call.neighbours()

        @functools.wraps(function)
        def perform(arrays: tuple[Any, ...], *options: Any) -> Any:
            owner, addresses, facts = _described(names, arrays)
            plan, neighbours = plan_of(owner, facts, False, *options)
            if neighbours and _mixed(addresses, neighbours):
                plan, _ = plan_of(owner, facts, True, *options)
            return plan.run([*arrays], addresses)

        _remembered.append(plan_of)
        return perform

    return decorate


def _described(names: tuple[str, ...], arrays: tuple[Any, ...]) -> tuple[Owner, list[int], tuple[Any, ...]]:
    """``(whose arrays they are, their addresses, all else that is known of them)``."""
    owner: Any = None
    addresses = [0] * len(arrays)
    facts: list[Any] = [None] * len(arrays)
    for i, array in enumerate(arrays):
        if array is None:
            continue
        its = owner_of(array, names[i])
        if its is not owner:
            if owner is not None:
                first = next(n for n, a in zip(names, arrays, strict=True) if a is not None)
                raise TypeError(
                    f"the arrays of one call must be of one library: {first} is a {owner.name}, {names[i]} a {its.name}"
                )
            owner = its
        addresses[i], facts[i] = its.facts(array, names[i])
    return owner, addresses, tuple(facts)


def _mixed(addresses: list[int], neighbours: list[tuple[int, int, int, bool]]) -> bool:
    """Whether writing one element of ``out`` could change another of an argument that is still to be read.

    That is one that shares memory with it, unless the two are the same: in place is no such case.
    """
    out = addresses[-1]
    return any(
        below < out - addresses[number] < above and not (alike and addresses[number] == out)
        for number, below, above, alike in neighbours
    )
