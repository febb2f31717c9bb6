"""The picture of ``scaling.py``: what a number costs against size, measured and by the model."""

from __future__ import annotations

from typing import Any

import model
import scaling
from ceilings import THREAD_COUNTS
from matplotlib.figure import Figure
from plots import COLORS, plain

STYLES = {1: "--", 2: "-"}


def _panel(ax: Any, points: list[dict[str, Any]], fitted: model.Model, machine: model.Machine, by_rows: bool) -> None:
    across = [p["rows" if by_rows else "classes"] for p in points]
    numbers = [p["rows"] * p["classes"] for p in points]
    for library, threads in scaling.RUNS:
        key = scaling.name(library, threads)
        there = [i for i, p in enumerate(points) if key in p["seconds"]]
        ys = [1e9 * points[i]["seconds"][key] / numbers[i] for i in there]
        style = STYLES.get(threads, "-")
        ax.loglog([across[i] for i in there], ys, style, color=COLORS[library], marker="o", markersize=3, label=key)
    for threads in THREAD_COUNTS:
        each = [fitted.seconds(model.Size(p["rows"], p["classes"], threads), machine) for p in points]
        label = scaling.name("the model", threads)
        style = STYLES.get(threads, "-")
        ys = [1e9 * t / n for t, n in zip(each, numbers, strict=True)]
        ax.loglog(across, ys, style, color="black", linewidth=0.8, label=label)
    ax.grid(alpha=0.3)
    plain(ax)


def draw(result: dict[str, Any]) -> Figure:
    models, machine = scaling.fitted(result)
    series = list(dict.fromkeys(p["series"] for p in result["times"]))
    figure = Figure(figsize=(4.2 * len(series), 3.1 * len(models) + 0.9), layout="constrained")
    figure.suptitle(f"Time of one float32 number against size: {result['machine']}", fontsize=11)
    axes = figure.subplots(len(models), len(series), squeeze=False, sharey="row")
    for row, fitted in zip(axes, models, strict=True):
        for ax, part in zip(row, series, strict=True):
            points = [p for p in result["times"] if (p["operation"], p["series"]) == (fitted.operation, part)]
            by_rows = part.endswith("classes")
            _panel(ax, points, fitted, machine, by_rows)
            ax.set_title(f"{fitted.operation}, {part}", fontsize=10)
            if fitted is models[-1]:
                ax.set_xlabel("rows" if by_rows else "classes")
        row[0].set_ylabel("ns for each number")
    lines, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    return figure
