"""JAX on the CPU: compiled, and waited for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..cases import Inputs
from . import Skip

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)


def build(operation: str, inputs: Inputs, _threads: int) -> Callable[[], Any]:
    if operation.endswith("_out") or inputs.option:
        raise Skip("JAX has no out=" if operation.endswith("_out") else f"JAX has no {inputs.option}")
    axis = inputs.axis
    x = jnp.asarray(inputs.x)
    if operation.startswith("cross_entropy"):
        function, arguments = _loss(operation, x, jnp.asarray(inputs.target), axis)
    elif operation.endswith("_backward"):
        forward = partial(getattr(jax.nn, operation.removesuffix("_backward")), axis=axis)
        _, pull = jax.vjp(forward, x)
        upstream = inputs.dlse.astype(inputs.dtype) if operation == "logsumexp_backward" else inputs.dy
        function, arguments = lambda pull, dy: pull(dy)[0], (pull, jnp.asarray(upstream))
    else:
        function, arguments = partial(getattr(jax.nn, operation), axis=axis), (x,)
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*arguments))


def _loss(operation: str, x: jax.Array, target: jax.Array, axis: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    def loss(x: jax.Array, target: jax.Array) -> jax.Array:
        """optax's definition, with the largest of the two half types' sums in float32."""
        wide = x.astype(jnp.promote_types(x.dtype, np.float32))
        of_target = jnp.take_along_axis(wide, jnp.expand_dims(target, axis), axis)
        return (jax.nn.logsumexp(wide, axis) - of_target.squeeze(axis)).mean()

    if operation == "cross_entropy":
        return loss, (x, target)
    if operation == "cross_entropy_with_grad":
        return jax.value_and_grad(loss), (x, target)
    _, pull = jax.vjp(lambda x: loss(x, target), x)
    return lambda pull, d: pull(d)[0], (pull, jnp.ones((), jnp.promote_types(x.dtype, np.float32)))
