"""What the kernel of the cross entropy does with a unit of rows: the losses, the gradient, or both in one pass.

The first pass over the chunks of a unit takes the largest logit, the sum of exponentials and, where every class has
target mass, the sums of the mass. Then the losses follow, and the second pass writes the gradient from the
exponentials, which the first has kept if there was room. Every class gets ``factor * p - q`` with the mass ``q`` of a
class that is not the target; the target of a class index, where the difference may cancel, is written last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _formula
from .chunks import Logits, chunk_logits, fetch_ahead, readable, room_at, rooms, several_chunks, simple_units
from .gradients import exponential
from .lanes import (
    absolute,
    any_lane,
    at,
    branch,
    float64_of,
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
from .passes import Work
from .softmax import quotient, scaled, smallest_kept
from .sums import NO_CLASS, State, decay, exponential_sum, exponentials, largest, log_sum
from .targets import (
    DIVISOR,
    MEAN,
    Mass,
    add_rows,
    first_largest,
    optional_of_rows,
    over,
    put_at_targets,
    row_targets,
    target_logits,
    target_sums,
)
from .units import each_vector, of_row, put_rows, visits
from .views import inside, plain, put, streamable, vector, view, write_results
from .vmath import EXP_BIAS, UNBIAS, exp_difference, scale_of_peak


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


_WEIGHTED, _DX, _NUMBERS, _SUMS = 8, 12, 13, 16  # the places of these among the arguments


def _there(a):
    return a.shape[0] > 0


class CrossEntropy(Work):
    """One unit."""

    scale_count = 7

    def __init__(
        self, u, place, x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx,
        numbers, ignore_index, streamed, sums,
    ):  # fmt: skip
        self.u, self.like = u, x.p
        self.fields = (*Work.fields, "target") if u.simple else State._fields
        self.given = Given(y, target, weight, sample, dloss, given_lse)
        self.results = Wanted(loss, weighted, lse, z_loss, predicted, dx)
        smoothing, z, scale, softcap, upstream = (peek(numbers.p, i) for i in range(5))
        self.options = Options(smoothing, z, scale, softcap, upstream, ignore_index)
        self.room_e, self.room, self.room_y = rooms(place, u, x.p, 3, whole=True)
        self.x, self.capped = x, False if u.simple else softcap != 0.0
        self.targets = row_targets(target, weight, ignore_index, u)
        self.mass = Mass(False if u.simple else _there(y), weight, smoothing, float64_of(u.classes))
        self.spread = False if u.simple else _there(y) | (smoothing != 0.0)  # every class has mass
        self.wanted = _there(dx)
        self.streamed = streamable(dx, u, streamed, x)
        into_out = self.wanted & plain(dx, u) & invert(self.capped) & invert(self.streamed)
        self.into_out = u.bundle or into_out  # a bundle has no other place, and keeps none where no gradient is wanted
        self.several = several_chunks(u, x.p)
        self.has_room = u.simple or (invert(self.several) | self.into_out | self.room_e.whole)
        self.keep = self.wanted & self.has_room
        # A given log-sum-exp saves the first pass, unless that has more to do.
        self.from_lse = _there(given_lse) & invert(self.spread)
        self.idle = invert(any_lane(self.targets.live & lanes_below(u.rows)) | _there(lse))

    @staticmethod
    def simple(
        x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx,
        numbers, ignore_index, streamed, sums,
    ):  # fmt: skip
        smoothing, _, scale, softcap, _ = (peek(numbers.p, i) for i in range(5))
        usual = (smoothing == 0.0) & (scale == 1.0) & (softcap == 0.0)
        return simple_units([x, dx], [y, predicted], streamed, usual)

    @staticmethod
    def wants(*arrays):
        return _there(arrays[_DX])

    @staticmethod
    def result(*arrays):
        numbers, total = arrays[_NUMBERS], add_rows(arrays[_WEIGHTED], arrays[_SUMS])
        return branch(numbers.shape[0] > MEAN, lambda: over(total, peek(numbers.p, DIVISOR), numbers.p), lambda: total)

    def kept(self, v0, r):
        """Where the exponentials of a chunk are kept."""
        out = view(self.results.gradient, self.u, r)
        return branch(self.into_out, lambda: inside(out, v0, self.u), lambda: room_at(self.room_e, v0, r))

    def logits(self, v0, n, r, fresh=True):
        scale, softcap = self.options.scale, self.options.softcap
        direct = plain(self.x, self.u) & (scale == 1.0) & invert(self.capped)
        logits = Logits(view(self.x, self.u, r), scale=scale, softcap=softcap, direct=direct)
        return chunk_logits(logits, v0, n, self.u, room_at(self.room, v0, r), fresh)

    def probabilities(self, v0, n, r):
        """Where those of a chunk can be read, if there are any."""
        room = room_at(self.room_y, v0, r)
        return readable(self.given.probabilities, self.u, r, v0, n, room, fresh=self.mass.given)

    # -- the first pass ------------------------------------------------------------------------------------------------

    def start(self, v0, n):
        options = self.options

        def given():
            return target_logits(self.x, options.scale, options.softcap, self.targets, v0, n, self.u)

        target = branch(_there(self.given.target), given, lambda: wide(zeros(self.like)))
        return State(None, None, None, target=target)

    def peak(self, v0, n, r):
        given = lambda: of_row(self.given.lse.p, self.u, r)  # noqa: E731
        return branch(self.from_lse, given, lambda: largest(self.logits(v0, n, r), n, self.u))

    def first(self, v0, n, r, peak):
        nothing = wide(zeros(self.like))

        def known():
            one = select(v0 == 0, splat(nothing, 1.0), nothing)  # exp(lse - peak), in the first of the chunks
            return one, *(nothing,) * 5

        sums = branch(self.from_lse, known, lambda: self.summed(v0, n, r, peak, nothing))
        if self.u.simple:
            return State(None, *sums[:2])
        return State(None, *sums[:4], target=None, best=sums[4], nan=sums[5])

    def of_chunk(self, state):
        state, nothing = super().of_chunk(state), zeros(state.peak)
        if self.u.simple:
            return state._replace(mass=nothing, cross=nothing, best=nothing, nan=nothing)
        return state

    def summed(self, v0, n, r, m, nothing):
        x = self.logits(v0, n, r, False)

        def sums():
            return target_sums(self.mass, self.probabilities(v0, n, r), x, v0, n, m, self.u)

        mass, cross = branch(self.spread, sums, lambda: (nothing, nothing))
        search = False if self.u.simple else _there(self.results.predicted)
        best, nan = branch(search, lambda: first_largest(x, v0, n, m, self.u), lambda: (nothing, nothing))
        count, rest = exponentials(x, self.kept(v0, r), self.keep, n, m, self.u, fetch_ahead(self.x, self.u, r, v0))
        return count, rest, mass, cross, best, nan

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

        def zero():
            for r in visits(self.u):
                out = view(self.results.gradient, self.u, r)
                lanes = lambda k: self.u.rows if self.u.abreast else k  # noqa: E731
                each_vector(self.u.classes, self.u, lambda v, k, out=out: put(out, v, nothing, lanes(k)))

        branch(self.wanted, zero)

    # -- the gradient --------------------------------------------------------------------------------------------------

    def upstream(self):
        """What the gradients of the rows are multiplied with."""
        above = optional_of_rows(self.given.dloss, self.u, 1.0) * optional_of_rows(self.given.sample, self.u, 1.0)
        return above * (self.options.upstream * self.options.scale)

    def scales(self, peak, whole):
        mass, _ = self.sum_of_mass(whole)
        infinite = whole.peak - whole.peak
        lse = whole.peak + log_sum(whole)
        upstream = self.upstream()
        factor = upstream * (_formula.gradient_factor(mass, self.options.z_loss, lse) + infinite)
        unit = scale_of_peak(peak, self.like)
        relative = decay(peak, whole.peak) * select(self.from_lse, splat(unit, 1.0), unit)
        high, low = quotient(factor * relative, exponential_sum(whole), self.like)
        bound = smallest_kept(absolute(high), self.like)
        live = select(self.targets.live, splat(bound, 1.0), 0.0)
        return high, low, bound, *(narrow(x, self.like) for x in (upstream, live, peak, unit))

    def second(self, v0, n, r, scales):
        u, e, y, mass = self.u, self.kept(v0, r), self.probabilities(v0, n, r), self.mass
        high, low, bound, share, live, peak, unit = scales
        softcap, capped = self.options.softcap, room_at(self.room, v0, r)

        def powers():
            x = self.logits(v0, n, r)
            biased = lambda x: exponential(x, peak, unit) * 2.0**EXP_BIAS  # noqa: E731
            each_vector(n, u, lambda v, k: store(vector(e, v), biased(load(vector(x, v), k)), k))

        def again():
            exponentials(self.logits(v0, n, r), e, True, n, peak, u)

        def cap_again():
            branch(self.capped & self.several, lambda: self.logits(v0, n, r))

        branch(self.from_lse, powers, lambda: branch(self.has_room, cap_again, again))

        def gradient(v, k, shift):
            g = scaled(load(vector(e, v, shift), k), high, low, bound)
            g = branch(self.spread, lambda: g - share * mass.of(y, v0, v, k, u, shift), lambda: g)
            slope = lambda: g * _formula.cap_slope(load(at(capped, v, shift), k) / softcap)  # noqa: E731
            return select(live != 0.0, branch(self.capped, slope, lambda: g), zeros(g))

        write_results(self.results.gradient, u, r, v0, n, room_at(self.room_e, v0, r), self.streamed, gradient)

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
        slope = lambda: g * _formula.cap_slope(whole.target / options.softcap)  # noqa: E731
        put_at_targets(self.results.gradient, self.u, self.targets, branch(self.capped, slope, lambda: g))
