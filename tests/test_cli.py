"""The command line."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import nbsmce
from nbsmce._cli import main


def output(*arguments):
    return subprocess.run([sys.executable, "-m", "nbsmce", *arguments], capture_output=True, text=True, check=False)


def test_what_can_be_done():
    done = output()
    assert done.returncode == 0
    assert "info" in done.stdout
    assert "demo" in done.stdout
    assert output("--version").stdout == f"nbsmce {nbsmce.__version__}\n"
    wrong = output("nonsense")
    assert wrong.returncode == 2
    assert "invalid choice: 'nonsense'" in wrong.stderr


def test_info_for_people():
    done = output("info")
    assert done.returncode == 0
    assert done.stderr == ""
    for word in (
        f"nbsmce: {nbsmce.__version__}",
        "numba: 0.",
        "vector bits: ",
        "count: ",
        "because: ",
        "cuda:",
        "usable: ",
    ):
        assert word in done.stdout


def test_info_for_programs():
    found = json.loads(output("info", "--json").stdout)
    assert found["nbsmce"] == nbsmce.__version__
    assert found["packages"]["numpy"] == np.__version__
    assert found["threads"]["count"] >= 1
    assert found["processor"]["vector bits"] in (128, 256, 512)
    assert found["cuda"]["usable"] or found["cuda"]["reason"]


@pytest.mark.parametrize(
    ("variable", "word"), [("NBSMCE_NUM_THREADS", "because: NBSMCE_NUM_THREADS"), ("NUMBA_DISABLE_JIT", "slowly")]
)
def test_info_tells_of_the_environment(variable, word, monkeypatch):
    monkeypatch.setenv(variable, "1")
    assert word in output("info").stdout


def test_info_survives_a_broken_cuda(monkeypatch, capsys):
    from nbsmce._cuda import driver

    def broken():
        raise RuntimeError("the driver is on fire")

    monkeypatch.setattr(driver, "problem", broken)
    assert main(["info"]) == 0
    assert "reason: RuntimeError: the driver is on fire" in capsys.readouterr().out


def test_the_demo_learns(tmp_path, capsys):
    pytest.importorskip("sklearn", reason="the demo extra is not installed")
    picture = tmp_path / "new" / "demo.png"
    assert main(["demo", "--json", "--output", str(picture)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["held_out_accuracy"] >= 0.95
    assert result["held_out_loss"] < 0.2
    assert result["picture"] == str(picture)
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_the_demo_for_people(tmp_path, capsys):
    pytest.importorskip("sklearn", reason="the demo extra is not installed")
    assert main(["demo", "--epochs", "2", "--output", str(tmp_path / "demo.png")]) == 0
    captured = capsys.readouterr()
    assert "held-out accuracy: " in captured.out
    assert "2/2" in captured.err
    assert main(["demo", "--epochs", "0"]) == 2
    assert "--epochs must be at least 1, got 0" in capsys.readouterr().err


def test_the_demo_says_what_it_needs(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["demo"]) == 2
    assert "the demo needs matplotlib: python -m pip install 'nbsmce[demo]'" in capsys.readouterr().err
