"""On a GPU: what a caller waits for, what the device spends, and what a launch costs. Skipped where there is none.

The larger shape has 524 MB, which no cache holds; the smaller one fits. Outputs are allocated by the call, as
a user's are.
"""

import statistics

from .cases import FEW_CLASSES, TINY, Inputs
from .libraries import Skip
from .timing import once, seconds

PEERS = ["nbsmce", "PyTorch"]
FUNCTIONS = ["softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_with_grad"]
SHAPES = [FEW_CLASSES, "4096x32000"]


def device():
    """Numba's CUDA module, or why there is none."""
    from numba import config

    if config.ENABLE_CUDASIM:
        raise Skip("the CUDA simulator is not worth timing")
    try:
        from numba import cuda

        found = cuda.is_available()
    except Exception as error:
        raise Skip(f"Numba's CUDA target cannot be used: {error}") from error
    if not found:
        raise Skip("no CUDA device")
    return cuda


def device_seconds(cuda, call, batches=15):
    """The median of what lies between two events around one call."""
    start, stop = cuda.event(timing=True), cuda.event(timing=True)
    times = []
    for _ in range(batches):
        start.record()
        call()
        stop.record()
        stop.synchronize()
        times.append(cuda.event_elapsed_time(start, stop) / 1e3)
    return statistics.median(times)


def build(cuda, library, function, inputs):
    """A call on arrays that are on the device."""
    loss = function.startswith("cross_entropy")
    if library == "nbsmce":
        import nbsmce

        arguments = [cuda.to_device(inputs.x), *([cuda.to_device(inputs.target)] if loss else [])]
        return lambda: getattr(nbsmce, function)(*arguments)
    try:
        import torch
    except ImportError:
        raise Skip("PyTorch is not installed") from None
    if not torch.cuda.is_available():
        raise Skip("PyTorch without CUDA")
    x, target = torch.from_numpy(inputs.x).cuda(), torch.from_numpy(inputs.target).cuda()
    if function == "cross_entropy_with_grad":
        x.requires_grad_()
        return lambda: torch.autograd.grad(torch.nn.functional.cross_entropy(x, target), x)
    if function == "cross_entropy":
        return lambda: torch.nn.functional.cross_entropy(x, target)
    return lambda: getattr(torch, function)(x, -1)


class OnDevice:
    params = (PEERS, FUNCTIONS, SHAPES)
    param_names = ("library", "function", "shape")
    rounds = 1
    repeat = (5, 100, 1.0)
    warmup_time = 0.3  # until the clocks are up
    timeout = 300

    @once
    def setup(self, library, function, shape):
        self.cuda = device()
        self.inputs = Inputs(shape)
        self.call = build(self.cuda, library, function, self.inputs)
        for _ in range(5):
            self.call()
        self.cuda.synchronize()

    def time_call_and_wait(self, library, function, shape):
        self.call()
        self.cuda.synchronize()

    def track_device_seconds(self, library, function, shape):
        return device_seconds(self.cuda, self.call)

    track_device_seconds.unit = "seconds"

    def track_share_of_limit(self, library, function, shape):
        a = self.cuda.device_array(self.inputs.x.nbytes, "uint8")
        b = self.cuda.device_array(self.inputs.x.nbytes, "uint8")
        copy = device_seconds(self.cuda, lambda: b.copy_to_device(a)) / (2 * a.nbytes)
        least = copy * self.inputs.bytes_moved(function)
        return round(100 * least / device_seconds(self.cuda, self.call), 1)

    track_share_of_limit.unit = "% of the memory limit"


class Launch:
    params = (PEERS, FUNCTIONS)
    param_names = ("library", "function")

    @once
    def setup(self, library, function):
        self.cuda = device()
        self.call = build(self.cuda, library, function, Inputs(TINY))
        self.call()
        self.cuda.synchronize()

    def track_launch_microseconds(self, library, function):
        """Until the call returns, not until the device has finished."""
        spent = statistics.median(seconds(self.call, 20) for _ in range(20))
        self.cuda.synchronize()
        return round(1e6 * spent, 2)

    track_launch_microseconds.unit = "microseconds"
