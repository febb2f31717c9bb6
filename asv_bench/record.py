"""Measure commits on this machine and publish the dashboard, in one command.

    python asv_bench/record.py MACHINE                     # the last five commits of main
    python asv_bench/record.py MACHINE -n 20 main          # what "git rev-list" prints for these words
    python asv_bench/record.py MACHINE v0.1.0..main -- --bench "^softmax"   # after "--": for "asv run"

What has been measured already is left out, so a run that was interrupted goes on. MACHINE is the name in the graphs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from machine import RESULTS, announce, describe
from publish import publish

HERE = Path(__file__).parent


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    name, *words = sys.argv[1:]
    options = words[words.index("--") + 1 :] if "--" in words else []
    commits = words[: len(words) - len(options) - 1] if "--" in words else words
    told = ["git", "rev-list", "--first-parent", *(commits or ["-n", "5", "main"])]
    hashes = subprocess.run(told, cwd=HERE, check=True, capture_output=True, text=True).stdout
    announce(name)
    command = [sys.executable, "-m", "asv", "run", "--machine", name, "--skip-existing-commits", "--show-stderr"]
    status = subprocess.run([*command, *options, "HASHFILE:-"], cwd=HERE, input=hashes, text=True).returncode
    if not (RESULTS / name).exists():
        return status or 1
    describe(name)
    publish(HERE / "html")
    return status  # 2: a benchmark has failed at some commit


if __name__ == "__main__":
    raise SystemExit(main())
