"""The trace of an attempt is seen by the thread that makes it, and by no other that has its context."""

from contextvars import ContextVar

import pytest

from resilient_transport import ResilientAdapter
from resilient_transport.connection.tls_sessions import Offer, TLSSessions, offered, offering
from resilient_transport.connection.trace import CURRENT, Trace
from resilient_transport.events import HandshakeDone
from resilient_transport.pool.contexts import SEARCH, Search, _tell
from resilient_transport.retry.stages import Stage
from resilient_transport.testing import Script
from resilient_transport.util import fork


@pytest.fixture
def attempt():
    """Run an attempt here; return its trace."""
    trace = Trace()
    CURRENT.value = trace
    yield trace
    CURRENT.value = None


def test_a_thread_that_begins_during_an_attempt_makes_none(attempt, inside):
    """The control: a context variable is what it was where the thread began, for ever."""
    control = ContextVar("control", default=None)
    control.set(attempt)
    thread = inside()

    assert CURRENT.value is control.get() is attempt
    assert (thread.see(control.get), thread.see(lambda: CURRENT.value)) == (attempt, None)


def test_a_hook_that_begins_a_thread(server, dial, inside):
    """For that thread the adapter is what it is set to, long after the call."""
    begun = []

    def hook(event):
        if isinstance(event, HandshakeDone):
            begun.append(inside())

    server.play(Script())
    adapter = ResilientAdapter(max_retries=3, on_event=hook)
    seen = lambda: adapter.max_retries.total  # noqa: E731 - as an adapter is looked at
    assert dial(server, adapter).get(server.url).ok

    assert (begun[0].see(seen), seen()) == (3, 3)


def test_a_slot_that_is_freed_elsewhere_is_nobody_elses(server, dial, attempt, inside):
    """An attempt that keeps its slot for the next one gets none that another thread gives back."""
    server.play(Script())
    adapter = ResilientAdapter(pool_maxsize=1, pool_block=True)
    session = dial(server, adapter)
    with session.get(server.url, stream=True) as response:
        pool = response.raw._pool
        attempt.keeps_slot = True
        # As `release_conn` does of a connection that has broken.
        inside().see(lambda: pool._put_conn(None))
        kept = attempt.slot_of

    assert kept is None
    assert session.get(server.url).ok


def test_a_listener_hears_of_its_own_calls(inside):
    """A rotation that another thread meets is no news of a call that is over."""
    heard = []
    SEARCH.value = Search(heard.append)
    inside().see(lambda: _tell(None))
    before = list(heard)
    _tell(None)
    SEARCH.value = None

    assert (before, heard) == ([], [None])


def test_a_session_is_offered_in_one_handshake(inside):
    """That of another thread is offered none: it may be as somebody else."""
    sessions, trace = TLSSessions(), Trace()
    sessions.put("localhost", "a session")
    trace.mark(Stage.HANDSHAKE)
    with offering(Offer(sessions, trace)):
        elsewhere = inside().see(lambda: offered("localhost"))
        here = offered("localhost")

    assert (elsewhere, here) == (None, "a session")


def test_a_worker_process_makes_no_attempt(attempt):
    """A process that is forked during an attempt, to work on something else, is in none."""
    for beginning in fork._beginnings:
        beginning()

    assert CURRENT.value is None
