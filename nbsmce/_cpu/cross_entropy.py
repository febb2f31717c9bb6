"""The kernel of the cross entropy, its gradient, or both in one pass over the logits.

The first pass over the chunks of a unit takes the largest logit, the sum of exponentials and, where every class has
target mass, the sums of the mass. Then the losses follow, and the second pass writes the gradient from the
exponentials, which the first has kept if there was room. Every class gets ``factor * p - q`` with the mass ``q`` of a
class that is not the target; the target of a class index, where the difference may cancel, is written last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import float64, int64

from .. import _formula
from .._compile import MEMORY, STATES, array, kernel
from .chunks import Logits, chunk_count, chunk_logits, rooms, stage
from .gradients import exponential
from .lanes import (
    absolute,
    any_lane,
    at,
    branch,
    float64_of,
    in_njit,
    invert,
    lanes_below,
    load,
    narrow,
    peek,
    select,
    splat,
    store,
    to_integer,
    wide,
    zeros,
)
from .lanes.storage import computed_type
from .passes import Work, two_passes
from .softmax import quotient, scaled, smallest_kept
from .sums import NO_CLASS, State, decay, exponential_sum, exponentials, largest, log_sum
from .targets import (
    Mass,
    add_rows,
    first_largest,
    inspect,
    optional_of_rows,
    put_at_targets,
    row_targets,
    target_logits,
    target_sums,
)
from .units import each_vector, inside, of_rows, plain, put, put_rows, view
from .vmath import EXP_BIAS, UNBIAS, exp_difference


class Given(NamedTuple):
    """What a call is given beside the logits; arrays of size 0 are not."""

    probabilities: Any
    target: Any
    weight: Any
    sample: Any
    dloss: Any
    lse: Any


class Wanted(NamedTuple):
    """Where results go; arrays of size 0 are not wanted."""

    loss: Any
    weighted: Any  # float64, for the sum over the rows
    lse: Any
    z_loss: Any
    predicted: Any
    gradient: Any


class Options(NamedTuple):
    """The options of a call."""

    smoothing: Any
    z_loss: Any
    scale: Any  # of the logits
    softcap: Any  # 0 is none
    upstream: Any  # what the gradient of every row is multiplied with
    ignore_index: Any


_WEIGHTED, _DX, _SUMS = 8, 12, 15  # the places of these among the arguments


def _there(a):
    return a.shape[0] > 0


class _CrossEntropy(Work):
    """One unit."""

    fields = State._fields

    def __init__(
        self, u, place, x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx,
        numbers, ignore_index, sums,
    ):  # fmt: skip
        self.u, self.like = u, x.p
        self.given = Given(y, target, weight, sample, dloss, given_lse)
        self.results = Wanted(loss, weighted, lse, z_loss, predicted, dx)
        smoothing, z, scale, softcap, upstream = (peek(numbers.p, i) for i in range(5))
        self.options = Options(smoothing, z, scale, softcap, upstream, ignore_index)
        self.room, self.room_e, room_y = rooms(place, u, x.p, 3)
        self.y, self.out = view(y, u), view(dx, u)
        self.capped = softcap != 0.0
        direct = plain(x, u) & (scale == 1.0) & invert(self.capped)
        self.logits = Logits(view(x, u), scale=scale, softcap=softcap, direct=direct)
        self.targets = row_targets(target, weight, ignore_index, u)
        self.mass = Mass(room_y, _there(y), weight, smoothing, float64_of(u.classes))
        self.spread = _there(y) | (smoothing != 0.0)  # every class has mass
        self.wanted = _there(dx)
        self.into_out = self.wanted & plain(dx, u) & invert(self.capped)
        self.keep = self.wanted & ((chunk_count(u, x.p) == 1) | self.into_out)
        # A given log-sum-exp saves the first pass, unless that has more to do.
        self.from_lse = _there(given_lse) & invert(self.spread)
        self.idle = invert(any_lane(self.targets.live & lanes_below(u.rows)) | _there(lse))

    @staticmethod
    def wants(*arrays):
        return _there(arrays[_DX])

    @staticmethod
    def result(*arrays):
        return add_rows(arrays[_WEIGHTED], arrays[_SUMS])

    def kept(self, v0):
        """Where the exponentials of a chunk are kept."""
        return branch(self.into_out, lambda: inside(self.out, v0), lambda: self.room_e)

    def stage_probabilities(self, v0, n):
        branch(self.mass.given, lambda: stage(self.y, v0, n, self.u, self.mass.y))

    # -- the first pass ------------------------------------------------------------------------------------------------

    def first(self, v0, n):
        nothing = wide(zeros(self.like))

        def known():
            lse = wide(of_rows(self.given.lse.p, self.u))
            one = select(v0 == 0, splat(lse, 1.0), nothing)  # exp(lse - peak), in the first of the chunks
            return State(lse, one, nothing, nothing, nothing, self.target_logits(v0, n), nothing, nothing)

        return branch(self.from_lse, known, lambda: self.summed(v0, n, nothing))

    def target_logits(self, v0, n):
        def given():
            return target_logits(self.logits, self.targets, v0, n, self.u)

        return branch(_there(self.given.target), given, lambda: wide(zeros(self.like)))

    def summed(self, v0, n, nothing):
        target = self.target_logits(v0, n)
        x = chunk_logits(self.logits, v0, n, self.u, self.room)
        m = largest(x, n, self.u)

        def sums():
            self.stage_probabilities(v0, n)
            return target_sums(self.mass, x, v0, n, m, self.u)

        mass, cross = branch(self.spread, sums, lambda: (nothing, nothing))
        search = _there(self.results.predicted)
        best, nan = branch(search, lambda: first_largest(x, v0, n, m, self.u), lambda: (nothing, nothing))
        count, rest = exponentials(x, self.kept(v0), self.keep, n, m, self.u)
        return State(wide(m), count, rest, mass, cross, target, best, nan)

    # -- the losses ----------------------------------------------------------------------------------------------------

    def sum_of_mass(self, whole):
        """``(sum(q), what the target has more than it would have as another class)``."""
        hot = self.targets.weight * (1.0 - self.options.smoothing)
        return whole.mass + hot, hot

    def rows(self, whole):
        mass, hot = self.sum_of_mass(whole)
        cross = whole.cross + select(hot == 0.0, zeros(hot), hot * (whole.peak - whole.target))
        log_total = log_sum(whole)
        lse = whole.peak + log_total
        z_loss, live = self.options.z_loss, self.targets.live
        penalty = branch(z_loss != 0.0, lambda: _formula.z_penalty(z_loss, lse), lambda: zeros(lse))
        penalty = select(live, penalty, zeros(penalty))
        infinite = whole.peak - whole.peak  # NaN where the largest logit is infinite, else 0
        loss = _formula.row_loss(mass, cross, log_total, penalty) + infinite
        loss = loss * optional_of_rows(self.given.sample, self.u, 1.0)
        predicted = select(whole.nan < NO_CLASS, whole.nan, whole.best)
        self.put_losses(select(live, loss, zeros(loss)))
        self.put_rows(self.results.lse, lse)
        self.put_rows(self.results.z_loss, penalty)
        self.put_rows(self.results.predicted, to_integer(select(live, predicted, -1.0)))

    def put_losses(self, loss):
        self.put_rows(self.results.loss, loss)
        self.put_rows(self.results.weighted, loss)

    def put_rows(self, a, x):
        branch(_there(a), lambda: put_rows(a.p, self.u, x))

    def rest(self):
        """All rows are ignored."""
        nothing = zeros(self.like)
        self.put_losses(wide(nothing))
        zero = lambda: each_vector(self.u.classes, self.u, lambda v, k: put(self.out, v, nothing, k))  # noqa: E731
        branch(self.wanted, zero)

    # -- the gradient --------------------------------------------------------------------------------------------------

    def upstream(self):
        """What the gradients of the rows are multiplied with."""
        above = optional_of_rows(self.given.dloss, self.u, 1.0) * optional_of_rows(self.given.sample, self.u, 1.0)
        return above * (self.options.upstream * self.options.scale)

    def second(self, v0, n, peak, whole):
        u, like, e = self.u, self.like, self.kept(v0)

        def powers():
            x, top = chunk_logits(self.logits, v0, n, u, self.room), narrow(whole.peak, like)
            each_vector(n, u, lambda v, k: store(at(e, v), exponential(load(at(x, v), k), top) * 2.0**EXP_BIAS, k))

        def again():
            exponentials(chunk_logits(self.logits, v0, n, u, self.room), e, True, n, narrow(peak, like), u)

        branch(self.from_lse, powers, lambda: branch(self.keep, lambda: None, again))
        branch(self.spread, lambda: self.stage_probabilities(v0, n))
        mass, _ = self.sum_of_mass(whole)
        infinite = whole.peak - whole.peak
        lse = whole.peak + log_sum(whole)
        upstream = self.upstream()
        factor = upstream * (_formula.gradient_factor(mass, self.options.z_loss, lse) + infinite)
        high, low = quotient(factor * decay(peak, whole.peak), exponential_sum(whole), like)
        bound, share = smallest_kept(absolute(high), like), narrow(upstream, like)
        softcap = self.options.softcap

        def write(v, k):
            g = scaled(load(at(e, v), k), high, low, bound)
            g = branch(self.spread, lambda: g - share * self.mass.of(v0, v, k, u), lambda: g)
            g = branch(self.capped, lambda: g * _formula.cap_slope(load(at(self.room, v), k), softcap), lambda: g)
            put(self.out, v0 + v, select(self.targets.live, g, zeros(g)), k)

        each_vector(n, u, write)

    def last(self, whole):
        branch(_there(self.given.target), lambda: self.put_target_gradient(whole))

    def put_target_gradient(self, whole):
        options, total = self.options, exponential_sum(whole)
        p = exp_difference(whole.target, whole.peak) * UNBIAS / total
        others = ((whole.count - 1.0) + whole.rest * UNBIAS) / total
        gap = select(whole.target == whole.peak, others, 1.0 - p)
        mass, _ = self.sum_of_mass(whole)
        q = _formula.target_mass(1.0, self.targets.weight, options.smoothing, self.mass.classes)
        g = _formula.target_gradient(mass, q, gap, options.z_loss, whole.peak + log_sum(whole)) * self.upstream()
        slope = lambda: g * _formula.cap_slope(whole.target, options.softcap)  # noqa: E731
        put_at_targets(self.out, self.u, self.targets, branch(self.capped, slope, lambda: g))


_whole, _split = two_passes(_CrossEntropy)


def _signature(ndim, t, y):
    f = computed_type(t)
    rows, counts, sums = array(f, 1), array(int64, 1), array(float64, 1)
    given = array(t, ndim), array(y, ndim), counts, rows, rows, rows, rows
    wanted = rows, sums, rows, rows, counts, array(t, ndim)
    return *given, *wanted, sums, int64, array(float64, 2)


@kernel(lambda ndim, t, y: (*_signature(ndim, t, y), *MEMORY))
def cross_entropy(
    x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers, ignore_index,
    sums, scratch, grain, launcher, threads,
):  # fmt: skip
    """The results of :class:`Wanted`; returns the sum of the losses: those in ``weighted``, and what ``sums`` holds."""
    return _whole(
        x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers,
        ignore_index, sums, scratch, grain, launcher, threads,
    )  # fmt: skip


@kernel(lambda ndim, t, y: (*_signature(ndim, t, y), STATES, *MEMORY))
def split_cross_entropy(
    x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers, ignore_index,
    sums, states, scratch, grain, launcher, threads,
):  # fmt: skip
    """The same for few long rows."""
    return _split(
        x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers,
        ignore_index, sums, states, scratch, grain, launcher, threads,
    )  # fmt: skip


_inspect, _add_rows = in_njit(inspect), in_njit(add_rows)


@kernel(lambda f: (array(int64, 1), array(f, 1), array(f, 1), int64, int64, array(float64, 1)))
def inspect_targets(target, weight, sample, classes, ignore_index, denominator):
    """See :func:`nbsmce._cpu.targets.inspect`."""
    return _inspect(target, weight, sample, classes, ignore_index, denominator)


@kernel(lambda: (array(float64, 1), array(float64, 2)))
def total_of_rows(values, sums):
    """See :func:`nbsmce._cpu.targets.add_rows`."""
    return _add_rows(values, sums)
