"""The kernels of logsumexp, with and without factors."""

from __future__ import annotations

from numba import uint8

from .._compile import TEAM, array, kernel
from .chunks import chunk_logits, chunks, masked_logits, rooms, slot_states, stage
from .lanes import at, lanes_below, load, load_logits, select, splat, store, wide, zeros
from .lanes.storage import computed_type
from .parallel import parallel
from .sums import Stripes, exponentials, largest, log_sum, merged, reference, save, summary
from .units import each_vector, put_rows, unit_count, units, view
from .vmath import MINUS_INFINITY, UNBIAS, exp_difference, log1p


def _logsumexp(logits, lse, u, states, like):
    """One unit."""
    (room,) = rooms(states, u, like, 1)
    for c, v0, n in chunks(u, like):
        x = chunk_logits(logits, v0, n, u, room)
        m = largest(x, n, u)
        save(states, c, summary(m, *exponentials(x, room, False, n, m, u)))
    whole = merged(states, u, like)
    put_rows(lse.p, u, whole.peak + log_sum(whole))


@parallel
def _each(lo, hi, slot, x, mask, lse, scratch):
    states = slot_states(scratch, slot)
    for u in units(x, lo, hi):
        _logsumexp(masked_logits(x, mask, u), lse, u, states, x.p)


@kernel(lambda ndim, t: (array(t, ndim), array(uint8, ndim), array(computed_type(t), 1), array(uint8, 2), *TEAM))
def logsumexp(x, mask, lse, scratch, grain, launcher, threads):
    """``lse = logsumexp(x)``."""
    _each(unit_count(x), grain, launcher, threads, x, mask, lse, scratch)


# -- with factors ------------------------------------------------------------------------------------------------------


def _weighted_exponentials(x, b, n, m, u):
    """``(count, rest)`` of a chunk with every term times its factor, which may be negative."""
    count, rest, top = Stripes(u), Stripes(u), reference(m)

    def one(v, k):
        value = load_logits(at(x, v), k)
        factor = wide(load(at(b, v), k))
        same = (value == m) & lanes_below(k)
        count.add(v, select(same, factor, zeros(factor)))
        rest.add(v, select(same, zeros(factor), wide(exp_difference(value, top)) * factor))

    each_vector(n, u, one)
    return count.total(), rest.total()


def _signed(whole):
    """The logarithm of the size of a weighted sum, and its sign: 1, -1, 0 or NaN."""
    rest = whole.rest * UNBIAS
    total = whole.count + rest
    negative = total < 0.0
    less_one = select(negative, (-whole.count - 1.0) - rest, (whole.count - 1.0) + rest)
    logarithm = whole.peak + select(total == 0.0, splat(total, MINUS_INFINITY), log1p(less_one))
    sign = select(negative, splat(total, -1.0), select(total > 0.0, splat(total, 1.0), total))
    return logarithm, sign


def _weighted(logits, b, lse, sign, u, states, like):
    """One unit; the logits are copied."""
    room, factors = rooms(states, u, like, 2)
    for c, v0, n in chunks(u, like):
        x = chunk_logits(logits, v0, n, u, room)
        stage(b, v0, n, u, factors)

        def remove(v, k, x=x):  # what has the factor 0, whatever it is
            store(at(x, v), select(load(at(factors, v)) == 0.0, splat(x, MINUS_INFINITY), load(at(x, v))))

        each_vector(n, u, remove)
        m = largest(x, n, u)
        save(states, c, summary(m, *_weighted_exponentials(x, factors, n, m, u)))
    logarithm, direction = _signed(merged(states, u, like))
    put_rows(lse.p, u, logarithm)
    put_rows(sign.p, u, direction)


@parallel
def _each_weighted(lo, hi, slot, x, b, mask, lse, sign, scratch):
    states = slot_states(scratch, slot)
    for u in units(x, lo, hi):
        logits = masked_logits(x, mask, u)._replace(direct=False)
        _weighted(logits, view(b, u), lse, sign, u, states, x.p)


def _weighted_signature(ndim, t):
    f = computed_type(t)
    return array(t, ndim), array(f, ndim), array(uint8, ndim), array(f, 1), array(f, 1), array(uint8, 2), *TEAM


@kernel(_weighted_signature)
def weighted_logsumexp(x, b, mask, lse, sign, scratch, grain, launcher, threads):
    """The logarithm of ``|sum(b * exp(x))|``, and the sign of the sum."""
    _each_weighted(unit_count(x), grain, launcher, threads, x, b, mask, lse, sign, scratch)
