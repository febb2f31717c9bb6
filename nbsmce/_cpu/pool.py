"""Threads that wait in machine code, and what they do there.

A call (:func:`launch`) opens a job, works itself, closes it, and waits for the helpers that have joined; one that wakes
up late finds the job closed, and nobody waits for it. A helper that has nothing to do looks for the next job for some
microseconds and then sleeps. None of them ever holds Python's GIL, so a busy interpreter delays nobody.

One call at a time has the helpers. What other Python threads call meanwhile, or a signal handler, runs in them alone.

The word ``STATE`` of a control has bit 0 while a job may be joined, the number of helpers at work from bit 1, that of
all that have joined from bit 17, and the number of the job from bit 33. It changes by atomic operations alone.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from numba import types

from .._compile import c_function
from . import control as c
from .control import Shared, pause, run
from .lanes.llvm import integer, invert, smaller
from .lanes.llvm_control import Variable, branch, in_njit, repeat_while
from .sections import Sections

_WORKER, _WORKERS = 1 << 1, 0xFFFF << 1
_JOINED, _JOIN_SHIFT, _JOIN_MASK = 1 << 17, 17, 0xFFFF
_NUMBER = 33

SPIN = 50_000
"""Nanoseconds that a helper looks for the next job before it sleeps, and a call for the end of the last helper's work
before it gives its processor away. OpenMP's milliseconds are paid for by whatever else runs: docs/performance.md."""

CHECK_SIGNALS = 40_000_000
"""Nanoseconds from one look for signals to the next."""


def _joinable(control, seen):
    """Whether there is another job than number ``seen``."""
    state = control[c.STATE]
    return (state & c.OPEN != 0) & (state >> _NUMBER != seen)


def _wait(control, seen):
    """Until there is a job, or the end."""
    idle = lambda: invert(_joinable(control, seen)) & (control[c.STOP] == 0)  # noqa: E731
    end = control.now() + SPIN
    for _ in repeat_while(lambda: idle() & (control.now() < end)):
        pause()
    branch(idle(), lambda: _sleep(control, idle))


def _sleep(control, idle):
    mutex, condition = control.place(c.MUTEX), control.place(c.CONDITION)
    control.call(c.LOCK, mutex)
    control.add(c.SLEEPERS, 1)
    for _ in repeat_while(idle):
        control.call(c.WAIT, condition, mutex)
    control.add(c.SLEEPERS, -1)
    control.call(c.UNLOCK, mutex)
    _spread(control)


def _note_place(control):
    def note():
        control[c.PLACE] = control.call(c.PROCESSOR)

    branch(control[c.PROCESSOR] != 0, note)


def _spread(control):
    """Leave the processor of the thread that has called, if this one was woken there.

    Linux does that on some virtual machines, and lets both take turns for milliseconds while other processors idle. On
    two processors, calls of 512 x 1000 every 5 ms took 0.95 ms without this and 0.66 with it.
    """

    def compare():
        mine = control.call(c.PROCESSOR) == control[c.PLACE]
        branch(mine, lambda: control.leave(control[c.PLACE]))

    branch(control[c.PROCESSOR] != 0, compare)


def _wake(control):
    """Wake all who sleep. The lock makes sure that nobody is between looking and sleeping."""
    control.call(c.LOCK, control.place(c.MUTEX))
    control.call(c.WAKE_ALL, control.place(c.CONDITION))
    control.call(c.UNLOCK, control.place(c.MUTEX))


def _help(address):
    """What a helper does from its start to its end."""
    control, seen = Shared(address), Variable(0)
    number = control.add(c.HELPERS, 1) + 1

    def join():
        state = control[c.STATE]
        joined = (state >> _JOIN_SHIFT) & _JOIN_MASK

        def enter():
            def work():
                seen.value = state >> _NUMBER
                _work(control, joined + 1, number, False)
                control.add(c.STATE, -_WORKER)

            branch(control.swap(c.STATE, state, state + (_JOINED + _WORKER)), work)

        def too_late():
            seen.value = state >> _NUMBER

        branch(state & c.OPEN != 0, lambda: branch(joined < control[c.LIMIT], enter, too_late))

    for _ in repeat_while(lambda: control[c.STOP] == 0):
        branch(_joinable(control, seen.value), join, lambda: _wait(control, seen.value))
    return integer(0)


