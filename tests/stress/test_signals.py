"""R9: Ctrl-C at random moments, and signals whose handlers compute."""

from __future__ import annotations

import pytest
from processes import scaled, succeeded

INTERRUPTED = """
    import os, random, signal, sys, threading, time
    import numpy as np, nbsmce
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    nbsmce.set_num_threads(int(sys.argv[2]))
    pick = random.Random(0)
    x = np.zeros({shape}, np.float32)
    small = np.ones((300, 400), np.float32)
    right = nbsmce.softmax(small)
    nbsmce.softmax(x, {axis}, out=x)
    worst, interrupted = 0.0, 0
    for _ in range(int(sys.argv[1])):
        sent = [0.0]
        def interrupt(delay=pick.random() * {longest}):
            time.sleep(delay)
            sent[0] = time.perf_counter()
            os.kill(os.getpid(), signal.SIGINT)
        messenger = threading.Thread(target=interrupt)
        try:
            messenger.start()
            while True:
                nbsmce.softmax(x, {axis}, out=x)
        except KeyboardInterrupt:
            late = time.perf_counter() - sent[0]
            interrupted += 1
        messenger.join()
        worst = max(worst, late)
        assert (nbsmce.softmax(small) == right).all()
    assert interrupted == int(sys.argv[1])
    print(worst)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((1 << 18, 1000), -1), ((1, 1 << 28), -1), ((1 << 24, 10), -1), ((1000, 1 << 18), 0), ((1 << 24, 10), 0)],
)
def test_ctrl_c(shape, axis, threads, results, warm):
    """Calls of up to a second; each ends within a tenth of one."""
    code = INTERRUPTED.format(shape=shape, axis=axis, longest=0.4)
    worst = float(succeeded(code, scaled(8, 40), threads, env=warm, timeout=1200))
    assert worst < 0.1


@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM"])
def test_a_signal_while_compiling(sent):
    """Also in the middle of the imports that the first call makes. Afterwards everything works."""
    code = """
    import os, random, signal, subprocess, sys, threading, time
    import numpy as np, nbsmce
    sent = signal.Signals[sys.argv[2]]
    signal.signal(sent, signal.default_int_handler)  # raises KeyboardInterrupt, whatever the signal
    x = np.linspace(0, 1, 12).reshape(3, 4)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    def work():
        for dtype in (np.float32, np.float64):
            nbsmce.softmax(x.astype(dtype)); nbsmce.logsumexp(x.astype(dtype))
            nbsmce.softmax(np.ones((300, 300), dtype))
    interrupted = 0
    for _ in range(int(sys.argv[1])):
        kill = f"import os, signal, time; time.sleep({random.random() * 1.2}); os.kill({os.getpid()}, {sent:d})"
        with subprocess.Popen([sys.executable, "-c", kill]) as messenger:
            try:
                work()
                messenger.wait()
                time.sleep(0.1)
            except KeyboardInterrupt:
                interrupted += 1
    work()
    assert interrupted == int(sys.argv[1]), interrupted
    assert np.allclose(nbsmce.softmax(x), p)
    assert np.allclose(nbsmce.softmax(x.astype(np.float32)), p)
    """
    for _ in range(scaled(4, 25)):
        succeeded(code, 4, sent, env={"NBSMCE_CACHE": "0"}, timeout=600)


@pytest.mark.parametrize("threads", [1, 2])
def test_handlers_that_compute(threads, results, warm):
    """A handler runs in the middle of a call, computes something else there, and the call goes on."""
    code = """
    import signal, sys
    import numpy as np, nbsmce
    nbsmce.set_num_threads(int(sys.argv[2]))
    x = np.random.default_rng(0).standard_normal((1 << 16, 1000), dtype=np.float32)
    small = x[:300]
    right, small_right = nbsmce.softmax(x), nbsmce.softmax(small)
    seen = []
    def handler(*_):
        seen.append((nbsmce.softmax(small) == small_right).all())
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    out = np.empty_like(x)
    for _ in range(int(sys.argv[1])):
        nbsmce.softmax(x, out=out)
        assert (out == right).all()
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert all(seen) and len(seen) > int(sys.argv[1]) // 2, len(seen)
    """
    succeeded(code, scaled(20, 300), threads, env=warm, timeout=600)


def test_a_handler_that_raises_something_else(results, warm):
    code = """
    import signal
    import numpy as np, nbsmce
    class Stop(Exception): pass
    def handler(*_): raise Stop("now")
    signal.signal(signal.SIGALRM, handler)
    x = np.zeros((1 << 18, 1000), np.float32)
    for _ in range(3):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            while True: nbsmce.softmax(x, out=x)
        except Stop as error:
            assert error.args == ("now",) and error.__traceback__ is not None
        else:
            raise AssertionError
    """
    succeeded(code, env=warm)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_handler_that_forks(threads, results, warm):
    """In the middle of a call: the parent's is right. The child has no helpers; a call that had some raises, once."""
    code = """
    import os, signal, sys, time
    import numpy as np, nbsmce
    threads = int(sys.argv[1])
    nbsmce.set_num_threads(threads)
    x = np.zeros((1 << 18, 1000), np.float32)  # a call takes 40 ms or more
    expected = np.float32(1e-3)  # also of the results themselves
    small = np.ones((600, 500), np.float32)
    right = nbsmce.softmax(small)
    forked = []
    signal.signal(signal.SIGALRM, lambda *_: forked.append(os.fork()))
    for _ in range(int(sys.argv[2])):
        x[:] = 0
        signal.setitimer(signal.ITIMER_REAL, 0.05)  # by then the helper is at work, also on a busy machine
        raised, before = "", len(forked)
        try:
            while len(forked) == before:  # on some machines the first call has ended by then
                nbsmce.softmax(x, out=x)
        except RuntimeError as error:
            raised = str(error)
        if forked[-1] == 0:
            good = "forked by a signal handler" in raised if threads > 1 else not raised and (x == expected).all()
            os._exit(0 if good and (nbsmce.softmax(small) == right).all() else 9)
        assert not raised and (x == expected).all()
        end = time.monotonic() + 20
        while not (ended := os.waitpid(forked[-1], os.WNOHANG))[0]:
            assert time.monotonic() < end, "the child hangs"
        assert ended[1] == 0, ended
    assert len(forked) == int(sys.argv[2])
    """
    succeeded(code, threads, scaled(3, 50), env=warm, timeout=600)
