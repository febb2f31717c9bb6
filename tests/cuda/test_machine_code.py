"""Every family compiled for every generation of GPUs: registers, spills, and accesses of 16 bytes.

``NBSMCE_PTX=1`` compiles some kernels of every family; all that the planner can choose are compiled by
``machine_code.py`` as a program, which takes more than an hour.
"""

from __future__ import annotations

import collections
import os
import re

import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")

SKIP = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" or os.environ.get("NBSMCE_PTX") != "1"
pytestmark = pytest.mark.skipif(SKIP, reason="compiles for minutes: NBSMCE_PTX=1, without the simulator")
CAPABILITIES = (75, 80, 90, 100, 120)
PLAIN = tuple(
    f"{work}, {family}"
    for work in (": softmax.work", ": cross_entropy.work, gradient")
    for family in ("whole", "section", "merged", "clustered")
)
# What has spilled or had a stack before it was changed.
HARD = (
    "softmax.work, log, masked, whole", "logsumexp.work, masked, factors float32, whole", "work, spread, aux, whole",
    "gradient, spread, effective, aux, whole", "gradient, spread, probabilities float32, effective, aux, whole",
    "gradient, spread, probabilities bfloat16, effective, aux, whole",
    "gradient, spread, probabilities float32, aux, whole",
    "gradient, effective, aux, section_results", "through_softmax, log, section_states", "log, section_results",
    "gradient, probabilities float32, aux, clustered", "through_softmax, clustered", "softmax.work, masked, clustered",
)  # fmt: skip
# The same of rows side by side, or with classes some step apart.
HARD_APART = (
    "bfloat16 by 0: softmax.work, log, masked, whole", "bfloat16 by 0: cross_entropy.work, gradient, aux, whole",
    "bfloat16 by 0: cross_entropy.work, gradient, spread, probabilities bfloat16, aux, whole",
    "float32 by 0: cross_entropy.work, gradient, spread, aux,",
)  # fmt: skip
# In blocks of 256 and 128 threads it took 150 registers, before it was told how many blocks must have room.
IN_SMALL_BLOCKS = [f"float32 by 4: gradients.through_softmax, whole {threads}x8 nested" for threads in (128, 256)]


def some(kernels):
    """Those with units of 16 bytes and of one number, and apart; and those that are about no row."""
    chosen = []
    for kernel in kernels:
        name = kernel.name
        wide = name.startswith(("float32 by 4", "bfloat16 by 8"))
        single = name.startswith(("float32 by 1:", "float32 by 0", "bfloat16 by 1:"))
        plain, hard = any(p in name for p in PLAIN), any(h in name for h in HARD)
        of_rows = hasattr(kernel.make, "layout")
        if not of_rows or (wide and (plain or hard)) or (single and plain) or name.startswith(HARD_APART):
            chosen.append(kernel)
    return chosen


def instructions(text):
    """How often each is in PTX."""
    return collections.Counter(re.findall(r"^\t(?:@!?%p\d+ )?([a-z][\w.:]*)", text, re.MULTILINE))


def test_what_is_compiled_once_is_what_each_gpu_would_get():
    import machine_code
    import planned

    import nbsmce

    def start():
        for at in planned.arrangements("float16", 4096):
            nbsmce.softmax(at.array(1, "float16"), at.axis)

    found = [planned.recorded(capability, start) for capability in (90, 80, 75)]
    assert len(found[0]) == len(found[1]) == len(found[2]) > 8
    for of_90, of_80, of_75 in zip(*found, strict=True):
        together = dict(machine_code.ptx({90: of_90, 80: of_80, 75: of_75}))
        for capability, kernel in ((80, of_80), (75, of_75)):
            alone = dict(machine_code.ptx({capability: kernel}))
            assert instructions(together[capability]) == instructions(alone[capability]), kernel.name


def check(capability, kernels):
    import machine_code

    results = list(machine_code.table({capability: kernel} for kernel in kernels))
    print(machine_code.HEADING, *(machine_code.line(*result) for result in results), sep="\n")
    assert len(results) == len(kernels) > 4
    assert [kernel.name for _, kernel, found in results if machine_code.wrong(kernel, found)] == []


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_kernels_keep_rows_in_registers(capability):
    import planned

    every = planned.kernels(capability, ["float32", "bfloat16"])
    kernels = some(planned.hardest(every).values())
    if capability != 90:
        long = [k for k in kernels if re.search(" (whole 512|clustered )", k.name) and " by 0" not in k.name]
        kernels = long + [k for k in kernels if k.name.startswith(HARD_APART)]
    else:
        kernels += [k for k in every if k.name in IN_SMALL_BLOCKS]
    check(capability, kernels)
