"""The sums over the classes of a row, in an order that depends on nothing but the number of classes.

* A row is cut into chunks of 4096 classes (2048 in float64).
* In a chunk, class ``j`` counts towards stripe ``j % 16``. A stripe is summed from the first class to the last, in
  float64; the sixteen stripes as a tree of halves.
* Exponentials are taken relative to the largest element of the chunk. Elements equal to it are counted, the others
  summed: ``log(count + rest)`` becomes ``log1p(rest)`` where one element is largest, and keeps its digits when ``rest``
  is tiny.
* Chunks are merged from the first to the last.

Along a row the lanes are the stripes. Abreast, a lane is a row and the stripes are sixteen vectors in memory. Guarded
by ``tests/test_layouts.py``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .._compile import MASK_REGISTERS
from .lanes import (
    LANES,
    Variable,
    add_products,
    at,
    branch,
    count_lanes,
    float64_of,
    fma,
    lane,
    lane_max,
    lane_sum,
    lanes_below,
    larger,
    load,
    load_logits,
    peek,
    poke,
    select,
    smaller,
    splat,
    steps,
    store,
    stripes,
    to_bits,
    to_float,
    wide,
    zeros,
)
from .lanes.several import Several
from .units import each_vector
from .views import vector
from .vmath import EXP_BIAS, MINUS_INFINITY, UNBIAS, Scale, exp_difference, log1p, reference, scale_of_peak

BLOCK = 256
"""Classes of rows abreast that stay in the first cache."""

CHUNK = {4: 4096, 8: 2048}  # classes of a chunk, by the bytes of a number


class State(NamedTuple):
    """What is known of the rows of a unit, or of one chunk of them: float64 vectors with a lane for each row.

    That of a single row along has the same in every lane, until :func:`save`. A field that a kernel does not need is
    None.
    """

    peak: Any  # the largest element m
    count: Any  # how many equal it
    rest: Any  # the sum of exp(x - m) over the others, times 2**EXP_BIAS; until relative_to_peak, of m's Scale
    mass: Any = None  # the sum of the target mass q
    cross: Any = None  # the sum of q * (m - x)
    target: Any = None  # the logit of a class index, 0 in the chunks that it is not in
    best: Any = None  # the first class that equals m
    nan: Any = None  # the first class that is NaN


STATE_VECTORS = len(State._fields)  # of a State in memory
NO_CLASS = 2.0**62  # in place of a class: greater than any


def chunk_classes(like):
    """The classes of a chunk in the type that ``like`` is computed in."""
    return CHUNK[4 if zeros(like).single else 8]


class Stripes:
    """Sixteen sums that class ``j`` goes to by ``j % 16``: one vector along a row, abreast a vector for each."""

    def __init__(self, u):
        p: Any = Several(stripes() for _ in u.first) if u.bundle else stripes()
        self.p, self.abreast = p, u.abreast
        self.now = p  # the sums that the lanes of the present vector belong to
        self.few = u.classes < 9 if u.tile else False  # the last stripes are empty
        for s in steps(0, select(self.few, LANES // 2, LANES)) if u.tile else range(LANES if u.abreast else 1):
            store(at(p, s), zeros(p))

    def add(self, x):
        """Add float64 lanes."""
        store(self.now, load(self.now) + x)

    def add_product(self, x, y, halves):
        """Add the products of lanes, which are exact: of ``halves`` in float32, of float32 in float64.

        Those of bfloat16 can leave the range of float32, but not where one of the factors is a probability.
        """
        if halves:
            self.add(wide(x * y))
        elif x.single and not self.abreast:
            add_products(self.now, x, y)
        else:
            store(self.now, fma(wide(x), wide(y), load(self.now)))

    def total(self):
        """The sum over the stripes, for each row of the unit."""
        if not self.abreast:
            return splat(self.p, lane_sum(load(self.p)))
        return branch(self.few, lambda: self._tree(LANES // 2), lambda: self._tree(LANES))

    def _tree(self, count):
        sums = [load(at(self.p, s)) for s in range(count)]
        while len(sums) > 1:
            half = len(sums) // 2
            sums = [sums[s] + sums[s + half] for s in range(half)]
        return sums[0]


def each_vector_of(n, u, sums, action, in_turn=False):
    """``action(v, k)`` for the vectors of ``n`` classes, which adds to ``sums``.

    Of a block of rows abreast one stripe comes after the other, and LLVM keeps its sums in registers: that takes 0.6 to
    0.95 of the time. ``in_turn`` takes one class after the other.
    """

    def stripe(s, vectors):
        for x in sums:
            x.now = at(x.p, s)
        for v in vectors:
            action(v, LANES)

    if not u.abreast:
        each_vector(n, u, action)
    elif in_turn or u.whole:
        for v in steps(0, n):
            stripe(v % LANES, [v])
    else:
        for first in steps(0, n, BLOCK):
            last = smaller(n, first + BLOCK)
            for s in steps(first, smaller(last, first + LANES)):
                stripe(s - first, steps(s, last, LANES))


# -- one chunk ---------------------------------------------------------------------------------------------------------


def largest(x, n, u):
    """The largest of ``n`` classes in each row of a unit; NaN is passed over. Four chains hide the latency."""
    if u.bundle:  # a chain for each of its units
        peaks = Variable(splat(x.p, MINUS_INFINITY))
        for v in steps(0, n):
            peaks.value = larger(load(vector(x, v)), peaks.value)
        return peaks.value
    vectors = n if u.abreast else n // LANES
    chains = [Variable(splat(x, MINUS_INFINITY)) for _ in range(4)]
    for v in steps(0, vectors - 3, 4):
        for i, m in enumerate(chains):
            m.value = larger(load(at(x, v + i)), m.value)
    for v in steps(vectors // 4 * 4, vectors):
        chains[0].value = larger(load(at(x, v)), chains[0].value)
    if not u.abreast:
        chains[1].value = larger(load_logits(at(x, vectors), n % LANES), chains[1].value)
    a, b, c, d = (m.value for m in chains)
    top = larger(larger(a, b), larger(c, d))
    return top if u.abreast else splat(top, lane_max(top))


def exponentials(x, e, keep, n, m, u, ahead=lambda v: None):
    """``(count, rest)`` of a chunk, ``rest`` as a sum of exponentials of the scale of ``m``.

    ``ahead(v)`` is called before vector ``v``. With ``keep`` the exponentials are written to ``e``, which may be ``x``.
    """
    # Four more vectors of int64 would need more registers than there are.
    by_lane, none = u.abreast or (m.single and not MASK_REGISTERS), to_bits(zeros(m))
    others, rest, scale = Variable(none if by_lane else 0), Stripes(u), Scale.of(m)

    def one(v, k):
        ahead(v)
        value = load_logits(vector(x, v), k)
        y, other = scale.exp(value - scale.base), value != m
        branch(keep, lambda: store(vector(e, v), y, k))
        rest.add(select(other, wide(y), 0.0) if MASK_REGISTERS else wide(select(other, y, zeros(y))))
        counted = other if u.abreast else other & lanes_below(k)
        others.value = others.value + (select(counted, none + 1, none) if by_lane else count_lanes(counted))

    # Where results are kept, going over 10 classes in stripes takes 1.05 to 1.25 of the time.
    each_vector_of(n, u, [rest], one, in_turn=keep is not False)
    if u.abreast:
        return float64_of(n) - to_float(others.value), rest.total()
    count = float64_of(n) - float64_of(lane_sum(others.value) if by_lane else others.value)
    return splat(rest.p, count), rest.total()


# -- chunks together ---------------------------------------------------------------------------------------------------


def save(states, c, state, u, r=0):
    """Keep what is known of chunk ``c``: of row ``r`` of a unit, or of rows abreast."""
    for i, numbers in enumerate(state):
        if numbers is not None:
            keep_rows(at(states, c * STATE_VECTORS + i), numbers, u, r)


def keep_rows(p, vector, u, r):
    """Write numbers of rows to their lanes: of all rows, or (along) of row ``r`` alone, which is in every lane."""
    if u.abreast or r is None:
        store(p, vector)
    else:
        poke(p, r, lane(vector, 0))


def kept_row(p, u, r):
    """What ``p`` holds, with the number of row ``r`` in every lane where rows are not abreast."""
    return load(p) if u.abreast else splat(p, peek(p, r))


def saved(states, c, fields):
    """What was kept of chunk ``c``, of these fields."""
    place = at(states, c * STATE_VECTORS)
    vectors = [load(at(place, i)) if name in fields else None for i, name in enumerate(State._fields)]
    return State(*vectors)


def decay(peak, whole_peak):
    """``exp(peak - whole_peak)``; 1 where they are equal, also if infinite."""
    if peak is whole_peak:
        return splat(peak, 1.0)
    return select(peak == whole_peak, splat(peak, 1.0), exp_difference(peak, whole_peak) * UNBIAS)


def relative_to_peak(state, like):
    """The state of a chunk, with the sum relative to its largest element and not to that element's scale."""
    return state._replace(rest=state.rest * scale_of_peak(state.peak, like))


