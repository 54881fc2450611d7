"""The transport in company: finalisers, signal handlers, forks and interrupts, in the middle of anything.

Each program runs in a process of its own, and is ended when no call ends any more.
"""

import os

import pytest

from tests.plain_server import plain_server
from tests.programs import run_python
from tests.timeouts import LONG_TIMEOUT

#: What each program begins with: a session, and a watch that ends the process when nothing moves any more.
PROLOGUE = """
import faulthandler, gc, os, signal, sys, threading, time
import requests
import resilient_transport
from resilient_transport import ResilientAdapter, mount, registry

kind, url, patience = sys.argv[1], sys.argv[2], float(sys.argv[3])
calls = [0]

def new_session():
    session = requests.Session()
    session.trust_env = False
    if kind != "stock":
        mount(session)
    return session

def watch():
    seen, since = -1, time.monotonic()
    while True:
        time.sleep(0.05)
        if calls[0] != seen:
            seen, since = calls[0], time.monotonic()
        elif time.monotonic() - since > patience:
            if kind == "ours":
                faulthandler.dump_traceback(all_threads=True)
            print("hung", flush=True)
            os._exit(3)

if kind == "without":
    # The control: locks that do not know their owner.
    from resilient_transport.util.inbox import Inbox

    Inbox.lock, Inbox.is_mine = threading.Lock(), staticmethod(bool)
    registry.__init__()
if kind == "strong":
    # The control: permits that do not come back by being forgotten.
    class Strong(dict):
        def keyrefs(self):
            return [lambda key=key: key for key in self]
    resilient_transport.gate.gate.WeakKeyDictionary = Strong
    registry.__init__()
threading.Thread(target=watch, daemon=True).start()

def at_the_worst_moment(strike):
    # Now and then, while this thread holds the lock of a pool.
    from resilient_transport.gate.gate import Gate
    take, times = Gate._take, [0]

    def taking(self, suits):
        times[0] += 1
        if times[0] % 7 == 0:
            strike()
        return take(self, suits)
    Gate._take = taking
"""

#: Clients in reference cycles, whose finalisers close their sessions and call: the collector runs them
#: in the middle of anybody's bookkeeping.
FINALISERS = (
    PROLOGUE
    + """
other = new_session()
closing = threading.local()

class Client:
    def __init__(self):
        self.session, self.me = new_session(), self

    def __del__(self):
        self.session.close()
        if not getattr(closing, "now", False):
            closing.now = True
            other.get(url, timeout=5)
            closing.now = False

def work():
    for _ in range(100):
        Client().session.get(url, timeout=5)
        calls[0] += 1

at_the_worst_moment(gc.collect)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(f"{calls[0]} calls", flush=True)
os._exit(0)
"""
)

#: A handler that makes a call, every few milliseconds, while the main thread makes calls to the same server.
SIGNALS = (
    PROLOGUE
    + """
session, fired, busy = new_session(), [0], [False]

def handler(*_):
    if not busy[0]:
        busy[0] = True
        fired[0] += 1
        # A session of its own: each time a lease begins and ends, too.
        with new_session() as mine:
            mine.get(url, timeout=5)
        busy[0] = False

signal.signal(signal.SIGALRM, handler)
at_the_worst_moment(lambda: signal.raise_signal(signal.SIGALRM))
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.0017)
while calls[0] < 400 or fired[0] < 200:
    if calls[0] % 10 == 0:
        registry.clear()
    session.get(url, timeout=5)
    calls[0] += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print("400 calls", flush=True)
os._exit(0)
"""
)

#: Threads make calls; the main thread forks, and each child makes a call of its own.
FORKS = (
    PROLOGUE
    + """
import io
session = new_session()

def work():
    while True:
        session.post(url, data=io.BytesIO(b"x"), timeout=5)
        calls[0] += 1

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
served = 0
for _ in range(30):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        ok = session.post(url, data=io.BytesIO(b"x"), timeout=20).ok and new_session().get(url, timeout=20).ok
        os._exit(0 if ok else 1)
    served += os.waitpid(child, 0)[1] == 0
    calls[0] += 1
print(f"{served} children", flush=True)
os._exit(0)
"""
)

