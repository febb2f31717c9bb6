"""Targets of a loss in the kernels: class indices or probabilities, their mass and its sums."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import float64, int64

from .. import _formula
from .._compile import array, kernel
from .lanes import (
    LANES,
    Variable,
    absolute,
    advance,
    at,
    branch,
    copy_number,
    float64_of,
    gather_at,
    in_njit,
    invert,
    itemsize,
    lane,
    lane_index,
    lane_min,
    lane_sum,
    lanes_below,
    load,
    load_logits,
    narrow,
    on_stack,
    peek,
    poke,
    select,
    splat,
    steps,
    store,
    stored,
    to_float,
    wide,
    zeros,
)
from .lanes.several import each
from .sums import NO_CLASS, Stripes, each_vector_of
from .units import each_sixteen, each_vector, of_rows
from .views import corner
from .vmath import INFINITY, reference, tanh, two_sum


class Rows(NamedTuple):
    """The class indices of a unit's rows, a lane for each."""

    target: Any  # the class as int64, 0 where there is none
    live: Any  # rows that are not ignored
    weight: Any  # float64: the class weight of the target


def optional_of_rows(a, u, default):
    """The numbers of a unit's rows as float64, ``default`` where the array was not given."""
    return wide(branch(a.shape[0] > 0, lambda: of_rows(a.p, u), lambda: splat(a.p, default)))


def at_targets(x, u, target):
    """The elements of an array at the target classes of a unit's rows."""
    p, of_class, of_row = corner(x, u)
    row = select(lanes_below(u.rows), lane_index(), 0)  # a mask would make a branch for each where nothing gathers
    return gather_at(p, target * of_class + row * of_row)


def target_logits(x, scale, softcap, rows, v0, n, u):
    """The effective logits of target classes among ``n`` from vector ``v0`` on, as float64; 0 for the others."""
    first = v0 if u.abreast else v0 * LANES
    here = (rows.target >= first) & (rows.target < first + n)
    logits = at_targets(x, u, select(here, rows.target, first)) * scale
    logits = branch(softcap != 0.0, lambda: tanh(logits / softcap) * softcap, lambda: logits)
    return wide(select(here, logits, zeros(logits)))


def class_weights(weight, target):
    """The weights of the target classes as float64."""
    offsets = target * itemsize(weight.p)
    return wide(branch(weight.shape[0] > 0, lambda: gather_at(weight.p, offsets), lambda: splat(weight.p, 1.0)))


def row_targets(target, weight, ignore_index, u):
    """The class indices of a unit. Where there are probabilities instead, no class is special."""

    def indices():
        t = of_rows(target.p, u)
        live = t != ignore_index
        t = select(live, t, 0)
        return Rows(t, live, class_weights(weight, t))

    def none():
        first = splat(lane_index(), 0)
        return Rows(first, first == 0, wide(zeros(weight.p)))

    return branch(target.shape[0] > 0, indices, none)


def put_at_targets(a, u, rows, x):
    """Write one number at the target class of every row that is not ignored."""
    first, of_class, of_row = corner(a, u)

    def put(first, target, live, x):
        offsets = on_stack(lane_index())
        numbers = stored(on_stack(x), first)
        store(offsets, select(live, target * of_class + lane_index() * of_row, NO_PLACE))
        store(numbers, narrow(x, first))
        for i in steps(0, u.rows):
            offset = peek(offsets, i)
            branch(offset != NO_PLACE, lambda i=i, offset=offset: copy_number(numbers, i, advance(first, offset)))

    each(put, first, rows.target, rows.live, x)


NO_PLACE = -(2**62)  # bytes: farther than any


