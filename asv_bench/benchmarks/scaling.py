"""Time over classes, rows and threads. Their numbers can be the x axis of a graph."""

from .cases import Inputs, cpus, use_threads
from .libraries import Skip, build
from .timing import Operation, once

PEERS = ["nbsmce", "PyTorch"]


class Classes(Operation):
    """As many elements each time: what the length of a row costs."""

    operation = "softmax"
    params = (PEERS, [2, 8, 32, 128, 1024, 16384, 262144])
    param_names = ("library", "classes")
    elements = 1 << 20

    @once
    def setup(self, library, classes):
        self.prepare(library, Inputs(f"{self.elements // classes}x{classes}"))

    def time_softmax(self, library, classes):
        self.call()


class Rows(Operation):
    """Rows of a thousand: from where serial becomes parallel to where nothing fits the cache."""

    operation = "softmax"
    params = (PEERS, [1, 4, 16, 64, 256, 1024, 8192])
    param_names = ("library", "rows")

    @once
    def setup(self, library, rows):
        self.prepare(library, Inputs(f"{rows}x1000"))

    def time_softmax(self, library, rows):
        self.call()


class Threads(Operation):
    """Out of cache (8 MB); more threads than processors are not measured."""

    operation = "softmax"
    params = (PEERS, [1, 2, 4, 8])
    param_names = ("library", "threads")
    shape = "2048x1000"

    @once
    def setup(self, library, threads):
        if threads > cpus():
            raise Skip(f"{cpus()} processors")
        use_threads(threads)
        self.inputs = Inputs(self.shape)
        self.call = build(library, self.operation, self.inputs, threads)
        self.call()

    def time_softmax(self, library, threads):
        self.call()
