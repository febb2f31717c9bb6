"""Ctrl-C at moments when it would break something."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Let Ctrl-C wait until this is done.

    For imports: one that is interrupted leaves modules behind that lack their parts, for as long as the process lives.
    And for compiling: Numba loses an interrupt that comes while LLVM calls back, with a message on stderr.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    waiting: list[tuple[Any, ...]] = []
    signal.signal(signal.SIGINT, lambda *arguments: waiting.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if waiting:
            handler(*waiting[-1])
