"""Calls with something wrong in one argument, buffers before forbidden pages: what :mod:`test_bad_input` counts."""

from __future__ import annotations

import sys

import numpy as np
from test_guard_pages import guarded

import nbsmce

CANARY = 7.0
SHAPE = (5, 7)


def good():
    """Functions and arguments that they accept; ``out`` last where there is one."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(SHAPE).astype(np.float32)
    y, t, rows = nbsmce.softmax(x), rng.integers(0, 7, 5), np.ones(5, np.float32)
    out = {"out": np.full(SHAPE, CANARY, np.float32)}
    losses = {"weight": np.ones(7, np.float32), "sample_weight": rows}
    return {
        nbsmce.softmax: {"x": x, "where": np.ones(SHAPE, bool), **out},
        nbsmce.log_softmax: {"x": x, "where": np.ones(SHAPE, bool), **out},
        nbsmce.logsumexp: {"x": x, "b": y, "out": np.full(5, CANARY, np.float32)},
        nbsmce.softmax_backward: {"dy": x, "y": y, **out},
        nbsmce.log_softmax_backward: {"dy": x, "y": y, **out},
        nbsmce.logsumexp_backward: {"dlse": rows, "x": x, "lse": rows, **out},
        nbsmce.cross_entropy: {"logits": x, "target": t, **losses},
        nbsmce.cross_entropy_with_grad: {"logits": x, "target": t, **losses, **out},
        nbsmce.cross_entropy_backward: {"dloss": np.float32(1), "logits": x, "target": t, **losses, **out},
        nbsmce.nll_loss: {"log_probs": x, "target": t, **losses},
        nbsmce.nll_loss_backward: {"dloss": np.float32(1), "log_probs": x, "target": t, **losses},
    }


def bad_values(value, name):
    """What no function can take in place of ``value``."""
    shape = np.shape(value)
    kinds = "c8 c16 O U3 S3 M8[s] m8[D] V4 i4,f4"
    for kind in kinds.split():
        yield np.zeros(shape, kind)
    if np.dtype(np.longdouble).itemsize > 8:
        yield np.zeros(shape, np.longdouble)
    yield from ("text", b"bytes", object(), {"a": 1}, {1.0}, lambda: 0, iter([1.0]), [[1.0], [2.0, 3.0]], type, 1j)
    yield np.ma.masked_array(np.zeros(shape), np.ones(shape, bool))
    if len(shape) == 2:
        yield np.asmatrix(np.zeros(shape))
    for other in ((), (3,), (7, 5), (5, 8), (6, 7), (4, 5, 7), (0,), (5, 0), (1,), (5, 7, 1), (2, 2)):
        if other != shape and not (name == "b" and other in ((), (1,))):
            yield np.zeros(other, np.asarray(value).dtype)
    if name in ("target", "where"):
        yield np.full(shape, np.nan)
    if name == "out":
        for kind in ("f2", "f8", "i4", "?", ">f4", "u1"):
            yield np.zeros(shape, kind)
        locked = np.full(shape, CANARY, np.float32)
        locked.flags.writeable = False
        yield locked
        yield [[0.0] * 7] * 5
        yield np.broadcast_to(np.float32(CANARY), shape)


def told(function, arguments):
    """The exception of a call, or None."""
    try:
        function(**arguments)
    except (TypeError, ValueError, IndexError) as error:
        return error
    return None


def cases():
    """``(function, arguments, name, a text for the case)``."""
    for function, arguments in good().items():
        for name, value in arguments.items():
            for number, bad in enumerate(bad_values(value, name)):
                yield function, {**arguments, name: bad}, name, f"{function.__name__} {name} {number}"


def mixed(count):
    """Random shapes for every argument, most of which do not fit together."""
    rng = np.random.default_rng(1)
    functions = list(good().items())
    for number in range(count):
        function, arguments = functions[number % len(functions)]
        name = list(arguments)[rng.integers(len(arguments))]
        old = np.asarray(arguments[name])
        shape = tuple(rng.integers(0, 9, rng.integers(0, 4)))
        yield function, {**arguments, name: np.zeros(shape, old.dtype)}, name, f"{function.__name__} {name} {number}"


def _can_move(a):
    return type(a) is np.ndarray and a.dtype.char in "fdl?" and a.flags.writeable


def check(function, arguments, name, text):
    """Whether a case was refused as it should be; None if it was accepted."""
    held = {n: guarded(a, True) if _can_move(a) else a for n, a in arguments.items()}
    before = {n: a.copy() for n, a in held.items() if type(a) is np.ndarray}
    error = told(function, held)
    if error is None:
        return None
    message = str(error)
    assert len(message.splitlines()) <= 2, (text, message)
    # Of two shapes that do not fit either may be the one that is named.
    names = arguments if "shape" in message else [name]
    assert any(n in message for n in names), (text, message)
    for n, a in before.items():
        assert a.tobytes() == held[n].tobytes(), (text, n, "was written to")
    return True


def targets(count):
    """Random class indices, over all of int64 and near the ends of what is allowed."""
    rng = np.random.default_rng(2)
    x = guarded(rng.standard_normal((3, 7)).astype(np.float32), True)
    out = guarded(np.full((3, 7), CANARY, np.float32), True)
    refused = 0
    for number in range(count):
        low, high = ((-(2**63), 2**63 - 1), (-8, 16), (-102, -98))[number % 3]
        t = guarded(rng.integers(low, high, 3, endpoint=True), True)
        allowed = ((t >= 0) & (t < 7)) | (t == -100)
        for function in (nbsmce.cross_entropy, nbsmce.nll_loss):
            first = "logits" if function is nbsmce.cross_entropy else "log_probs"
            error = told(function, {first: x, "target": t})
            assert (error is None) == allowed.all(), (t, error)
        error = told(nbsmce.cross_entropy_with_grad, {"logits": x, "target": t, "out": out})
        if not allowed.all():
            first = int(np.argmin(allowed))
            assert type(error) is IndexError
            assert str(error).startswith(f"target[{first}] is {t[first]}, which is neither"), error
            assert (out == CANARY).all()
            refused += 1
        out[...] = CANARY
    return refused


if __name__ == "__main__":
    refused = sum(check(*case) is True for case in cases())
    also = sum(check(*case) is True for case in mixed(int(sys.argv[1])))
    sys.stdout.write(f"{refused} {also} {targets(int(sys.argv[2]))}")
