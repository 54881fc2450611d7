"""Interrupts, signal handlers, finalisers and forks in the midst of a building: nobody waits for ever."""

import functools
import gc
import itertools
import linecache
import os
import signal
import ssl
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from resilient_transport import registry as the_registry
from resilient_transport.pool import contexts as room
from resilient_transport.pool import identity
from resilient_transport.pool.contexts import Contexts
from resilient_transport.util.inbox import Inbox
from tests.pool.rotation import put, settings_of
from tests.pool.test_fork import in_child
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

pytestmark = pytest.mark.slow

ROOMS = {room.__file__, identity.__file__}


class Struck(BaseException):
    """What a signal handler raises."""


def strike():
    """Raise it."""
    raise Struck


def nobody(context):
    """Hear of no retired context."""


def is_leaving(frame):
    """Tell whether a line is the end of a block that holds the lock of the room.

    CPython runs no signal handler between the last instruction of a `with` block and the release of its lock,
    but a trace function it does run there. `test_interrupts_by_signal_block_nobody` strikes as signals do.
    """
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return line == "with Inbox.lock:" and Inbox.is_mine()


def striking(number, reached):
    """Return a trace function that raises at this line of the rooms, counted from the beginning.

    What comes again and again counts twice: a third time finds what the second has found.
    """
    lines, times = itertools.count(), Counter()

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in ROOMS:
            return None
        if event != "line" or is_leaving(frame):
            return trace
        times[frame.f_code, frame.f_lineno] += 1
        if times[frame.f_code, frame.f_lineno] <= 2 and next(lines) == number:
            reached.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
            raise Struck
        return trace

    return trace


def struck_at(number, work):
    """Do some work, and strike at a line of it; return which, or None if it was done before."""
    reached, before = [], sys.gettrace()
    sys.settrace(striking(number, reached))
    try:
        with suppress(Struck, ssl.SSLError):
            work()
    finally:
        sys.settrace(before)
    return reached[0] if reached else None


def in_thread(work, timeout=LONG_TIMEOUT):
    """Do some work in a thread of its own; return what comes of it, or None if it is not done in time."""
    done = []
    thread = threading.Thread(target=lambda: done.append(work()), daemon=True)
    thread.start()
    thread.join(timeout)
    return done[0] if done else None


@pytest.fixture
def pair(authority, tmp_path):
    """Return the paths of a certificate and key that no other test has used."""
    names = ("client.pem", "client.key")
    return tuple(
        put(path, tmp_path / name) for path, name in zip(authority.issue("alice"), names, strict=True)
    )


@pytest.fixture
def settings(authority, pair):
    """Return the TLS settings of that pair."""
    return settings_of(authority, pair)


def first(contexts, authority, pair):
    """The first call with these files."""


def rotated(contexts, authority, pair):
    """A call after their rotation."""
    contexts.of(settings_of(authority, pair))
    for source, target in zip(authority.other_client, pair, strict=True):
        put(source, target)


def unusable(contexts, authority, pair):
    """A call while they are not usable."""
    contexts.of(settings_of(authority, pair))
    put(authority.other_client[0], pair[0])


def struck_and_asked(number, contexts, settings):
    """Ask for a context and strike at a line of that; ask again. Return the line, and the second answer.

    In a thread of its own: CPython 3.11 loses count of handled exceptions where a trace function raises.
    """
    where = struck_at(number, lambda: contexts.of(settings))
    return where, contexts.of(settings)


