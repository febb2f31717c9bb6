"""Every family compiled for every generation of GPUs: registers, spills, and accesses of 16 bytes.

``NBSMCE_PTX=1`` compiles some kernels of every family, ``NBSMCE_PTX=every`` all that the planner can choose in the
layouts that are hardest on registers: some 2000 for each generation, of 2 to 3 s.
"""

from __future__ import annotations

import os

import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")

HOW = os.environ.get("NBSMCE_PTX")
SKIP = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" or HOW not in ("1", "every")
pytestmark = pytest.mark.skipif(SKIP, reason="compiles for minutes: NBSMCE_PTX=1 or every, without the simulator")
CAPABILITIES = (75, 80, 90, 100, 120)
DTYPES = ("float32", "bfloat16", "float16", "float64")
PARTS = 16
# Beside plain softmax and loss with gradient: what has spilled or had a stack before it was changed.
HARD = (
    "softmax.work, log, masked, whole 512", "logsumexp.work, masked, factors", "section_results 256x8",
    "loss, spread, aux", "gradient, spread, effective, aux, whole 512", "gradient, spread, probabilities",
    "through_softmax, log, section_states", "softmax.work, masked, whole 512x4 apart in turns",
)  # fmt: skip


def some(every):
    """Without nested strides the same once more is left out; float32 and bfloat16, by 16 bytes, by one, and apart."""
    chosen = []
    for kernel in every:
        name = kernel.name
        plain = "softmax.work, " in name and ("work, whole" in name or "work, section" in name)
        loss = "gradient, whole" in name or "gradient, section" in name
        hard = any(h in name for h in HARD)
        if name.startswith(("float32 by 4", "bfloat16 by 8")):
            chosen += [kernel] * (plain or loss or hard)
        elif name.startswith(("float32 by 1", "float32 by 0", "bfloat16 by 1")):
            chosen += [kernel] * (plain or loss)
        elif name.startswith("Copy") or not hasattr(kernel.make, "layout"):
            chosen.append(kernel)
    return chosen


def check(capability, kernels):
    import machine_code

    results = list(machine_code.table(capability, kernels))
    print(machine_code.show(capability, results))
    assert len(results) == len(kernels) > 4
    assert [kernel.name for kernel, found in results if machine_code.wrong(kernel, found)] == []


@pytest.mark.skipif(HOW != "1", reason="NBSMCE_PTX=1")
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_kernels_keep_rows_in_registers(capability):
    import planned

    kernels = some(planned.hardest(planned.kernels(capability, ["float32", "bfloat16"])))
    if capability != 90:
        kernels = [k for k in kernels if " whole 512" in k.name and " by 0" not in k.name]
    check(capability, kernels)


@pytest.mark.skipif(HOW != "every", reason="NBSMCE_PTX=every")
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_kernel_keeps_its_row_in_registers(capability, dtype, part):
    import planned

    check(capability, planned.hardest(planned.kernels(capability, [dtype]))[part::PARTS])
