"""The reaper: one thread, only while something is idle, ended before a fork."""

import os
import subprocess
import sys
import threading
import time

import pytest
import requests

from resilient_transport import ResilientAdapter, registry
from resilient_transport.pool import reaper
from resilient_transport.pool.reaper import Reaper
from tests.plain_server import plain_server
from tests.timeouts import LONG_TIMEOUT

NAME = "resilient_transport-reaper"


def eventually(holds):
    """Wait until something holds; whether it does."""
    until = time.monotonic() + LONG_TIMEOUT
    while not holds() and time.monotonic() < until:
        time.sleep(0.005)
    return holds()


def reapers():
    """The threads of reapers that live."""
    return [thread for thread in threading.enumerate() if thread.name == NAME]


@pytest.fixture
def quickly(monkeypatch):
    """Look all the time."""
    monkeypatch.setattr(reaper, "LOOK_EVERY", 0.01)


class Idle:
    """Something to look at, as long as it is there."""

    def __init__(self):
        self.looks, self.left = 0, True

    def look(self):
        """Count the look; whether anything is left."""
        self.looks += 1
        return self.left


@pytest.fixture
def idle():
    """What a reaper looks at; nothing is left of it in the end."""
    idle = Idle()
    yield idle
    idle.left = False


def test_it_looks_until_nothing_is_left(idle, quickly):
    """Then its thread ends by itself."""
    reaper = Reaper(idle.look)
    reaper.wake()
    looked = eventually(lambda: idle.looks > 2)
    thread = reaper._thread
    idle.left = False

    assert looked
    assert eventually(lambda: not thread.is_alive())


def test_one_thread_is_enough(idle, quickly):
    """However often it is woken."""
    before = len(reapers())
    reaper = Reaper(idle.look)
    for _ in range(20):
        reaper.wake()

    assert len(reapers()) == before + 1
    idle.left = False
    assert eventually(lambda: len(reapers()) == before)


def test_what_becomes_idle_as_it_ends_is_looked_at(idle, quickly):
    """The state that the losing thread finds: nothing was left, and then something is."""
    reaper = Reaper(idle.look)
    reaper.wake()
    thread = reaper._thread
    idle.left = False
    eventually(lambda: not thread.is_alive())
    idle.left = True
    seen = idle.looks
    reaper.wake()

    assert eventually(lambda: idle.looks > seen + 1)


def test_where_no_thread_can_be_started_the_next_call_looks(idle, monkeypatch):
    """Once its time has come, and no sooner."""
    monkeypatch.setattr(threading.Thread, "start", refuse_to_start)
    reaper = Reaper(idle.look)
    reaper.wake()
    due = reaper.due
    reaper.look_if_due()
    too_soon = idle.looks
    reaper.due = time.monotonic()
    reaper.look_if_due()
    later = reaper.due
    idle.left, reaper.due = False, time.monotonic()
    reaper.look_if_due()

    assert due is not None
    assert (too_soon, idle.looks) == (0, 2)
    assert later is not None
    assert reaper.due is None


@pytest.mark.parametrize("strike", [KeyboardInterrupt, MemoryError])
def test_a_start_that_is_interrupted_is_made_good(idle, quickly, monkeypatch, strike):
    """The next connection that becomes idle starts the thread."""

    def struck(thread):
        raise strike

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", struck)
        reaper = Reaper(idle.look)
        with pytest.raises(strike):
            reaper.wake()
    reaper.wake()

    assert eventually(lambda: idle.looks > 1)


def test_after_a_fork_the_parent_looks_on_at_what_is_idle(idle, quickly):
    """A program that forks and calls no more leaves nothing half-closed, either."""
    reaper = Reaper(idle.look)
    reaper.wake()
    reaper.stop()
    seen = idle.looks
    reaper.resume(has_idle=True)
    looked = eventually(lambda: idle.looks > seen + 1)

    assert looked or (reaper.due is not None and sys.version_info >= (3, 14))
    reaper.stop()


def refuse_to_start(thread):
    """What Python raises where a process has as many threads as it may."""
    raise RuntimeError("can't start new thread")


def test_stopping_ends_the_thread_for_good(idle):
    """Before a fork: nothing starts another one until the fork is over."""
    reaper = Reaper(idle.look)
    reaper.wake()
    thread = reaper._thread
    reaper.stop()
    ended = not thread.is_alive()
    reaper.wake()
    during = reaper._thread
    reaper.resume()
    reaper.wake()

    assert ended
    assert during is None
    assert reaper._thread is not None
    reaper.stop()


#: A call leaves a connection idle; then the process forks with every warning an error, and both call again.
FORK = """
import os, sys, warnings
import requests
from resilient_transport import ResilientAdapter, registry
warnings.simplefilter("error")
session = requests.Session()
session.trust_env = False
session.mount("http://", ResilientAdapter())
for number in range(5):
    session.get(sys.argv[1], timeout=10)
    assert registry.reaper._thread is not None
    child = os.fork()
    if child == 0:
        os._exit(0 if session.get(sys.argv[1], timeout=10).ok else 1)
    assert os.waitpid(child, 0)[1] == 0
print(session.get(sys.argv[1], timeout=10).status_code)
"""
#: The control: a thread of a program's own is not ended, and Python warns.
THREADS = FORK.replace(
    "session = ",
    "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start(); session = ",
)

#: The same thread beside a fork, without a call.
ALONE = """
import os, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
child = os.fork()
if not child:
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.fixture
def plain_url():
    """The URL of a server without TLS that answers as often as it is asked."""
    with plain_server() as url:
        yield url


def run(program, url):
    """Run a program with one argument; how it ended, what it printed and what it complained of."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, url],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=6 * LONG_TIMEOUT,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_beside_an_idle_connection_warns_of_nothing(plain_url):
    """Python 3.12 and later count the threads at a fork; both processes go on calling."""
    status, printed, complaint = run(FORK, plain_url)

    assert (status, printed) == (0, "200"), complaint


@pytest.mark.skipif(sys.version_info < (3, 12), reason="older Pythons do not count threads at a fork")
def test_a_thread_of_the_programs_own_is_warned_of(plain_url):
    """The control: what is not ended before the fork is counted."""
    if run(ALONE, plain_url)[0] == 0:
        pytest.skip("this system does not tell Python how many threads there are")
    status, _, complaint = run(THREADS, plain_url)

    assert status != 0
    assert "multi-threaded" in complaint


def test_a_connection_that_the_server_has_closed_does_not_stay(fault_server_factory, dial, quickly):
    """No socket is left half-closed after `session.close()`, though nobody calls any more."""
    server = fault_server_factory(idle_timeout=0.05)
    session = dial(server)
    session.get(server.url)
    session.close()
    registry.reaper.wake()
    server.wait_for(lambda counts: counts.open_connections == 0)

    assert eventually(lambda: not len(registry.idle))


def test_without_a_look_it_would_stay(fault_server_factory, dial, monkeypatch):
    """The control: with the reaper off the connection stays, closed by the server."""
    monkeypatch.setattr(Reaper, "wake", lambda self: None)
    server = fault_server_factory(idle_timeout=0.05)
    session = dial(server)
    session.get(server.url)
    session.close()
    server.wait_for(lambda counts: counts.open_connections == 0)

    assert len(registry.idle) == 1


def test_a_call_takes_no_part_in_it(plain_url, monkeypatch):
    """Where there is a thread, no call looks at what is idle."""
    looks = []
    monkeypatch.setattr(registry.reaper, "_look", lambda: bool(looks.append(threading.current_thread().name)))
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter())
        for _ in range(5):
            session.get(plain_url)

    assert looks == []
