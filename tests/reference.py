"""The functions by their definitions, in extended precision where NumPy has it. Imports nothing of the library.

Written to be obvious: one row at a time, every formula as it stands in the documentation.
"""

from __future__ import annotations

import numpy as np

WIDE = np.longdouble


def rows_of(x, axes):
    """``x`` as (rows, classes) and the shape of the rows."""
    x = np.asarray(x)
    axes = range(x.ndim) if axes is None else np.atleast_1d(axes) % max(x.ndim, 1)
    batch = [i for i in range(x.ndim) if i not in axes]
    moved = x.transpose([*batch, *sorted(int(a) for a in axes)]) if x.ndim else x.reshape(1)
    shape = tuple(x.shape[i] for i in batch)
    return moved.reshape(int(np.prod(shape, dtype=int)), -1 if moved.size else moved.shape[-1]), shape


def along(function, x, axes, *others):
    """Apply a function of rows to every row of arrays of one shape, and give the results their place back."""
    x = np.asarray(x)
    if x.size == 0:
        return np.zeros(x.shape, WIDE)
    all_axes = sorted(range(x.ndim)) if axes is None else sorted(int(a) % max(x.ndim, 1) for a in np.atleast_1d(axes))
    batch = [i for i in range(x.ndim) if i not in all_axes]
    rows, _ = rows_of(x, axes)
    more = [rows_of(o, axes)[0] for o in others]
    result = np.array([function(row, *[m[i] for m in more]) for i, row in enumerate(rows)], WIDE)
    moved = result.reshape([x.shape[i] for i in [*batch, *all_axes]])
    return moved.transpose(np.argsort([*batch, *all_axes])) if x.ndim else moved.reshape(())


def softmax_row(x, where=None):
    x = np.asarray(x, WIDE)
    where = np.ones(x.shape, bool) if where is None else np.asarray(where, bool)
    result = np.zeros(x.shape, WIDE)
    if where.any():
        with np.errstate(all="ignore"):
            e = np.exp(x[where] - x[where].max())
            result[where] = e / e.sum()
    return result


def log_softmax_row(x, where=None):
    x = np.asarray(x, WIDE)
    where = np.ones(x.shape, bool) if where is None else np.asarray(where, bool)
    result = np.full(x.shape, -np.inf, WIDE)
    if where.any():
        with np.errstate(all="ignore"):
            d = x[where] - x[where].max()
            others = np.delete(np.exp(d), d.argmax())
            result[where] = d - np.log1p(others.sum())
            if not np.isfinite(x[where].max()):
                result[where] = np.nan  # as the softmax is
    return result


def logsumexp_row(x, where=None, b=None):
    x = np.asarray(x, WIDE)
    b = np.ones(x.shape, WIDE) if b is None else np.asarray(b, WIDE)
    keep = (b != 0) if where is None else (b != 0) & np.asarray(where, bool)
    x, b = x[keep], b[keep]
    with np.errstate(all="ignore"):
        if np.isnan(x).any():
            return WIDE(np.nan)
        if x.size == 0 or x.max() == -np.inf:
            return WIDE(-np.inf)
        m = x.max()
        if m == np.inf:
            return m
        d = x - m
        first = d.argmax()
        rest = (b[first] - 1) + np.delete(b * np.exp(d), first).sum()
        return m + np.log1p(rest)


def logsumexp(x, axes, where=None, b=None):
    rows, shape = rows_of(x, axes)
    masks = [None] * len(rows) if where is None else rows_of(np.broadcast_to(where, np.shape(x)), axes)[0]
    factors = [None] * len(rows) if b is None else rows_of(np.broadcast_to(b, np.shape(x)), axes)[0]
    values = [logsumexp_row(r, m, f) for r, m, f in zip(rows, masks, factors, strict=True)]
    return np.array(values, WIDE).reshape(shape)


def softmax(x, axes=-1, where=None):
    where = None if where is None else np.broadcast_to(where, np.shape(x))
    return along(softmax_row, x, axes) if where is None else along(softmax_row, x, axes, where)


