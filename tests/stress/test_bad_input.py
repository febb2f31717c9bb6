"""R5: bad input of every kind, in a process that forbidden pages would end."""

from __future__ import annotations

import os

import pytest
from processes import scaled, succeeded


@pytest.mark.skipif(os.name != "posix", reason="mprotect is a function of POSIX")
def test_bad_input(results, warm):
    """Refused with a short sentence that names the argument, before anything is written."""
    mixed, targets = scaled(2000, 100_000), scaled(10_000, 100_000)
    told = succeeded("import runpy; runpy.run_module('bad_input', run_name='__main__')", mixed, targets, env=warm)
    single, of_mixed, of_targets = map(int, told.split())
    assert single > 1400
    assert of_mixed > 0.9 * mixed
    assert of_targets > 0.9 * targets
