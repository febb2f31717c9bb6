"""The loss beside its peers, and what its options cost: each is one number more for a row or for a class."""

from .cases import L2, OPTIONS, SHAPES, Inputs
from .libraries import LIBRARIES
from .timing import Operation, once


class CrossEntropy(Operation):
    operation = "cross_entropy"
    params = (LIBRARIES, SHAPES)

    def time_cross_entropy(self, library, shape):
        self.call()


class CrossEntropyOptions(Operation):
    operation = "cross_entropy"
    params = (["nbsmce", "PyTorch"], ["none", *OPTIONS])
    param_names = ("library", "option")

    @once
    def setup(self, library, option):
        self.prepare(library, Inputs(L2, option=option.replace("none", "")))

    def time_cross_entropy(self, library, option):
        self.call()
