"""The callable of `identity=`: how often it is asked, by whom, who waits, and what happens if it fails."""

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from urllib3.exceptions import ConnectTimeoutError

from resilient_transport import Identity
from resilient_transport.connection.trace import CURRENT, Trace
from resilient_transport.pool import identity_source as room
from resilient_transport.pool.given_identity import UnusableSettings
from resilient_transport.pool.identity_source import IdentitySource
from resilient_transport.retry.deadline import Deadline
from tests.pool.test_fork import in_child
from tests.stepwise import at_each_line
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT


@pytest.fixture
def alice(authority):
    """Return alice's identity."""
    return Identity(*(Path(path).read_bytes() for path in authority.client))


@pytest.fixture
def always(monkeypatch):
    """Have every answer be old at once."""
    monkeypatch.setattr(room, "_ASK_EVERY", -1.0)


def test_it_is_asked_once_a_second(alice, monkeypatch):
    """However often it is needed; a second later it is asked again."""
    asked, now = [], [100.0]
    monkeypatch.setattr(room, "monotonic", lambda: now[0])
    source = IdentitySource.of(lambda: asked.append(1) or alice)
    counts = []
    for now[0] in (100.0, 100.5, 100.99, 101.01, 101.5):
        assert source.answer().identity is alice
        counts.append(len(asked))

    assert counts == [1, 1, 1, 2, 2]


class Asker:
    """Has a method that gives an identity, as programs do."""

    def __init__(self, identity):
        self.identity = identity

    def ask(self):
        """Give it."""
        return self.identity

    __call__ = ask


def test_there_is_one_source_for_each_callable(alice):
    """A method is another object each time, and the same callable; it is forgotten with who uses it."""
    one, other = Asker(alice), Asker(alice)
    sources = [IdentitySource.of(each) for each in (one.ask, one.ask, other.ask, alice, alice, one)]
    before = len(room._sources)
    same = sources[0] is sources[1], sources[3] is sources[4]
    distinct = len({id(source) for source in sources})
    del sources
    gc.collect()

    assert same == (True, True)
    assert distinct == 4
    assert len(room._sources) <= before - 4


def test_what_is_no_callable_is_refused():
    """By its type."""
    with pytest.raises(TypeError, match="identity takes a callable that returns an Identity, not str"):
        IdentitySource.of("client.p12")


class Held:
    """A callable that answers when it may."""

    def __init__(self, identity):
        self.identity, self.asked = identity, 0
        self.is_in, self.may_go = threading.Event(), threading.Event()

    def __call__(self):
        """Say that somebody asks, and wait."""
        self.asked += 1
        self.is_in.set()
        assert self.may_go.wait(LONG_TIMEOUT)
        return self.identity


def test_threads_that_have_nothing_yet_wait_for_one(alice):
    """Eight threads, one asking."""
    held = Held(alice)
    source = IdentitySource.of(held)
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(source.answer) for _ in range(8)]
        assert held.is_in.wait(LONG_TIMEOUT)
        held.may_go.set()
        found = {id(answer.result(LONG_TIMEOUT).identity) for answer in answers}

    assert found == {id(alice)}
    assert held.asked == 1


def test_threads_that_have_something_wait_for_nobody(alice, always):
    """While one asks again, the others use what was given before."""
    held = Held(alice)
    held.may_go.set()
    source = IdentitySource.of(held)
    source.answer()
    held.may_go.clear()
    held.is_in.clear()
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(source.answer)
        assert held.is_in.wait(LONG_TIMEOUT)
        found = [source.answer().identity for _ in range(3)]
        was_done = asking.done()
        held.may_go.set()

    assert found == [alice] * 3
    assert not was_done
    assert held.asked == 2


@pytest.fixture
def busy(alice):
    """Return a source that another thread is asking, for the first time."""
    held = Held(alice)
    source = IdentitySource.of(held)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(source.answer)
        assert held.is_in.wait(LONG_TIMEOUT)
        yield source
        held.may_go.set()


@pytest.mark.parametrize("limit", ["connect", "deadline"])
def test_who_waits_has_a_limit(busy, limit):
    """The time that a call grants for getting a connection, or what is left of the call."""
    trace = Trace(deadline=Deadline(SHORT_TIMEOUT if limit == "deadline" else LONG_TIMEOUT))
    trace.connect_timeout = SHORT_TIMEOUT if limit == "connect" else None
    CURRENT.value = trace
    try:
        with pytest.raises(
            ConnectTimeoutError, match="another thread has been asking identity=Held for 0.2 s"
        ):
            busy.answer()
    finally:
        CURRENT.value = None


def test_who_must_not_wait_does_not(busy):
    """A handler in the middle of our own bookkeeping."""
    with pytest.raises(ConnectTimeoutError, match=r"for 0\.0 s"):
        busy.answer(waits=False)


def test_in_the_middle_of_asking_nothing_is_asked(alice, always):
    """The callable's own calls get what was usable last; nothing, if nothing was."""
    seen = []

    def ask():
        seen.append((source.is_asked_here(), source.answer()))
        return alice

    source = IdentitySource.of(ask)
    source.answer()
    source.usable = alice
    source.answer()

    assert [is_asked for is_asked, _ in seen] == [True, True]
    assert seen[0][1] is None
    assert seen[1][1].identity is alice
    assert not source.is_asked_here()