def _interrupted(control):
    """Let Python run its signal handlers. If one raises, the exception is kept."""
    held = control.call(c.ENSURE)
    raised = control.call(c.CHECK) != 0

    def keep():
        control.call(c.FETCH, *[control.place(c.EXCEPTION + i) for i in range(3)])
        control[c.CANCELLED] = 1

    branch(raised, keep)
    control.call(c.RELEASE, held)
    return raised


def _ranges(control, take, cancel, callback, bundle, n, grain, slot, main):
    """Handle what ``take()`` gives out until that is all, or a signal handler raises."""
    checked, lo = Variable(control.now()), Variable(take() * grain)

    def look():
        branch(_interrupted(control), cancel)
        checked.value = control.now()

    for _ in repeat_while(lambda: lo.value < n):
        run(callback, bundle, lo.value, smaller(lo.value + grain, n), slot)
        branch(main, lambda: branch(control.now() - checked.value > CHECK_SIGNALS, look))
        lo.value = take() * grain


def _sections(control):
    """Those of the job."""
    return Sections(control, control[c.COUNT], control[c.GRAIN], control[c.LIMIT] + 1)


def _work(control, slot, number, main):
    """The part of a job of the thread with this number."""
    callback, bundle, n, grain = (control[word] for word in (c.CALLBACK, c.BUNDLE, c.COUNT, c.GRAIN))
    sections = _sections(control)
    _ranges(control, sections.taken_by(number), sections.cancel, callback, bundle, n, grain, slot, main)


def _launch(address, callback, bundle, n, grain, threads):
    control = Shared(address)
    main = control.thread() == control[c.MAIN]
    helpers = smaller(threads, (n + grain - 1) // grain) - 1

    def alone():
        taken = Variable(0)

        def take():
            taken.value = taken.value + 1
            return taken.value - 1

        def cancel():
            taken.value = n

        _ranges(control, take, cancel, callback, bundle, n, grain, 0, main)

    def together():
        control[c.LEADER] = control.thread()
        _note_place(control)
        words = c.CALLBACK, c.BUNDLE, c.COUNT, c.GRAIN, c.LIMIT
        for word, value in zip(words, (callback, bundle, n, grain, helpers), strict=True):
            control[word] = value
        _sections(control).begin()
        control[c.STATE] = (((control[c.STATE] >> _NUMBER) + 1) << _NUMBER) + c.OPEN
        branch(control[c.SLEEPERS] > 0, lambda: _wake(control))
        _work(control, 0, 0, main)
        control.add(c.STATE, -c.OPEN)
        end = control.now() + SPIN
        for _ in repeat_while(lambda: control[c.STATE] & _WORKERS != 0):
            pause()
            branch(control.now() > end, lambda: control.call(c.YIELD))
        control[c.BUSY] = 0

    def start():
        wanted = helpers > 0
        branch(branch(wanted, lambda: control.swap(c.BUSY, 0, 1), lambda: wanted), together, alone)

    branch(main & (control[c.CANCELLED] != 0), lambda: None, start)  # else an earlier step of this kernel was cancelled


def _dismiss(address):
    control = Shared(address)
    free = control.swap(c.BUSY, 0, 1)

    def tell():
        control[c.STOP] = 1
        _wake(control)

    branch(free, tell)
    return integer(free)


_launch, _help, _dismiss = in_njit(_launch, True), in_njit(_help), in_njit(_dismiss)


def launch(control, callback, bundle, n, grain, threads):
    """Let ``callback(bundle, lo, hi, slot)`` handle ranges of ``grain`` that cover ``[0, n)``."""
    _launch(control, callback, bundle, n, grain, threads)


def help_out(control):
    """What a helper does."""
    return _help(control)


def dismiss(control):
    """Tell the helpers to end, unless they are at work; from then on nobody gets them. Returns whether."""
    return _dismiss(control)


class Code(NamedTuple):
    """The functions above, compiled: what has an ``address``."""

    launch: Any
    help_out: Any
    dismiss: Any


@functools.cache
def code() -> Code:
    """Compiled with the first call; kept for good, since threads may be in it until the process ends."""
    word = types.int64
    return Code(
        c_function(types.void(*[word] * 6), launch),
        c_function(word(word), help_out),
        c_function(word(word), dismiss),
    )