def descriptors():
    """Return how many descriptors this process has open, where that can be told."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


#: An interrupt may strike a finaliser, or leave the closing of a file to its own.
unraisable = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@unraisable
@pytest.mark.parametrize("begin", [first, rotated, unusable])
def test_an_interrupt_at_any_line_blocks_nobody(authority, tmp_path, settings, pair, begin):
    """Strike at each line in turn; then the same thread, and another one, get their context in time."""
    found, before = [], descriptors()
    for number in itertools.count():
        for source, target in zip(authority.client, pair, strict=True):
            put(source, target)
        contexts = Contexts(nobody)
        begin(contexts, authority, pair)
        where, here = in_thread(functools.partial(struck_and_asked, number, contexts, settings))
        if where is None:
            break
        there = in_thread(functools.partial(contexts.of, settings))
        found.append((where, here is not None and there is here, len(contexts._building)))

    assert len({where for where, _, _ in found}) > 50
    assert [where for where, served, left in found if left or not served] == []
    assert descriptors() == before


class Forgetful(Contexts):
    """Leaves its lock where an interrupt strikes."""

    def get(self, identity, build):
        """Build under a lock that is given back at the end only."""
        lock = self._building.setdefault(identity, Inbox.lock)
        lock.acquire()
        context = build()
        lock.release()
        return context


def test_a_lock_that_is_left_behind_would_be_found(monkeypatch, settings):
    """The control: a room that gives its lock back only when all goes well blocks the next thread."""
    contexts = Forgetful(nobody)
    at_build(monkeypatch, strike)
    with suppress(Struck):
        contexts.of(settings)
    there = in_thread(lambda: contexts.of(settings), SHORT_TIMEOUT)
    held = Inbox.lock._is_owned()
    while Inbox.lock._is_owned():
        Inbox.lock.release()

    assert held
    assert there is None


needs_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")


@contextmanager
def handling(handler):
    """Have SIGALRM handled by this function in a block."""
    before = signal.signal(signal.SIGALRM, lambda number, frame: handler())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def untraced():
    """Let no tool that measures coverage run in this thread: a signal would meet its lock."""
    before = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(before)


@needs_signals
@unraisable
@pytest.mark.usefixtures("untraced")
def test_interrupts_by_signal_block_nobody(settings):
    """The same by a handler that raises at any bytecode, many times."""
    contexts, strikes, end = Contexts(nobody), 0, monotonic() + LONG_TIMEOUT
    with handling(strike):
        while strikes < 100 and monotonic() < end:
            contexts.clear()
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + (strikes % 97) * 2e-5)
                for _ in range(20):
                    contexts.of(settings)
                    contexts.clear()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Struck:
                strikes += 1
    there = in_thread(lambda: contexts.of(settings))

    assert strikes > 20
    assert there is not None
    assert not Inbox.lock._is_owned()


def at_build(monkeypatch, act):
    """Have something happen once, while a context is built."""
    stock, ahead = identity.build_context, [act]

    def build_context(**arguments):
        if ahead:
            ahead.pop()()
        return stock(**arguments)

    monkeypatch.setattr(identity, "build_context", build_context)


@needs_signals
@pytest.mark.parametrize("other", [{}, {"ca_certs": None}], ids=["same identity", "another"])
def test_a_handlers_call_is_served_during_a_build(monkeypatch, settings, other):
    """It gets a context, and the call that it has interrupted goes on; both have one context per identity."""
    contexts, got = Contexts(nobody), []
    at_build(monkeypatch, lambda: signal.raise_signal(signal.SIGALRM))
    with handling(lambda: got.append(contexts.of({**settings, **other}))):
        mine = contexts.of(settings)

    assert len(got) == 1
    assert (got[0] is mine) is (not other)
    assert contexts.of({**settings, **other}) is got[0]


@needs_signals
def test_a_handlers_call_is_served_while_the_lock_is_held(settings):
    """The handler meets its own thread with the lock of the room."""
    contexts, got = Contexts(nobody), []
    with handling(lambda: got.append(contexts.of(settings))), Inbox.lock:
        signal.raise_signal(signal.SIGALRM)

    assert len(got) == 1
    assert contexts.of(settings) is got[0]


def crossing(settings, contexts):
    """Ask, in the midst of a build, for what another thread is building; return whether it comes in time."""
    held, done, served = threading.Event(), threading.Event(), []
    wanted = {**settings, "ca_certs": None}
    sources = identity.Sources.of(wanted)
    who = sources.identify(sources.read(), None)

    def hold():
        with contexts._lock_of(who):
            held.set()
            done.wait(LONG_TIMEOUT)

    def work():
        with contexts._lock_of("mine"):
            served.append(contexts.of(wanted))

    threads = [threading.Thread(target=target) for target in (hold, work)]
    threads[0].start()
    held.wait(LONG_TIMEOUT)
    threads[1].start()
    threads[1].join(SHORT_TIMEOUT if patched(contexts) else LONG_TIMEOUT)
    in_time = bool(served)
    done.set()
    for thread in threads:
        thread.join(LONG_TIMEOUT)
    return in_time


def patched(contexts):
    """Tell whether this room does not know its own threads."""
    return "_is_entered" in vars(contexts)


def test_a_call_in_the_midst_of_a_build_waits_for_nobody(settings):
    """Two threads whose finalisers ask for each other's identity would wait for each other."""
    assert crossing(settings, Contexts(nobody))


