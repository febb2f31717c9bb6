"""The comparisons that take turns: what they find, what they require, and how they say that they could not measure."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import compare_cpu
import gate
import goals
import pytest
import tables
import workers
from benchmarks import timing
from benchmarks.cases import DTYPES, TRAFFIC
from benchmarks.limit import candidates
from gate_trial import planted
from workers import FRESH, LIMIT, PARALLEL, Case, Worker, prepare, rounds

import nbsmce
from nbsmce._cpu import launch

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
    section = json.loads(found.read_text())["sections"]["chosen"]
    (row,) = section["rows"]
    assert row["required"] == {"SciPy": 1.0}
    assert row["ratios"]["SciPy"] > 0
    assert section["as_required"] == {"SciPy": [int(row["ratios"]["SciPy"] >= 1), 1]}
    assert "together" in told.stdout


def test_the_sections_are_printed_one_after_the_other(tmp_path):
    found = tmp_path / "found.json"
    options = ["--sections", "axes", "costs", "--functions", "logsumexp", "--libraries", "--rounds", "1"]
    told = run("compare_cpu.py", *options, "--json", str(found))
    assert told.returncode == 0, told.stderr
    sections = json.loads(found.read_text())["sections"]
    assert [row["shape"] for row in sections["axes"]["rows"]] == compare_cpu.SECTIONS["axes"].shapes
    assert sections["costs"]["rows"] == []  # none of them is about logsumexp
    assert told.stdout.count("together") == 4


def test_the_whole_table_has_what_is_required():
    assert list(compare_cpu.SECTIONS) == ["float32", "dtypes", "axes"]
    assert len(compare_cpu.SECTIONS["float32"].shapes) == 8
    assert {d for s in compare_cpu.SECTIONS.values() for d in s.dtypes} == set(DTYPES)
    for section in compare_cpu.SECTIONS.values():
        for shape, dtype, operation in itertools.product(section.shapes, section.dtypes, TRAFFIC):
            case = Case(operation, shape, dtype)
            assert goals.ratio(case, "PyTorch") >= 1.3
            assert all(goals.ratio(case, peer) == 1 for peer in compare_cpu.PEERS if peer != "PyTorch")
    assert {case.operation for _, case, _, _ in goals.costs()} <= set(TRAFFIC)


@pytest.mark.parametrize(
    ("case", "limits", "share"),
    [
        (Case("softmax", "2048x1000"), set(), 0.0),
        (Case("softmax", "4x2000000"), {LIMIT, FRESH}, 0.0),
        (Case("softmax", "128x128256"), {LIMIT, FRESH}, 0.9),
        (Case("softmax_out", "512x32000"), {LIMIT}, 0.9),
        (Case("logsumexp", "512x32000"), {LIMIT}, 0.9),
        (Case("cross_entropy_with_grad", "512x32000", "float64"), {LIMIT, FRESH}, 0.9),
    ],
)
def test_limits(case, limits, share):
    """New results have a limit of their own; nothing is required of what the caches may hold."""
    assert {name for name in compare_cpu.LIMITS if compare_cpu.concerns(name, case)} == limits
    assert goals.share(case) == share


def test_verdict():
    rows = [
        {"ratios": {"PyTorch": 1.0, LIMIT: 0.95}, "required": {"PyTorch": 1.3, LIMIT: 0.9}},
        {"ratios": {"PyTorch": 1.3, LIMIT: 0.2}, "required": {"PyTorch": 1.3, LIMIT: 0.0}},
    ]
    assert compare_cpu.judged(rows) == {"PyTorch": (1, 2), LIMIT: (1, 1)}
    told = compare_cpu.verdict(compare_cpu.judged(rows))
    assert told == "as required: PyTorch 1 of 2, memory limit 1 of 1; together 2 of 3"
    assert compare_cpu.cell(1.0, 1.3) == "1.00 (1.3) !"
    assert compare_cpu.cell(1.0, 0.0) == "1.00"
    assert compare_cpu.cell(None, 1.3) == "-"


def test_a_new_result_is_allocated_by_each_call():
    nbytes = 1 << 20
    for fresh in (False, True):
        for call in candidates(1, 1, nbytes, 1, fresh=fresh):
            tracemalloc.start()
            call()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert (peak >= nbytes) == fresh


def test_what_takes_the_place_of_a_library(monkeypatch):
    monkeypatch.setattr(launch, "SERIAL_WORK", launch.SERIAL_WORK)
    before = nbsmce.get_num_threads()
    try:
        workers._prepared("nbsmce", 1, Case("softmax", "8x100"))
        assert nbsmce.get_num_threads() == 1
        assert launch.SERIAL_WORK > 0
        workers._prepared(PARALLEL, 2, Case("softmax", "8x100"))
        assert nbsmce.get_num_threads() == 2
        assert launch.SERIAL_WORK == 0
    finally:
        nbsmce.set_num_threads(before)


def test_a_pause_comes_before_every_call(monkeypatch):
    events = []
    monkeypatch.setattr(timing.time, "sleep", events.append)
    assert timing.seconds(lambda: events.append("call"), 2, pause=0.25) < 0.25
    assert events == [0.25, "call", 0.25, "call"]


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


def test_tables_of_several_runs():
    """The later run counts, bold is what is less than required, and a case that was not measured is a dash."""

    def row(operation, shape, ratio):
        case = f"{operation} {shape} float32"
        found = {"case": case, "operation": operation, "shape": shape, "dtype": "float32"}
        return found | {"ratios": {"PyTorch": ratio}, "required": {"PyTorch": 1.3}}

    old = {"sections": {"float32": {"rows": [row("softmax", "1x10", 9.0), row("softmax", "32x10", 12.3)]}}}
    cost = {
        "name": "softcap",
        "case": "cross_entropy 9x9 float32",
        "ratios": {"costs": 0.5},
        "required": {"costs": 0.8},
    }
    rows = [row("softmax", "1x10", 1.04), row("logsumexp", "1x10", 2.0)]
    new = {"sections": {"float32": {"rows": rows}, "costs": {"rows": [cost]}}}
    lines = tables.document([old, new]).splitlines()
    assert "float32: as required: PyTorch 2 of 3; together 2 of 3." in lines
    assert "| times as fast as PyTorch | 1x10 | 32x10 |" in lines
    assert "| `softmax` | **1.0** | 12 |" in lines
    assert "| `logsumexp` | 2.0 | - |" in lines
    assert "| `cross_entropy` 9x9, softcap | **2.00** | 1.25 |" in lines
