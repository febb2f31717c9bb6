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
PLAIN = tuple(
    f"{work}, {family}"
    for work in (": softmax.work", ": cross_entropy.work, gradient")
    for family in ("whole", "section", "merged")
)
# What has spilled or had a stack before it was changed.
HARD = (
    "softmax.work, log, masked, whole", "logsumexp.work, masked, factors float32, whole", "work, spread, aux, whole",
    "gradient, spread, effective, aux, whole", "gradient, spread, probabilities float32, effective, aux, whole",
    "gradient, spread, probabilities bfloat16, effective, aux, whole",
    "gradient, spread, probabilities float32, aux, whole",
    "gradient, effective, aux, section_results", "through_softmax, log, section_states", "log, section_results",
)  # fmt: skip


def some(kernels):
    """Those with units of 16 bytes and of one number, and apart; and those that are about no row."""
    chosen = []
    for kernel in kernels:
        name = kernel.name
        wide = name.startswith(("float32 by 4", "bfloat16 by 8"))
        single = name.startswith(("float32 by 1:", "float32 by 0", "bfloat16 by 1:"))
        masks_in_turns = name.startswith("bfloat16 by 0: softmax.work, log, masked, whole") and "in turns" in name
        plain, hard = any(p in name for p in PLAIN), any(h in name for h in HARD)
        if not hasattr(kernel.make, "layout") or (wide and (plain or hard)) or (single and plain) or masks_in_turns:
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
