"""From shapes and strides to rows, and from rows to threads: arithmetic, checked by going through all elements."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest

from nbsmce._cuda import layout


def elements(array, axes):
    """The addresses of the elements of every row, from the array itself."""
    moved = np.moveaxis(array, axes, range(array.ndim - len(axes), array.ndim))
    return moved.reshape(int(np.prod(moved.shape[: array.ndim - len(axes)], dtype=int)), -1)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2), (0, 2)])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_rows_are_those_of_the_array(axes, order):
    memory = np.arange(4 * 1 * 6 * 5).reshape(4, 6, 5)[::2, 1:, ::-1]
    array = memory.transpose(order)
    strides = tuple(s // array.itemsize for s in array.strides)
    rows = layout.rows_of(array.shape, axes, (strides, strides))
    if rows is None:
        assert len(axes) >= 2  # class axes that are not one stride
        return
    first, found = int(array[(0, 0, 0)]), rows.arrays[1]
    ours = [
        [
            first + (r // rows.inner) * found.outer + (r % rows.inner) * found.inner + c * found.step
            for c in range(rows.classes)
        ]
        for r in range(rows.rows)
    ]
    np.testing.assert_array_equal(ours, elements(array, axes))


@pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="the simulator has teams of its own")
@pytest.mark.parametrize("numbers", [2, 4, 8])
@pytest.mark.parametrize("most", [8, 4, 2])
def test_a_team_holds_its_row_and_is_the_same_however_rows_lie(numbers, most):
    longest = 0
    for classes in (*range(70), 127, 128, 129, 1000, 2048, 4096, 8192, 8193, 16384, 16385, 32768, 50257, 65536):
        rows = layout.Rows(5, 1, classes, (layout.Strides(classes, 0, 1),))
        team = layout.resident(rows, numbers, most)
        apart = layout.resident(rows._replace(rows=1 << 40, arrays=(layout.Strides(1, 0, 5),)), numbers, most)
        assert (team is None) == (apart is None)
        if team is not None:
            assert team.section * numbers >= classes
            for some in (team, apart):
                x, y = some.shape
                assert x * y % layout.WARP == 0
                assert x * y <= 1024
            assert not team.loop
            assert (apart.threads, apart.chunks, apart.apart) == (team.threads, team.chunks, True)
            assert apart.turns * apart.lanes == apart.threads
            longest = max(longest, classes)
        else:
            assert classes > longest
        assert layout.resident(rows._replace(rows=1 << 40), numbers, most) == team  # in any batch
    assert longest >= 512 * most * numbers


def test_neighbouring_threads_read_neighbouring_addresses():
    rows = layout.rows_of((8, 100, 64), (1,), ((6400, 64, 1),))
    team = layout.resident(rows, 4)
    assert (team.apart, team.nested, team.loop) == (True, True, False)
    assert not layout.resident(layout.rows_of((8, 100), (1,), ((100, 1),)), 4).apart


@pytest.mark.parametrize(
    ("address", "dtype", "outer", "step", "classes", "unit"),
    [
        (0, "float32", 1024, 1, 1024, 4),
        (8, "float32", 1024, 1, 1024, 2),
        (4, "float32", 1024, 1, 1024, 1),
        (0, "float16", 1024, 1, 1020, 4),
        (0, "float16", 50257, 1, 50257, 1),
        (12, "bfloat16", 1024, 1, 1024, 2),
        (0, "float32", 1022, 1, 1020, 2),
        (0, "float64", 1024, 1, 1024, 2),
        (0, "float32", 1024, 2, 1024, 0),
        (0, "float32", 1024, -1, 1024, 0),
    ],
)
def test_what_is_accessed_at_a_time(address, dtype, outer, step, classes, unit):
    assert layout.unit_of(address, dtype, layout.Strides(outer, 0, step), classes) == unit


def test_a_loss_and_its_gradient_have_the_same_team():
    """And so has every way of access: how many chunks a thread has is part of the order of a sum."""
    from nbsmce._cuda.cross_entropy import Variant, chunks

    for dtype, spread, other, effective, aux in itertools.product(
        ("float32", "bfloat16"), (False, True), ("", "float32", "bfloat16"), (False, True), (False, True)
    ):
        most = {
            chunks(Variant(dtype, unit, capability, gradient, spread, other, effective, aux, from_lse))
            for unit, capability in ((0, 75), (1, 90), (4, 120))
            for gradient, from_lse in itertools.product((False, True), repeat=2)
        }
        assert len(most) == 1
        assert most <= set(layout.TEAMS)
