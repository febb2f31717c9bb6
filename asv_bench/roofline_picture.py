"""The picture of ``roofline.py``."""

from __future__ import annotations

from typing import Any

import ceilings
import matplotlib
from matplotlib.figure import Figure
from plots import plain

MARKERS = {"in cache": "o", "out of cache": "s"}
ACROSS = 0.008, 1.0  # operations for each byte
TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
LOWEST = 0.4  # 10^9 operations in a second


def _ceilings(ax: Any, found: dict[str, Any], threads: int) -> None:
    """Lines of what is possible: rising with the bandwidth of each level, level at the peak of arithmetic."""
    peak = found["peak"][str(threads)] / 1e9
    for name in ceilings.LEVELS:
        # Of the mixes of reading and writing the best, since the line is for all functions.
        bandwidth = max(levels[name][str(threads)] for levels in found["bandwidth"].values()) / 1e9
        corner = peak / bandwidth
        xs = sorted([ACROSS[0], min(corner, ACROSS[1])])
        ax.plot(xs, [bandwidth * x for x in xs], color="gray", linewidth=1.2)
        x = max(1.15 * ACROSS[0], 1.15 * LOWEST / bandwidth)
        look = {"fontsize": 8, "color": "dimgray", "rotation": 45, "rotation_mode": "anchor"}
        place = {"xytext": (-3, 3), "textcoords": "offset points", "transform_rotates_text": True}
        ax.annotate(f"{name}, {bandwidth:.0f} GB/s", (x, bandwidth * x), **place, **look)
    ax.plot(ACROSS, [peak, peak], color="black", linewidth=1.2)
    place = {"xytext": (-4, 4), "textcoords": "offset points", "ha": "right"}
    ax.annotate(f"arithmetic, {peak:.1f}", (ACROSS[1], peak), fontsize=8, **place)


def draw(result: dict[str, Any]) -> Figure:
    threads = sorted({p["threads"] for p in result["points"]})
    functions = list(dict.fromkeys(p["operation"] for p in result["points"]))
    colors = dict(zip(functions, matplotlib.colormaps["tab10"].colors, strict=False))
    figure = Figure(figsize=(6.5 * len(threads), 6), layout="constrained")
    figure.suptitle(f"Roofline: {result['machine']}", fontsize=11)
    top = 1.6 * max(result["ceilings"]["peak"].values()) / 1e9
    axes = figure.subplots(1, len(threads), squeeze=False, sharey=True)[0]
    for ax, count in zip(axes, threads, strict=True):
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set(xlim=ACROSS, ylim=(LOWEST, top), title=f"{count} thread" + "s" * (count > 1))
        _ceilings(ax, result["ceilings"], count)
        for p in result["points"]:
            if p["threads"] == count:
                x = p["operations_per_number"] / p["bytes_per_number"]
                y = p["numbers_per_second"] * p["operations_per_number"] / 1e9
                face = colors[p["operation"]] if p["place"] == "out of cache" else "white"
                ax.plot(x, y, MARKERS[p["place"]], color=colors[p["operation"]], markerfacecolor=face, markersize=7)
        ax.set_xlabel("vector operations for each byte read or written")
        ax.grid(alpha=0.3, which="both")
        plain(ax)
        ax.set_xticks(TICKS, map(str, TICKS))
    axes[0].set_ylabel("10⁹ vector operations (16 float32) in a second")
    handles = [ax.plot([], [], "o", color=colors[f], label=f)[0] for f in functions]
    for place, marker in MARKERS.items():
        face = "gray" if place == "out of cache" else "white"
        handles += ax.plot([], [], marker, color="gray", markerfacecolor=face, label=place)
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=9)
    return figure
