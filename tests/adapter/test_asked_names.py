"""A name that a resolver hangs on: who asks for it later is not taken with it."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from resilient_transport import DeadlineExceeded, ResilientAdapter, RetryPolicy
from resilient_transport.connection import resolver as resolve
from resilient_transport.retry.deadline import Deadline
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

OK = told("200 OK", b"", Content_Length="0")


class Resolver:
    """Answers each question when it is let, the later ones at once if nobody has said otherwise."""

    def __init__(self, hang):
        self.gates = [threading.Event() for _ in range(hang)]
        self.begun = [threading.Event() for _ in range(hang)]
        self.asked = 0
        self._ask = socket.getaddrinfo

    def __call__(self, host, *args, **values):
        if host == "localhost":
            nth, self.asked = self.asked, self.asked + 1
            if nth < len(self.gates):
                self.begun[nth].set()
                assert self.gates[nth].wait(LONG_TIMEOUT)
        return self._ask(host, *args, **values)

    def let(self, nth):
        """Let a question have its answer, and wait until it was given."""
        threads = self._threads()
        self.gates[nth].set()
        threads[nth].join(LONG_TIMEOUT)

    def over(self):
        """Let all questions end."""
        for gate in self.gates:
            gate.set()
        for thread in self._threads():
            thread.join(LONG_TIMEOUT)

    @staticmethod
    def _threads():
        return [thread for thread in threading.enumerate() if thread.name == "resilient_transport-resolve"]


@pytest.fixture
def resolver(monkeypatch):
    """Return a function that makes a resolver which hangs on its first questions."""
    made = []

    def hanging(hang=1):
        made.append(Resolver(hang))
        monkeypatch.setattr(socket, "getaddrinfo", made[-1])
        return made[-1]

    yield hanging
    for one in made:
        one.over()


def calls(verbatim, deadlines):
    """Make calls with these deadlines, one after the other; return what comes of them."""
    outcomes = []
    with requests.Session() as session:
        session.trust_env = False
        for deadline in deadlines:
            session.mount("http://", ResilientAdapter(policy=RetryPolicy(deadline=deadline)))
            try:
                outcomes.append(session.get(verbatim.url).status_code)
            except requests.RequestException as error:
                outcomes.append(type(error))
    return outcomes


@pytest.mark.parametrize(
    ("shared_for", "second", "asked"), [(0.0, 200, 2), (LONG_TIMEOUT, DeadlineExceeded, 1)]
)
def test_a_question_that_hangs_is_shared_for_a_moment(resolver, monkeypatch, shared_for, second, asked):
    """A call after that moment asks anew and succeeds; one within it waits for the same answer."""
    monkeypatch.setattr(resolve, "SHARED_FOR", shared_for)
    hanging = resolver()
    with VerbatimServer([Answer(OK)]) as verbatim:
        outcomes = calls(verbatim, [SHORT_TIMEOUT, LONG_TIMEOUT if second == 200 else SHORT_TIMEOUT])

    assert outcomes == [DeadlineExceeded, second]
    assert hanging.asked == asked


def test_the_usual_moment_is_longer_than_a_burst():
    """Callers that come at once share one question, and a question that hangs is left soon."""
    assert SHORT_TIMEOUT < resolve.SHARED_FOR < LONG_TIMEOUT


def test_those_who_share_get_the_answer(resolver, monkeypatch):
    """Four ask while the first question is under way: the resolver hears it once, and all are answered."""
    monkeypatch.setattr(resolve, "SHARED_FOR", LONG_TIMEOUT)
    hanging = resolver()
    waiting = threading.Semaphore(0)

    class Noted(Deadline):
        def left(self):
            waiting.release()
            return super().left()

    with ThreadPoolExecutor(4) as pool:
        found = [
            pool.submit(resolve.addresses, "localhost", 80, "system", Noted(LONG_TIMEOUT)) for _ in range(4)
        ]
        assert hanging.begun[0].wait(LONG_TIMEOUT)
        for _ in range(4):
            assert waiting.acquire(timeout=LONG_TIMEOUT)
        with pytest.raises(TimeoutError):
            resolve.addresses("localhost", 80, "system", Deadline(SHORT_TIMEOUT))
        hanging.let(0)
        answers = [each.result() for each in found]

    assert hanging.asked == 1
    assert all(answer == answers[0] != [] for answer in answers)


def test_a_late_answer_disturbs_nobody(resolver, monkeypatch):
    """The first question is answered while the second is under way, which others go on to share."""
    monkeypatch.setattr(resolve, "SHARED_FOR", 0.0)
    hanging = resolver(2)
    with pytest.raises(TimeoutError):
        resolve.addresses("localhost", 80, "system", Deadline(SHORT_TIMEOUT))
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(resolve.addresses, "localhost", 80, "system", Deadline(LONG_TIMEOUT))
        assert hanging.begun[1].wait(LONG_TIMEOUT)
        hanging.let(0)
        monkeypatch.setattr(resolve, "SHARED_FOR", LONG_TIMEOUT)
        with pytest.raises(TimeoutError):
            resolve.addresses("localhost", 80, "system", Deadline(SHORT_TIMEOUT))
        asked = hanging.asked
        hanging.over()
        found = second.result()

    assert asked == 2
    assert found != []
