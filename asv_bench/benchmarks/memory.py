"""Distance from the memory limit, and memory taken."""

import tracemalloc

from .cases import MEMORY, Inputs
from .timing import ByFunction, Operation, once

FUNCTIONS = [
    "softmax",
    "softmax_out",
    "logsumexp",
    "softmax_backward_out",
    "cross_entropy",
    "cross_entropy_with_grad",
]


class MemoryLimit(ByFunction):
    """66 MB of logits. The bytes are those that any implementation must move (``cases.TRAFFIC``)."""

    params = (["nbsmce", "PyTorch"], FUNCTIONS)
    shape = MEMORY

    def track_share_of_limit(self, library, function):
        return self.share_of_limit()

    track_share_of_limit.unit = "% of the memory limit"

    def track_gigabytes_per_second(self, library, function):
        return self.gigabytes_per_second()

    track_gigabytes_per_second.unit = "GB/s"


class Allocated(ByFunction):
    """What one call allocates through Python and NumPy, in sizes of the logits: the result, and what else?"""

    params = (["nbsmce", "SciPy"], ["softmax", "logsumexp", "cross_entropy"])
    shape = "256x32000"

    def track_allocated(self, library, function):
        tracemalloc.start()
        self.call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return round(peak / self.inputs.x.nbytes, 3)

    track_allocated.unit = "x the logits' size"


class Process(Operation):
    """The most memory that a process takes which computes a loss of 33 MB of logits, imports and compiler included."""

    operation = "cross_entropy_with_grad"
    params = (["nbsmce", "PyTorch", "JAX"],)
    param_names = ("library",)
    shape = "256x32000"

    @once
    def setup(self, library):
        self.prepare(library, Inputs(self.shape))

    def peakmem_cross_entropy_with_grad(self, library):
        self.call()
