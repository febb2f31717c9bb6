"""Gradients beside their peers. The loss with its gradient is PyTorch's forward and backward pass."""

from .cases import FEW_CLASSES, L1, L2, MEMORY, SHAPES, TINY
from .libraries import LIBRARIES
from .timing import Operation

PEERS = ["nbsmce", "PyTorch", "JAX"]


class CrossEntropyWithGrad(Operation):
    operation = "cross_entropy_with_grad"
    params = ([name for name in LIBRARIES if name != "SciPy"], SHAPES)

    def time_cross_entropy_with_grad(self, library, shape):
        self.call()


class CrossEntropyBackward(Operation):
    operation = "cross_entropy_backward"
    params = (PEERS, [TINY, L2, MEMORY])

    def time_cross_entropy_backward(self, library, shape):
        self.call()


class SoftmaxBackward(Operation):
    operation = "softmax_backward"
    params = (PEERS, [TINY, L1, FEW_CLASSES, MEMORY])

    def time_softmax_backward(self, library, shape):
        self.call()


class LogSoftmaxBackward(Operation):
    operation = "log_softmax_backward"
    params = (PEERS, [TINY, L2, MEMORY])

    def time_log_softmax_backward(self, library, shape):
        self.call()


class LogsumexpBackward(Operation):
    operation = "logsumexp_backward"
    params = (PEERS, [TINY, L2, MEMORY])

    def time_logsumexp_backward(self, library, shape):
        self.call()
