"""The short way for arrays that fit the cache gives what the general way gives."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES, random_logits

import nbsmce
from nbsmce import _prepared
from nbsmce._cpu import host, launch
from nbsmce._cpu import short as short_way

MATRICES = [(1, 10), (3, 1), (15, 32), (16, 33), (16, 31), (1500, 7), (7, 500), (1, launch.SERIAL_WORK - 1)]
MATRICES += [(40, 2000), (700, 100), (8191, 9)]  # for several threads
SCALARS = (0.25, np.float32(-3), np.float64(np.nan))
VECTORS = [(1,), (10,), (5000,)]
ELSEWHERE = [
    ((5, 3), 0),
    ((5, 1), 0),
    ((1, 5), 0),
    ((4, 5, 1), 1),
    ((40, 70), 0),
    ((2, 5, 3), 1),
    ((2, 9, 49), -2),
    ((2, 3, 40), -1),
    ((6, 5, 4, 3), -1),
    ((3, 4, 2, 5), 2),
    ((300, 301), 0),
    ((3, 50, 999), 1),
]
CALLS = {
    "softmax": lambda x, y, axis, out: nbsmce.softmax(x, axis, out=out),
    "log_softmax": lambda x, y, axis, out: nbsmce.log_softmax(x, axis % x.ndim, out=out),
    "softmax_backward": lambda x, y, axis, out: nbsmce.softmax_backward(x, y, axis, out=out),
    "log_softmax_backward": lambda x, y, axis, out: nbsmce.log_softmax_backward(x, y, axis, out=out),
    "logsumexp": lambda x, y, axis, out: nbsmce.logsumexp(x, axis),
}


MAKERS = ("softmax", "softmax_backward", "logsumexp", "logsumexp_backward", "cross_entropy")


@pytest.fixture
def taken(monkeypatch):
    """Whether each call went the short way, and a function that forbids it."""
    count = []

    def noted(make):
        def made(*arguments):
            call = make(*arguments)
            if call is None:
                count.append(False)
                return None

            def counted(*arguments):
                results = call(*arguments)
                count.append(results is not None)
                return results

            return counted

        return made

    for name in MAKERS:
        monkeypatch.setattr(short_way, name, noted(getattr(short_way, name)))
    _prepared.forget()

    def forbid():
        _prepared.forget()
        for name in MAKERS:
            monkeypatch.setattr(short_way, name, lambda *_: None)

    yield count, forbid
    _prepared.forget()


@pytest.mark.parametrize("function", CALLS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), [*((shape, -1) for shape in MATRICES + VECTORS), *ELSEWHERE], ids=str)
def test_the_same_bits(function, dtype, shape, axis, taken):
    count, forbid = taken
    x, y = random_logits(shape, dtype, 4.0), random_logits(shape, dtype, seed=1)
    layouts = {"plain": (x, y), "read-only": (x.copy(), y)}
    layouts["read-only"][0].flags.writeable = False
    others = {"columns first": (np.asfortranarray(x), y), "backwards": (x[..., ::-1], y[::-1])}
    if "backward" in function:
        others["one of them"] = x, y[::-1]
    in_tiles = len(shape) == 2 and shape[0] >= 16 and shape[1] <= 32  # their classes must be neighbours
    if len(shape) < 3 and axis == -1 and not in_tiles and x.size < launch.SERIAL_WORK:
        layouts |= others
    call = CALLS[function]
    short = {name: call(*arrays, axis, None) for name, arrays in layouts.items()}
    given = np.full(shape, 7, dtype)
    with_out = call(x, y, axis, given)
    in_place = x.copy()
    call(in_place, y, axis, in_place)
    assert all(count)
    assert len(count) == len(layouts) + 2
    gaps = np.full((*shape, 2), 7, dtype)[..., 0]
    call(x, y, axis, gaps)
    count.clear()
    not_short = {name: call(*arrays, axis, None) for name, arrays in others.items() if name not in layouts}
    assert not any(count) or 1 in shape  # several orders are the same
    forbid()
    for name, arrays in (layouts | others).items():
        general = call(*arrays, axis, None)
        actual = (short | not_short)[name]
        assert (actual.dtype, actual.shape) == (general.dtype, general.shape)
        assert actual.tobytes() == general.tobytes(), name
    if function != "logsumexp":
        assert with_out is given
        assert given.tobytes() == short["plain"].tobytes() == in_place.tobytes() == gaps.tobytes()


def targets_of(shape, axis):
    rows = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    return np.arange(np.prod(rows)).reshape(rows) % shape[axis]


def everything(x, t, options):
    out = np.empty_like(x)
    loss, gradient = nbsmce.cross_entropy_with_grad(x, t, **options)
    parts = [
        nbsmce.cross_entropy(x, t, **options),
        loss,
        gradient,
        nbsmce.cross_entropy_with_grad(x, t, out=out, **options)[0],
        out,
        nbsmce.cross_entropy_backward(None, x, t, **options),
        *((nbsmce.cross_entropy_backward(d, x, t, **options) for d in SCALARS) if "reduction" not in options else ()),
    ]
    assert {part.dtype for part in parts} == {x.dtype, np.dtype("float64" if x.dtype == np.float64 else "float32")}
    return [(part.shape, part.tobytes()) for part in parts]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), [*((shape, -1) for shape in MATRICES), *ELSEWHERE], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reduction": "sum", "ignore_index": 0},
        {"reduction": "none", "label_smoothing": 0.1},
        {"z_loss": 0.01, "logit_scale": 2.0, "softcap": 5.0},
    ],
    ids=str,
)
def test_the_same_losses(dtype, shape, axis, options, taken):
    count, forbid = taken
    options = {**options, "axis": axis}
    x, t = random_logits(shape, dtype, 4.0), targets_of(shape, axis)
    short = everything(x, t, options)
    assert count == [True] * (4 if "reduction" in options else 7)
    forbid()
    assert short == everything(x, t, options)


def from_lse(x, dlse, lse, t, axis=-1):
    outs, of_loss = (np.empty_like(x), np.empty_like(x)), {"lse": lse, "axis": axis}
    results = [
        nbsmce.logsumexp_backward(dlse, x, lse, axis),
        nbsmce.cross_entropy_backward(None, x, t, **of_loss),
        nbsmce.cross_entropy_backward(2.0, x, t, reduction="sum", z_loss=0.01, ignore_index=0, **of_loss),
        nbsmce.logsumexp_backward(dlse, x, lse, axis, out=outs[0]),
        nbsmce.cross_entropy_backward(None, x, t, out=outs[1], **of_loss),
    ]
    assert results[3] is outs[0]
    assert results[4] is outs[1]
    return [(a.dtype, a.shape, a.tobytes()) for a in results]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), [*((shape, -1) for shape in MATRICES), *ELSEWHERE], ids=str)
def test_gradients_from_a_log_sum_exp(dtype, shape, axis, taken, monkeypatch):
    x, t = random_logits(shape, dtype, 4.0), targets_of(shape, axis)
    lse = nbsmce.logsumexp(x, axis)
    dlse = random_logits(t.shape, lse.dtype.name, seed=1)
    with monkeypatch.context() as only_short:
        only_short.setattr(host, "floating", None)  # the general way begins with it
        short = from_lse(x, dlse, lse, t, axis)
    taken[1]()
    assert short == from_lse(x, dlse, lse, t, axis)


def test_numbers_of_rows_that_go_the_general_way(taken):
    x, t = random_logits((70, 70), "float32"), np.arange(70)
    dlse, lse = np.ones(70, np.float32), nbsmce.logsumexp(x)
    expected = from_lse(x, dlse, lse, t)
    apart = np.repeat(lse, 2)[::2]
    assert from_lse(x, dlse, apart, t) == from_lse(x, dlse, lse.tolist(), t) == expected
    memory = np.empty((70, 70), np.float32)
    memory[1] = lse  # where the gradient of one of the first rows goes
    logsumexp_backward = nbsmce.logsumexp_backward(dlse, x, memory[1], out=memory)
    assert logsumexp_backward.tobytes() == expected[0][2]
    memory[1] = lse
    cross_entropy_backward = nbsmce.cross_entropy_backward(None, x, t, lse=memory[1], out=memory)
    assert cross_entropy_backward.tobytes() == expected[1][2]
    for wrong in (lse[:2], lse[:, None].repeat(2, 1)):
        with pytest.raises(ValueError, match="lse must have"):
            nbsmce.logsumexp_backward(dlse, x, wrong)
        with pytest.raises(ValueError, match="lse must have"):
            nbsmce.cross_entropy_backward(None, x, t, lse=wrong)


def test_losses_with_nothing_to_count(taken):
    count, forbid = taken
    x, t = np.ones((3, 40), np.float32), np.full(3, -100)
    short = everything(x, t, {})
    assert count == [True] * 7
    forbid()
    assert short == everything(x, t, {})


@pytest.mark.parametrize(
    "target",
    [
        [0, 1],
        np.arange(4)[::2],
        np.arange(2, dtype=np.int32),
        np.array([0, -100]),
        np.array([0, 5]),
        np.array([0, -1]),
        np.array([0, 1, 0]),
        np.array([0.5, 0.5]),
        np.array([[0, 1]]),
    ],
    ids=str,
)
def test_targets_are_those_of_the_general_way(target, taken):
    _, forbid = taken
    x = np.linspace(0, 1, 10).reshape(2, 5)

    def told():
        out = np.full_like(x, 7)
        try:
            return nbsmce.cross_entropy_with_grad(x, target, out=out)[0].tobytes(), out.tobytes()
        except Exception as error:
            assert (out == 7).all()
            return f"{type(error).__name__}: {error}"

    short = told()
    forbid()
    assert told() == short


@pytest.mark.parametrize(
    "options",
    [
        {"dloss": np.array(2.0)},
        {"dloss": 2},
        {"weight": np.ones(5)},
        {"sample_weight": np.ones(2)},
        {"return_aux": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_losses_that_go_the_general_way(options, taken):
    count, _ = taken
    x, t = np.linspace(0, 1, 10).reshape(2, 5), np.zeros(2, np.int64)
    function = nbsmce.cross_entropy_with_grad if "dloss" in options else nbsmce.cross_entropy
    function(x, t, **options)
    assert not any(count)


@pytest.mark.parametrize(
    ("x", "axis"),
    [
        ([[1.0, 2.0]], -1),
        (np.ones((2, 3, 4))[:, :, ::2], -1),
        (np.ones((3, 2)).T, 0),
        (np.ones((2, 3)), (1,)),
        (np.ones((0, 3)), -1),
        (np.ones((2, 0)), -1),
        (np.ones((2, 3), np.int64), -1),
        (np.ones((2, 3), ">f2"), -1),
        (np.ones((2, 3), ">f4"), -1),
        (np.ones((2, launch.SERIAL_WORK // 2)), -1),  # chunks of rows
        (np.ones((1 << 12, 1 << 9)), -1),  # past the cache
    ],
)
def test_what_goes_the_general_way(x, axis, taken):
    count, _ = taken
    nbsmce.softmax(x, axis)
    assert not any(count)


@pytest.mark.parametrize("axis", [2, -3, None, "1", 1.0, np.array([0, 1])])
def test_errors_are_those_of_the_general_way(axis, taken):
    _, forbid = taken
    x = np.ones((2, 3))

    def told():
        try:
            return nbsmce.softmax(x, axis).tobytes()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    short = told()
    forbid()
    assert told() == short


def test_an_out_that_overlaps_or_differs(taken):
    """The general way copes with the first, and refuses the others."""
    memory = np.random.default_rng(0).standard_normal(41)
    x, out = memory[:40].reshape(4, 10), memory[1:].reshape(4, 10)
    expected = nbsmce.softmax(x.copy())
    assert nbsmce.softmax(x, out=out) is out
    assert out.tobytes() == expected.tobytes()
    fixed = np.zeros((4, 10))
    fixed.flags.writeable = False
    for wrong, error in ((fixed, "read-only"), (np.zeros((4, 11)), "shape"), (np.zeros((4, 10), np.float32), "dtype")):
        with pytest.raises((ValueError, TypeError), match=error):
            nbsmce.softmax(np.ones((4, 10)), out=wrong)


def test_an_out_in_the_memory_of_the_targets(taken):
    _, forbid = taken

    def computed():
        x, memory = np.linspace(0, 1, 30 * 900).reshape(30, 900), np.zeros(30 * 900)
        target = memory.view(np.int64)[:30]
        target[:] = range(30)
        return nbsmce.cross_entropy_with_grad(x, target, out=memory.reshape(30, 900))[1].tobytes()

    short = computed()
    forbid()
    assert computed() == short


def test_two_dtypes(taken):
    count, _ = taken
    x = random_logits((3, 40), "float32")
    wide = nbsmce.softmax_backward(x, x.astype(np.float64))
    assert count == [False]
    assert wide.dtype == np.float64


@pytest.mark.parametrize(
    ("shape", "options"), [((2, 5), {"dloss": 0.5, "reduction": "none"}), ((5,), {"dloss": None})], ids=str
)
def test_errors_of_losses_are_those_of_the_general_way(shape, options, taken):
    _, forbid = taken

    def told():
        with pytest.raises(ValueError, match=r"dloss|target") as error:
            nbsmce.cross_entropy_backward(logits=np.ones(shape), target=np.zeros(shape[0], np.int64), **options)
        return str(error.value)

    short = told()
    forbid()
    assert told() == short


def test_a_loss_within_a_loss(monkeypatch):
    """A signal handler may call the same while threads work."""
    x, t = random_logits((700, 100), "float32"), np.arange(700) % 100
    expected = [nbsmce.cross_entropy_backward(dloss, x, t).tobytes() for dloss in (None, 3.0)]
    scratch, inner = host.scratch_of_team, []

    def interrupted(*sizes):
        monkeypatch.setattr(host, "scratch_of_team", scratch)
        inner.append(nbsmce.cross_entropy_backward(3.0, x, t))
        return scratch(*sizes)

    monkeypatch.setattr(host, "scratch_of_team", interrupted)
    outer = nbsmce.cross_entropy_backward(None, x, t)
    assert [outer.tobytes(), inner[0].tobytes()] == expected
