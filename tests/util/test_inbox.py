"""A lock that its own thread may meet: what is done at once, what is left, and who does it."""

import ast
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import resilient_transport
from resilient_transport.util.inbox import Inbox
from tests.gate.values import elsewhere
from tests.timeouts import LONG_TIMEOUT


@pytest.fixture
def inbox():
    """Return an inbox that nobody holds."""
    return Inbox()


@pytest.fixture
def done():
    """Return the list that the work of a test is added to."""
    return []


class Elsewhere:
    """Entered, another thread holds the lock; left, it does not."""

    def __init__(self, lock):
        """Begin with nobody."""
        self._lock = lock
        self._taken, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, daemon=True)

    def _hold(self):
        with self._lock:
            self._taken.set()
            self._over.wait(LONG_TIMEOUT)

    def __enter__(self):
        self._thread.start()
        assert self._taken.wait(LONG_TIMEOUT)

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(LONG_TIMEOUT)


def test_work_is_done_at_once(inbox, done):
    """Where nobody holds the lock: before `do` returns, and under the lock."""
    inbox.do(lambda what: done.append((what, inbox.is_mine())), "work")

    assert done == [("work", True)]
    assert not inbox.is_mine()


def test_work_in_the_middle_of_what_the_lock_guards_is_left(inbox, done):
    """The thread holds the lock already: its next holder does it."""
    with inbox.lock:
        inbox.do(done.append, "work")
        meanwhile = list(done)
    still = list(done)
    inbox.do(done.append, "other")

    assert (meanwhile, still) == ([], [])
    assert done == ["work", "other"]


def test_what_was_left_is_done_in_its_order(inbox, done):
    """And once."""
    for number in range(3):
        inbox.leave(done.append, number)
    for _ in range(2):
        inbox.do(done.append, "last")

    assert done == [0, 1, 2, "last", "last"]


def test_work_that_leaves_work_has_it_done(inbox, done):
    """In the same go: the inbox is empty when the lock is released."""
    inbox.do(lambda: inbox.leave(done.append, "later"))

    assert done == ["later"]
    assert not inbox.work


def test_to_leave_waits_for_nobody(inbox, done):
    """Whoever holds the lock; the control: nothing is done before the next holder comes."""
    with Elsewhere(inbox.lock):
        inbox.leave(done.append, "work")
        meanwhile = list(done)
    inbox.do(done.append, "other")

    assert (meanwhile, done) == ([], ["work", "other"])


def test_to_do_waits_for_another_thread(inbox, done):
    """The control: work that has to be done now is done when the holder has gone."""
    worker = threading.Thread(target=inbox.do, args=(done.append, "work"), daemon=True)
    with Elsewhere(inbox.lock):
        worker.start()
        while not inbox.work:
            pass
        meanwhile = list(done)
    worker.join(LONG_TIMEOUT)

    assert (meanwhile, done) == ([], ["work"])


@pytest.mark.parametrize("how", ["try_to_empty", "try_to_do"])
def test_to_try_waits_for_nobody(inbox, done, how):
    """Neither for another thread, nor for its own; afterwards it is done."""
    arguments = (done.append, "now") if how == "try_to_do" else ()
    inbox.leave(done.append, "left")
    with Elsewhere(inbox.lock):
        story = [getattr(inbox, how)(*arguments)]
    with inbox.lock:
        story.append(getattr(inbox, how)(*arguments))
    meanwhile = list(done)
    story.append(getattr(inbox, how)(*arguments))

    assert (story, meanwhile) == ([False, False, True], [])
    assert done == ["left", "now"][: 1 + len(arguments[1:])]


class Interrupt(BaseException):
    """What a signal handler raises."""


def interrupt():
    """Raise it."""
    raise Interrupt


def test_an_interrupted_work_releases_the_lock(inbox):
    """However it was begun: afterwards anybody may take the lock."""
    free = []
    for begin in (inbox.do, inbox.try_to_do):
        with pytest.raises(Interrupt):
            begin(interrupt)
        free.append(elsewhere(inbox.try_to_empty))

    assert free == [True, True]


class Interrupted:
    """A lock that is interrupted as soon as it is taken."""

    def __init__(self, lock):
        """Stand in front of a lock."""
        self._lock = lock
        self.release = lock.release

    def acquire(self, **fields):
        """Take it; before the caller learns of that, a signal comes."""
        self._lock.acquire(**fields)
        raise Interrupt


def test_an_interrupt_at_the_taking_of_the_lock_releases_it(inbox, monkeypatch):
    """It strikes between `acquire` and whatever comes next."""
    with monkeypatch.context() as patch:
        patch.setattr(Inbox, "lock", Interrupted(Inbox.lock))
        with pytest.raises(Interrupt):
            inbox.try_to_empty()

    assert elsewhere(inbox.try_to_empty)


LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp)


def loops_under_a_lock(text):
    """Return the lines of loops and comprehensions that stand in a block that holds a lock."""
    blocks = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.With)]
    held = [block for block in blocks if any("lock" in ast.unparse(one.context_expr) for one in block.items)]
    return sorted(node.lineno for block in held for node in ast.walk(block) if isinstance(node, LOOPS))


@pytest.mark.parametrize("room", ["gate", "pool", "connection", "call", "adapter", "retry", "util"])
def test_no_loop_stands_in_a_block_that_holds_a_lock(room):
    """An interrupt at the jump that ends a loop would leave the lock held (CPython 3.12 and 3.13)."""
    modules = sorted((Path(resilient_transport.__file__).parent / room).rglob("*.py"))

    assert modules
    assert {
        path.name: found for path in modules if (found := loops_under_a_lock(path.read_text("utf-8")))
    } == {}


LOOPING = """
with self.lock:
    taken = [item for item in self.idle if doomed(item)]
    while taken:
        close(taken.pop())
with self.lock:
    self.take(doomed)
for item in taken:
    close(item)
"""


def test_a_loop_in_a_block_that_holds_a_lock_is_found():
    """The control: two that stand there, and not one that does not."""
    assert loops_under_a_lock(LOOPING) == [3, 4]


@pytest.mark.parametrize("make", [threading.RLock, threading._PyRLock], ids=["C", "Python"])
def test_a_lock_knows_whether_it_is_this_threads(make):
    """`_is_owned`, a name that is not public: held here, not held, held by another thread."""
    lock = make()
    story = [lock._is_owned()]
    with lock:
        story += [lock._is_owned(), elsewhere(lock._is_owned)]
        with lock:
            story.append(lock._is_owned())
        story.append(lock._is_owned())
    with Elsewhere(lock):
        story.append(lock._is_owned())

    assert story == [False, True, False, True, True, False]


FORK = """
    import os, sys, threading
    sys.path[:] = {path!r}
    from resilient_transport.util.inbox import Inbox

    inbox = Inbox()
    with inbox.lock:
        child = os.fork()
        held = (inbox.is_mine(), inbox.try_to_empty())
    released = (inbox.is_mine(), inbox.try_to_empty())
    if child:
        os.waitpid(child, 0)
    os.write(1, (str(held + released) + "\\n").encode())
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(sys.modules["os"], "fork"), reason="needs fork")
def test_after_a_fork_the_child_has_a_lock_of_its_own():
    """Nobody holds it; in the parent, the control, the thread that has forked holds what it held."""
    code = textwrap.dedent(FORK.format(path=sys.path))
    ending = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG_TIMEOUT
    )

    child, parent = ending.stdout.splitlines()
    assert child == "(False, True, False, True)", ending.stderr
    assert parent == "(True, False, False, True)", ending.stderr
