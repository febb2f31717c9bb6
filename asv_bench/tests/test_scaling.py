"""Scaling, its model, the roofline and the first calls: what they find in numbers that are known."""

from __future__ import annotations

import dataclasses
import json
import sys

import ceilings
import first_calls
import model
import operations
import pytest
import roofline
import roofline_picture
import scaling
import scaling_picture

from nbsmce._cpu.lanes import python as lanes
from nbsmce._cpu.launch import SERIAL_WORK

KNOWN = model.Model("softmax_out", 4e-6, 15e-6, 0.7, 0.5, {10: 2e-9, 100: 1e-9, 1000: 5e-10})


def made_up_ceilings():
    """Of a machine whose levels are a factor of two apart."""
    speeds = {"L1": 200e9, "L2": 100e9, "L3": 50e9, "memory": 25e9}
    return {
        "caches": {"L1": 1 << 15, "L2": 1 << 20, "L3": 1 << 25},
        "bytes": {name: {"1": n, "2": n} for name, n in zip(speeds, (1 << 14, 1 << 19, 1 << 23, 1 << 27), strict=True)},
        "peak": {"1": 7e9, "2": 11.2e9},
        "bandwidth": {
            ceilings.mix(*arrays): {name: {"1": b, "2": 1.5 * b} for name, b in speeds.items()}
            for arrays in ((1, 0), (1, 1), (2, 1))
        },
    }


MACHINE = model.Machine(*(made_up_ceilings()[key] for key in ("bytes", "bandwidth", "peak")))


def made_up_times(parameters):
    """What such a function takes, as ``scaling.times`` would have measured it."""
    found = []
    for rows, classes, series in scaling.sizes():
        each = {t: parameters.seconds(model.Size(rows, classes, t), MACHINE) for t in ceilings.THREAD_COUNTS}
        seconds = {scaling.name(library, t): s for library in ("nbsmce", "PyTorch") for t, s in each.items()}
        point = {"operation": parameters.operation, "rows": rows, "classes": classes, "series": series}
        found.append(point | {"seconds": seconds})
    return found


def made_up_result():
    ratios = {str(n): 0.5 if n < 1 << 16 else 1.5 for n in scaling.CROSSING}
    return {
        "machine": "a machine that is made up",
        "ceilings": made_up_ceilings(),
        "times": made_up_times(KNOWN) + made_up_times(dataclasses.replace(KNOWN, operation="cross_entropy")),
        "crossings": [{"operation": "softmax_out", "classes": 10, "pause": p, "ratios": ratios} for p in (0.0, 5e-4)],
        "minutes": 0.0,
    }


@pytest.mark.parametrize(
    ("ratios", "found"),
    [
        ({4096: 0.5, 8192: 0.8, 16384: 1.2, 32768: 1.5}, 16384),
        ({4096: 1.1, 8192: 1.2}, 4096),
        ({4096: 0.5, 8192: 0.9}, None),
        ({4096: 4.8, 8192: 0.5, 16384: 0.6, 32768: 1.1, 65536: 1.2, 131072: 1.4}, 32768),  # disturbed once
        ({4096: 0.5, 8192: 1.1, 16384: 1.1, 32768: 0.6, 65536: 1.3}, 8192),
    ],
)
def test_crossover(ratios, found):
    assert scaling.crossover([ratios]) == found


def test_one_crossover_for_all():
    early, late = {1: 1.2, 2: 1.2, 4: 1.2}, {1: 0.5, 2: 0.5, 4: 1.2}
    assert scaling.crossover([early, late, late]) == 4


def test_the_model_finds_the_parameters_that_made_the_times():
    measured = scaling.measured(made_up_times(KNOWN), "softmax_out", True)
    assert len(measured) == len(ceilings.THREAD_COUNTS) * len(scaling.ROWS) * len(scaling.ROW_CLASSES)
    found = model.fit("softmax_out", measured, MACHINE)
    assert model.errors(found, measured, MACHINE)[1] < 0.01
    assert found.call == pytest.approx(KNOWN.call, rel=0.02)
    assert found.share == pytest.approx(KNOWN.share, rel=0.05)
    assert found.number == pytest.approx(KNOWN.number, rel=0.02)
    if len(ceilings.THREAD_COUNTS) > 1:
        assert found.wake == pytest.approx(KNOWN.wake, rel=0.1)


