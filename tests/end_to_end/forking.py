"""A program that forks beside threads that are busy in one state after the other, and says what came of that.

Run as `python -m tests.end_to_end.forking URL CA CERT KEY FORKS STATE...`; with `inherit` before the states
nothing is made anew in a child, as the control. Each child makes calls over the session of the threads, or
over one of its own. What is written is JSON: for each state how the children ended (0 is well, 1 is an error,
a signal's number is a hang), what the threads have met, and how many calls they have made.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter

import requests

from resilient_transport import mount, registry
from resilient_transport.util import fork
from resilient_transport.util.inbox import Inbox
from tests.timeouts import HANG_TIMEOUT, LONG_TIMEOUT, SHORT_TIMEOUT

URL, CA, CERT, KEY, *ASKED = sys.argv[1:]
THREADS = 8
#: Seconds after which a child hangs; it is meant to where it makes nothing anew.
PATIENCE = 5 * SHORT_TIMEOUT if "inherit" in ASKED else 2 * LONG_TIMEOUT


def session_of():
    """Return a session for the server."""
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = CA, (CERT, KEY)
    mount(session)
    return session


SHARED = session_of()


def get(session, path, size, **fields):
    """Make a call, and look at what comes."""
    response = session.get(URL + path, timeout=HANG_TIMEOUT / 2, **fields)
    assert (response.status_code, len(response.content)) == (200, size)


def building():
    """Build a TLS context, and connect with it."""
    registry.contexts._contexts.clear()
    registry.contexts.clear()
    get(session_of(), "/words/30", 179)


def at_the_gate():
    """Wait with all others for a new connection."""
    registry.clear()
    get(SHARED, "/words/30", 179, headers={"Connection": "close"})


def uploading():
    """Send a body in pieces."""
    response = SHARED.post(URL + "/echo", data=iter([b"x" * 20_000] * 20), timeout=HANG_TIMEOUT / 2)
    assert len(response.content) == 400_000


def resuming():
    """Read a body, which breaks where the server plays so."""
    get(SHARED, "/bytes/9000", 9000)


def keeping_books():
    """Hold the lock of all pools."""
    with Inbox.lock:
        threading.Event().wait(0.001)


STATES = {each.__name__: each for each in (building, at_the_gate, uploading, resuming, keeping_books)}


class Threads:
    """Busy threads.

    Args:
        work: what they do, again and again.
    """

    def __init__(self, work):
        self.met, self.calls = [], 0
        self._work, self._over = work, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._over.is_set():
            try:
                self._work()
            except Exception as error:
                self.met.append(repr(error)[:300])
            self.calls += 1

    def go_on(self):
        """Wait until they have done something more."""
        before, give_up = self.calls, time.monotonic() + LONG_TIMEOUT
        while self.calls < before + THREADS // 2 and time.monotonic() < give_up:
            time.sleep(0.001)

    def end(self):
        """End them; return how many did not end."""
        self._over.set()
        for thread in self._threads:
            thread.join(HANG_TIMEOUT / 2)
        return sum(thread.is_alive() for thread in self._threads)


def child(number):
    """Fork; the child makes calls, and ends."""
    pid = os.fork()
    if pid:
        return pid
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        session = SHARED if number % 2 else session_of()
        get(session, "/words/30", 179)
        get(session, "/bytes/9000", 9000)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def forked_beside(work, forks):
    """Fork so often beside threads that do this; return what came of it."""
    threads, ended = Threads(work), Counter()
    for number in range(forks):
        threads.go_on()
        status = os.waitpid(child(number), 0)[1]
        ended[status] += 1
    return ended, threads.met[:5], threads.calls, threads.end()


if __name__ == "__main__":
    number, *states = ASKED
    if "inherit" in states:
        states.remove("inherit")
        fork._renewals.clear()
    print(json.dumps({state: forked_beside(STATES[state], int(number)) for state in states}), flush=True)
    # A thread that hangs is not waited for.
    os._exit(0)
