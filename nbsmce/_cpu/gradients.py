"""The kernels of the gradients that need no targets: of softmax, log_softmax and logsumexp."""

from __future__ import annotations

from numba import intp

from .._compile import MEMORY, STATES, array, kernel
from .lanes import any_lane, branch, fma, select, wide, zeros
from .lanes.storage import computed_type
from .passes import Work, two_passes
from .softmax import split
from .sums import State, Stripes
from .units import each_vector, fetch, of_rows, put, view
from .vmath import INFINITY, MINUS_INFINITY, UNBIAS, exp_any, exp_difference


def exponential(x, m):
    """``exp(x - m)``; the way that can overflow is taken only where it must be."""
    return branch(any_lane(x - m > 40.0), lambda: exp_any(x, m), lambda: exp_difference(x, m) * UNBIAS)


class _ThroughSoftmax(Work):
    """One unit. The state is a sum: its peak is 0, so that parts are just added."""

    def __init__(self, u, place, dy, y, out, log):
        self.u, self.like, self.log = u, dy.p, log
        self.dy, self.y, self.out = view(dy, u), view(y, u), view(out, u)

    def first(self, v0, n):
        total = Stripes(self.u)

        def add(v, k):
            above = wide(fetch(self.dy, v0 + v, k))
            total.add(v, branch(self.log == 0, lambda: above * wide(fetch(self.y, v0 + v, k)), lambda: above))

        each_vector(n, self.u, add)
        return State(zeros(total.p), zeros(total.p), total.total())

    def second(self, v0, n, peak, whole):
        high, low = split(whole.rest, self.like)

        def write(v, k):
            above, result = fetch(self.dy, v0 + v, k), fetch(self.y, v0 + v, k)

            def log_softmax():
                p = exponential(result, zeros(result))
                return fma(-p, high, above) - select(p < INFINITY, p * low, zeros(p))

            g = branch(self.log == 0, lambda: result * ((above - high) - low), log_softmax)
            put(self.out, v0 + v, g, k)

        each_vector(n, self.u, write)


_whole, _split = two_passes(_ThroughSoftmax)


def _signature(ndim, t):
    return array(t, ndim), array(t, ndim), array(t, ndim), intp


@kernel(lambda ndim, t: (*_signature(ndim, t), *MEMORY))
def softmax_backward(dy, y, out, log, scratch, grain, launcher, threads):
    """``out = y * (dy - sum(dy * y))``, or for ``y = log_softmax(x)``: ``dy - exp(y) * sum(dy)``."""
    _whole(dy, y, out, log, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_signature(ndim, t), STATES, *MEMORY))
def split_softmax_backward(dy, y, out, log, states, scratch, grain, launcher, threads):
    """The same for few long rows."""
    _split(dy, y, out, log, states, scratch, grain, launcher, threads)


class _ThroughLogSumExp(Work):
    """One unit. There is nothing to sum: the first pass is empty."""

    fields = ()

    def __init__(self, u, place, x, dlse, lse, out):
        self.u, self.x, self.out = u, view(x, u), view(out, u)
        self.above, total = of_rows(dlse.p, u), of_rows(lse.p, u)
        self.total = select(total == MINUS_INFINITY, zeros(total), total)  # a row without a number has no gradient

    def first(self, v0, n):
        return State(None, None, None)

    def second(self, v0, n, peak, whole):
        def write(v, k):
            put(self.out, v0 + v, self.above * exponential(fetch(self.x, v0 + v, k), self.total), k)

        each_vector(n, self.u, write)


_lse_whole, _lse_split = two_passes(_ThroughLogSumExp)


def _lse_signature(ndim, t):
    return array(t, ndim), array(computed_type(t), 1), array(computed_type(t), 1), array(t, ndim)


@kernel(lambda ndim, t: (*_lse_signature(ndim, t), *MEMORY))
def logsumexp_backward(x, dlse, lse, out, scratch, grain, launcher, threads):
    """``out = dlse * exp(x - lse)``."""
    _lse_whole(x, dlse, lse, out, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_lse_signature(ndim, t), STATES, *MEMORY))
def split_logsumexp_backward(x, dlse, lse, out, states, scratch, grain, launcher, threads):
    """The same for few long rows."""
    _lse_split(x, dlse, lse, out, states, scratch, grain, launcher, threads)
