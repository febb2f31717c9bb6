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
@pytest.mark.parametrize("words", [2, 4])
@pytest.mark.parametrize("numbers", [1, 2])
@pytest.mark.parametrize("vector", [True, False])
@pytest.mark.parametrize("narrow", [True, False])
def test_a_team_holds_its_row(words, numbers, vector, narrow):
    longest = 0
    for classes in (*range(70), 127, 128, 129, 1000, 4096, 8192, 8193, 16384, 16385, 32768, 50257, 65536):
        rows = layout.Rows(5, 1, classes, (layout.Strides(classes, 0, 1),))
        team = layout.resident(rows, words, numbers, vector, narrow)
        if team is not None:
            held = team.section * (words * numbers if vector else 1)
            assert held >= classes
            assert team.threads * team.teams % layout.WARP == 0
            assert team.threads * team.teams <= 1024
            longest = max(longest, classes)
        else:
            assert classes > longest
        assert layout.resident(rows._replace(rows=1 << 40), words, numbers, vector, narrow) == team  # in any batch
    assert longest >= 4096


def test_neighbouring_threads_read_neighbouring_addresses():
    rows = layout.rows_of((8, 100, 64), (1,), ((6400, 64, 1),))
    team = layout.resident(rows, 4, 1, False)
    assert (team.apart, team.nested, team.loop) == (True, True, True)
    assert not layout.resident(layout.rows_of((8, 100), (1,), ((100, 1),)), 4, 1, True).apart


def test_alignment():
    strides = layout.Strides(1024, 0, 1)
    assert layout.aligned(1 << 20, 4, strides, 1024)
    assert not layout.aligned((1 << 20) + 8, 4, strides, 1024)
    assert not layout.aligned(1 << 20, 2, strides, 1020)
    assert not layout.aligned(1 << 20, 4, strides._replace(outer=1022), 1024)
    assert not layout.aligned(1 << 20, 4, strides._replace(step=2), 1024)
