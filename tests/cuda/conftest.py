"""Where the tests of the GPU backend run: in Numba's simulator, with few threads, on a GPU, or on an emulated one.

Without ``NUMBA_ENABLE_CUDASIM=1`` and without a GPU, the tests that start kernels are skipped, and say so. With
``EMULATED_KERNELS``, a folder for kernels, they are run by ``emulator``, whose driver must be the process's.
"""

from __future__ import annotations

import os

import pytest

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"

if "EMULATED_KERNELS" in os.environ:
    import emulator

    from nbsmce._cuda import launch

    launch.linked = emulator.linked


def _reason() -> str | None:
    from nbsmce._cuda import driver

    return driver.problem()


def pytest_collection_modifyitems(items):
    wanted = [item for item in items if item.get_closest_marker("cuda")]
    reason = _reason() if wanted else None
    for item in wanted:
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"neither a GPU nor NUMBA_ENABLE_CUDASIM=1: {reason}"))


@pytest.fixture(autouse=True)
def few_threads(monkeypatch):
    """A simulated thread is a thread: blocks are made as small as they can be."""
    if not SIMULATED:
        return
    from nbsmce._cuda import calls, copies, layout, nll, reductions

    calls.forget()
    monkeypatch.setattr(reductions, "THREADS", 4)
    monkeypatch.setattr(reductions, "SLICE", 64)
    monkeypatch.setattr(nll, "THREADS", 4)
    monkeypatch.setattr(copies, "THREADS", 16)
    monkeypatch.setattr(layout, "BLOCK", 4)
    monkeypatch.setattr(layout, "SIDE_BY_SIDE", 4)


@pytest.fixture
def short_teams(monkeypatch):
    """Rows of more than 8 chunks are long: they are given to 2 warps, from 64 chunks on in sections of 64.

    Those that have half as many chunks a thread on a GPU have half as many here, too.

    On a GPU nothing changes, and rows must be LONGER (``gpu.py``).
    """
    if not SIMULATED:
        return
    from nbsmce._cuda import calls, layout

    calls.forget()
    teams = ((1, 1, 1), (8, 8, 1), (64, 64, 1))
    monkeypatch.setattr(layout, "TEAMS", dict.fromkeys(layout.TEAMS, teams))
    monkeypatch.setattr(layout, "SECTIONS", {8: (64, 1), 4: (32, 1), 2: (32, 1)})
