"""The kernel of softmax and log_softmax."""

from __future__ import annotations

from numba import intp, uint8

from .._compile import MEMORY, STATES, Kernels, array, kernel
from .chunks import chunk_logits, fetch_ahead, masked_logits, room_at, rooms, several_chunks, simple_units
from .lanes import absolute, branch, fma, invert, load, narrow, select, wide, zeros
from .passes import Work, two_passes
from .sums import State, decay, exponential_sum, exponentials, largest, log_sum
from .views import inside, plain, shown, streamable, vector, view, write_results
from .vmath import EXP_BIAS, INFINITY, MINUS_INFINITY, UNBIAS, Scale, scale_of_peak, two_sum


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


def log_of_sum(whole, like):
    """``log(sum(exp(x)))`` of rows as a high and a low part: ``(x - high) - low`` is a logarithm of a softmax.

    ``x - high`` is exact where it is small. The low part comes from the exact error of adding the largest element
    (TwoSum), so that nothing is lost where the logarithm of the sum relative to it is tiny.
    """
    total, error = two_sum(whole.peak, log_sum(whole))
    high = narrow(total, like)
    return high, narrow(select(absolute(total) < INFINITY, (total - wide(high)) + error, total - total), like)


class _Softmax(Work):
    """One unit. The exponentials stay where the results will be, or in scratch memory if those have another type or
    layout or go past the cache; the chunks of a row for which that has no room compute them again.
    """

    scale_count = 6

    def __init__(self, u, place, x, mask, out, log, streamed):
        self.u, self.like, self.log = u, x.p, log
        self.x, self.mask, self.out = x, mask, out
        (self.room,) = rooms(place, u, x.p, 1, whole=True)
        self.streamed = streamable(out, u, streamed, x)
        self.into_out = plain(out, u) & invert(self.streamed)
        self.has_room = u.simple or (invert(several_chunks(u, x.p)) | self.into_out | self.room.whole)
        self.keep = (log == 0) & self.has_room

    @staticmethod
    def simple(x, mask, out, log, streamed):
        return simple_units([x, out], [mask], streamed)

    def kept(self, v0, r):
        """Where the exponentials of a chunk are kept."""
        return branch(
            self.into_out, lambda: inside(view(self.out, self.u, r), v0, self.u), lambda: room_at(self.room, v0, r)
        )

    def logits(self, v0, n, r, fresh=True):
        logits = masked_logits(self.x, self.mask, self.u, r)
        return chunk_logits(logits, v0, n, self.u, room_at(self.room, v0, r), fresh)

    def peak(self, v0, n, r):
        return largest(self.logits(v0, n, r), n, self.u)

    def first(self, v0, n, r, peak):
        x, e, ahead = self.logits(v0, n, r, False), self.kept(v0, r), fetch_ahead(self.x, self.u, r, v0)
        return State(None, *exponentials(x, e, self.keep, n, peak, self.u, ahead))

    def scales(self, peak, whole):
        like = zeros(self.like)

        def softmax():
            share, total = decay(peak, whole.peak), exponential_sum(whole)
            result, unit = share / total, scale_of_peak(peak, like)
            high, low = split(result * unit, like) if like.single else quotient(share * unit, total, like)
            scale = Scale.of(narrow(peak, like))
            e = scale.exp(scale.peak)
            return high, low, smallest_kept(high, like), e, narrow(result, like)

        def log_softmax():
            nothing = zeros(like)
            return *log_of_sum(whole, like), nothing, nothing, nothing

        return *branch(self.log == 0, softmax, log_softmax), narrow(peak, like)

    def second(self, v0, n, r, scales):
        *scale, peak = scales
        branch(self.log == 0, lambda: self.softmax(v0, n, r, peak, *scale), lambda: self.log_softmax(v0, n, r, *scale))

    def softmax(self, v0, n, r, peak, high, low, bound, top, top_result):
        e, scale = self.kept(v0, r), Scale.of(peak)

        def result(x):  # the exponential of the largest has an error, which would show where the result is 1
            return select(x == top, top_result, scaled(x, high, low, bound))

        def from_kept():
            self.write(v0, n, r, e, result, 0.0)

        def from_logits():
            self.write(v0, n, r, self.logits(v0, n, r), lambda x: result(scale.exp(x - scale.base)), 0.0)

        if self.u.shared:
            branch(self.has_room, from_kept, from_logits)
        else:  # where it is rare, a second way to write would take 0.1 s to compile
            branch(self.has_room, lambda: None, lambda: exponentials(self.logits(v0, n, r), e, True, n, peak, self.u))
            from_kept()

    def log_softmax(self, v0, n, r, high, low, *_):
        logits = self.logits(v0, n, r, several_chunks(self.u, self.like))
        self.write(v0, n, r, logits, lambda x: (x - high) - low, MINUS_INFINITY)

    def write(self, v0, n, r, source, result, hidden):
        mask = view(self.mask, self.u, r)
        masked = False if self.u.simple else self.mask.shape[0] > 0

        def value(v, k, shift):
            y = result(load(vector(source, v, shift), k))
            return branch(masked, lambda: select(shown(mask, v0 + v, k, shift), y, hidden), lambda: y)

        write_results(self.out, self.u, r, v0, n, room_at(self.room, v0, r), self.streamed, value)


_whole, _bundled, _tiled, _split = two_passes(_Softmax)


def _signature(ndim, t):
    return array(t, ndim), array(uint8, ndim), array(t, ndim), intp, intp


@kernel(lambda ndim, t: (*_signature(ndim, t), *MEMORY))
def softmax(x, mask, out, log, streamed, scratch, grain, launcher, threads):
    """``out = softmax(x)``, or its logarithm."""
    _whole(x, mask, out, log, streamed, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_signature(ndim, t), *MEMORY))
def bundled_softmax(x, mask, out, log, streamed, scratch, grain, launcher, threads):
    """The same for rows abreast in bundles."""
    _bundled(x, mask, out, log, streamed, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_signature(ndim, t), *MEMORY))
def tiled_softmax(x, mask, out, log, streamed, scratch, grain, launcher, threads):
    """The same for rows of few classes in tiles."""
    _tiled(x, mask, out, log, streamed, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_signature(ndim, t), STATES, *MEMORY))
def split_softmax(x, mask, out, log, streamed, states, scratch, grain, launcher, threads):
    """The same for few long rows."""
    _split(x, mask, out, log, streamed, states, scratch, grain, launcher, threads)


SOFTMAX = Kernels(softmax, bundled_softmax, tiled_softmax, split_softmax)
