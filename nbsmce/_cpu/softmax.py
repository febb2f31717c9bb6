"""The kernel of softmax and log_softmax.

A unit (a row, or rows abreast) is gone over twice, chunk by chunk: first for the largest element and the sum of
exponentials, then for the results. In between the exponentials stay where the results will be, or in the scratch memory
of the thread when the results have another type or layout; a row of several chunks that can have neither computes them
again.
"""

from __future__ import annotations

from numba import intp, uint8

from .._compile import TEAM, array, kernel
from .chunks import chunk_count, chunk_logits, chunks, masked_logits, rooms, slot_states
from .lanes import at, branch, fma, load, narrow, select, wide, zeros
from .parallel import parallel
from .sums import decay, exponential_sum, exponentials, largest, log_sum, merged, save, saved, summary
from .units import each_vector, inside, plain, put, shown, unit_count, units, view
from .vmath import EXP_BIAS, MINUS_INFINITY, UNBIAS


def split(x, like):
    """float64 lanes as a high and a low part of the type that ``like`` is computed in."""
    high = narrow(x, like)
    return high, narrow(x - wide(high), like)


def quotient(a, b, like):
    """``a / b`` of float64 lanes as a high and a low part of the type that ``like`` is computed in."""
    if zeros(like).single:
        return split(a / b, like)
    high = a / b
    return high, fma(-high, b, a) / b


def smallest_kept(factor, like):
    """The smallest biased exponential whose product with a positive ``factor`` is a normal number.

    Smaller ones are dropped: subnormal arithmetic costs ten times as much on many processors.
    """
    smallest = 2.0**-126 if zeros(like).single else 2.0**-1022
    return smallest * 2.0**EXP_BIAS / factor


def scaled(e, high, low, bound):
    """Exponentials times ``high + low``, without the bias: the low part halves the error of the product."""
    e = select(e < bound, zeros(e), e)
    return fma(e, high, e * low) * UNBIAS


def log_scaled(x, m, high, low):
    """``(x - m) - (high + low)``: terms of one sign, so nothing cancels. The rounding error of ``x - m`` is added."""
    d = x - m
    t = d - x
    error = select(x == MINUS_INFINITY, zeros(x), (x - (d - t)) - (m + t))
    return d - (high - (error - low))


def _softmax(logits, out, into_out, u, log, states, like):
    """One unit. With ``into_out``, ``out`` is plain."""
    (room,) = rooms(states, u, like, 1)
    keep = (log == 0) & ((chunk_count(u, like) == 1) | into_out)

    def kept(v0):
        return branch(into_out, lambda: inside(out, v0), lambda: room)

    def write(v, value, k, hidden):
        value = branch(logits.masked, lambda: select(shown(logits.mask, v, k), value, hidden), lambda: value)
        put(out, v, value, k)

    for c, v0, n in chunks(u, like):
        x = chunk_logits(logits, v0, n, u, room)
        m = largest(x, n, u)
        save(states, c, summary(m, *exponentials(x, kept(v0), keep, n, m, u)))
    whole = merged(states, u, like)
    for c, v0, n in chunks(u, like):

        def softmax(c=c, v0=v0, n=n):
            e, peak = kept(v0), saved(states, c).peak

            def again():
                exponentials(chunk_logits(logits, v0, n, u, room), e, True, n, narrow(peak, like), u)

            branch(keep, lambda: None, again)
            high, low = quotient(decay(peak, whole.peak), exponential_sum(whole), like)
            bound = smallest_kept(high, like)
            each_vector(n, u, lambda v, k: write(v0 + v, scaled(load(at(e, v), k), high, low, bound), k, 0.0))

        def log_softmax(v0=v0, n=n):
            x = chunk_logits(logits, v0, n, u, room)
            m = narrow(whole.peak, like)
            infinite = whole.peak - whole.peak  # NaN where the largest element is infinite, else 0
            high, low = split(log_sum(whole) + infinite, like)
            each_vector(
                n, u, lambda v, k: write(v0 + v, log_scaled(load(at(x, v), k), m, high, low), k, MINUS_INFINITY)
            )

        branch(log == 0, softmax, log_softmax)


@parallel
def _each(lo, hi, slot, x, mask, out, log, scratch):
    states = slot_states(scratch, slot)
    for u in units(x, lo, hi):
        _softmax(masked_logits(x, mask, u), view(out, u), plain(out, u), u, log, states, x.p)


@kernel(lambda ndim, t: (array(t, ndim), array(uint8, ndim), array(t, ndim), intp, array(uint8, 2), *TEAM))
def softmax(x, mask, out, log, scratch, grain, launcher, threads):
    """``out = softmax(x)``, or its logarithm."""
    _each(unit_count(x), grain, launcher, threads, x, mask, out, log, scratch)
