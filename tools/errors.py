"""The errors of nbsmce and its peers over the scale of the logits: ``python tools/errors.py`` writes the table and the
picture of ``docs/numerics.md``. Needs PyTorch, SciPy, JAX and matplotlib.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import torch
from matplotlib.figure import Figure

import nbsmce

SCALES = (0.1, 0.3, 1.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
ROWS, CLASSES = 400, 1000
DOCS = Path(__file__).parent.parent / "docs"


def of_torch(function):
    return lambda x: function(torch.from_numpy(x), -1).numpy()


FUNCTIONS = {
    "softmax": {
        "nbsmce": nbsmce.softmax,
        "PyTorch": of_torch(torch.softmax),
        "SciPy": lambda x: scipy.special.softmax(x, -1),
        "JAX": lambda x: np.asarray(jax.nn.softmax(jnp.asarray(x), -1)),
    },
    "log_softmax": {
        "nbsmce": nbsmce.log_softmax,
        "PyTorch": of_torch(torch.log_softmax),
        "SciPy": lambda x: scipy.special.log_softmax(x, -1),
        "JAX": lambda x: np.asarray(jax.nn.log_softmax(jnp.asarray(x), -1)),
    },
    "logsumexp": {
        "nbsmce": nbsmce.logsumexp,
        "PyTorch": of_torch(torch.logsumexp),
        "SciPy": lambda x: scipy.special.logsumexp(x, -1),
        "JAX": lambda x: np.asarray(jax.nn.logsumexp(jnp.asarray(x), -1)),
    },
}


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """The function in extended precision; the largest element is left out of the sum, so ``log1p`` sees the rest."""
    wide = x.astype(np.longdouble)
    largest = wide.max(-1, keepdims=True)
    d = wide - largest
    first = d.argmax(-1)[:, None]
    e = np.exp(d)
    np.put_along_axis(e, first, 0, -1)
    log_sum = np.log1p(e.sum(-1, keepdims=True))
    return {
        "softmax": lambda: np.exp(d - log_sum),
        "log_softmax": lambda: d - log_sum,
        "logsumexp": lambda: (largest + log_sum)[:, 0],
    }[name]()


def worst(name: str, actual: np.ndarray, truth: np.ndarray, x: np.ndarray) -> float:
    """The largest error in units in the last place; for logsumexp of the larger of result and largest element."""
    size = np.maximum(np.abs(truth), np.abs(x).max(-1)) if name == "logsumexp" else np.abs(truth)
    unit = np.spacing(size.astype(x.dtype)).astype(np.longdouble)
    normal = size >= np.finfo(x.dtype).tiny
    return float((np.abs(actual.astype(np.longdouble) - truth) / unit)[normal].max())


def peaked(gap: float) -> np.ndarray:
    """Rows that are sure of their first class, by a gap."""
    x = np.random.default_rng(1).standard_normal((ROWS, 10)).astype(np.float32)
    x[:, 0] = gap
    return x


def measure() -> dict:
    jax.config.update("jax_enable_x64", True)
    results: dict = {}
    for dtype in (np.float32, np.float64):
        for name, peers in FUNCTIONS.items():
            for scale in SCALES:
                x = (np.random.default_rng(0).standard_normal((ROWS, CLASSES)) * scale).astype(dtype)
                truth = exact(name, x)
                for peer, call in peers.items():
                    error = worst(name, call(x), truth, x)
                    results.setdefault(np.dtype(dtype).name, {}).setdefault(name, {}).setdefault(peer, []).append(error)
    gaps = np.arange(2, 32, 2.0)
    for gap in gaps:
        x = peaked(gap)
        truth = exact("log_softmax", x)[:, :1]
        for peer, call in FUNCTIONS["log_softmax"].items():
            error = float(np.abs((call(x)[:, :1] - truth) / truth).max())
            results.setdefault("confident", {}).setdefault(peer, []).append(error)
    results["gaps"] = gaps.tolist()
    return results


def draw(results: dict) -> None:
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    colors = {"nbsmce": "tab:red", "PyTorch": "tab:blue", "SciPy": "tab:green", "JAX": "tab:orange"}
    for ax, name in zip(axes, FUNCTIONS, strict=False):
        for peer, errors in results["float32"][name].items():
            width = 2.5 if peer == "nbsmce" else 1.5
            ax.loglog(SCALES, errors, "o-", label=peer, color=colors[peer], linewidth=width, markersize=4)
        ax.axhline(2, color="gray", linestyle=":", linewidth=1)
        ax.set(title=f"{name}, float32, {ROWS} rows of {CLASSES}", xlabel="standard deviation of the logits")
        ax.set_ylabel("largest error / ulp")
    for peer, errors in results["confident"].items():
        ax = axes[3]
        width = 2.5 if peer == "nbsmce" else 1.5
        ax.semilogy(results["gaps"], errors, "o-", label=peer, color=colors[peer], linewidth=width, markersize=4)
    axes[3].set(title="log_softmax of the right class, float32", xlabel="by how much its logit is the largest")
    axes[3].set_ylabel("largest relative error")
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.legend(fontsize=9)
    figure.savefig(DOCS / "images" / "errors.png", dpi=100)


def table(results: dict, dtype: str) -> str:
    lines = [
        "| function | library | " + " | ".join(f"{s:g}" for s in SCALES) + " |",
        "|---|---|" + "---|" * len(SCALES),
    ]
    for name, peers in results[dtype].items():
        for peer, errors in peers.items():
            lines.append(f"| `{name}` | {peer} | " + " | ".join(f"{e:.3g}" for e in errors) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    found = measure()
    draw(found)
    (DOCS / "images" / "errors.json").write_text(json.dumps(found, indent=1) + "\n")
    for dtype in ("float32", "float64"):
        print(f"{dtype}:\n{table(found, dtype)}\n")