#: An exception strikes at one line of the pool's code after the other, in calls that connect and in calls
#: that find an idle connection. Afterwards nothing may be held, and another call is served.
INTERRUPTS = (
    PROLOGUE
    + """
import linecache
from pathlib import Path
from resilient_transport.util.inbox import Inbox
rooms = [str(Path(resilient_transport.__file__).parent / room) for room in ("gate", "pool", "connection")]

class Strike(Exception):
    pass

def leaves_the_lock(frame):
    # No signal strikes between the end of such a block and the release, but a trace function may.
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return line.startswith("with ") and Inbox.is_mine()

def strike_at(number):
    left = [number]

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.startswith(tuple(rooms)):
            return None
        if event == "line" and not leaves_the_lock(frame):
            left[0] -= 1
            if left[0] == 0:
                raise Strike
        return trace
    return trace, left

def restless():
    gates = [pool.gate for pool in registry._all()]
    return [gate for gate in gates if gate.making() or gate.waiting() or gate.open() != len(gate.idle())]

session, found, number = new_session(), [], 0
session.get(url, timeout=5)
# The collector looks only at what calls leave.
gc.freeze()
while True:
    number += 1
    if number % 2:
        # Every other time the call finds an idle connection.
        registry.clear()
    trace, left = strike_at(number)
    sys.settrace(trace)
    try:
        session.get(url, timeout=5)
    except Strike:
        pass
    finally:
        sys.settrace(None)
    if left[0] > 0:
        # The call was over before its turn came; once for each way, all lines were struck.
        if number % 2:
            break
        continue
    gc.collect()
    found += [(number, repr(gate)) for gate in restless()]
    if found:
        break
    assert session.get(url, timeout=5).ok
    calls[0] += 1
print(f"left behind: {found}" if found else "nothing left", flush=True)
os._exit(0 if calls[0] > 100 else 1)
"""
)


def run(program, kind, patience=LONG_TIMEOUT):
    """Run a program; what it printed at last, and what it complained of."""
    with plain_server() as url:
        done = run_python("-c", program, kind, url, str(patience), check=False, measured=False)
    return done.stdout.strip(), done.stderr


def test_finalisers_hang_nobody():
    """They close sessions and make calls, whatever their thread holds."""
    printed, complaint = run(FINALISERS, "ours")

    assert printed == "400 calls", complaint


def test_a_signal_handler_that_calls_hangs_nobody():
    """It gets a connection of its own in the middle of its thread's bookkeeping."""
    printed, complaint = run(SIGNALS, "ours")

    assert printed == "400 calls", complaint


@pytest.mark.parametrize("program", [FINALISERS, SIGNALS], ids=["finalisers", "signals"])
def test_with_locks_that_do_not_know_their_owner_they_would_hang(program):
    """The control: the same with plain locks. Calls hang, or threads die of locks that others release."""
    printed, _ = run(program, "without", patience=2.0)

    assert printed != "400 calls"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forks_at_any_moment_hang_no_child():
    """Whatever the parent's threads hold, a child's calls are served."""
    printed, complaint = run(FORKS, "ours")

    assert printed == "30 children", complaint


def test_an_interrupt_at_any_line_leaves_nothing_behind():
    """No permit, no waiter and no connection stays where nobody has it, and the next call is served."""
    printed, complaint = run(INTERRUPTS, "ours")

    assert printed == "nothing left", complaint


def test_with_permits_that_must_be_given_back_some_would_be_lost():
    """The control: the gate refers to permits strongly."""
    printed, _ = run(INTERRUPTS, "strong", patience=2.0)

    assert printed.startswith("left behind") or printed == "hung"
