"""The kernel of the negative log-likelihood and its gradient, which look at one class of each row."""

from __future__ import annotations

from numba import float64, int64

from .._compile import TEAM, Kernels, array, kernel
from .lanes import branch, in_njit, peek, select, wide, zeros
from .lanes.storage import computed_type
from .parallel import in_parallel
from .targets import add_rows, at_targets, optional_of_rows, put_at_targets, row_targets
from .units import put_rows, unit_count, units


def _each(lo, hi, slot, x, target, weight, sample, dloss, loss, weighted, dx, upstream, ignore_index):
    for u in units(x, lo, hi):
        rows = row_targets(target, weight, ignore_index, u)
        share = rows.weight * optional_of_rows(sample, u, 1.0)

        def losses(u=u, rows=rows, share=share):
            x_t = wide(at_targets(x, u, rows.target))
            value = select(rows.live & (rows.weight != 0.0), zeros(share) - share * x_t, zeros(share))
            branch(loss.shape[0] > 0, lambda: put_rows(loss.p, u, value))
            branch(weighted.shape[0] > 0, lambda: put_rows(weighted.p, u, value))

        def gradient(u=u, rows=rows, share=share):
            above = optional_of_rows(dloss, u, 1.0) * peek(upstream.p, 0)
            put_at_targets(dx, u, rows, zeros(share) - share * above)

        branch(dx.shape[0] > 0, gradient, losses)


@in_njit
def _nll(
    x, target, weight, sample, dloss, loss, weighted, dx, upstream, ignore_index, sums, grain, launcher, threads
):  # fmt: skip
    in_parallel(
        _each, unit_count(x), grain, launcher, threads, x, target, weight, sample, dloss, loss, weighted, dx, upstream,
        ignore_index,
    )  # fmt: skip
    return add_rows(weighted, sums)


def _signature(ndim, t):
    f = computed_type(t)
    rows, sums = array(f, 1), array(float64, 1)
    given = array(t, ndim), array(int64, 1), rows, rows, rows
    return *given, rows, sums, array(t, ndim), sums, int64, array(float64, 2), *TEAM


@kernel(_signature)
def nll(x, target, weight, sample, dloss, loss, weighted, dx, upstream, ignore_index, sums, grain, launcher, threads):
    """The losses, or the gradient at the targets if ``dx`` is given; returns the sum as ``cross_entropy`` does."""
    return _nll(
        x, target, weight, sample, dloss, loss, weighted, dx, upstream, ignore_index, sums, grain, launcher, threads
    )  # fmt: skip


NLL = Kernels(nll, None, None, None)
