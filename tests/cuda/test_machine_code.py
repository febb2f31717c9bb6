"""Every family compiled for every generation of GPUs: registers, spills, and accesses of 16 bytes."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")

SKIP = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" or os.environ.get("NBSMCE_PTX") != "1"
pytestmark = pytest.mark.skipif(SKIP, reason="compiles for a minute or two: NBSMCE_PTX=1, without the simulator")
CAPABILITIES = (75, 80, 90, 100, 120)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_kernels_keep_rows_in_registers(capability, capsys):
    import machine_code

    some = list(machine_code.kernels(capability, thorough=False))
    if capability != 90:
        some = [k for k in some if k.name.endswith((", a block", ", a warp")) and " by " not in k.name]
    results = machine_code.table(capability, some)
    with capsys.disabled():
        print("\n" + machine_code.show(capability, results))
    assert len(results) == len(some) > 4
    for kernel, found in results:
        assert (found.spilled, found.stack, found.local) == (0, 0, 0), kernel.name
        assert found.registers <= kernel.budget(), kernel.name
        assert (found.loads, found.stores) == (kernel.loads, kernel.stores), kernel.name
