"""softmax, log_softmax and logsumexp beside their peers: a shape for each regime (``cases``), float32."""

from .cases import SHAPES
from .libraries import LIBRARIES
from .timing import Operation

PEERS = [name for name in LIBRARIES if name != "scikit-learn"]
WITH_OUT = ["nbsmce", "PyTorch"]


class Softmax(Operation):
    operation = "softmax"
    params = (PEERS, SHAPES)

    def time_softmax(self, library, shape):
        self.call()


class SoftmaxOut(Operation):
    operation = "softmax_out"
    params = (WITH_OUT, SHAPES)

    def time_softmax_out(self, library, shape):
        self.call()


class LogSoftmax(Operation):
    operation = "log_softmax"
    params = (PEERS, SHAPES)

    def time_log_softmax(self, library, shape):
        self.call()


class Logsumexp(Operation):
    operation = "logsumexp"
    params = (PEERS, SHAPES)

    def time_logsumexp(self, library, shape):
        self.call()
