"""Threads that die in the midst of a call, with the interpreter or alone; and garbage that makes calls."""

import gc
import json
import subprocess
import sys
import threading
from collections import Counter

import pytest

from resilient_transport import registry
from resilient_transport.settings.environment import clean_environment
from resilient_transport.testing import Fault, Moment, Rule, Script
from resilient_transport.util.inbox import Inbox
from tests.end_to_end.test_forks import STATES
from tests.programs import ROOT, run_python
from tests.timeouts import HANG_TIMEOUT, LONG_TIMEOUT, SHORT_TIMEOUT

pytestmark = pytest.mark.slow

#: What gives threads something to do in each state.
SCRIPT = Script((*STATES["resuming"].rules, Rule(Fault(Moment.CLIENT_HELLO), probability=0.2)), seed=7)


def program(server, how):
    """Return the arguments of a program that ends beside busy threads."""
    return "-W", "ignore", "-m", "tests.end_to_end.dying", server.url, *certificates(server), how


def certificates(server):
    """Return the paths of the CA, the certificate and the key."""
    return server.authority.ca_file, *server.authority.client


def test_an_interpreter_ends_beside_busy_daemon_threads(server):
    """In time, in order, and without a word."""
    server.play(SCRIPT)
    ran = run_python(*program(server, "daemon"))

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "ends\n", "")


def test_an_interpreter_waits_for_other_threads(server):
    """The control: these go on, and so does the program."""
    server.play(SCRIPT)
    command = [sys.executable, *program(server, "waited for")]
    with subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE) as process:
        said = process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(5 * SHORT_TIMEOUT)
        process.kill()

    assert said == b"ends\n"


@pytest.mark.parametrize("pool", ["free", "three slots"])
def test_threads_that_die_hold_nothing(server, pool):
    """Whatever they were in: a permit, a lock, a slot or a place in the queue is free again."""
    server.play(SCRIPT)
    said = json.loads(run_python(*program(server, pool), measured=False).stdout)

    assert said == {"alive": 0, "held": [[], False, 0], "answered": 8}


def test_what_is_held_is_noticed(server):
    """The control: a lock, a block and a permit that a thread has not given back are all seen."""
    server.play(Script())
    said = json.loads(run_python(*program(server, "held")).stdout)

    assert said == {"alive": 0, "held": [["a step"], True, 1], "answered": 8}


class Ring:
    """Garbage that only the collector finds, with a session that its finaliser closes."""

    def __init__(self, session):
        self.ring, self._session = self, session

    def __del__(self):
        self._session.close()


def test_the_garbage_collector_makes_calls(server, dial):
    """Wherever it comes, within the lock of all pools too: each call is answered, and nobody hangs."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), probability=0.1),), seed=2))
    outer, inner = dial(server), dial(server)
    here, made, met = threading.local(), Counter(), []

    def collected(phase, info):
        if phase == "start" or getattr(here, "is_busy", False):
            return
        if made["calls"] >= 100 and (made["in the lock"] or not Inbox.is_mine()):
            return
        here.is_busy = True
        try:
            made["calls"] += 1
            made["in the lock"] += Inbox.is_mine()
            inner.get(server.url, timeout=LONG_TIMEOUT)
            Ring(dial(server))
            if made["calls"] % 10 == 0:
                registry.clear()
        except BaseException as error:
            met.append(error)
        finally:
            here.is_busy = False

    def work():
        while made["calls"] < 100 or not made["in the lock"]:
            assert outer.get(server.url, timeout=HANG_TIMEOUT / 2).ok
            registry.clear()

    threads, before = [threading.Thread(target=work, daemon=True) for _ in range(3)], gc.get_threshold()
    gc.callbacks.append(collected)
    gc.set_threshold(7, 1000, 1000)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG_TIMEOUT / 3)
    finally:
        gc.callbacks.remove(collected)
        gc.set_threshold(*before)

    assert [thread.name for thread in threads if thread.is_alive()] == []
    assert met == []
    assert made["in the lock"] > 0