def log_softmax(x, axes=-1, where=None):
    where = None if where is None else np.broadcast_to(where, np.shape(x))
    return along(log_softmax_row, x, axes) if where is None else along(log_softmax_row, x, axes, where)


def softmax_backward(dy, y, axes=-1):
    return along(lambda g, p: p * (g - (g * p).sum()), np.asarray(dy, WIDE), axes, np.asarray(y, WIDE))


def log_softmax_backward(dy, y, axes=-1):
    return along(lambda g, z: g - np.exp(z) * g.sum(), np.asarray(dy, WIDE), axes, np.asarray(y, WIDE))


# -- losses ------------------------------------------------------------------------------------------------------------


def loss_row(logits, q, ignored=False, z_loss=0.0, logit_scale=1.0, softcap=None):
    """Loss and gradient of one row with the target mass ``q``: ``Q lse - sum(q x) + z lse**2``."""
    logits, q = np.asarray(logits, WIDE), np.asarray(q, WIDE)
    if ignored:
        return WIDE(0), np.zeros(logits.shape, WIDE)
    x, slope = logits * WIDE(logit_scale), WIDE(logit_scale)
    if softcap is not None:
        cap = WIDE(softcap)
        x = cap * np.tanh(x / cap)
        slope = slope * (1 - (x / cap) ** 2)
    with np.errstate(all="ignore"):
        lse, p = logsumexp_row(x), softmax_row(x)
        log_p = log_softmax_row(x)
        loss = -np.where(q == 0, 0, q * log_p).sum() + WIDE(z_loss) * lse**2
        gradient = ((q.sum() + 2 * WIDE(z_loss) * lse) * p - q) * slope
    return loss, gradient


def target_mass(target, classes, weight, smoothing):
    """``w_c ((1 - e) y_c + e / C)``, ``target`` a class or probabilities."""
    y = np.zeros(classes, WIDE)
    if np.ndim(target):
        y[:] = target
    elif 0 <= target < classes:
        y[target] = 1
    w = np.ones(classes, WIDE) if weight is None else np.asarray(weight, WIDE)
    return w * ((1 - WIDE(smoothing)) * y + WIDE(smoothing) / classes)


def cross_entropy(
    logits, target, axis=-1, weight=None, sample_weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0,
    z_loss=0.0, logit_scale=1.0, softcap=None, dloss=None,
):  # fmt: skip
    """``(loss, gradient)``."""
    logits, target = np.asarray(logits, WIDE), np.asarray(target)
    moved = np.moveaxis(logits, axis, -1)
    shape, classes = moved.shape[:-1], moved.shape[-1]
    probabilities = target.dtype.kind not in "iu" and target.shape == logits.shape
    targets = np.moveaxis(target, axis, -1) if probabilities else target
    s = np.ones(shape, WIDE) if sample_weight is None else np.asarray(sample_weight, WIDE)
    losses, gradient, denominator = np.zeros(shape, WIDE), np.zeros(moved.shape, WIDE), WIDE(0)
    for i in np.ndindex(*shape):
        ignored = not probabilities and int(targets[i]) == ignore_index
        q = target_mass(targets[i] if probabilities else int(targets[i]), classes, weight, label_smoothing)
        losses[i], gradient[i] = loss_row(moved[i], q, ignored, z_loss, logit_scale, softcap)
        losses[i] *= s[i]
        gradient[i] *= s[i]
        if probabilities:
            denominator += s[i]
        elif not ignored:
            denominator += s[i] * (1 if weight is None else WIDE(np.asarray(weight)[int(targets[i])]))
    above = np.ones(shape, WIDE) if dloss is None else np.broadcast_to(np.asarray(dloss, WIDE), shape)
    loss = losses
    with np.errstate(all="ignore"):
        if reduction != "none":
            loss = losses.sum()
        if reduction == "mean":
            loss = loss / denominator
            above = np.where((gradient != 0).any(-1), above / denominator, 0)
        gradient = gradient * above[..., None]
    return loss, np.moveaxis(gradient, -1, axis)
