"""``demo``: a softmax classifier for handwritten digits, trained with ``cross_entropy_with_grad``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import cross_entropy, cross_entropy_with_grad, softmax

_BATCH = 128
_RATE = 0.5
_MOMENTUM = 0.9
_DECAY = 1e-4


class Digits(NamedTuple):
    """Images as rows of 64 numbers from 0 to 1, and what they show; some are held out."""

    train: np.ndarray
    train_labels: np.ndarray
    held_out: np.ndarray
    held_out_labels: np.ndarray


class Training(NamedTuple):
    """A trained classifier and how it got there."""

    weights: np.ndarray
    bias: np.ndarray
    losses: list[float]
    held_out_losses: list[float]


def load(seed: int) -> Digits:
    """The digits of the UCI machine learning repository that scikit-learn carries; a fifth is held out."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    images, labels = (images[order] / 16).astype(np.float32), labels[order]
    cut = len(labels) // 5
    return Digits(images[cut:], labels[cut:], images[:cut], labels[:cut])


def train(digits: Digits, epochs: int, seed: int, progress: Any) -> Training:
    """Stochastic gradient descent with momentum."""
    rng = np.random.default_rng(seed)
    weights, bias = np.zeros((64, 10), np.float32), np.zeros(10, np.float32)
    speed = [np.zeros_like(weights), np.zeros_like(bias)]
    losses, held_out_losses = [], []
    for _ in progress(range(epochs)):
        total = 0.0
        order = rng.permutation(len(digits.train))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            images = digits.train[batch]
            loss, dlogits = cross_entropy_with_grad(images @ weights + bias, digits.train_labels[batch])
            total += float(loss) * len(batch)
            gradients = images.T @ dlogits + _DECAY * weights, dlogits.sum(0)
            for parameter, v, gradient in zip((weights, bias), speed, gradients, strict=True):
                v *= _MOMENTUM
                v -= _RATE * gradient
                parameter += v
        losses.append(total / len(order))
        held_out_losses.append(float(cross_entropy(digits.held_out @ weights + bias, digits.held_out_labels)))
    return Training(weights, bias, losses, held_out_losses)


def run(epochs: int, seed: int, output: str, as_json: bool) -> int:
    """Train, draw, and say how well it went."""
    try:
        import matplotlib  # noqa: F401
        import sklearn  # noqa: F401
        from tqdm import tqdm
    except ImportError as error:
        print(f"the demo needs {error.name}: python -m pip install 'nbsmce[demo]'", file=sys.stderr)
        return 2
    if epochs < 1:
        print(f"--epochs must be at least 1, got {epochs}", file=sys.stderr)
        return 2
    from .picture import draw

    digits = load(seed)
    start = time.perf_counter()
    training = train(digits, epochs, seed, lambda steps: tqdm(steps, "training", unit="epoch", disable=as_json))
    seconds = time.perf_counter() - start
    probabilities = softmax(digits.held_out @ training.weights + training.bias)
    accuracy = float((probabilities.argmax(1) == digits.held_out_labels).mean())
    picture = Path(output)
    draw(picture, digits.held_out, digits.held_out_labels, probabilities, training)
    result = {
        "digits": len(digits.train),
        "held_out": len(digits.held_out),
        "epochs": epochs,
        "loss": training.losses[-1],
        "held_out_loss": training.held_out_losses[-1],
        "held_out_accuracy": accuracy,
        "seconds": round(seconds, 3),
        "picture": str(picture.resolve()),
    }
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        print(f"trained on {result['digits']} digits in {seconds:.1f} s, compiling the kernels included")
        print(f"held-out accuracy: {accuracy:.1%} of {result['held_out']} digits")
        print(f"picture: {picture}")
    return 0
