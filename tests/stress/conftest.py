"""The stress suite: ``python -m pytest tests/stress``, minutes; with ``NBSMCE_STRESS=full`` hours, for nightly runs.

It is collected only where ``NBSMCE_STRESS`` asks for it, since it takes the machine to its limits.
docs/reliability.md has what it found.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # processes.py and calls.py

collect_ignore_glob = [] if os.environ.get("NBSMCE_STRESS") in ("short", "full") else ["*"]


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """The environment of processes that find all kernels compiled, once ``results`` has been made."""
    return {"NBSMCE_CACHE_DIR": str(tmp_path_factory.mktemp("cache")), "NBSMCE_CACHE": "1"}


@pytest.fixture(scope="session")
def results(tmp_path_factory, warm):
    """A file with the bytes that :mod:`calls` must give, from one thread."""
    from processes import succeeded

    path = tmp_path_factory.mktemp("results") / "bytes"
    succeeded("import sys, calls; calls.record(sys.argv[1])", path, env=warm)
    return path