def test_if_it_did_not_know_its_own_thread_it_would_wait(settings):
    """The control: then it waits for the other thread's build."""
    contexts = Contexts(nobody)
    contexts._is_entered = lambda: False

    assert not crossing(settings, contexts)


@needs_signals
def test_handlers_that_call_all_the_time_are_served(settings):
    """A handler that asks at any bytecode of a thread that asks, and a second thread beside it."""
    contexts, served, end = Contexts(nobody), [], monotonic() + LONG_TIMEOUT
    handled, times = [], itertools.count()

    def ask():
        # On a busy machine the next signal comes before this one is handled: one within the other is enough.
        if len(handled) < 2:
            handled.append(1)
            served.append((next(times), contexts.of(settings)))
            handled.pop()

    with handling(ask), ThreadPoolExecutor(1) as pool:
        beside = pool.submit(lambda: [contexts.of(settings) for _ in range(200)])
        signal.setitimer(signal.ITIMER_REAL, 1e-3, 2e-3)
        while not (served and served[-1][0] >= 100) and monotonic() < end:
            contexts.of(settings)
            contexts.clear()
            served[:] = served[-1:]
        signal.setitimer(signal.ITIMER_REAL, 0)

        assert len(beside.result(LONG_TIMEOUT)) == 200
    assert served
    assert in_thread(lambda: contexts.of(settings)) is not None


class Garbage:
    """Something whose finaliser makes a call."""

    def __init__(self, call):
        """Be garbage, in a ring with itself."""
        self.call, self.ring = call, self

    def __del__(self):
        """Make the call."""
        self.call()


def test_finalisers_that_call_are_served(monkeypatch, settings):
    """The collector strikes where it likes, in the midst of a build, too."""
    contexts, served = Contexts(nobody), []

    def collect():
        Garbage(lambda: served.append(contexts.of(settings)))
        gc.collect()

    at_build(monkeypatch, collect)
    mine = contexts.of(settings)

    assert served == [mine]


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
threads = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@contextmanager
def being_built(monkeypatch, contexts, settings):
    """Have another thread in the midst of building a context, with its locks, in a block."""
    begun, go_on = threading.Event(), threading.Event()
    at_build(monkeypatch, lambda: (begun.set(), go_on.wait(LONG_TIMEOUT)))
    thread = threading.Thread(target=lambda: contexts.of(settings))
    thread.start()
    begun.wait(LONG_TIMEOUT)
    try:
        yield
    finally:
        go_on.set()
        thread.join(LONG_TIMEOUT)


@forks
@threads
def test_a_child_forked_during_a_build_builds_for_itself(monkeypatch, settings):
    """Its registry begins anew, with locks that nobody holds."""
    the_registry.clear()
    gc.collect()
    with being_built(monkeypatch, the_registry.contexts, settings), Inbox.lock:
        told = in_child(lambda: in_thread(lambda: the_registry.contexts.of(settings)) is not None)

    assert told == "True"


@forks
@threads
def test_a_child_with_its_parents_locks_would_wait(monkeypatch, settings):
    """The control: the thread that holds the lock of the identity does not exist in the child."""
    contexts = Contexts(nobody)

    def wait():
        with handling(strike), suppress(Struck):
            signal.setitimer(signal.ITIMER_REAL, SHORT_TIMEOUT)
            return contexts.of(settings) is not None
        return "it waits"

    with being_built(monkeypatch, contexts, settings):
        told = in_child(wait)

    assert told == "'it waits'"