class Mass(NamedTuple):
    """The target mass of the classes other than a class index: that of probabilities and of label smoothing."""

    given: Any  # there are probabilities
    weight: Any  # the array of class weights, of size 0 if there are none
    smoothing: Any
    classes: Any  # their number, as float64

    @property
    def alike(self):
        """Whether all classes have the same mass."""
        return invert(self.given) & (self.weight.shape[0] == 0)

    def of_any(self):
        """The mass of a class where all have the same."""
        ones = splat(self.weight.p, 1.0)
        return _formula.target_mass(zeros(ones), ones, self.smoothing, self.classes)

    def of(self, y, v0, v, k, u, shift=0):
        """The mass ``q`` of vector ``v`` of a chunk that starts with vector ``v0`` and has the probabilities ``y``."""

        def weights():
            p = self.weight.p
            return splat(p, peek(p, v0 + v)) if u.abreast else load(at(p, v0 + v, shift), k)

        ones = splat(self.weight.p, 1.0)
        w = branch(self.weight.shape[0] > 0, weights, lambda: ones)
        y = branch(self.given, lambda: load(at(y, v, shift), k), lambda: zeros(ones))
        return select(lanes_below(k), _formula.target_mass(y, w, self.smoothing, self.classes), zeros(ones))


def target_sums(mass, y, x, v0, n, m, u):
    """``(sum(q), sum(q * (m - x)))`` of a chunk; a mass of 0 counts nothing, also on a logit of minus infinity."""
    top = reference(m)

    def of_each():
        total, cross = Stripes(u), Stripes(u)

        def one(v, k):
            q = mass.of(y, v0, v, k, u)
            total.add(wide(q))
            cross.add(wide(select(q == 0.0, zeros(q), q * (top - load_logits(at(x, v), k)))))

        each_vector_of(n, u, [total, cross], one)
        return total.total(), cross.total()

    def of_all():
        q, gaps, from_top = wide(mass.of_any()), Stripes(u), wide(top)

        def one(v, k):
            gap = from_top - wide(load(at(x, v), k))
            gaps.add(select(lanes_below(k), gap, zeros(gap)))

        each_vector_of(n, u, [gaps], one)
        return q * float64_of(n), select(q == 0.0, zeros(q), q * gaps.total())

    return branch(mass.alike, of_all, of_each)


def first_largest(x, v0, n, m, u):
    """The first class of a chunk that equals ``m`` and the first that is NaN, as float64; ``NO_CLASS`` for none."""
    found = [Variable(splat(lane_index(), NO_CLASS)) for _ in range(2)]

    def one(v, k):
        value = load_logits(at(x, v), k)
        index = splat(lane_index(), v0 + v) if u.abreast else lane_index() + (v0 + v) * LANES
        for variable, hit in zip(found, ((value == m) & lanes_below(k), value != value), strict=True):
            index_there = select(hit, index, NO_CLASS)
            variable.value = select(index_there < variable.value, index_there, variable.value)

    each_vector(n, u, one)
    return tuple(to_float(f.value if u.abreast else splat(f.value, lane_min(f.value))) for f in found)


# -- before and after the loss -----------------------------------------------------------------------------------------


def inspect(target, weight, sample, classes, ignore_index):
    """The position of the first target that is no class, ``NO_CLASS`` if all are, and what a mean is divided by."""
    nothing, n = splat(lane_index(), 0), target.shape[0]

    def looked_at(v, k):
        t = load(at(target.p, v), k)
        live = (t != ignore_index) & lanes_below(k)
        return t, live, live & ((t < 0) | (t >= classes))

    def counted():  # a quarter of the time of what follows
        rows, outside = Variable(nothing), Variable(nothing)

        def one(v, k):
            _, live, refused = looked_at(v, k)
            rows.value = rows.value + select(live, nothing + 1, 0)
            outside.value = outside.value + select(refused, nothing + 1, 0)

        each_sixteen(n, one)
        return lane_sum(outside.value), lane_sum(rows.value)

    def summed():
        first, total = Variable(splat(lane_index(), NO_CLASS)), Variable(wide(zeros(weight.p)))

        def one(v, k):
            t, live, refused = looked_at(v, k)
            first.value = select(refused & (first.value == NO_CLASS), lane_index() + v * LANES, first.value)
            inside = live & invert(refused)
            weights = class_weights(weight, select(inside, t, 0))
            ones = splat(weight.p, 1.0)
            samples = wide(branch(sample.shape[0] > 0, lambda: load(at(sample.p, v), k), lambda: ones))
            total.value = total.value + select(inside, weights * samples, zeros(weights))

        each_sixteen(n, one)
        return lane_min(first.value), lane_sum(total.value)

    alike = (weight.shape[0] == 0) & (sample.shape[0] == 0)
    outside, rows = branch(alike, counted, lambda: (lane_sum(nothing + 1), lane_sum(nothing)))
    return branch(outside == 0, lambda: (lane_min(nothing + NO_CLASS), float64_of(rows)), summed)


