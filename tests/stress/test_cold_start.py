"""R12: processor seconds until there is something, each the best of several processes."""

from __future__ import annotations

import pytest
from processes import scaled, succeeded

PROBE = "import time; {}; print(time.process_time())"
FIRST = "import numpy as np, nbsmce; nbsmce.softmax(np.ones((3, 4), np.float32))"


def best(env, *codes):
    """Of processes that take turns."""
    rounds = [[float(succeeded(PROBE.format(code), env=env)) for code in codes] for _ in range(scaled(10, 50))]
    return [min(times) for times in zip(*rounds, strict=True)]


def test_import(warm):
    numpy, package = best(warm, "import numpy", "import nbsmce")
    assert package < 1.1 * numpy, (package, numpy)


def test_nothing_heavy_is_imported():
    code = """
    import sys
    import nbsmce
    assert not {"numba", "llvmlite", "torch", "scipy"} & set(sys.modules)
    """
    succeeded(code)


@pytest.mark.parametrize(("cache", "limit"), [("1", 0.6), ("0", 2.0)])
def test_first_result(results, warm, cache, limit):
    (taken,) = best({**warm, "NBSMCE_CACHE": cache}, FIRST)
    assert taken < limit, taken


def test_scipy_is_not_imported_for_a_stored_kernel(results, warm):
    """Numba looks at its version alone; before it compiles it imports ``scipy.linalg``."""
    pytest.importorskip("scipy")
    succeeded(FIRST + "\nimport sys; assert 'scipy.linalg' not in sys.modules", env=warm)
