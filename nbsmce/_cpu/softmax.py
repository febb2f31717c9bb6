"""The kernel of softmax and log_softmax."""

from __future__ import annotations

from numba import intp, uint8

from .._compile import MEMORY, STATES, array, kernel
from .chunks import chunk_count, chunk_logits, masked_logits, rooms
from .lanes import at, branch, fma, load, narrow, select, wide, zeros
from .passes import Work, two_passes
from .sums import State, decay, exponential_sum, exponentials, largest, log_sum
from .units import each_vector, inside, plain, put, shown, view
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


class _Softmax(Work):
    """One unit. The exponentials stay where the results will be, or in scratch memory if those have another type or
    layout; the chunks of a longer row that can have neither compute them again.
    """

    def __init__(self, u, place, x, mask, out, log):
        self.u, self.like, self.log = u, x.p, log
        self.logits, self.out = masked_logits(x, mask, u), view(out, u)
        (self.room,) = rooms(place, u, x.p, 1)
        self.into_out = plain(out, u)
        self.keep = (log == 0) & ((chunk_count(u, x.p) == 1) | self.into_out)

    def kept(self, v0):
        return branch(self.into_out, lambda: inside(self.out, v0), lambda: self.room)

    def first(self, v0, n):
        x = chunk_logits(self.logits, v0, n, self.u, self.room)
        m = largest(x, n, self.u)
        count, rest = exponentials(x, self.kept(v0), self.keep, n, m, self.u)
        return State(wide(m), count, rest)

    def second(self, v0, n, peak, whole):
        branch(self.log == 0, lambda: self.softmax(v0, n, peak, whole), lambda: self.log_softmax(v0, n, whole))

    def softmax(self, v0, n, peak, whole):
        e = self.kept(v0)

        def again():
            x = chunk_logits(self.logits, v0, n, self.u, self.room)
            exponentials(x, e, True, n, narrow(peak, self.like), self.u)

        branch(self.keep, lambda: None, again)
        high, low = quotient(decay(peak, whole.peak), exponential_sum(whole), self.like)
        bound = smallest_kept(high, self.like)
        each_vector(n, self.u, lambda v, k: self.put(v0 + v, scaled(load(at(e, v), k), high, low, bound), k, 0.0))

    def log_softmax(self, v0, n, whole):
        x = chunk_logits(self.logits, v0, n, self.u, self.room)
        m = narrow(whole.peak, self.like)
        infinite = whole.peak - whole.peak  # NaN where the largest element is infinite, else 0
        high, low = split(log_sum(whole) + infinite, self.like)
        each_vector(
            n, self.u, lambda v, k: self.put(v0 + v, log_scaled(load(at(x, v), k), m, high, low), k, MINUS_INFINITY)
        )

    def put(self, v, value, k, hidden):
        def masked():
            return select(shown(self.logits.mask, v, k), value, hidden)

        put(self.out, v, branch(self.logits.masked, masked, lambda: value), k)


_whole, _split = two_passes(_Softmax)


def _signature(ndim, t):
    return array(t, ndim), array(uint8, ndim), array(t, ndim), intp


@kernel(lambda ndim, t: (*_signature(ndim, t), *MEMORY))
def softmax(x, mask, out, log, scratch, grain, launcher, threads):
    """``out = softmax(x)``, or its logarithm."""
    _whole(x, mask, out, log, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_signature(ndim, t), STATES, *MEMORY))
def split_softmax(x, mask, out, log, states, scratch, grain, launcher, threads):
    """The same for few long rows."""
    _split(x, mask, out, log, states, scratch, grain, launcher, threads)
