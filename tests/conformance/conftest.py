"""The tests of other libraries, run on nbsmce; collected only where NBSMCE_CONFORMANCE=1 asks for it.

They come from the installed torch==2.13.0 (with expecttest, which its test databases import), SciPy and onnx.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

collect_ignore_glob = [] if os.environ.get("NBSMCE_CONFORMANCE") == "1" else ["*"]

pytest.register_assert_rewrite("bounds")

_MARKERS = ("skip_xp_backends", "xfail_xp_backends")


def pytest_configure(config):
    for name in _MARKERS:  # SciPy's tests carry them; the one backend here is NumPy, to which none of them applies
        config.addinivalue_line("markers", f"{name}(*args, **kwargs): SciPy's, without effect here")


def pytest_terminal_summary(terminalreporter):
    """How many cases each source had, and why some of them did not run."""
    here = Path(__file__).parent.name
    outcomes, reasons = Counter(), Counter()
    for outcome in ("passed", "failed", "error", "skipped", "xfailed"):
        for report in terminalreporter.stats.get(outcome, []):
            path = Path(report.nodeid.partition("::")[0])
            if path.parent.name != here:
                continue
            outcomes[path.name, outcome] += 1
            if outcome == "skipped":
                reasons[path.name, report.longrepr[2].removeprefix("Skipped: ")] += 1
    if outcomes:
        terminalreporter.section("conformance")
    for (source, outcome), count in sorted(outcomes.items()):
        terminalreporter.line(f"{source}: {count} {outcome}")
    for (source, reason), count in sorted(reasons.items()):
        terminalreporter.line(f"{source}: {count} skipped: {reason}")
