"""The picture of the demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .demo import Training


def draw(path: Path, images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, training: Training) -> None:
    """Loss curves, confusion matrix, and the digits that were the hardest, with their probabilities."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(3, 2))[:, 0]
    curves, matrix = above.subplots(1, 2)
    _draw_curves(curves, training)
    _draw_confusion(matrix, labels, probabilities.argmax(1))
    hardest = np.argsort(probabilities[np.arange(len(labels)), labels])[:8]
    below.suptitle("the least likely right answers: image, and probability of each digit (the right one blue)")
    axes = below.subplots(2, len(hardest))
    for column, i in enumerate(hardest):
        _draw_digit(axes[:, column], images[i], labels[i], probabilities[i])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw_curves(axes: Any, training: Training) -> None:
    epochs = np.arange(1, len(training.losses) + 1)
    axes.semilogy(epochs, training.losses, label="training")
    axes.semilogy(epochs, training.held_out_losses, label="held out")
    axes.set(xlabel="epoch", ylabel="cross entropy", title="loss")
    axes.legend()
    axes.grid(alpha=0.3)


def _draw_confusion(axes: Any, labels: np.ndarray, predicted: np.ndarray) -> None:
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, predicted), 1)
    axes.imshow(np.sqrt(counts), cmap="Blues")
    axes.set(xlabel="predicted", ylabel="digit", xticks=range(10), yticks=range(10))
    axes.set_title(f"held-out digits: {np.trace(counts) / counts.sum():.1%} right")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if row == column else "black"
            axes.text(column, row, count, ha="center", va="center", color=color, fontsize=8)


def _draw_digit(axes: Any, image: np.ndarray, label: int, probabilities: np.ndarray) -> None:
    axes[0].imshow(image.reshape(8, 8), cmap="gray_r")
    axes[0].set_axis_off()
    axes[1].bar(range(10), probabilities, color=["tab:blue" if i == label else "lightgray" for i in range(10)])
    axes[1].set(ylim=(0, 1), xticks=range(10), yticks=())
    axes[1].tick_params(labelsize=7)
