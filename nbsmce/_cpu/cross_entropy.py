"""The kernel of the cross entropy, its gradient, or both in one pass over the logits.

For a unit (a row, or rows abreast) the first pass over its chunks takes the largest logit, the sum of exponentials
and, where every class has target mass, the sums of the mass. Then the losses follow, and the second pass writes the
gradient from the exponentials, which the first has kept if there was room. Every class gets ``factor * p - q`` with
the mass ``q`` of a class that is not the target; the target of a class index, where the difference may cancel, is
written last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import float64, int64, intp, uint8

from .. import _formula
from .._compile import TEAM, array, kernel
from .chunks import Logits, chunk_count, chunk_logits, chunks, rooms, slot_states, stage
from .gradients import exponential
from .lanes import (
    Variable,
    absolute,
    any_lane,
    at,
    branch,
    float64_of,
    invert,
    lane_index,
    lanes_below,
    load,
    narrow,
    peek,
    select,
    splat,
    store,
    wide,
    zeros,
)
from .lanes.storage import computed_type
from .parallel import parallel
from .softmax import quotient, scaled, smallest_kept
from .sums import State, decay, exponential_sum, exponentials, largest, log_sum, merged, save, saved
from .targets import (
    NO_CLASS,
    Mass,
    Options,
    add_rows,
    at_targets,
    first_largest,
    inspect,
    optional_of_rows,
    put_at_targets,
    row_targets,
    target_sums,
)
from .units import each_vector, inside, of_rows, plain, put, put_rows, unit_count, units, view
from .vmath import EXP_BIAS, MINUS_INFINITY, UNBIAS, exp_difference, tanh


class Wanted(NamedTuple):
    """Where results go; arrays of size 0 are not wanted."""

    loss: Any
    weighted: Any  # float64, for the sum over the rows
    lse: Any
    z_loss: Any
    predicted: Any
    gradient: Any


class Given(NamedTuple):
    """What a call is given beside the logits; arrays of size 0 are not."""

    probabilities: Any
    target: Any
    weight: Any
    sample: Any
    dloss: Any
    lse: Any


def _given(a):
    return a.shape[0] > 0


def _unit(x, given, wanted, options, u, states):
    """One unit."""
    like = x.p
    room, room_e, room_y = rooms(states, u, like, 3)
    plain_logits = plain(x, u) & (options.scale == 1.0) & (options.softcap == 0.0)
    logits = Logits(view(x, u), scale=options.scale, softcap=options.softcap, direct=plain_logits)
    rows = row_targets(given.target, given.weight, options.ignore_index, u)
    target_logit = wide(branch(_given(given.target), lambda: _target_logits(logits, u, rows), lambda: zeros(like)))
    live = any_lane(rows.live & lanes_below(u.rows))
    branch(
        live | _given(wanted.lse),
        lambda: _work(logits, rows, target_logit, given, wanted, options, u, states, (room, room_e, room_y), like),
        lambda: _ignore(wanted, u, like),
    )


def _target_logits(logits, u, rows):
    """The effective logits of the target classes."""
    x = at_targets(logits.x, u, rows.target) * logits.scale
    return branch(logits.softcap != 0.0, lambda: tanh(x / logits.softcap) * logits.softcap, lambda: x)


def _ignore(wanted, u, like):
    """The results of a unit whose rows are all ignored."""
    nothing = zeros(like)
    branch(_given(wanted.loss), lambda: put_rows(wanted.loss.p, u, wide(nothing)))
    branch(_given(wanted.weighted), lambda: put_rows(wanted.weighted.p, u, wide(nothing)))
    out = view(wanted.gradient, u)
    branch(_given(wanted.gradient), lambda: each_vector(u.classes, u, lambda v, k: put(out, v, nothing, k)))


def _work(logits, rows, target_logit, given, wanted, options, u, states, places, like):
    room, room_e, room_y = places
    out = view(wanted.gradient, u)
    spread = _given(given.probabilities) | (options.smoothing != 0.0)
    from_lse = _given(given.lse) & invert(spread)
    capped = options.softcap != 0.0
    into_out = _given(wanted.gradient) & plain(wanted.gradient, u) & invert(capped)
    keep = _given(wanted.gradient) & ((chunk_count(u, like) == 1) | into_out)
    mass = Mass(room_y, _given(given.probabilities), given.weight, options.smoothing, float64_of(u.classes))
    y = view(given.probabilities, u)

    def kept(v0):
        return branch(into_out, lambda: inside(out, v0), lambda: room_e)

    def stage_y(v0, n):
        branch(mass.given, lambda: stage(y, v0, n, u, room_y))

    def first_pass():
        nearest = [Variable(x) for x in (splat(lane_index(), NO_CLASS), splat(lane_index(), NO_CLASS))]
        top = Variable(splat(like, MINUS_INFINITY))
        for c, v0, n in chunks(u, like):
            x = chunk_logits(logits, v0, n, u, room)
            m = largest(x, n, u)

            def sums(x=x, v0=v0, n=n, m=m):
                stage_y(v0, n)
                return target_sums(mass, x, v0, n, m, u)

            def search(x=x, v0=v0, n=n, m=m):
                best, not_a_number = first_largest(x, v0, n, m, u)
                better = (m > top.value) | (nearest[0].value == NO_CLASS)
                nearest[0].value = select(better, best, nearest[0].value)
                top.value = select(m > top.value, m, top.value)
                earlier = not_a_number < nearest[1].value
                nearest[1].value = select(earlier, not_a_number, nearest[1].value)

            nothing = wide(zeros(like))
            total, cross = branch(spread, sums, lambda nothing=nothing: (nothing, nothing))
            branch(_given(wanted.predicted), search)
            count, rest = exponentials(x, kept(v0), keep, n, m, u)
            save(states, c, State(wide(m), count, rest, total, cross))
        predicted = select(nearest[1].value < NO_CLASS, nearest[1].value, nearest[0].value)
        predicted = select(rows.live, predicted, -1)
        branch(_given(wanted.predicted), lambda: put_rows(wanted.predicted.p, u, predicted))
        return merged(states, u, like)

    def known():
        lse, nothing = wide(of_rows(given.lse.p, u)), wide(zeros(like))
        return State(lse, splat(lse, 1.0), nothing, nothing, nothing)

    whole = branch(from_lse, known, first_pass)

    # The losses. A largest logit that is infinite makes them NaN.
    infinite = whole.peak - whole.peak
    hot = rows.weight * (1.0 - options.smoothing)  # what the target has more than it would have as another class
    total = whole.mass + hot
    cross = whole.cross + select(hot == 0.0, zeros(hot), hot * (whole.peak - target_logit))
    log_total = log_sum(whole)
    lse = whole.peak + log_total
    penalty = branch(options.z_loss != 0.0, lambda: _formula.z_penalty(options.z_loss, lse), lambda: zeros(lse))
    penalty = select(rows.live, penalty, zeros(penalty))
    loss = _formula.row_loss(total, cross, log_total, penalty) + infinite
    sample = optional_of_rows(given.sample, u, 1.0)
    loss = select(rows.live, loss * sample, zeros(loss))
    for array_, result in (
        (wanted.loss, loss), (wanted.weighted, loss), (wanted.lse, lse), (wanted.z_loss, penalty),
    ):  # fmt: skip
        branch(_given(array_), lambda array_=array_, result=result: put_rows(array_.p, u, result))

    # The gradient.
    def gradient():
        upstream = optional_of_rows(given.dloss, u, 1.0) * sample * (options.upstream * options.scale)
        factor = _formula.gradient_factor(total, options.z_loss, lse) + infinite
        share = narrow(upstream, like)
        for c, v0, n in chunks(u, like):
            e = kept(v0)
            peak = branch(from_lse, lambda: whole.peak, lambda c=c: saved(states, c).peak)

            def powers(e=e, v0=v0, n=n):
                x, top = chunk_logits(logits, v0, n, u, room), narrow(whole.peak, like)
                each_vector(n, u, lambda v, k: store(at(e, v), exponential(load(at(x, v), k), top) * 2.0**EXP_BIAS, k))

            def again(e=e, v0=v0, n=n, peak=peak):
                exponentials(chunk_logits(logits, v0, n, u, room), e, True, n, narrow(peak, like), u)

            branch(from_lse, powers, lambda again=again: branch(keep, lambda: None, again))
            branch(spread, lambda v0=v0, n=n: stage_y(v0, n))
            share_of_p = upstream * factor * decay(peak, whole.peak)
            high, low = quotient(share_of_p, exponential_sum(whole), like)
            bound = smallest_kept(absolute(high), like)

            def write(v, k, e=e, v0=v0, high=high, low=low, bound=bound):
                g = scaled(load(at(e, v), k), high, low, bound)
                g = branch(spread, lambda: g - share * mass.of(v0, v, k, u), lambda: g)
                g = branch(capped, lambda: g * _formula.cap_slope(load(at(room, v), k), options.softcap), lambda: g)
                put(out, v0 + v, select(rows.live, g, zeros(g)), k)

            each_vector(n, u, write)

        p = exp_difference(target_logit, whole.peak) * UNBIAS / exponential_sum(whole)
        others = ((whole.count - 1.0) + whole.rest * UNBIAS) / exponential_sum(whole)
        gap = select(target_logit == whole.peak, others, 1.0 - p)
        q = _formula.target_mass(1.0, rows.weight, options.smoothing, mass.classes)
        g = upstream * _formula.target_gradient(total, q, gap, options.z_loss, lse)
        slope = branch(
            capped,
            lambda: _formula.cap_slope(target_logit, options.softcap),
            lambda: splat(g, 1.0),
        )
        branch(_given(given.target), lambda: put_at_targets(out, u, rows, g * slope))

    branch(_given(wanted.gradient), gradient)


@parallel
def _each(
    lo, hi, slot, x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers,
    ignore_index, scratch,
):  # fmt: skip
    given = Given(y, target, weight, sample, dloss, given_lse)
    wanted = Wanted(loss, weighted, lse, z_loss, predicted, dx)
    smoothing, z, scale, softcap, upstream = (peek(numbers.p, i) for i in range(5))
    options = Options(smoothing, z, scale, softcap, upstream, ignore_index)
    states = slot_states(scratch, slot)
    for u in units(x, lo, hi):
        _unit(x, given, wanted, options, u, states)


def _signature(ndim, t, y):
    f = computed_type(t)
    rows, counts, sums = array(f, 1), array(int64, 1), array(float64, 1)
    given = array(t, ndim), array(y, ndim), counts, rows, rows, rows, rows
    wanted = rows, sums, rows, rows, counts, array(t, ndim)
    return *given, *wanted, sums, int64, array(float64, 2), array(uint8, 2), *TEAM


@kernel(_signature)
def cross_entropy(
    x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers, ignore_index,
    sums, scratch, grain, launcher, threads,
):  # fmt: skip
    """The losses and gradients of :class:`Wanted`; returns the sum of the losses in ``weighted`` and ``sums``."""
    _each(
        unit_count(x), grain, launcher, threads, x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse,
        z_loss, predicted, dx, numbers, ignore_index, scratch,
    )  # fmt: skip
    return add_rows(weighted, sums)


@kernel(lambda f: (array(int64, 1), array(f, 1), array(f, 1), intp, int64, array(float64, 1)))
def inspect_targets(target, weight, sample, classes, ignore_index, denominator):
    """See :func:`nbsmce._cpu.targets.inspect`."""
    return inspect(target, weight, sample, classes, ignore_index, denominator)


@kernel(lambda: (array(float64, 1), array(float64, 2)))
def total_of_rows(values, sums):
    """See :func:`nbsmce._cpu.targets.add_rows`."""
    return add_rows(values, sums)
