"""The kernels of the gradients that need no targets: of softmax, log_softmax and logsumexp."""

from __future__ import annotations

from numba import intp

from .._compile import MEMORY, STATES, Kernels, array, kernel
from .chunks import readable, room_at, rooms, several_chunks, simple_units
from .lanes import any_lane, branch, fma, is_half, load, narrow, select, splat, wide, zeros
from .lanes.storage import computed_type
from .passes import Work, two_passes
from .softmax import split
from .sums import State, Stripes, each_vector_of
from .units import of_rows
from .views import streamable, vector, write_results
from .vmath import INFINITY, UNBIAS, Scale, exp_any, reference, scale_of_peak


def exponential(x, m, unit, usual=lambda p: p, far=lambda p: p):
    """What ``usual`` makes of ``exp(x - m)``, or ``far`` in lanes where that may be infinite, which are rare.

    ``unit`` is the :func:`~.vmath.scale_of_peak` of ``m``.
    """
    scale, above = Scale.of(m), x > m + 40.0
    near = usual(scale.exp(x - scale.base) * (unit * UNBIAS))
    return branch(any_lane(above), lambda: select(above, far(exp_any(x, m)), near), lambda: near)


class _ThroughSoftmax(Work):
    """One unit. The state is a sum: its peak is 0, so that parts are just added."""

    scale_count = 2
    together = 1024  # two arrays in, one out: with 4096 numbers of each, twice the first cache, 0.8 of the speed

    def __init__(self, u, place, dy, y, out, log, streamed):
        self.u, self.like, self.log = u, dy.p, log
        self.dy, self.y, self.out = dy, y, out
        self.rooms = rooms(place, u, dy.p, 2)
        self.streamed = streamable(out, u, streamed, dy, y)

    @staticmethod
    def simple(dy, y, out, log, streamed):
        return simple_units([dy, y, out], streamed=streamed)

    def read(self, v0, n, r, fresh):
        """Where both arrays are read."""
        arrays = zip((self.dy, self.y), self.rooms, strict=True)
        return [readable(a, self.u, r, v0, n, room_at(room, v0, r), fresh) for a, room in arrays]

    def first(self, v0, n, r, peak):
        dy, y = self.read(v0, n, r, True)
        total = Stripes(self.u)

        def add(v, k):
            above = load(vector(dy, v), k)
            products = lambda: total.add_product(above, load(vector(y, v), k), is_half(self.like))  # noqa: E731
            branch(self.log == 0, products, lambda: total.add(wide(above)))

        each_vector_of(n, self.u, [total], add)
        return State(zeros(total.p), zeros(total.p), total.total())

    def of_chunk(self, state):
        return state

    def scales(self, peak, whole):
        return split(whole.rest, self.like)

    def second(self, v0, n, r, scales):
        high, low = scales
        dy, y = self.read(v0, n, r, several_chunks(self.u, self.like))

        def gradient(v, k, shift):
            above, result = load(vector(dy, v, shift), k), load(vector(y, v, shift), k)

            def log_softmax():
                usual = lambda p: fma(-p, low, fma(-p, high, above))  # noqa: E731
                far = lambda p: fma(-p, high, above) - select(p < INFINITY, p * low, zeros(p))  # noqa: E731
                return exponential(result, zeros(result), splat(result, 1.0), usual, far)

            return branch(self.log == 0, lambda: result * ((above - high) - low), log_softmax)

        room = room_at(self.rooms[0], v0, r)
        write_results(self.out, self.u, r, v0, n, room, self.streamed, gradient)


_whole, _bundled, _tiled, _split = two_passes(_ThroughSoftmax)


def _signature(ndim, t):
    return array(t, ndim), array(t, ndim), array(t, ndim), intp, intp


@kernel(lambda ndim, t: (*_signature(ndim, t), *MEMORY))
def softmax_backward(dy, y, out, log, streamed, scratch, grain, launcher, threads):
    """``out = y * (dy - sum(dy * y))``, or for ``y = log_softmax(x)``: ``dy - exp(y) * sum(dy)``."""
    _whole(dy, y, out, log, streamed, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_signature(ndim, t), *MEMORY))
