"""The kernel of the cross entropy, its gradient, or both in one pass over the logits."""

from __future__ import annotations

from math import nan

from numba import float64, int64, intp

from .._compile import MEMORY, STATES, Kernels, array, kernel
from .lanes import in_njit
from .lanes.storage import computed_type
from .loss_units import CrossEntropy
from .passes import two_passes
from .sums import NO_CLASS
from .targets import begin

_whole, _bundled, _tiled, _split = two_passes(CrossEntropy)
_begin = in_njit(begin)


def _signature(ndim, t, y):
    f = computed_type(t)
    rows, counts, sums = array(f, 1), array(int64, 1), array(float64, 1)
    given = array(t, ndim), array(y, ndim), counts, rows, rows, rows, rows
    wanted = rows, sums, rows, rows, counts, array(t, ndim)
    return *given, *wanted, sums, int64, intp, array(float64, 2)


@kernel(lambda ndim, t, y: (*_signature(ndim, t, y), *MEMORY))
def cross_entropy(
    x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers, ignore_index,
    streamed, sums, scratch, grain, launcher, threads,
):  # fmt: skip
    """The results of :class:`~.loss_units.Wanted`; returns the sum of the losses and of the earlier ones in ``sums``.

    If it looks at the targets, it returns the mean for a mean, and NaN where one is no class, having written nothing.
    """
    if _begin(x, target, weight, sample, numbers, ignore_index) != NO_CLASS:
        return nan
    return _whole(
        x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers,
        ignore_index, streamed, sums, scratch, grain, launcher, threads,
    )  # fmt: skip


@kernel(lambda ndim, t, y: (*_signature(ndim, t, y), *MEMORY))
def bundled_cross_entropy(
    x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers, ignore_index,
    streamed, sums, scratch, grain, launcher, threads,
):  # fmt: skip
    """The same for rows abreast in bundles."""
    if _begin(x, target, weight, sample, numbers, ignore_index) != NO_CLASS:
        return nan
    return _bundled(
        x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers,
        ignore_index, streamed, sums, scratch, grain, launcher, threads,
    )  # fmt: skip


@kernel(lambda ndim, t, y: (*_signature(ndim, t, y), *MEMORY))
def tiled_cross_entropy(
    x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers, ignore_index,
    streamed, sums, scratch, grain, launcher, threads,
):  # fmt: skip
    """The same for rows of few classes in tiles."""
    if _begin(x, target, weight, sample, numbers, ignore_index) != NO_CLASS:
        return nan
    return _tiled(
        x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers,
        ignore_index, streamed, sums, scratch, grain, launcher, threads,
    )  # fmt: skip


@kernel(lambda ndim, t, y: (*_signature(ndim, t, y), STATES, *MEMORY))
def split_cross_entropy(
    x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers, ignore_index,
    streamed, sums, states, scratch, grain, launcher, threads,
):  # fmt: skip
    """The same for few long rows."""
    return _split(
        x, y, target, weight, sample, dloss, given_lse, loss, weighted, lse, z_loss, predicted, dx, numbers,
        ignore_index, streamed, sums, states, scratch, grain, launcher, threads,
    )  # fmt: skip


CROSS_ENTROPY = Kernels(cross_entropy, bundled_cross_entropy, tiled_cross_entropy, split_cross_entropy)