def test_what_a_call_costs():
    few, many = model.Size(100, 100, 2), model.Size(1000, 100, 2)
    assert few.numbers < SERIAL_WORK <= many.numbers
    assert KNOWN.seconds(few, MACHINE) == pytest.approx(4e-6 + 10_000 * 1e-9)
    assert KNOWN.seconds(many, MACHINE) == pytest.approx(19e-6 + 100_000 * 1e-9 / 1.6)
    large = model.Size(1 << 15, 1000, 2)  # 8 bytes for each number at half of 1.5 x 25 GB/s
    assert KNOWN.seconds(large, MACHINE) == pytest.approx(19e-6 + (1 << 15) * 8000 / (0.5 * 37.5e9))
    assert KNOWN.of_number(10_000) == pytest.approx(KNOWN.number[1000])
    assert KNOWN.of_number(32) == pytest.approx(2e-9 / 2**0.505, rel=0.01)  # half way from 10 to 100


def test_errors_are_factors():
    measured = [(size, 2 * KNOWN.seconds(size, MACHINE)) for size in [model.Size(n, 100, 1) for n in range(1, 20)]]
    assert model.errors(KNOWN, measured, MACHINE) == pytest.approx((1.0, 1.0))


def test_prediction_for_more_processors():
    """Half of 160 GB/s for what takes 8 bytes in 0.5 ns is as much as five processors handle."""
    assert model.saturated(KNOWN, 160e9) == pytest.approx(5.0)
    assert scaling.predicted(KNOWN, 2, 160e9) == "32, arithmetic"
    assert scaling.predicted(KNOWN, 8, 160e9) == "80, memory"
    assert model.full(KNOWN, 4) == pytest.approx(4 * 19e-6 * 4 / 5e-10)  # a quarter of the time is call and wake-up
    assert model.full(dataclasses.replace(KNOWN, call=1e-9, wake=1e-9), 4) == 4 * 16384  # each has a grain


def test_scaling_measures(monkeypatch):
    for name, value in {"ROWS": [1], "ROW_CLASSES": [10], "CLASSES": [2], "NUMBERS": 64, "CROSSING": [4096]}.items():
        monkeypatch.setattr(scaling, name, value)
    points = scaling.times(["softmax_out"], 2)
    assert [(p["rows"], p["classes"]) for p in points] == [(1, 10), (32, 2)]
    assert all(p["seconds"][scaling.name("nbsmce", 1)] > 0 for p in points)
    curves = scaling.crossings(["softmax_out"], 1)
    assert [curve["pause"] for curve in curves] == scaling.PAUSES
    assert all(curve["ratios"]["4096"] > 0 for curve in curves)


def test_scaling_shows_what_was_measured(tmp_path, monkeypatch, capsys):
    there, picture = tmp_path / "there.json", tmp_path / "scaling.png"
    there.write_text(json.dumps(made_up_result()))
    monkeypatch.setattr(sys, "argv", ["scaling.py", "--read", str(there), "--picture", str(picture)])
    scaling.main()
    told = capsys.readouterr().out
    assert f"one limit for all would be 65536; it is {SERIAL_WORK}" in told
    assert "Predicted, not measured" in told
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_picture_of_scaling_has_all_series():
    figure = scaling_picture.draw(made_up_result())
    assert len(figure.axes) == 2 * (len(scaling.ROW_CLASSES) + 1)
    runs = len(scaling.RUNS) + len(ceilings.THREAD_COUNTS)
    assert all(len(ax.get_lines()) == runs for ax in figure.axes)


def made_up_point(place="in cache", shape="64x1000", numbers=1e9, operations=1.0):
    point = {"operation": "softmax_out", "place": place, "threads": 1, "shape": shape, "bytes_per_number": 8}
    return point | {"numbers_per_second": numbers, "operations_per_number": operations}


