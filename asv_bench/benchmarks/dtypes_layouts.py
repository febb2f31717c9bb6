"""What the dtype, the class axis, the memory layout and the numbers themselves cost."""

from .cases import DTYPES, Inputs
from .timing import Operation, once

PEERS = ["nbsmce", "PyTorch"]
# float32 has 8 MB: out of the cache of a core, so that half types can show the bytes that they save.
SHAPE = "2048x1000"


class _Dtypes(Operation):
    params = (["nbsmce", "PyTorch", "JAX"], DTYPES)
    param_names = ("library", "dtype")

    @once
    def setup(self, library, dtype):
        self.prepare(library, Inputs(SHAPE, dtype))


class Dtypes(_Dtypes):
    operation = "softmax"

    def time_softmax(self, library, dtype):
        self.call()


class DtypesWithGrad(_Dtypes):
    operation = "cross_entropy_with_grad"

    def time_cross_entropy_with_grad(self, library, dtype):
        self.call()


class Layouts(Operation):
    """The class axis first, in the middle as in images (N, C, H*W), and last of an array in Fortran order."""

    operation = "softmax"
    params = (PEERS, ["1000x2048@0", "64x21x1024@1", "2048x1000F"])
    param_names = ("library", "layout")

    @once
    def setup(self, library, layout):
        self.prepare(library, Inputs(layout))

    def time_softmax(self, library, layout):
        self.call()


class Spreads(Operation):
    """Logits of a standard deviation of 3, of 100 (most results are subnormal or 0), and half of them -inf."""

    operation = "softmax"
    params = (PEERS, [3.0, 100.0, "-inf"])
    param_names = ("library", "spread")

    @once
    def setup(self, library, spread):
        self.prepare(library, Inputs(SHAPE, spread=float("inf") if spread == "-inf" else spread))

    def time_softmax(self, library, spread):
        self.call()
