"""What a user waits for in a fresh process: import, and the first call of each kind, which compiles.

Every sample is a process of its own. These are watched and not part of the gate: they are times of a compiler.
"""

import os
import subprocess
import sys
import tempfile

ARRAYS = "import numpy as np, nbsmce; x = np.zeros((4, 8), np.float32); t = np.zeros(4, np.int64)"
FIRST = {
    "softmax": "nbsmce.softmax(x)",
    "log_softmax": "nbsmce.log_softmax(x)",
    "logsumexp": "nbsmce.logsumexp(x)",
    "softmax_backward": "nbsmce.softmax_backward(x, x)",
    "cross_entropy": "nbsmce.cross_entropy(x, t)",
    "cross_entropy_with_grad": "nbsmce.cross_entropy_with_grad(x, t)",
    "log_softmax_backward": "nbsmce.log_softmax_backward(x, x)",
    "logsumexp_backward": "nbsmce.logsumexp_backward(x[:, 0], x, x[:, 0])",
    "cross_entropy_backward": "nbsmce.cross_entropy_backward(1.0, x, t)",
    "nll_loss": "nbsmce.nll_loss(x, t)",
    "nll_loss_backward": "nbsmce.nll_loss_backward(1.0, x, t)",
}
COUNT = """
from nbsmce._compile import Kernel
import gc
print(sum(len(kernel) for kernel in gc.get_objects() if isinstance(kernel, Kernel)))
"""


def printed(source: str, stored: str = "") -> str:
    """What a fresh process prints. It finds compiled code in the folder ``stored``, or none."""
    env = os.environ | {"NBSMCE_CACHE": "1" if stored else "0", "NBSMCE_CACHE_DIR": stored}
    return subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True, env=env).stdout


class Import:
    number = 1
    repeat = (3, 5, 10.0)
    rounds = 1
    warmup_time = 0

    def timeraw_import(self):
        return "import nbsmce", "import numpy"

    def timeraw_import_and_numpy(self):
        return "import nbsmce", ""


class FirstCall:
    params = (tuple(FIRST),)
    param_names = ("function",)
    timeout = 120

    def track_first_call_seconds(self, function):
        clock = "import time; start = time.perf_counter()"
        return round(float(printed(f"{ARRAYS}; {clock}; {FIRST[function]}; print(time.perf_counter() - start)")), 4)

    track_first_call_seconds.unit = "seconds"

    def track_first_call_seconds_stored(self, function):
        clock = "import time; start = time.perf_counter()"
        source = f"{ARRAYS}; {clock}; {FIRST[function]}; print(time.perf_counter() - start)"
        with tempfile.TemporaryDirectory() as folder:
            printed(source, folder)
            return round(float(printed(source, folder)), 4)

    track_first_call_seconds_stored.unit = "seconds"

    def track_second_dtype_seconds(self, function):
        other = "x = x.astype(np.float64); import time; start = time.perf_counter()"
        call = FIRST[function]
        return round(float(printed(f"{ARRAYS}; {call}; {other}; {call}; print(time.perf_counter() - start)")), 4)

    track_second_dtype_seconds.unit = "seconds"


class Specialisations:
    """How many pieces of code were compiled after each function was called with every layout and many options."""

    def track_compiled_specialisations(self):
        calls = "; ".join(FIRST.values())
        layouts = "x = np.asfortranarray(x); " + calls + "; x = x[::-1]; " + calls
        options = "nbsmce.cross_entropy(x, t, label_smoothing=0.1, z_loss=1e-4, softcap=30.0, reduction='sum')"
        return int(printed(f"{ARRAYS}; {calls}; {layouts}; {options}\n{COUNT}"))

    track_compiled_specialisations.unit = "compiled kernels"
