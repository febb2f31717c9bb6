"""The kernels of logsumexp, with and without factors."""

from __future__ import annotations

from numba import uint8

from .._compile import MEMORY, STATES, Kernels, array, kernel
from .chunks import chunk_logits, fetch_ahead, masked_logits, room_at, rooms, simple_units, stage
from .lanes import at, lanes_below, load, load_logits, select, splat, store, wide, zeros
from .lanes.storage import computed_type
from .passes import Work, two_passes
from .sums import State, Stripes, each_vector_of, exponentials, largest, log_sum
from .units import each_vector, put_rows
from .views import view
from .vmath import MINUS_INFINITY, UNBIAS, Scale, log1p


class _LogSumExp(Work):
    """One unit."""

    writes = False

    def __init__(self, u, place, x, mask, lse):
        self.u, self.like, self.x, self.mask, self.lse = u, x.p, x, mask, lse
        (self.room,) = rooms(place, u, x.p, 1)

    @staticmethod
    def simple(x, mask, lse):
        return simple_units([x], [mask])

    def logits(self, v0, n, r, fresh):
        logits = masked_logits(self.x, self.mask, self.u, r)
        return chunk_logits(logits, v0, n, self.u, room_at(self.room, v0, r), fresh)

    def peak(self, v0, n, r):
        return largest(self.logits(v0, n, r, True), n, self.u)

    def first(self, v0, n, r, peak):
        x, ahead = self.logits(v0, n, r, False), fetch_ahead(self.x, self.u, r, v0)
        return State(None, *exponentials(x, x, False, n, peak, self.u, ahead))

    def rows(self, whole):
        put_rows(self.lse.p, self.u, whole.peak + log_sum(whole))


class _Weighted(_LogSumExp):
    """One unit with a factor for each term; the logits are copied."""

    simple = Work.simple

    def __init__(self, u, place, x, b, mask, lse, sign):
        self.u, self.like, self.x, self.mask, self.b, self.lse, self.sign = u, x.p, x, mask, b, lse, sign
        self.room, self.factors = rooms(place, u, x.p, 2)

    def peak(self, v0, n, r):
        logits = masked_logits(self.x, self.mask, self.u, r, copied=True)
        x, factors = chunk_logits(logits, v0, n, self.u, room_at(self.room, v0, r)), room_at(self.factors, v0, r)
        stage(view(self.b, self.u, r), v0, n, self.u, factors)

        def remove(v, k):  # what has the factor 0, whatever it is
            store(at(x, v), select(load(at(factors, v)) == 0.0, splat(x, MINUS_INFINITY), load(at(x, v))))

        each_vector(n, self.u, remove)
        return largest(x, n, self.u)

    def first(self, v0, n, r, peak):
        x, factors = room_at(self.room, v0, r), room_at(self.factors, v0, r)
        return State(None, *_weighted_exponentials(x, factors, n, peak, self.u))

    def rows(self, whole):
        rest = whole.rest * UNBIAS
        total = whole.count + rest
        negative = total < 0.0
        less_one = select(negative, (-whole.count - 1.0) - rest, (whole.count - 1.0) + rest)
        put_rows(self.lse.p, self.u, whole.peak + select(total == 0.0, splat(total, MINUS_INFINITY), log1p(less_one)))
        sign = select(negative, splat(total, -1.0), select(total > 0.0, splat(total, 1.0), total))  # or 0, or NaN
        put_rows(self.sign.p, self.u, sign)


def _weighted_exponentials(x, b, n, m, u):
    """``(count, rest)`` of a chunk with every term times its factor, which may be negative."""
    count, rest, scale = Stripes(u), Stripes(u), Scale.of(m)

    def one(v, k):
        value = load_logits(at(x, v), k)
        factor = wide(load(at(b, v), k))
        same = (value == m) & lanes_below(k)
        count.add(select(same, factor, zeros(factor)))
        rest.add(select(same, zeros(factor), wide(scale.exp(value - scale.base)) * factor))

    each_vector_of(n, u, [count, rest], one)
    return count.total(), rest.total()


_whole, _bundled, _tiled, _split = two_passes(_LogSumExp)
_weighted_whole, _, _, _weighted_split = two_passes(_Weighted)


def _signature(ndim, t):
    return array(t, ndim), array(uint8, ndim), array(computed_type(t), 1)


@kernel(lambda ndim, t: (*_signature(ndim, t), *MEMORY))
def logsumexp(x, mask, lse, scratch, grain, launcher, threads):
    """``lse = logsumexp(x)``."""
    _whole(x, mask, lse, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_signature(ndim, t), *MEMORY))
def bundled_logsumexp(x, mask, lse, scratch, grain, launcher, threads):
    """The same for rows abreast in bundles."""
    _bundled(x, mask, lse, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_signature(ndim, t), *MEMORY))
def tiled_logsumexp(x, mask, lse, scratch, grain, launcher, threads):
    """The same for rows of few classes in tiles."""
    _tiled(x, mask, lse, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_signature(ndim, t), STATES, *MEMORY))
def split_logsumexp(x, mask, lse, states, scratch, grain, launcher, threads):
    """The same for few long rows."""
    _split(x, mask, lse, states, scratch, grain, launcher, threads)


def _weighted_signature(ndim, t):
    f = computed_type(t)
    return array(t, ndim), array(f, ndim), array(uint8, ndim), array(f, 1), array(f, 1)


@kernel(lambda ndim, t: (*_weighted_signature(ndim, t), *MEMORY))
def weighted_logsumexp(x, b, mask, lse, sign, scratch, grain, launcher, threads):
    """The logarithm of ``|sum(b * exp(x))|``, and the sign of the sum."""
    _weighted_whole(x, b, mask, lse, sign, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_weighted_signature(ndim, t), STATES, *MEMORY))
def split_weighted_logsumexp(x, b, mask, lse, sign, states, scratch, grain, launcher, threads):
    """The same for few long rows."""
    _weighted_split(x, b, mask, lse, sign, states, scratch, grain, launcher, threads)


LOGSUMEXP = Kernels(logsumexp, bundled_logsumexp, tiled_logsumexp, split_logsumexp)
WEIGHTED = Kernels(weighted_logsumexp, None, None, split_weighted_logsumexp)
