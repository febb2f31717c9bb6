"""The comparisons that take turns: what they find, what they require, and how they say that they could not measure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gate
import goals
import pytest
from gate_trial import planted
from workers import Case, Worker, prepare, rounds

HERE = Path(gate.__file__).parent


def run(script, *arguments):
    command = [sys.executable, str(HERE / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent)


def test_the_gate_finds_what_takes_three_times_as_long(tmp_path):
    slow = planted("logsumexp", tmp_path, slowdown=2.0)  # so much that it is found on a busy machine, too
    table = tmp_path / "table.md"
    told = run(
        "gate.py", ".", str(slow), "--only", "logsumexp 1x10", "--pairs", "1", "--again", "1", "--markdown", str(table)
    )
    assert told.returncode == 1, told.stdout + told.stderr
    assert "**slower**" in table.read_text()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no-such-commit"], "no-such-commit"),
        ([".", "--only", "no such case"], "no case was measured"),
    ],
)
def test_the_gate_says_when_it_could_not_measure(arguments, reason):
    told = run("gate.py", *arguments)
    assert told.returncode == 2
    assert reason in told.stderr


def test_a_case_that_head_lacks_is_no_success(tmp_path):
    (tmp_path / "nbsmce").mkdir()
    (tmp_path / "nbsmce" / "__init__.py").write_text("def set_num_threads(n): pass\n")
    assert run("gate.py", ".", str(tmp_path), "--only", "logsumexp 1x10").returncode == 2


def test_an_unstable_case_has_to_be_slower_twice():
    case, other = Case("softmax", "1x10"), Case("softmax", "64x128")
    text, slower = gate.report({case: 1.3, other: 1.2}, {case: 1.04, other: 1.19}, 1.1, 1.1)
    assert slower == [other]
    assert text.startswith("1 of 2 cases")


def test_noise_raises_the_factor():
    quiet = {Case("softmax", f"{n}x10"): 1 + 0.01 * (-1) ** n for n in range(20)}
    assert gate.seen(1.1, quiet) == 1.1
    busy = {case: 1.2 for case in quiet}
    assert gate.seen(1.1, busy) == pytest.approx(1.2**1.5)
    assert "could not be told from noise" in gate.report(busy, {}, gate.seen(1.1, busy), 1.1)[0]


def test_workers_take_turns_and_give_reasons():
    case = Case("softmax_out", "8x100")
    with Worker("nbsmce") as own, Worker("SciPy") as peer:
        (number, why), (none, reason) = prepare([(own, case), (peer, case)], 1e-4)
        assert number > 0
        assert not why
        assert none == 0
        assert "SciPy" in reason
        (times,) = rounds([(own, number)], 3)
        assert len(times) == 3
        assert min(times) > 0


def test_a_worker_that_fails_says_why():
    with Worker("nbsmce") as own, pytest.raises(RuntimeError, match="no_such_function"):
        prepare([(own, Case("softmax", "8x100", option="no_such_function"))])


def test_the_comparison_puts_what_is_required_beside_what_is_measured(tmp_path):
    found = tmp_path / "found.json"
    options = ["--functions", "logsumexp", "--shapes", "32x10", "--libraries", "SciPy", "--rounds", "1"]
    told = run("compare_cpu.py", *options, "--json", str(found))
    assert told.returncode == 0, told.stderr
    assert "(1.0)" in told.stdout
    (row,) = json.loads(found.read_text())["rows"]
    assert row["required"] == {"SciPy": 1.0}
    assert row["ratios"]["SciPy"] > 0


@pytest.mark.parametrize(
    ("case", "required"),
    [
        (Case("softmax", "2048x1000"), 1.3),
        (Case("softmax", "65536x10"), 5.0),
        (Case("softmax_out", "128x128256"), 2.0),
        (Case("softmax_out", "128x128256", "bfloat16"), 1.5),
        (Case("logsumexp", "1x10"), 2.0),
        (Case("logsumexp", "1000x2048@0"), 1.3),
        (Case("cross_entropy_with_grad", "512x32000"), 8.0),
        (Case("cross_entropy_with_grad", "4x2000000"), 4.0),
        (Case("softmax_backward_out", "512x32000"), 1.5),
    ],
)
def test_what_is_required(case, required):
    assert goals.ratio(case, "PyTorch") == required
    assert goals.ratio(case, "JAX") == 1.0