UPSTREAM, MEAN, ABOVE, DIVISOR, REFUSED = range(4, 9)
"""Places among the numbers of a loss, after the first options. Where there are more than those, a kernel looks at the
targets itself: in ``MEAN`` it finds whether the loss is a mean, in ``ABOVE`` the gradient from above; it writes the
other three, ``REFUSED`` being the position of a target that is no class."""


def over(a, b, p):
    """``a / b`` of scalars of float64, which ``p`` points to, as IEEE 754 has it also without the JIT."""
    return lane(splat(p, a) / splat(p, b), 0)


def begin(x, target, weight, sample, numbers, ignore_index):
    """Look at the targets, if that is to be done here; as of :func:`inspect`, whether all are classes."""

    def look():
        first, total = inspect(target, weight, sample, x.shape[1], ignore_index)
        one = lane(splat(numbers.p, 1.0), 0)
        divisor = branch(peek(numbers.p, MEAN) != 0.0, lambda: total, lambda: one)
        poke(numbers.p, UPSTREAM, over(peek(numbers.p, ABOVE), divisor, numbers.p))
        poke(numbers.p, DIVISOR, divisor)
        poke(numbers.p, REFUSED, float64_of(first))
        return first

    return branch(numbers.shape[0] > MEAN, look, lambda: lane_min(splat(lane_index(), NO_CLASS)))


def add_rows(values, sums):
    """The sum of float64 ``values`` and what ``sums`` (2, 16) has kept of earlier ones: stripes and their errors.

    Nothing is kept of earlier ones where ``sums`` is empty.
    """
    nothing, kept = zeros(values.p), sums.shape[0] > 0
    before = branch(kept, lambda: (load(sums.p), load(at(sums.p, 1))), lambda: (nothing, nothing))
    high, low = map(Variable, before)

    def one(v, k):
        high.value, error = two_sum(high.value, load(at(values.p, v), k))
        low.value = low.value + select(absolute(high.value) < INFINITY, error, zeros(error))

    each_sixteen(values.shape[0], one)

    def keep():
        store(sums.p, high.value)
        store(at(sums.p, 1), low.value)

    branch(kept, keep)
    return lane_sum(high.value) + lane_sum(low.value)


def _inspect(target, weight, sample, classes, ignore_index, denominator):
    first, total = inspect(target, weight, sample, classes, ignore_index)
    poke(denominator.p, 0, total)
    return first


_inspect, _add_rows = in_njit(_inspect), in_njit(add_rows)


@kernel(lambda f: (array(int64, 1), array(f, 1), array(f, 1), int64, int64, array(float64, 1)))
def inspect_targets(target, weight, sample, classes, ignore_index, denominator):
    """See :func:`nbsmce._cpu.targets.inspect`; writes the denominator."""
    return _inspect(target, weight, sample, classes, ignore_index, denominator)


@kernel(lambda: (array(float64, 1), array(float64, 2)))
def total_of_rows(values, sums):
    """See :func:`nbsmce._cpu.targets.add_rows`."""
    return _add_rows(values, sums)