def failing():
    """Raise what a client of a secret store might."""
    raise ConnectionError("https://vault.example/?token=s.SECRET")


def test_a_callable_that_fails_from_the_first(always):
    """Each caller has an error of its own, which names the callable and the line, and no secret."""
    source = IdentitySource.of(failing)
    errors = []
    for _ in range(2):
        with pytest.raises(UnusableSettings) as caught:
            source.answer()
        errors.append(caught.value)

    assert errors[0] is not errors[1]
    assert str(errors[0]).startswith("identity=failing has raised ConnectionError at ")
    assert str(errors[0]).endswith("in failing")
    assert "SECRET" not in str(errors[0])
    assert isinstance(errors[0].__cause__, ConnectionError)


def test_a_failure_is_not_repeated_within_a_second():
    """Who comes meanwhile is told of it without asking."""
    asked = []

    def ask():
        asked.append(1)
        raise KeyError("k")

    source = IdentitySource.of(ask)
    for _ in range(3):
        with pytest.raises(UnusableSettings, match="has raised KeyError"):
            source.answer()

    assert len(asked) == 1


@pytest.mark.parametrize("given", [None, {"cert": "-----"}, b"pem"])
def test_what_is_no_identity_is_told_by_its_type(always, given):
    """And by nothing of what is in it."""
    source = IdentitySource.of(lambda: given)
    with pytest.raises(
        UnusableSettings, match=f"has to return an Identity, and has returned {type(given).__name__}"
    ):
        source.answer()


def test_our_own_words_are_told(always):
    """An `Identity` that was refused says why: that holds no secret."""
    source = IdentitySource.of(lambda: Identity("client.pem"))
    with pytest.raises(
        UnusableSettings, match="has raised ValueError: cert= of an Identity takes a certificate"
    ):
        source.answer()


def test_a_failure_leaves_what_was_given_and_is_news_once(alice, always):
    """Once for each reason, to the thread that has asked."""
    failures = iter([None, KeyError, KeyError, OSError, None, KeyError])

    def ask():
        kind = next(failures)
        if kind is not None:
            raise kind("secret")
        return alice

    source = IdentitySource.of(ask)
    answers = [source.answer() for _ in range(6)]

    assert [answer.identity for answer in answers] == [alice] * 6
    assert [answer.news and answer.news.split()[3] for answer in answers] == [
        None, "KeyError", None, "OSError", None, "KeyError",
    ]  # fmt: skip


def test_an_interrupt_leaves_nothing_behind(alice):
    """It is the asking thread's alone, and the next one asks."""
    raised = [KeyboardInterrupt()]

    def ask():
        if raised:
            raise raised.pop()
        return alice

    source = IdentitySource.of(ask)
    with pytest.raises(KeyboardInterrupt):
        source.answer()
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(source.answer).result(LONG_TIMEOUT)

    assert found.identity is alice


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_may_ask_although_a_thread_was_asking(busy):
    """The thread is gone, and its lock is not there any more."""
    busy.ask.may_go.set()
    told = in_child(lambda: busy.answer().identity is busy.ask.identity)

    assert told == "True"


def test_a_failure_leaves_no_ring(always):
    """Neither the error nor what it was raised from outlives who has caught it."""
    source = IdentitySource.of(failing)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with pytest.raises(UnusableSettings):
                source.answer()
        del _
        found = gc.collect()
    finally:
        gc.enable()

    assert found == 0


def test_a_handler_at_each_step(alice, always):
    """It gets what was usable last, or nothing; it never waits, and asks only where nobody is asking."""
    within, source, seen = [], None, []

    def ask():
        within.append(1)
        assert len(within) == 1, "it is asked in the middle of being asked"
        within.pop()
        return alice

    def work():
        nonlocal source
        source = IdentitySource.of(ask)
        assert source.answer().identity is alice

    def act():
        answer = IdentitySource.of(ask).answer()
        seen.append(answer and answer.identity)

    steps = list(at_each_line(["pool/identity_source.py"], work, act))

    assert len(steps) > 20
    assert set(seen) == {alice, None}


def test_an_interrupt_at_each_step(alice, always):
    """Wherever it strikes, another thread can ask afterwards.

    But for the line that releases the lock: CPython interrupts nothing between that and the end before it.
    """
    made, held = [], [False]

    def work():
        made[:], held[:] = [], [False]
        with suppress(KeyboardInterrupt):
            made.append(IdentitySource(lambda: alice))
            made[0].answer()
        with ThreadPoolExecutor(1) as threads:
            for source in made:
                held[0] = not threads.submit(source._asking.acquire, False).result(LONG_TIMEOUT)
                if not held[0]:
                    threads.submit(source._asking.release).result(LONG_TIMEOUT)
                    found = threads.submit(source.answer, waits=False).result(LONG_TIMEOUT)
                    assert found.identity is alice

    def interrupt():
        raise KeyboardInterrupt

    lines = Path(room.__file__).read_text().splitlines()
    release = next(number for number, line in enumerate(lines, 1) if "asking.release()" in line)
    steps = [(step, *held) for step in at_each_line(["pool/identity_source.py"], work, interrupt)]
    stuck = {int(step.partition(":")[2]) for step, is_held in steps if is_held}

    assert len(steps) > 15
    assert stuck <= {release, release - 1}
