"""exp, tanh and the splitting of numbers, for the three types that rows are computed in.

``EXACT`` is float32 for float32 storage, ``SHORT`` is float32 for the half types, whose results have 8 or 11 bits,
and ``DOUBLE`` is float64. Every constant is of the type that is computed in: a Python number is a float64
for Numba, and would make everything that it touches one.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .device import device, instructions

ex2, fma, from_bits, to_bits = instructions.ex2, instructions.fma, instructions.from_bits, instructions.to_bits
larger32, larger64 = instructions.larger32, instructions.larger64
library_exp, library_tanh = instructions.exp, instructions.tanh
reciprocal_estimate = instructions.reciprocal_estimate

EXACT, SHORT, DOUBLE = "exact", "short", "double"

_f = np.float32
MINUS_INFINITY = _f(-np.inf)
LOG2_E = _f(1.4426950408889634)
# log(2) as a high and a low part (Cody and Waite).
LN2, LN2_LOW = _f(0.69314718246459961), _f(-1.9046543241928222e-09)
# exp(r) = 1 + r + r**2 q(r) on |r| <= log(2) / 2 with a relative error of 0.061 * 2**-24; from tools/minimax.py.
Q0, Q1, Q2, Q3, Q4 = (
    _f(c) for c in (0.49999994039535522, 0.16666521131992340, 0.041668388992547989, 0.0083687454462051392,
                    0.0013814540579915047)
)  # fmt: skip
ONE, ZERO = _f(1), _f(0)
LOWEST, HIGHEST = _f(-104), _f(90)  # exp of less is 0 in float32, of more infinite
MANTISSA_BITS = np.int32(23)
# Added to a number, leaves it rounded, and with the offset of an exponent, in the lowest bits of the sum. The exponent
# is that of 2**(n + 60), which is normal for all n from LOWEST on.
ROUNDER, UNBIAS = _f(1.5 * 2.0**23 + 127 + 60), _f(2.0**-60)
ROUNDER_BITS, EXPONENT_BIAS = np.int32(0x4B400000 + 127 + 60), np.int32(127)
ONE_BIT = np.int32(1)
LOWEST_DOUBLE = np.float64(-746)


@device
def difference_error(x: Any, m: Any, d: Any) -> Any:
    """What the rounding of ``d = x - m`` has lost (TwoSum, Knuth)."""
    t = d - x
    return (x - (d - t)) - (m + t)


@device
def reduced_exp(d: Any, error: Any) -> Any:
    """``(bits, exp(r) - 1)`` for ``d + error = n log(2) + r``; the bits are those of ``n + ROUNDER``.

    Below LOWEST and above HIGHEST they are nonsense.
    """
    shifted = fma(d, LOG2_E, ROUNDER)
    n = shifted - ROUNDER
    r = fma(n, -LN2, d) + fma(n, -LN2_LOW, error)
    q = fma(fma(fma(fma(Q4, r, Q3), r, Q2), r, Q1), r, Q0)
    return to_bits(shifted), fma(r * r, q, r)


@device
def exact_exp(x: Any, m: Any) -> Any:
    """``exp(x - m)`` for ``x <= m`` within 1.1 ulp; the rounding error of the difference enters the reduced argument.

    22 instructions; in ``docs/cuda.md`` is what they are of those that a row's bytes leave time for.
    """
    d = x - m
    bits, p = reduced_exp(d, difference_error(x, m, d))
    scale = from_bits(bits << MANTISSA_BITS)
    e = fma(p, scale, scale) * UNBIAS  # rounded once more only where it is subnormal
    return ZERO if d < LOWEST else e


@device
def power_of_two(n: Any) -> Any:
    return from_bits((n + EXPONENT_BIAS) << MANTISSA_BITS)


@device
def exact_exp_any(x: Any, m: Any) -> Any:
    """The same also for ``x > m``."""
    d = x - m
    bits, p = reduced_exp(d, difference_error(x, m, d))
    # 2**n in two factors: n goes from -150 to 130, and results may be subnormal
    exponent = bits - ROUNDER_BITS
    half = exponent >> ONE_BIT
    e = ((p + ONE) * power_of_two(half)) * power_of_two(exponent - half)
    if d < LOWEST:
        e = ZERO
    if d > HIGHEST:
        e = -MINUS_INFINITY
    return e


@device
def short_exp(x: Any, m: Any) -> Any:
    """``exp(x - m)`` with a relative error of some ``2**-22 + |x - m| * 2**-24``.

    The subtraction comes first: ``ex2(fma(x, log2(e), -m * log2(e)))`` would be off by 2**-12 for logits of 3000.
    """
    return ex2((x - m) * LOG2_E)


@device
def double_exp(x: Any, m: Any) -> Any:
    """``exp(x - m)`` in float64."""
    d = x - m
    e = library_exp(d)
    if d > LOWEST_DOUBLE and d < -LOWEST_DOUBLE and e < -MINUS_INFINITY:
        e = fma(e, difference_error(x, m, d), e)
    return e


@device
def reciprocal(x: Any) -> Any:
    """``1 / x`` in float64 for normal ``x``, without the branches of a division; NaN stays NaN."""
    r = reciprocal_estimate(x)
    r = fma(r, fma(-x, r, np.float64(1)), r)
    r = fma(r, fma(-x, r, np.float64(1)), r)
    return fma(r, fma(-x, r, np.float64(1)), r)


@device
def capped32(x: Any, scale: Any, cap: Any, inverse: Any) -> Any:
    """The effective logit of ``x``; a cap of 0 is none. ``inverse`` is ``1 / cap``."""
    x = x * scale
    if cap != ZERO:
        x = cap * library_tanh(x * inverse)
    return x


@device
def capped64(x: Any, scale: Any, cap: Any, inverse: Any) -> Any:
    x = x * scale
    if cap != np.float64(0):
        x = cap * library_tanh(x * inverse)
    return x


class Arithmetic(NamedTuple):
    """The functions for a type."""

    type: Any  # of NumPy, and so of Numba
    exp: Any  # of a difference that is not positive
    exp_any: Any  # of any
    larger: Any
    opaque: Any  # see ptx.py
    capped: Any
    exact: bool  # whether a number in a register has all digits of a sum: then sums are taken of every number


@functools.cache
def arithmetic(name: str) -> Arithmetic:
    if name == DOUBLE:
        return Arithmetic(np.float64, double_exp, double_exp, larger64, instructions.opaque64, capped64, True)
    exact = name == EXACT
    exps = (exact_exp, exact_exp_any) if exact else (short_exp, short_exp)
    return Arithmetic(np.float32, *exps, larger32, instructions.opaque32, capped32, exact)
