"""The benchmarks are a package below asv_bench, for asv and for these tests."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
sys.path.insert(0, str(HERE))


class Asv:
    """asv on this checkout, with results and machines in a folder of its own."""

    def __init__(self, folder):
        self.folder, self.config = folder, folder / "asv.conf.json"
        text = re.sub(r"^\s*//.*$", "", (HERE / "asv.conf.json").read_text(), flags=re.M)
        values = json.loads(text) | {"repo": str(HERE.parent), "benchmark_dir": str(HERE / "benchmarks")}
        values |= {"results_dir": str(folder / "results"), "html_dir": str(folder / "html"), "branches": ["HEAD"]}
        self.config.write_text(json.dumps(values))

    def run(self, machine, benchmarks, *options):
        """One quick run in the present environment."""
        known = {"version": 1, machine: {"machine": machine}}
        (self.folder / ".asv-machine.json").write_text(json.dumps(known))
        home = {**os.environ, "HOME": str(self.folder), "USERPROFILE": str(self.folder)}
        command = [sys.executable, "-m", "asv", "run", "--config", str(self.config), "--machine", machine]
        command += ["-E", f"existing:{sys.executable}", "--quick", "--show-stderr", "--bench", benchmarks, *options]
        told = subprocess.run(command, capture_output=True, text=True, env=home, cwd=HERE)
        assert told.returncode == 0, told.stdout + told.stderr
        return told.stdout


@pytest.fixture(scope="module")
def asv(tmp_path_factory):
    return Asv(tmp_path_factory.mktemp("asv"))
