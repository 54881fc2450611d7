"""What a forked child makes anew: one list, one order, and no lock of the package is left out."""

import json
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import inf
from pathlib import Path

import pytest

import resilient_transport
from resilient_transport.util import fork
from resilient_transport.util.clock import monotonic
from resilient_transport.util.fork import Turn, Undivided, in_child
from tests.programs import run_python
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

ROOT = Path(resilient_transport.__file__).parents[1]
#: Locks that a program can meet without having made anything itself.
KNOWN = ("util.atomic['lock']", "otel['_lock']")


def process_locks(*arguments):
    """Run the program that holds every lock while it forks; return what was held, there and in its child."""
    said = json.loads(run_python("-W", "ignore", "-m", "tests.util.process_locks", *arguments).stdout)
    return said["held"], said["stuck"]


def test_no_lock_of_the_process_is_held_in_a_child():
    """Each lock that a module or a process-wide object leads to is a new and free one."""
    held, stuck = process_locks()

    assert all(any(name.endswith(known) for name in held) for known in KNOWN)
    assert any("_renewals" in name for name in held), "the registry's lock was not found"
    assert stuck == []


def test_a_forgotten_lock_is_noticed():
    """The control: one that nobody renews is found, and still held in the child."""
    held, stuck = process_locks("forgotten")

    assert stuck == ["resilient_transport.installation['_forgotten']['lock']"]
    assert set(stuck) < set(held)


@pytest.fixture
def renewals(monkeypatch):
    """A list of renewals for this test alone."""
    monkeypatch.setattr(fork, "_renewals", [])
    return fork._renewals


def called(name, made, raises=None):
    """Return a renewal of a module of this name, which notes that it was called."""

    def renewal():
        made.append(name)
        if raises:
            raise raises

    renewal.__module__ = name
    return renewal


def test_the_order_does_not_depend_on_who_was_imported_first(renewals):
    """Locks, what is remembered, connections; among those of one turn, by name."""
    made = []
    for turn, name in [(2, "pool"), (1, "b"), (0, "z"), (1, "a"), (0, "c")]:
        in_child(Turn(turn))(called(name, made))
    fork._begin_anew()

    assert made == ["c", "z", "a", "b", "pool"]


def test_one_that_raises_takes_nobody_with_it(renewals):
    """All others are made anew, and Python tells of the first error."""
    made = []
    for name, error in [("a", None), ("b", KeyError("b")), ("c", ValueError("c")), ("d", None)]:
        in_child(Turn.MEMORY)(called(name, made, error))

    with pytest.raises(KeyError):
        fork._begin_anew()
    assert made == ["a", "b", "c", "d"]


def test_only_one_module_asks_to_be_told_of_forks():
    """There is one list: no other module of the package registers with the operating system."""
    asking = [
        path.name
        for path in Path(resilient_transport.__file__).parent.rglob("*.py")
        if "os.register_at_fork" in path.read_text(encoding="utf-8")
    ]

    assert asking == ["fork.py"]


@contextmanager
def in_a_block(seconds):
    """Let another thread be in a block that forks wait for; yield what ends it, and if another has begun."""
    inside, over, again = threading.Event(), threading.Event(), threading.Event()

    def work():
        with Undivided(seconds):
            inside.set()
            over.wait(LONG_TIMEOUT)
        with Undivided(seconds):
            again.set()

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(LONG_TIMEOUT)
    try:
        yield over, again
    finally:
        over.set()
        thread.join(LONG_TIMEOUT)


@pytest.fixture
def prepared():
    """Return a function that does what comes before a fork, in a thread; what comes after follows."""
    with ThreadPoolExecutor(1) as forker:
        yield lambda: forker.submit(fork._prepare)
        forker.submit(fork._go_on).result(LONG_TIMEOUT)


def test_a_fork_waits_for_the_end_of_a_block(prepared):
    """OpenSSL may hold a lock meanwhile. The control: it does not wait for longer than the block may take."""
    with in_a_block(LONG_TIMEOUT) as (over, _):
        forked = prepared()
        with pytest.raises(TimeoutError):
            forked.result(SHORT_TIMEOUT)
        over.set()
        forked.result(LONG_TIMEOUT)
        fork._forking.clear()
    with in_a_block(0.0):
        prepared().result(LONG_TIMEOUT)
        fork._forking.clear()


def test_no_block_begins_while_another_thread_forks(prepared):
    """Otherwise a fork beside busy threads would wait for ever. When it has forked, they go on."""
    with in_a_block(LONG_TIMEOUT) as (over, again):
        forked = prepared()
        over.set()
        forked.result(LONG_TIMEOUT)
        began = again.wait(SHORT_TIMEOUT)
        fork._forking.clear()
        goes_on = again.wait(LONG_TIMEOUT)

    assert (began, goes_on) == (False, True)


def test_a_thread_does_not_wait_for_itself():
    """A signal handler may fork in the middle of a block, and begin one in the middle of a fork."""
    with Undivided(LONG_TIMEOUT):
        fork._prepare()
        with Undivided(LONG_TIMEOUT):
            pass
        fork._go_on()

    assert fork._forking == []


def test_a_block_that_is_lost_holds_up_no_fork():
    """An interrupt may strike before `with` has it: what nobody holds is forgotten."""
    Undivided(LONG_TIMEOUT).__enter__()

    assert not fork._is_in_between(thread=0)


def test_a_fork_that_never_said_its_end_holds_up_nobody_for_long():
    """An interrupt has struck at once after it; the next fork of any thread forgets it."""
    own = Undivided(LONG_TIMEOUT)
    fork._forking.append((0, monotonic() + LONG_TIMEOUT))
    held_up = own._is_held_up(inf)
    fork._forking[:] = [(0, monotonic() - 1)]
    afterwards = own._is_held_up(inf)
    fork._prepare()
    fork._go_on()

    assert (held_up, afterwards) == (True, False)
    assert fork._forking == []


def test_a_fork_waits_though_what_comes_before_was_interrupted(monkeypatch):
    """Python tells of the interrupt, and forks all the same."""

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(fork, "_preparations", [interrupted])
    with pytest.raises(KeyboardInterrupt):
        fork._prepare()
    said = [thread for thread, _ in fork._forking]
    fork._go_on()

    assert said == [threading.get_ident()]


def test_a_child_waits_for_nobody():
    """Neither for blocks of its parent's threads nor for their forks."""
    reader, writer = os.pipe()
    mark = (0, inf)
    with in_a_block(LONG_TIMEOUT) as (over, _):
        fork._forking.append(mark)
        # What the fork itself waits for ends in the child as in the parent.
        threading.Timer(SHORT_TIMEOUT / 2, over.set).start()
        child = os.fork()
        if child == 0:
            os.write(writer, f"{len(fork._undivided)} {len(fork._forking)}".encode())
            os._exit(0)
        fork._forking.remove(mark)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as told:
        said = told.read()

    assert said == "0 0"


def test_a_worker_of_multiprocessing_is_told(monkeypatch):
    """What was to end where the parent is ends where it begins; a child that goes on there hears nothing."""
    told = multiprocessing.get_context("fork").SimpleQueue()
    monkeypatch.setattr(fork, "_beginnings", [lambda: told.put("begun")])
    worker = multiprocessing.get_context("fork").Process(target=told.put, args=("works",))
    worker.start()
    worker.join(LONG_TIMEOUT)
    child = os.fork()
    if child == 0:
        told.put("goes on")
        os._exit(0)
    os.waitpid(child, 0)

    assert [told.get() for _ in range(3)] == ["begun", "works", "goes on"]
    assert told.empty()
