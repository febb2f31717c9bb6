"""The kernels of the gradients that need no targets: of softmax, log_softmax and logsumexp."""

from __future__ import annotations

from numba import intp

from .._compile import TEAM, array, kernel
from .chunks import chunks
from .lanes import Variable, any_lane, branch, fma, select, wide, zeros
from .lanes.storage import computed_type
from .parallel import parallel
from .softmax import split
from .sums import Stripes
from .units import each_vector, fetch, of_rows, put, unit_count, units, view
from .vmath import INFINITY, MINUS_INFINITY, UNBIAS, exp_any, exp_difference


def exponential(x, m):
    """``exp(x - m)``; the way that can overflow is taken only where it must be."""
    return branch(any_lane(x - m > 40.0), lambda: exp_any(x, m), lambda: exp_difference(x, m) * UNBIAS)


def _through_softmax(dy, y, out, u, log, like):
    """One unit."""
    whole = Variable(zeros(Stripes(u).p))
    for _, v0, n in chunks(u, like):
        part = Stripes(u)

        def add(v, k, v0=v0, part=part):
            above = wide(fetch(dy, v0 + v, k))
            part.add(v, branch(log == 0, lambda: above * wide(fetch(y, v0 + v, k)), lambda: above))

        each_vector(n, u, add)
        whole.value = whole.value + part.total()
    high, low = split(whole.value, like)

    def write(v, k):
        above, result = fetch(dy, v, k), fetch(y, v, k)

        def log_softmax():
            p = exponential(result, zeros(result))
            return fma(-p, high, above) - select(p < INFINITY, p * low, zeros(p))

        put(out, v, branch(log == 0, lambda: result * ((above - high) - low), log_softmax), k)

    each_vector(u.classes, u, write)


@parallel
def _each(lo, hi, slot, dy, y, out, log):
    for u in units(dy, lo, hi):
        _through_softmax(view(dy, u), view(y, u), view(out, u), u, log, dy.p)


@kernel(lambda ndim, t: (array(t, ndim), array(t, ndim), array(t, ndim), intp, *TEAM))
def softmax_backward(dy, y, out, log, grain, launcher, threads):
    """``out = y * (dy - sum(dy * y))``, or for ``y = log_softmax(x)``: ``dy - exp(y) * sum(dy)``."""
    _each(unit_count(dy), grain, launcher, threads, dy, y, out, log)


@parallel
def _each_logsumexp(lo, hi, slot, x, dlse, lse, out):
    for u in units(x, lo, hi):
        above, total = of_rows(dlse.p, u), of_rows(lse.p, u)
        total = select(total == MINUS_INFINITY, zeros(total), total)  # a row without a number has no gradient
        a, result = view(x, u), view(out, u)
        each_vector(u.classes, u, lambda v, k: put(result, v, above * exponential(fetch(a, v, k), total), k))


def _logsumexp_signature(ndim, t):
    return array(t, ndim), array(computed_type(t), 1), array(computed_type(t), 1), array(t, ndim), *TEAM


@kernel(_logsumexp_signature)
def logsumexp_backward(x, dlse, lse, out, grain, launcher, threads):
    """``out = dlse * exp(x - lse)``."""
    _each_logsumexp(unit_count(x), grain, launcher, threads, x, dlse, lse, out)
