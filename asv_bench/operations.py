"""How many vector operations a kernel does for each number, counted while it runs as Python.

    python asv_bench/operations.py softmax_out 16x1000 cross_entropy 16x1000

With the JIT off the kernels run step by step on vectors of sixteen (``nbsmce._cpu.lanes.python``). Every step that is
an instruction of arithmetic is counted as one on sixteen float32 and as two on float64, which take two registers; what
only moves, names or reinterprets numbers is not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

STEPS = {
    *(f"Vector.__{name}__" for name in ("add", "sub", "mul", "truediv", "rsub", "rmul", "rtruediv", "neg")),
    *(f"Vector.__{name}__" for name in ("lshift", "rshift", "and", "or", "lt", "gt", "ge", "eq", "ne")),
    *("fma", "absolute", "select", "larger", "wide", "narrow", "to_integer", "to_float"),
}
ACROSS = {"lane_sum": 4, "lane_max": 4, "lane_min": 4, "count_lanes": 1, "any_lane": 1}  # steps of halving


def counted(call: Callable[[], object]) -> int:
    """Operations on vectors of sixteen float32, or of eight float64."""
    from nbsmce._cpu.lanes import python

    total = 0

    def watch(frame: FrameType, event: str, _: Any) -> None:
        nonlocal total
        code = frame.f_code
        if event != "call" or code.co_filename != python.__file__:
            return
        times = 1 if code.co_qualname in STEPS else ACROSS.get(code.co_qualname, 0)
        if times:
            vectors = [v for v in frame.f_locals.values() if isinstance(v, python.Vector)]
            wide = any(v.dtype.itemsize == 8 for v in vectors) or code.co_qualname == "wide"
            total += times * (1 + wide) * bool(vectors)

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    return total


def each_number(cases: list[tuple[str, str]]) -> list[float]:
    """For each operation and shape the operations for a number, counted in a process without the JIT."""
    command = [sys.executable, __file__, *(text for case in cases for text in case)]
    env = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
    return list(json.loads(told))


def _count(operation: str, shape: str) -> float:
    from benchmarks.cases import Inputs
    from benchmarks.libraries import build

    inputs = Inputs(shape)
    call = build("nbsmce", operation, inputs, 1)
    return counted(call) / inputs.x.size


if __name__ == "__main__":
    print(json.dumps([_count(*case) for case in zip(sys.argv[1::2], sys.argv[2::2], strict=True)]))
