"""What a call costs before the first number is computed: one row of ten classes, every function."""

from .cases import TINY
from .timing import ByFunction

FUNCTIONS = [
    "softmax",
    "softmax_out",
    "logsumexp",
    "softmax_backward",
    "cross_entropy",
    "cross_entropy_with_grad",
]


class Overhead(ByFunction):
    params = (["nbsmce", "PyTorch"], FUNCTIONS)
    shape = TINY
    repeat = (5, 50, 0.5)

    def time_function(self, library, function):
        self.call()
