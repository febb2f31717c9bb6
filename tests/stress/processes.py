"""Code in processes of its own, which may die, hang or print what they should not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).parent
FULL = os.environ.get("NBSMCE_STRESS") == "full"


def scaled(short: int, full: int) -> int:
    """How often something is done."""
    return full if FULL else short


def run(code: str, *arguments: object, env: dict[str, str] | None = None, timeout: float = 300, **options):
    """Run Python code that can import what is beside this file; the process as it ended."""
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


def succeeded(code: str, *arguments: object, **options) -> str:
    """What code prints that must end well and say nothing on stderr."""
    done = run(code, *arguments, **options)
    assert (done.returncode, done.stderr) == (0, ""), f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
