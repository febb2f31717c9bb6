"""Pictures of asv's newest results: speed against the peers, share of the memory limit, error.

    python asv_bench/plots.py MACHINE [COMMIT]      # writes docs/images/speed.png, limit.png and ulp.png
    python asv_bench/plots.py MACHINE --to FOLDER

Each picture says which commit it shows and on which machine it was measured.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, StrMethodFormatter

HERE = Path(__file__).parent
COLORS = {
    "nbsmce": "tab:red",
    "PyTorch": "tab:blue",
    "SciPy": "tab:green",
    "JAX": "tab:orange",
    "scikit-learn": "tab:purple",
}
SPEED = {
    "softmax": "softmax.Softmax.time_softmax",
    "log_softmax": "softmax.LogSoftmax.time_log_softmax",
    "logsumexp": "softmax.Logsumexp.time_logsumexp",
    "cross_entropy": "losses.CrossEntropy.time_cross_entropy",
    "cross_entropy_with_grad": "gradients.CrossEntropyWithGrad.time_cross_entropy_with_grad",
    "softmax_backward": "gradients.SoftmaxBackward.time_softmax_backward",
}


class _Plain(LogFormatter):
    """0.6, where matplotlib writes 6e-01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


Values = dict[tuple[Any, ...], float]


class Results:
    """What one machine has measured at one commit, by the parameters of each benchmark."""

    def __init__(self, machine: str, commit: str = "", folder: Path = HERE / "results") -> None:
        found = [json.loads(p.read_text()) for p in (folder / machine).glob(f"{commit[:8]}*.json")]
        found = [f for f in found if "commit_hash" in f]
        if not found:
            raise SystemExit(f"no results of {machine} {commit}in {folder}")
        newest = max(found, key=lambda f: f["date"])
        description = json.loads((folder / machine / "machine.json").read_text())
        self.results = newest["results"]
        hardware = ", ".join(str(description[k]) for k in ("cpu", "gpu") if description.get(k))
        self.title = f"nbsmce at {newest['commit_hash'][:8]} on {machine} ({hardware})"

    def of(self, benchmark: str) -> Values:
        """Numbers by parameters; cases that were skipped or have failed are not among them."""
        values, parameters = (self.results.get(benchmark) or [[], []])[:2]
        read = [[ast.literal_eval(p) for p in each] for each in parameters]
        pairs = zip(itertools.product(*read), values or [], strict=False)
        return {key: value for key, value in pairs if value is not None and not math.isnan(value)}


def axes_of(figure: Figure, count: int, results: Results) -> list[Any]:
    figure.suptitle(results.title, fontsize=10, color="gray")
    columns = min(count, 3)
    return list(figure.subplots(-(-count // columns), columns, squeeze=False).ravel())


def plain(ax: Any) -> None:
    """Numbers such as 20 on a logarithmic axis, in place of powers of ten."""
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_formatter(_Plain(minor_thresholds=(2, 0.5)))


def bars(ax: Any, groups: list[str], series: dict[str, list[float]], start: float = 0) -> None:
    """Groups of bars from ``start``, a color for each library; a missing number leaves its place empty."""
    width = 0.8 / max(1, len(series))
    for k, (name, heights) in enumerate(series.items()):
        places = [i + (k + 0.5) * width - 0.4 for i in range(len(groups))]
        ax.bar(places, [h - start for h in heights], width, bottom=start, label=name, color=COLORS[name])
    ax.set_xticks(range(len(groups)), groups, fontsize=8)
    ax.grid(axis="y", alpha=0.3)
    if series:
        ax.legend(fontsize=8)


def speed(results: Results) -> Figure:
    """How many times as long as nbsmce every peer takes."""
    figure = Figure(figsize=(15, 8), layout="constrained")
    for ax, (name, benchmark) in zip(axes_of(figure, len(SPEED), results), SPEED.items(), strict=True):
        found = results.of(benchmark)
        shapes = list(dict.fromkeys(shape for _, shape in found))
        peers = [peer for peer in COLORS if peer != "nbsmce" and any(key[0] == peer for key in found)]
        nan = math.nan
        ratios = {p: [found.get((p, s), nan) / found.get(("nbsmce", s), nan) for s in shapes] for p in peers}
        bars(ax, shapes, ratios, start=1)
        ax.axhline(1, color=COLORS["nbsmce"], linewidth=2)
        ax.set_yscale("log")
        plain(ax)
        ax.set(title=f"{name}, float32", xlabel="rows x classes", ylabel="time / time of nbsmce")
    return figure


def limit(results: Results) -> Figure:
    found = results.of("memory.MemoryLimit.track_share_of_limit")
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    (ax,) = axes_of(figure, 1, results)
    functions = list(dict.fromkeys(function for _, function in found))
    libraries = list(dict.fromkeys(library for library, _ in found))
    bars(ax, functions, {name: [found.get((name, f), math.nan) for f in functions] for name in libraries})
    ax.axhline(100, color="gray", linestyle=":")
    ax.set(title="66 MB of float32 logits, 128 x 128256", ylabel="% of the memory limit")
    return figure


def ulp(results: Results) -> Figure:
    found = results.of("accuracy.Errors.track_max_ulp")
    figure = Figure(figsize=(14, 4.5), layout="constrained")
    functions = list(dict.fromkeys(function for _, function, _ in found))
    for ax, function in zip(axes_of(figure, max(1, len(functions)), results), functions, strict=True):
        for library in dict.fromkeys(library for library, _, _ in found):
            points = [(spread, e) for (name, f, spread), e in found.items() if (name, f) == (library, function)]
            wide = 2.5 if library == "nbsmce" else 1.5
            ax.loglog(*zip(*points, strict=True), "o-", label=library, color=COLORS[library], linewidth=wide)
        plain(ax)
        ax.set(title=f"{function}, float32", xlabel="standard deviation of the logits", ylabel="largest error / ulp")
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machine")
    parser.add_argument("commit", nargs="?", default="")
    parser.add_argument("--to", type=Path, default=HERE.parent / "docs" / "images")
    options = parser.parse_args()
    results = Results(options.machine, options.commit)
    options.to.mkdir(parents=True, exist_ok=True)
    for draw in (speed, limit, ulp):
        draw(results).savefig(options.to / f"{draw.__name__}.png", dpi=100)


if __name__ == "__main__":
    main()