def _relative(state, peak):
    """``state`` with its sums relative to a larger or equal ``peak``."""
    same, nothing = state.peak == peak, zeros(peak)
    factor = decay(state.peak, peak)
    count = select(same, state.count, nothing)
    rest = factor * state.rest + select(same, nothing, factor * state.count * 2.0**EXP_BIAS)
    if state.cross is None:
        return state._replace(count=count, rest=rest)
    shift = select(state.mass == 0.0, nothing, state.mass * (reference(peak) - reference(state.peak)))
    return state._replace(count=count, rest=rest, cross=state.cross + shift)


def merge(a, b):
    """The state of two parts together; ``a`` has the classes before those of ``b``."""
    peak = larger(b.peak, a.peak)
    x, y = _relative(a, peak), _relative(b, peak)
    whole = {name: p + q for name, p, q in zip(State._fields, x, y, strict=True) if p is not None}
    whole["peak"] = peak
    if a.best is not None:
        whole["best"] = select((b.peak > a.peak) | (a.best == NO_CLASS), b.best, a.best)
        whole["nan"] = select(b.nan < a.nan, b.nan, a.nan)
    return State(**whole)


def merged(states, chunks, fields, of_chunk, single=False):
    """The state of all chunks together; ``of_chunk`` makes one of what was kept of a chunk."""
    if not fields:
        return State(None, None, None)
    whole = [None if numbers is None else Variable(numbers) for numbers in of_chunk(saved(states, 0, fields))]
    for c in [] if single else steps(1, chunks):
        both = merge(State(*[w and w.value for w in whole]), of_chunk(saved(states, c, fields)))
        for variable, numbers in zip(whole, both, strict=True):
            if variable:
                variable.value = numbers
    return State(*[w and w.value for w in whole])


def log_sum(state):
    """``log(sum(exp(x - peak)))``, with all its digits also when it is close to 0."""
    return log1p(state.rest * UNBIAS + (state.count - 1.0))


def exponential_sum(state):
    """``sum(exp(x - peak))``; NaN where a softmax is: the largest element is infinite."""
    return state.count + state.rest * UNBIAS + (state.peak - state.peak)
