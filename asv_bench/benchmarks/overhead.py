"""What a call costs before the first number is computed: one row of ten classes, every function."""

from .cases import TINY, Inputs
from .timing import Operation, once

FUNCTIONS = [
    "softmax",
    "softmax_out",
    "logsumexp",
    "softmax_backward",
    "cross_entropy",
    "cross_entropy_with_grad",
]


class Overhead(Operation):
    params = (["nbsmce", "PyTorch"], FUNCTIONS)
    param_names = ("library", "function")
    repeat = (5, 50, 0.5)

    @once
    def setup(self, library, function):
        self.operation = function
        self.prepare(library, Inputs(TINY))

    def time_function(self, library, function):
        self.call()
