"""Signals at moments when what their handlers raise would break something."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Let Ctrl-C wait until this is done, and all signals that have a handler in Python, which may raise.

    For imports: one that is interrupted leaves modules behind that lack their parts, for as long as the process lives.
    And for compiling: Numba loses an interrupt that comes while LLVM calls back, with a message on stderr.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread only
        return
    handlers = {number: handler for number in signal.valid_signals() if callable(handler := signal.getsignal(number))}
    with contextlib.ExitStack() as sent:  # each, also if the handler of another raises
        waiting: set[int] = set()
        for number in handlers:
            signal.signal(number, lambda number, _: waiting.add(number))
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for late in waiting:
                sent.callback(signal.raise_signal, late)
