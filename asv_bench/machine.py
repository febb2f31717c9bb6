"""The machine that results belong to: ``python asv_bench/machine.py NAME``, before and after a run.

Every field of a machine that asv knows while it measures splits the graphs when it changes, a new kernel, say. So it
is told the name alone; what the machine is made of is written beside the results, for the dashboard to show.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from asv.machine import Machine

RESULTS = Path(__file__).parent / "results"


def announce(name: str) -> None:
    """Make the name known to asv on this computer."""
    path = Path.home() / ".asv-machine.json"
    known = json.loads(path.read_text()) if path.exists() else {"version": 1}
    known[name] = {"machine": name}
    path.write_text(json.dumps(known, indent=4) + "\n")


def gpu() -> dict[str, str]:
    """The first NVIDIA GPU, if there is one."""
    if shutil.which("nvidia-smi") is None:
        return {}
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    told = subprocess.run(query, capture_output=True, text=True)
    values = told.stdout.splitlines()[0].split(", ") if told.returncode == 0 and told.stdout else []
    return dict(zip(("gpu", "gpu_driver", "gpu_memory"), values, strict=False))


def describe(name: str, results: Path = RESULTS) -> None:
    """Write what the machine is made of beside its results."""
    hardware = {key: str(value) for key, value in Machine.get_defaults().items() if key != "machine"}
    description = {**hardware, **gpu(), "machine": name, "version": 1}
    (results / name / "machine.json").write_text(json.dumps(description, indent=4) + "\n")


if __name__ == "__main__":
    (machine,) = sys.argv[1:]
    announce(machine)
    if (RESULTS / machine).exists():
        describe(machine)
