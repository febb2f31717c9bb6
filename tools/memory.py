"""How far the peak of a process's memory rises in one call: ``python tools/memory.py`` prints the table of the README.

Every figure comes from a process of its own. Needs PyTorch and SciPy; Linux and macOS.
"""

from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np

ROWS, CLASSES = 4096, 32000


def torch_gradient(x, t):
    import torch

    logits = torch.from_numpy(x).requires_grad_()
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(t)).backward()
    return logits.grad


def torch_loss(x, t):
    import torch

    return torch.nn.functional.cross_entropy(torch.from_numpy(x), torch.from_numpy(t))


def scipy_loss(x, t):
    import scipy.special

    return -scipy.special.log_softmax(x, 1)[np.arange(len(t)), t].mean()


def nbsmce_call(name, **options):
    def call(x, t):
        import nbsmce

        return getattr(nbsmce, name)(x, t, **options)

    return call


def nbsmce_in_place(x, t):
    import nbsmce

    return nbsmce.cross_entropy_with_grad(x, t, out=x)


CALLS = {
    ("loss", "nbsmce"): nbsmce_call("cross_entropy"),
    ("loss", "PyTorch"): torch_loss,
    ("loss", "SciPy"): scipy_loss,
    ("loss and gradient", "nbsmce"): nbsmce_call("cross_entropy_with_grad"),
    ("loss and gradient", "nbsmce, out=logits"): nbsmce_in_place,
    ("loss and gradient", "PyTorch"): torch_gradient,
}


def peak():
    """The largest resident size so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def rise(call):
    """How much the peak rises in a call, after one on little data that loads and compiles everything."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, CLASSES), np.float32)
    t = rng.integers(0, CLASSES, ROWS)
    call(x[:64].copy(), t[:64])
    before = peak()
    kept = call(x, t)
    assert kept is not None
    return peak() - before


def main():
    if len(sys.argv) > 1:
        print(f"{rise(list(CALLS.values())[int(sys.argv[1])]):.0f}")
        return
    print(
        f"| float32, {ROWS} x {CLASSES} ({ROWS * CLASSES * 4 / 2**20:.0f} MB) | | MB above the logits |\n|---|---|---|"
    )
    for i, (what, who) in enumerate(CALLS):
        figure = subprocess.run([sys.executable, __file__, str(i)], capture_output=True, text=True, check=True).stdout
        print(f"| {what} | {who} | {figure.strip()} |")


if __name__ == "__main__":
    main()
