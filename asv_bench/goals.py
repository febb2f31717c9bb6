"""How fast nbsmce is meant to be: the ratios that ``compare_cpu.py`` puts beside the measured ones."""

from __future__ import annotations

from workers import Case

LARGE = 64e6  # bytes of logits that no cache holds
SHARE_OF_LIMIT = 0.9

# How many times as fast as PyTorch, whose forward and backward pass stand against the loss with its gradient.
PYTORCH = {
    "softmax": 1.3,
    "softmax_out": 1.3,
    "log_softmax": 1.3,
    "log_softmax_out": 1.3,
    "softmax_backward": 1.3,
    "softmax_backward_out": 1.3,
    "log_softmax_backward": 1.3,
    "log_softmax_backward_out": 1.3,
    "logsumexp_backward": 1.3,
    "cross_entropy_backward": 1.3,
    "logsumexp": 2.0,
    "cross_entropy": 2.0,
    "cross_entropy_with_grad": 4.0,
}
PYTORCH_LARGE = {
    "softmax_out": 2.0,
    "log_softmax_out": 2.0,
    "softmax_backward_out": 1.5,
    "log_softmax_backward_out": 1.5,
    "cross_entropy_with_grad": 8.0,
}
FEW_CLASSES = 5.0  # 2 to 32 classes, many rows
BY_DTYPE = {"float64": 1.3, "float16": 1.5, "bfloat16": 1.5}
OTHER_AXIS = 1.3


def size(case: Case) -> tuple[int, int, int, bool]:
    """Rows, classes, bytes of the logits, and whether the classes are contiguous."""
    sizes, _, axis = case.shape.removesuffix("F").partition("@")
    shape = [int(n) for n in sizes.split("x")]
    classes = shape.pop(int(axis or -1))
    rows = 1
    for n in shape:
        rows *= n
    itemsize = {"float64": 8, "float32": 4}.get(case.dtype, 2)
    return rows, classes, rows * classes * itemsize, not axis and not case.shape.endswith("F")


def ratio(case: Case, library: str) -> float:
    """How many times as fast as a library: ahead of every one, and of PyTorch by a factor."""
    if library != "PyTorch":
        return 1.0
    rows, classes, nbytes, contiguous = size(case)
    if case.dtype != "float32":
        return BY_DTYPE[case.dtype]
    if not contiguous:
        return OTHER_AXIS
    goal = PYTORCH[case.operation]
    if nbytes > LARGE:
        goal = max(goal, PYTORCH_LARGE.get(case.operation, 0))
    if classes <= 32 and rows >= 1024:
        goal = max(goal, FEW_CLASSES)
    return goal


def share(case: Case) -> float:
    """The share of what memory allows; nothing is required of less than it takes to fill the caches."""
    return SHARE_OF_LIMIT if size(case)[2] > LARGE else 0.0


def costs() -> list[tuple[str, Case, Case, float]]:
    """What is compared with nbsmce itself: a case, the one it is measured against, and how long it may take of that."""
    found = []
    for operation in ("softmax", "cross_entropy_with_grad"):
        cached, large = Case(operation, "512x1000"), Case(operation, "128x128256")
        for dtype in ("float16", "bfloat16"):
            found.append((f"{dtype}, in cache", Case(operation, cached.shape, dtype), cached, 1.0))
            found.append((f"{dtype}, out of cache", Case(operation, large.shape, dtype), large, 1 / 1.6))
        for spread in (20.0, 100.0, float("inf")):
            name = "half of the logits -inf" if spread == float("inf") else f"spread {spread:g}"
            found.append((name, Case(operation, "2048x1000", spread=spread), Case(operation, "2048x1000"), 1.2))
    for option in ("weight", "label_smoothing", "z_loss", "softcap", "probabilities"):
        plain = Case("cross_entropy", "128x128256")
        found.append((option, Case("cross_entropy", plain.shape, option=option), plain, 1.3))
    return found
