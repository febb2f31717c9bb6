"""The report of a GPU with stand-ins: what it writes, in which order it measures, what it says of what is missing."""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import gpu_report
import pytest

SECONDS = 1e-3  # of every call, by the stand-in's clock


class Array:
    def __init__(self, *shape, dtype="float32"):
        self.shape, self.dtype = shape, dtype

    def __mul__(self, _):
        return self

    def to(self, dtype):
        return Array(*self.shape, dtype=dtype)

    def numel(self):
        return self.shape[0] * self.shape[1]

    def copy_(self, _):
        pass


class Torch:
    """No GPU: events that are a millisecond apart."""

    uint8, bfloat16, float16, float32, float64 = "uint8", "bfloat16", "float16", "float32", "float64"

    def __init__(self):
        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                pass

            def elapsed_time(self, _):
                return 1e3 * SECONDS

        self.cuda = SimpleNamespace(Event=Event, synchronize=lambda: None, _sleep=lambda cycles: None)

    def randn(self, rows, classes, device):
        return Array(rows, classes)

    def empty(self, size, dtype, device):
        return Array(size, 1, dtype=dtype)

    def empty_like(self, x):
        return x


def nothing(torch, x):
    return lambda: None


def not_installed(torch, x):
    raise ImportError("No module named 'peer'")


def refuses(torch, x):
    def call():
        if x.dtype == "float64":
            raise TypeError("float64")

    return call


TASKS = {
    "softmax": {"nbsmce": nothing, "torch": refuses, "torch.compile": nothing, "quack": not_installed},
    "softmax backward": {"nbsmce": nothing},
}


@pytest.fixture
def stand_ins(monkeypatch):
    monkeypatch.setattr(gpu_report, "TASKS", TASKS)
    monkeypatch.setitem(sys.modules, "torch", Torch())


def test_every_case_is_measured_once_and_ours_first(stand_ins):
    found = gpu_report.measure(Torch(), gpu_report.time.monotonic() + 100)
    measured = [(r["task"], r["dtype"], r["classes"], r["library"]) for r in found["rows"]]
    each = len(gpu_report.DTYPES) * len(gpu_report.CLASSES)
    # torch refuses float64
    assert len(set(measured)) == len(measured) == 4 * each - len(gpu_report.CLASSES)
    assert {library for *_, library in measured[: each * 2]} == {"nbsmce", "torch"}
    assert measured[-1][-1] == "torch.compile"
    assert found["not measured"] == []
    assert "quack: ImportError: No module named 'peer'" in found["missing"]
    assert "torch, float64, 1024 classes: TypeError" in found["missing"]
    row = next(r for r in found["rows"] if r["classes"] == 1024 and r["dtype"] == "float32")
    assert row["bytes per second"] == pytest.approx(2 * gpu_report.BYTES / SECONDS)
    assert (row["of copy"], row["times nbsmce"]) == (pytest.approx(1), pytest.approx(1))
    backward = next(r for r in found["rows"] if r["task"] == "softmax backward" and r["classes"] == 1024)
    assert backward["of copy"] == pytest.approx(1.5)


def test_what_there_was_no_time_for_is_named(stand_ins):
    found = gpu_report.measure(Torch(), gpu_report.time.monotonic() - 1)
    assert found["rows"] == []
    assert found["not measured"][0] == "softmax, bfloat16, 2 classes"
    assert "softmax backward, float64, 1000 classes, compiled peers" in found["not measured"]
    assert len(found["not measured"]) == len(set(found["not measured"])) == len(list(gpu_report.cases()))
    assert "were not measured, for the time was over" in gpu_report.as_table(found)


def test_peers_that_compile_begin_with_what_matters_most():
    later = [classes for compiled, _, classes, _ in gpu_report.cases() if compiled]
    assert later[0] == 32768
    assert set(later) == set(gpu_report.CLASSES)


def test_the_report_is_written(stand_ins, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    from nbsmce._cuda import device, driver

    asked = []

    def outcome(command, seconds, **variables):
        asked.append((command, seconds))
        return {"status": 0, "seconds": 0.0, "tail": "a stand-in"}

    monkeypatch.setattr(device, "SIMULATED", False)
    monkeypatch.setattr(driver, "problem", lambda: None)
    monkeypatch.setattr(driver, "devices", lambda: ["a stand-in: nothing here was measured"])
    monkeypatch.setattr(gpu_report, "capability", lambda: "90")
    monkeypatch.setattr(gpu_report, "outcome", outcome)
    monkeypatch.setattr(sys, "argv", ["gpu_report.py", "--output", str(tmp_path / "report")])
    assert gpu_report.main() == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["devices"] == ["a stand-in: nothing here was measured"]
    assert {"numpy", "numba"} <= set(report["packages"])
    assert report["kernels"]["status"] == report["tests"]["status"] == 0
    assert len(report["speed"]["rows"]) > 100
    table = (tmp_path / "report" / "report.txt").read_text()
    assert "softmax backward" in table
    assert (tmp_path / "report" / "report.png").stat().st_size > 10_000
    assert sum(seconds for _, seconds in asked) <= 0.8 * 8 * 60
    assert asked[0][0][1].endswith("gpu_kernels.py")


def test_a_program_that_takes_too_long_ends_with_all_that_it_has_started(tmp_path):
    child, pid = "import time; time.sleep(60)", tmp_path / "pid"
    parent = f"""
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {child!r}])
pathlib.Path({str(pid)!r}).write_text(str(child.pid))
print("started", flush=True)
child.wait()"""
    found = gpu_report.outcome([sys.executable, "-c", parent], 5)
    assert found["status"] is None
    assert found["tail"] == "started\n\nnot done after 5 s"
    assert found["seconds"] < 30  # the child has the pipe, too
    for _ in range(100):  # until somebody has waited for it
        if not _runs(int(pid.read_text())):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the child is still there")


def _runs(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_program_that_ends_is_reported():
    found = gpu_report.outcome(
        [sys.executable, "-c", "import sys; print(1); print(2, file=sys.stderr); sys.exit(3)"], 60
    )
    assert (found["status"], sorted(found["tail"].split())) == (3, ["1", "2"])


def test_without_a_gpu_it_says_why(monkeypatch, capsys):
    from nbsmce._cuda import driver

    monkeypatch.setattr(driver, "problem", lambda: "no driver")
    monkeypatch.setattr(sys, "argv", ["gpu_report.py"])
    assert gpu_report.main() == 2
    assert "no report: " in capsys.readouterr().err
