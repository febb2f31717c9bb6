"""``info``: what a bug report needs."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from typing import Any

from .. import __version__, _threads

_PACKAGES = ("numpy", "numba", "llvmlite", "numba-cuda", "cuda-core", "cuda-bindings", "torch", "ml_dtypes")
_WIDTHS = (("avx512f", 512), ("avx2", 256), ("avx", 256), ("sse2", 128), ("neon", 128))


def collect() -> dict[str, Any]:
    """Everything that ``info`` shows."""
    return {
        "nbsmce": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "processor": _processor(),
        "threads": _thread_count(),
        "compiled code": _compiled_code(),
        "cuda": _cuda(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> dict[str, Any]:
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    # The feature map of 64-bit Arm does not list what every such processor has.
    known = [width for name, width in _WIDTHS if features.get(name)] or [128]
    return {
        "name": binding.get_host_cpu_name(),
        "vector bits": known[0],
        "converts float16": bool(features.get("f16c")) or platform.machine().lower() in ("arm64", "aarch64"),
    }


def _thread_count() -> dict[str, Any]:
    if os.environ.get("NBSMCE_NUM_THREADS"):
        reason = "NBSMCE_NUM_THREADS"
    else:
        reason = f"processors that this process may run on, of {os.cpu_count()}"
    return {"count": _threads.get_num_threads(), "because": reason}


def _compiled_code() -> object:
    import numba

    from .warmup import describe

    if numba.config.DISABLE_JIT:
        return "none: NUMBA_DISABLE_JIT is set, and everything runs slowly in Python"
    return describe()


def _cuda() -> dict[str, Any]:
    """Whether arrays on a GPU can be computed on, or why not."""
    try:
        from .._cuda import driver

        reason = driver.problem()
        if reason is None:
            return {"usable": True, "devices": driver.devices()}
    except Exception as error:  # a broken driver shall not keep anyone from reporting it
        reason = f"{type(error).__name__}: {error}"
    return {"usable": False, "reason": reason}


def show(as_json: bool) -> int:
    """Print it."""
    found = collect()
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for key, inner in value.items():
                print(f"    {key}: {'not installed' if inner is None else inner}")
        else:
            print(f"{name}: {value}")
    return 0
