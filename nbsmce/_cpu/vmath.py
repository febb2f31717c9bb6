"""exp, log1p and tanh on vectors, for float32 and float64.

The coefficients come from ``tools/minimax.py`` or from the libraries named beside them. ``tests/test_vmath.py``
measures the errors that the docstrings state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .lanes import absolute, fma, from_bits, larger, narrow, pinned, select, splat, to_bits, to_float, wide, zeros

MINUS_INFINITY = float("-inf")
INFINITY = float("inf")
EXP_BIAS = 60
"""Exponentials are returned times ``2**EXP_BIAS``: what would underflow is then still counted in sums."""
UNBIAS = 2.0**-EXP_BIAS

_LOG2_E = 1.4426950408889634
# log(2) as a high and a low part.
_LN2_SINGLE = (0.69314718246459961, -1.9046543241928222e-09)
_LN2_DOUBLE = (0.69314718055994529, 2.3190468138462996e-17)

# exp(r) = 1 + r + r**2 q(r) on |r| <= log(2) / 2, relative errors 0.061 * 2**-24 and 0.1 * 2**-53.
_EXP_SINGLE = (0.49999994039535522, 0.16666521131992340, 0.041668388992547989, 0.0083687454462051392,
               0.0013814540579915047)  # fmt: skip
_EXP_DOUBLE = tuple(map(float.fromhex, (
    "0x1.000000000000ap-1", "0x1.55555555554f9p-3", "0x1.555555555083ep-5", "0x1.1111111127d0ep-7",
    "0x1.6c16c18438b11p-10", "0x1.a01a012a0f35cp-13", "0x1.a01999e26209fp-16", "0x1.71df25b30d420p-19",
    "0x1.28ad9b8648615p-22", "0x1.ad7f3ee5d2f80p-26",
)))  # fmt: skip


def polynomial(x, coefficients):
    """``c[0] + c[1] x + c[2] x**2 + ...`` by Horner's rule."""
    value = splat(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = fma(value, x, c)
    return value


class _Kind(NamedTuple):
    """What an exponential of float32 or float64 is made with."""

    ln2: tuple[float, float]
    lowest: float  # exponentials of less are 0: 2**31 of them together are less than the smallest normal number
    rounder: float  # leaves n plus the exponent's offset in the lowest bits of a sum, ready to be shifted there
    zero: float  # the sum that leaves the exponent of 0
    mantissa: int  # bits
    coefficients: tuple[float, ...]


_SINGLE = _Kind(_LN2_SINGLE, -128.0, 1.5 * 2.0**23 + 127 + EXP_BIAS, 1.5 * 2.0**23, 23, _EXP_SINGLE)
_DOUBLE = _Kind(_LN2_DOUBLE, -749.0, 1.5 * 2.0**52 + 1023 + EXP_BIAS, 1.5 * 2.0**52, 52, _EXP_DOUBLE)


def _kind(x):
    return _SINGLE if x.single else _DOUBLE


def _exp_less_1(r, coefficients):
    """``exp(r) - 1`` for a reduced argument."""
    return fma(r * r, polynomial(r, coefficients), r)


def two_sum(a, b):
    """``a + b`` and the rounding error of it, exactly (Knuth)."""
    total = a + b
    t = total - a
    return total, (a - (total - t)) + (b - t)


def reference(peak):
    """What logits are compared with: the largest, or 0 where all are minus infinity."""
    return select(peak == MINUS_INFINITY, zeros(peak), peak)


def exp_difference(x, m):
    """``exp(x - m) * 2**EXP_BIAS`` for ``x <= m``, within 1.1 ulp of the exponential of the exact difference.

    The rounding error of ``x - m`` enters the reduced argument.
    """
    kind = _kind(x)
    d, error = two_sum(x, -m)
    shifted = fma(d, _LOG2_E, kind.rounder)  # below the lowest all that follows is nonsense, and not taken
    n = shifted - kind.rounder
    r = fma(n, -kind.ln2[0], d) + fma(n, -kind.ln2[1], error)
    scale = from_bits(to_bits(shifted) << kind.mantissa)
    return select(d < kind.lowest, zeros(x), fma(_exp_less_1(r, kind.coefficients), scale, scale))


class Scale(NamedTuple):
    """What the exponentials of a row with the largest element ``m`` are taken relative to: ``exp(base) * 2**power``.

    With a power of 2 in place of ``exp(m)`` nothing is rounded before the argument is reduced: ``x - base``, which the
    methods take, is exact for every ``x`` that counts, since the base is 0, or ``m`` where that is so large that ``x``
    is close to it. That takes six operations less than :func:`exp_difference`.
    """

    base: Any
    peak: Any  # m - base
    lowest: Any  # x - base of the largest x whose exponential is 0
    rounder: Any  # that of the type, less the power

    @classmethod
    def of(cls, m):
        """The scale of rows with the largest elements ``m``; of 0 where that is minus infinity."""
        m = reference(m)
        kind = _kind(m)
        far = absolute(m) > (2.0**16 if m.single else 2.0**40)
        usual = splat(m, kind.rounder)
        rounder = select(far, usual, fma(m, splat(m, -_LOG2_E), usual))
        lowest = (kind.zero - rounder) * (kind.ln2[0] + kind.ln2[1])
        return cls(select(far, m, zeros(m)), select(far, zeros(m), m), lowest, rounder)

    def exp(self, x):
        """``exp(base + x)`` of the scale, times ``2**EXP_BIAS`` and within 1.1 ulp; 0 below ``lowest``.

        What is less counts as ``lowest``, whose exponent makes a factor of 0: one operation in place of two for every
        use of the result. Where the constants are not pinned, ``logsumexp`` in the cache takes 1.15 of the time.
        """
        kind, x = _kind(x), larger(self.lowest, x)
        ln2, ln2_low = (pinned(x, -part) for part in kind.ln2)
        shifted = fma(x, pinned(x, _LOG2_E), self.rounder)
        n = shifted - self.rounder
        r = fma(n, ln2_low, fma(n, ln2, x))
        scale = from_bits(to_bits(shifted) << kind.mantissa)
        p = _exp_less_1(r, [pinned(x, c) for c in kind.coefficients])
        return fma(p, scale, scale)


def scale_of_peak(m, like):
    """The scale of rows with the largest elements ``m``, float64 lanes, over ``exp(m)``: from 0.7 to 1.42.

    It is 1 where the largest is infinite. ``like`` is computed in the type that the rows are.
    """
    scale, kind = Scale.of(narrow(m, like)), _kind(zeros(like))
    power = wide(kind.rounder - scale.rounder)
    r = fma(power, _LN2_DOUBLE[1], fma(power, _LN2_DOUBLE[0], -wide(scale.peak)))
    return select(absolute(m) < INFINITY, _exp_less_1(r, kind.coefficients) + 1.0, 1.0)


def exp_any(x, m):
    """``exp(x - m)`` also for ``x > m``, where it may overflow to infinity; 2 ulp there."""
    usual = exp_difference(x, m) * UNBIAS
    root = exp_difference(x * 0.5, m * 0.5) * UNBIAS
    d = x - m
    largest = 2.0 * 46.0 if x.single else 2.0 * 667.0
    return select(d > 40.0, select(d > largest, splat(x, INFINITY), root * root), usual)


# log((1 + s) / (1 - s)) = 2 s + s R(s**2), from fdlibm's e_log.c and s_log1p.c (Sun Microsystems, 1993).
_LOG = (6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
        1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01)  # fmt: skip
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD


def log1p(a):
    """``log(1 + a)`` of float64 lanes, ``a > -1``, within 1.1 ulp."""
    u = a + 1.0
    bits = to_bits(u)
    k = (bits - _SQRT_HALF_BITS) >> 52
    near = k == 0
    f = select(near, a, from_bits(bits - (k << 52)) - 1.0)
    # What the rounding of 1 + a has lost; nothing for huge a.
    lost = select(near | (a > 2.0**60), zeros(a), (a - (u - 1.0)) / u)
    s = f / (f + 2.0)
    z = s * s
    half = f * f * 0.5
    tail = s * (half + z * polynomial(z, _LOG))
    exponent = to_float(k)
    result = exponent * _LN2_DOUBLE[0] - ((half - (tail + (exponent * _LN2_DOUBLE[1] + lost))) - f)
    return select(u == INFINITY, u, result)


# tanh(u) = u + u**3 P(u**2) / Q(u**2) on |u| < 0.625, from Cephes' tanhf.c and tanh.c (Moshier); Q is 1 in float32.
_TANH_SINGLE = (-3.33332819422e-1, 1.33314422036e-1, -5.37397155531e-2, 2.06390887954e-2, -5.70498872745e-3)
_TANH_DOUBLE = (-1.61468768441708447952e3, -9.92877231001918586564e1, -9.64399179425052238628e-1)
_TANH_DIVISOR = (4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2, 1.0)


def tanh(u):
    """The hyperbolic tangent, within 1.5 ulp."""
    z = u * u
    ratio = polynomial(z, _TANH_SINGLE) if u.single else polynomial(z, _TANH_DOUBLE) / polynomial(z, _TANH_DIVISOR)
    size = absolute(u)
    e = Scale.of(zeros(u)).exp(size * -2.0)
    far = fma(e / (e + 2.0**EXP_BIAS), -2.0, splat(u, 1.0))  # 1 - 2 e / (e + 1)
    sign = to_bits(u) & (-(2**31) if u.single else -(2**63))
    return select(size < 0.625, fma(u * z, ratio, u), from_bits(to_bits(far) | sign))