def bundled_softmax_backward(dy, y, out, log, streamed, scratch, grain, launcher, threads):
    """The same for rows abreast in bundles."""
    _bundled(dy, y, out, log, streamed, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_signature(ndim, t), *MEMORY))
def tiled_softmax_backward(dy, y, out, log, streamed, scratch, grain, launcher, threads):
    """The same for rows of few classes in tiles."""
    _tiled(dy, y, out, log, streamed, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_signature(ndim, t), STATES, *MEMORY))
def split_softmax_backward(dy, y, out, log, streamed, states, scratch, grain, launcher, threads):
    """The same for few long rows."""
    _split(dy, y, out, log, streamed, states, scratch, grain, launcher, threads)


class _ThroughLogSumExp(Work):
    """One unit. There is nothing to sum: the first pass is empty."""

    fields = ()
    scale_count = 3

    def __init__(self, u, place, x, dlse, lse, out, streamed):
        self.u, self.like = u, x.p
        self.x, self.dlse, self.lse, self.out = x, dlse, lse, out
        (self.room,) = rooms(place, u, x.p, 1)
        self.streamed = streamable(out, u, streamed, x)

    @staticmethod
    def simple(x, dlse, lse, out, streamed):
        return simple_units([x, out], streamed=streamed)

    def first(self, v0, n, r, peak):
        return State(None, None, None)

    def scales(self, peak, whole):
        above, total = of_rows(self.dlse.p, self.u), of_rows(self.lse.p, self.u)
        total = reference(total)  # a row without a number has no gradient
        return above, total, narrow(scale_of_peak(wide(total), self.like), self.like)

    def second(self, v0, n, r, scales):
        above, total, unit = scales
        room = room_at(self.room, v0, r)
        x = readable(self.x, self.u, r, v0, n, room)
        gradient = lambda v, k, shift: above * exponential(load(vector(x, v, shift), k), total, unit)  # noqa: E731
        write_results(self.out, self.u, r, v0, n, room, self.streamed, gradient)


_lse_whole, _lse_bundled, _lse_tiled, _lse_split = two_passes(_ThroughLogSumExp)


def _lse_signature(ndim, t):
    return array(t, ndim), array(computed_type(t), 1), array(computed_type(t), 1), array(t, ndim), intp


@kernel(lambda ndim, t: (*_lse_signature(ndim, t), *MEMORY))
def logsumexp_backward(x, dlse, lse, out, streamed, scratch, grain, launcher, threads):
    """``out = dlse * exp(x - lse)``."""
    _lse_whole(x, dlse, lse, out, streamed, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_lse_signature(ndim, t), *MEMORY))
def bundled_logsumexp_backward(x, dlse, lse, out, streamed, scratch, grain, launcher, threads):
    """The same for rows abreast in bundles."""
    _lse_bundled(x, dlse, lse, out, streamed, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_lse_signature(ndim, t), *MEMORY))
def tiled_logsumexp_backward(x, dlse, lse, out, streamed, scratch, grain, launcher, threads):
    """The same for rows of few classes in tiles."""
    _lse_tiled(x, dlse, lse, out, streamed, scratch, grain, launcher, threads)


@kernel(lambda ndim, t: (*_lse_signature(ndim, t), STATES, *MEMORY))
def split_logsumexp_backward(x, dlse, lse, out, streamed, states, scratch, grain, launcher, threads):
    """The same for few long rows."""
    _lse_split(x, dlse, lse, out, streamed, states, scratch, grain, launcher, threads)


SOFTMAX_BACKWARD = Kernels(softmax_backward, bundled_softmax_backward, tiled_softmax_backward, split_softmax_backward)
LOGSUMEXP_BACKWARD = Kernels(
    logsumexp_backward, bundled_logsumexp_backward, tiled_logsumexp_backward, split_logsumexp_backward
)