@pytest.mark.parametrize(
    ("shape", "operations", "limit", "which"),
    [
        ("64x1000", 2.0, 3.5e9, "arithmetic"),
        ("64x1000", 0.5, 12.5e9, "L2"),
        ("128x128256", 0.5, 3.125e9, "memory"),
        ("2x1000", 0.1, 25e9, "L1"),
    ],
)
def test_the_roof(shape, operations, limit, which):
    point = made_up_point(shape=shape, operations=operations)
    assert roofline.roof(made_up_ceilings(), point) == (limit, which)


def test_the_roofline_is_drawn(tmp_path, monkeypatch, capsys):
    points = [made_up_point(), made_up_point("out of cache", "128x128256", 1.5e9)]
    there, picture = tmp_path / "there.json", tmp_path / "roofline.png"
    there.write_text(json.dumps({"machine": "?", "ceilings": made_up_ceilings(), "points": points, "minutes": 0.0}))
    monkeypatch.setattr(sys, "argv", ["roofline.py", "--read", str(there), "--picture", str(picture)])
    roofline.main()
    assert "| `softmax_out` | 64 x 1000 | 1 | 16.0 | 1.00 | 8.0 | 0.14 | arithmetic |" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    (ax,) = roofline_picture.draw(json.loads(there.read_text())).axes
    drawn = [line for line in ax.get_lines() if line.get_marker() in "os" and len(line.get_xydata())]
    placed = [tuple(line.get_xydata()[0]) for line in drawn]
    assert placed == [(0.125, 1.0), (0.125, 1.5)]


def test_ceilings(monkeypatch):
    monkeypatch.setattr(ceilings, "_OPERATIONS", 100_000)
    monkeypatch.setattr(ceilings, "BATCH", 1e-4)
    monkeypatch.setattr(ceilings, "caches", lambda: {"L1": 1 << 14, "L2": 1 << 17, "L3": 1 << 20})
    found = ceilings.measure(rounds=1)
    assert json.loads(json.dumps(found)) == found
    assert set(found["bandwidth"]) == {"1 read, 0 written", "1 read, 1 written", "2 read, 1 written"}
    for levels in found["bandwidth"].values():
        assert list(levels) == ceilings.LEVELS
        assert all(b > 0 for speeds in levels.values() for b in speeds.values())
    assert ceilings.level(1 << 14, 1, ceilings.caches()) == "L1"
    assert ceilings.level((1 << 14) + 1, 1, ceilings.caches()) == "L2"
    assert ceilings.level(1 << 15, 2, ceilings.caches()) == "L1"
    assert ceilings.level(1 << 21, 2, ceilings.caches()) == "memory"


def test_operations_are_counted():
    x = lanes.zeros(lanes.Vector(lanes.np.zeros(16, lanes.np.float32)))
    wide = lanes.wide(x)
    assert operations.counted(lambda: x + x * 2.0) == 2
    assert operations.counted(lambda: lanes.fma(x, x, x)) == 1
    assert operations.counted(lambda: wide + wide) == 2
    assert operations.counted(lambda: lanes.wide(x)) == 2
    assert operations.counted(lambda: lanes.to_bits(lanes.splat(x, 1.0))) == 0
    assert operations.counted(lambda: lanes.lane_max(x)) == 4


def test_operations_of_kernels():
    """docs/performance.md: about 26 instructions for 16 numbers of a logsumexp; the softmax scales them, too."""
    lse, softmax, backward = operations.each_number(
        [("logsumexp", "16x1000"), ("softmax_out", "16x1000"), ("softmax_backward_out", "16x1000")]
    )
    assert 18 < 16 * lse < 32
    assert lse < softmax < 2 * lse
    assert backward < lse


def test_first_calls(capsys):
    row = first_calls.row("logsumexp", 1)
    assert row["kernels"] >= 1
    assert "logsumexp for float32" in row["possible"]
    assert min(row["first"], row["stored"], row["second"]) > 0
    first_calls.show({"machine": "?", "functions": [row], "after_all": 3})
    assert "| `logsumexp` |" in capsys.readouterr().out
