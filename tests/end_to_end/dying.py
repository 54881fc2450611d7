"""Threads that die in the midst of calls: `python -m tests.end_to_end.dying URL CA CERT KEY HOW`.

HOW is "daemon": the program ends while they are busy in each of the states of `forking`; "waited for" is the
control. It is "free" or "three slots": an exception strikes one after the other, over pools with or without
slots; "held" is the control. Then what is written is JSON: how many threads live on, what the dead ones hold
(locks, blocks that forks wait for, permits and places in queues), and how many calls are answered afterwards.
"""

import ctypes
import gc
import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import requests

from resilient_transport import ResilientAdapter, registry
from resilient_transport.gate.waiter import Waiter
from resilient_transport.util import atomic, fork
from resilient_transport.util.inbox import Inbox
from tests.end_to_end import forking
from tests.timeouts import HANG_TIMEOUT, LONG_TIMEOUT, SHORT_TIMEOUT

(HOW,) = forking.ASKED
DEATHS = 100


def end_beside_threads(daemon):
    """Begin threads that are busy for ever; return when they have been in each state."""
    done = []

    def work():
        while True:
            for state in (forking.building, forking.at_the_gate, forking.uploading, forking.resuming):
                with suppress(requests.RequestException):
                    state()
                done.append(state)

    for _ in range(forking.THREADS):
        threading.Thread(target=work, daemon=daemon).start()
    while len(done) < 2 * forking.THREADS:
        time.sleep(0.001)
    print("ends", flush=True)


def kill(thread):
    """Let an exception strike a thread, wherever it is."""
    number = ctypes.c_ulong(thread.ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(SystemExit))


def session_with(adapter):
    """Return a session for the server; the threads share an adapter, and no jar of cookies.

    `http.cookiejar` has a lock that a thread may take with it when it dies.
    """
    session = forking.session_of()
    session.mount("https://", adapter)
    return session


def call(adapter, over):
    """Make calls until that is over, some of them over new connections."""
    session = session_with(adapter)
    while not over.is_set():
        with suppress(requests.RequestException):
            if random.random() < 0.1:
                registry.clear()
            session.get(forking.URL + "/bytes/9000", timeout=LONG_TIMEOUT)


def deaths(adapter):
    """Let threads die in the midst of calls, each replaced by another; return how many live on.

    Each is struck once: what has died may have left its number to a thread of the package's own.
    """
    threads, unstruck, over = [], [], threading.Event()
    for _ in range(DEATHS):
        while len(unstruck) < forking.THREADS:
            unstruck.append(threading.Thread(target=call, args=(adapter, over), daemon=True))
            unstruck[-1].start()
        threading.Event().wait(random.uniform(0.0005, 0.01))
        threads.append(unstruck.pop(random.randrange(len(unstruck))))
        kill(threads[-1])
    over.set()
    give_up = time.monotonic() + HANG_TIMEOUT / 2
    for thread in (*threads, *unstruck):
        thread.join(max(0.0, give_up - time.monotonic()))
    return sum(thread.is_alive() for thread in (*threads, *unstruck))


def held():
    """Return what threads hold."""
    gc.collect()
    locks = {"pools": Inbox.lock, "a step": atomic.lock}
    stuck = [name for name, lock in locks.items() if not lock.acquire(timeout=SHORT_TIMEOUT)]
    for name, lock in locks.items():
        if name not in stuck:
            lock.release()
    gates = [shared_pool.gate for shared_pool in registry._all()]
    return stuck, fork._is_in_between(0), sum(gate.making() + gate.waiting() for gate in gates)


def hold(session):
    """Hold a lock, a block and a permit in another thread; return what is held then."""
    session.get(forking.URL)
    gate = registry._all()[0].gate
    waiter = Waiter(lambda _: False)
    gate.enter(waiter)
    gate.look(waiter, urgent=True)
    with ThreadPoolExecutor(1) as thread:
        block = thread.submit(fork.Undivided(LONG_TIMEOUT).__enter__).result(LONG_TIMEOUT)
        thread.submit(atomic.lock.acquire).result(LONG_TIMEOUT)
        holding = held()
        thread.submit(atomic.lock.release).result(LONG_TIMEOUT)
    waiter.granted.unused()
    block.__exit__()
    return holding


def main():
    """Strike threads, or hold something, and say what is held, and whether calls are answered."""
    has_slots = HOW == "three slots"
    adapter = ResilientAdapter(pool_block=has_slots, pool_maxsize=3 if has_slots else 10)
    session = session_with(adapter)
    alive = 0 if HOW == "held" else deaths(adapter)
    holding = hold(session) if HOW == "held" else held()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: session.get(forking.URL).ok, range(8)))
    print(json.dumps({"alive": alive, "held": holding, "answered": sum(answers)}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    if HOW in ("daemon", "waited for"):
        end_beside_threads(HOW == "daemon")
    else:
        main()
