"""``warmup`` and ``cache``: compiled code."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from .. import _store, _warmup


def warm(functions: Sequence[str], dtypes: Sequence[str], quiet: bool) -> int:
    """Compile, and say what."""
    start = time.perf_counter()

    def progress(done: int, total: int, name: str) -> None:
        if name and not quiet:
            print(f"[{done + 1:{len(str(total))}}/{total}] {name}", flush=True)

    try:
        made = _warmup.warmup(functions or None, dtypes, progress=progress)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if not quiet:
        print(f"{made} kernels in {time.perf_counter() - start:.1f} s")
        print(f"compiled code: {describe()['state']}")
    return 0 if not _store.enabled() or _store.store.problem is None else 1


def describe() -> dict[str, Any]:
    """Where compiled code is kept."""
    if not _store.enabled():
        return {"state": "off: NBSMCE_CACHE=0", "files": 0, "bytes": 0}
    files = size = 0
    try:
        files, size = _store.contents()
        problem = _store.store.problem
        state = f"kept in {_store.location()}" if problem is None else f"not used: {problem}"
    except Exception as error:  # whatever is wrong with a folder is what is to be told here
        state = f"not used: {error}"
    return {"state": state, "files": files, "bytes": size}


def cache(clear: bool, as_json: bool) -> int:
    """Show or clear it."""
    if clear:
        try:
            removed = _store.clear()
        except (OSError, _store.Unusable) as error:
            print(f"not cleared: {error}", file=sys.stderr)
            return 1
        print(f"{removed} files removed from {_store.location()}")
        return 0
    found = describe()
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        print(f"compiled code: {found['state']}")
        print(f"{found['files']} files, {found['bytes'] / 1e6:.1f} MB")
        print("NBSMCE_CACHE_DIR names another folder, NBSMCE_CACHE=0 does without, --clear removes the files")
    return 0
