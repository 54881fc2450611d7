"""Connections that are open at a fork: they are the parent's, whatever the child does with them."""

import hashlib
import os
import signal
import socket
import stat
import sys
import threading
import traceback
from contextlib import contextmanager, suppress

import pytest
import requests

from resilient_transport import ResilientAdapter, mount, registry
from resilient_transport.call.idempotency import with_key
from resilient_transport.connection import open_sockets
from resilient_transport.retry.backoff import full_jitter
from resilient_transport.testing import FaultServer, Script
from resilient_transport.util import fork
from tests.pool.test_fork import in_child
from tests.stepwise import ROOT
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

#: More than the sockets of both sides hold, so that much of it is still to come when a process forks.
SIZE = 8_000_000
PIECE = 300_000


@pytest.fixture(scope="module")
def plain(authority):
    """Return a server without TLS: there nothing but this package notices that bytes are missing."""
    with FaultServer(authority=authority, tls=False) as server:
        yield server


@pytest.fixture
def still_connected(monkeypatch):
    """The feature off: a child keeps what it has inherited."""
    kept = [each for each in fork._renewals if each[2] is not open_sockets.cut_off]
    monkeypatch.setattr(fork, "_renewals", kept)


@contextmanager
def forked(work=lambda: None):
    """Fork; the child does some work, and stays until the block ends."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        try:
            signal.alarm(int(LONG_TIMEOUT))
            work()
            os.read(reader, 1)
        finally:
            os._exit(0)
    os.close(reader)
    try:
        yield
    finally:
        os.close(writer)
        os.waitpid(child, 0)


def digest(body):
    """Return what tells one body from another."""
    return hashlib.sha256(body).hexdigest()


def halves(dial, server, in_between):
    """Read a piece of a large body, fork, let the child act, read the rest; return whether all was right."""
    server.play(Script())
    session = dial(server)
    whole = digest(session.get(f"{server.url}/bytes/{SIZE}").content)
    response = session.get(f"{server.url}/bytes/{SIZE}", stream=True, timeout=10 * SHORT_TIMEOUT)
    first = response.raw.read(PIECE)
    told = in_child(lambda: in_between(response, first, whole))
    try:
        is_right = digest(first + response.raw.read()) == whole
    except Exception as error:
        is_right = type(error).__name__
    return told, is_right


def read_all(response, first, whole):
    """In the child: read the rest, too."""
    return digest(first + response.raw.read()) == whole


def read_a_piece(response, first, whole):
    """In the child: read a piece of what is still to come."""
    return len(response.raw.read(PIECE))


def shut_down(response, first, whole):
    """In the child: end the connection as hard as can be."""
    with suppress(OSError):
        response.raw._fp.fp.raw._sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("secure", [False, True])
def test_both_read_a_body(server, plain, dial, secure):
    """The parent reads its response to the end, and the child gets the rest over one of its own."""
    assert halves(dial, server if secure else plain, read_all) == ("True", True)


@pytest.mark.usefixtures("still_connected")
def test_bytes_that_a_child_has_read_are_missed(plain, dial):
    """The control: what the child reads the parent misses, in a body that has its length."""
    told, is_right = halves(dial, plain, read_a_piece)

    assert told == str(PIECE)
    assert is_right is not True


@pytest.mark.parametrize("act", [read_a_piece, shut_down])
def test_a_child_disturbs_no_body(plain, dial, act):
    """Whatever it does with a response of its parent's."""
    server_asked = halves(dial, plain, act)
    accepts = plain.counts().accepts

    assert server_asked[1] is True
    # The other one is the child's, if it has asked for the rest.
    assert accepts == (2 if act is read_a_piece else 1)


def test_what_the_parent_closes_is_closed(server, dial):
    """A child that lives on does not keep a connection open that its parent was using."""
    server.play(Script())
    response = dial(server).get(f"{server.url}/bytes/{SIZE}", stream=True)

    with forked():
        response.close()
        server.wait_for(lambda counts: counts.open_connections == 0, timeout=LONG_TIMEOUT)


@pytest.mark.usefixtures("still_connected")
def test_a_child_keeps_a_connection_open(server, dial):
    """The control: otherwise the server hears of the end only when the child has ended, too."""
    server.play(Script())
    response = dial(server).get(f"{server.url}/bytes/{SIZE}", stream=True)

    with forked():
        response.close()
        with pytest.raises(TimeoutError):
            server.wait_for(lambda counts: counts.open_connections == 0, timeout=SHORT_TIMEOUT)


def leave(_):
    """End as `os._exit` does, which `in_child` does anyway."""


def finish(session):
    """End with all that an end of a program runs, finalisers included."""
    session.close()
    registry.clear()
    session.__class__ = type("Gone", (requests.Session,), {})
    del session


@pytest.mark.parametrize("end", [leave, finish])
def test_the_end_of_a_child_says_nothing_to_the_server(server, dial, end):
    """The parent's connection is used on afterwards: no alert, and no byte, has come in between."""
    server.play(Script())
    session = dial(server)
    session.get(server.url)
    in_child(lambda: end(session))

    assert session.get(server.url).ok
    assert (server.counts().accepts, server.counts().requests) == (1, 2)


def test_a_program_that_is_started_inherits_no_descriptor(server, dial):
    """Sockets, those of a child that was cut off included, are closed when another program begins."""
    server.play(Script())
    response = dial(server).get(f"{server.url}/bytes/{SIZE}", stream=True)

    numbers = open_sockets._descriptors()

    def inheritable():
        return [os.get_inheritable(number) for number in numbers]

    there, cut_off = inheritable(), in_child(inheritable)
    response.close()

    assert there
    assert (set(there), cut_off) == ({False}, repr(there))


def test_a_full_table_of_descriptors(server, dial):
    """A child that can open nothing more is cut off all the same."""
    resource = pytest.importorskip("resource")
    server.play(Script())
    response = dial(server).get(f"{server.url}/bytes/{SIZE}", stream=True)
    numbers, known = open_sockets._descriptors(), open_sockets._open

    def work():
        # It was cut off before it could do this: once more, with the table full.
        open_sockets._open = known
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(numbers) + 1, most))
        with suppress(OSError):
            while True:
                os.dup(numbers[0])
        open_sockets.cut_off()
        return {os.fstat(number).st_rdev for number in numbers} == {os.stat(os.devnull).st_rdev}

    told = in_child(work)

    assert told == "True"
    assert len(response.content) == SIZE


def test_a_daemon_keeps_its_files(server, dial, tmp_path):
    """It closes all descriptors, and its files get their numbers; what it forks later leaves those alone."""
    server.play(Script())
    response = dial(server).get(f"{server.url}/bytes/{SIZE}", stream=True)
    log = tmp_path / "log"

    def work():
        # Closed without asking whose it is, and opened again as something else.
        number = response.raw.fileno()
        with log.open("wb") as file:
            os.dup2(file.fileno(), number)
        child = os.fork()
        if child == 0:
            os.write(number, b"from the child")
            os._exit(0)
        os.waitpid(child, 0)
        return log.read_bytes()

    told = in_child(work)
    left = len(response.content)

    assert (told, left) == (repr(b"from the child"), SIZE)


def test_a_jail_without_devices(server, dial, tmp_path, monkeypatch):
    """A child that has no /dev/null is cut off all the same, from each."""
    server.play(Script())
    session = dial(server)
    responses = [session.get(f"{server.url}/bytes/{SIZE}", stream=True) for _ in range(3)]
    numbers = open_sockets._descriptors()
    monkeypatch.setattr(os, "devnull", str(tmp_path / "none"))
    told = in_child(lambda: [number for number in numbers if stat.S_ISSOCK(os.fstat(number).st_mode)])
    there = [number for number in numbers if stat.S_ISSOCK(os.fstat(number).st_mode)]

    assert len(there) >= len(responses)
    assert told == "[]"
    assert [len(response.content) for response in responses] == [SIZE] * len(responses)


def test_one_that_was_closed_without_asking_leaves_the_others_cut_off(server, dial, monkeypatch):
    """A program has closed a descriptor behind the back of its socket."""
    server.play(Script())
    response = dial(server).get(f"{server.url}/bytes/{SIZE}", stream=True)
    number = response.raw.fileno()
    # Not one that comes next: nobody else is given it.
    closed = number + 100
    os.dup2(number, closed)
    os.close(closed)
    monkeypatch.setattr(open_sockets, "_descriptors", lambda: [closed, number])
    told = in_child(lambda: os.fstat(number).st_rdev == os.stat(os.devnull).st_rdev)

    assert told == "True"
    assert len(response.content) == SIZE


def test_a_blocking_pool_has_all_its_slots(plain, dial):
    """Who had one is another thread, or cut off: a child that holds on to a pool waits for nobody."""
    plain.play(Script())
    session = dial(plain, ResilientAdapter(pool_block=True, pool_maxsize=1))
    session.get(plain.url)
    pool = next(iter(session.get_adapter(plain.url)._lookup._entries.values())).pool

    with session.get(f"{plain.url}/bytes/{SIZE}", stream=True) as response:
        told = in_child(lambda: pool.urlopen("GET", "/words/1", pool_timeout=LONG_TIMEOUT).status)
        left = len(response.content)

    assert (told, left) == ("200", SIZE)


def drawn():
    """What is drawn at random for a request."""
    request = requests.Request("POST", "https://localhost").prepare()
    return with_key(request).headers["Idempotency-Key"], [full_jitter(1.0) for _ in range(4)]


def test_each_process_draws_for_itself():
    """No two have the same idempotency keys or pauses."""
    told = {in_child(drawn) for _ in range(3)} | {repr(drawn())}
    keys = {each.partition(",")[0] for each in told}
    pauses = {each.partition(",")[2] for each in told}

    assert (len(keys), len(pauses)) == (4, 4)


def test_a_generator_of_ones_own_draws_the_same():
    """The control: what is not seeded anew is the same in each child."""
    from random import Random

    own = Random()

    assert len({in_child(own.random) for _ in range(3)}) == 1


class Fork:
    """A tracer that forks before a line of the package, once.

    Args:
        number: which line, counted from the first.
        begin: what the child does there; otherwise it goes on with the call.
    """

    def __init__(self, number, begin=None):
        self._left, self._begin = number, begin
        self.where, self.child = None, None

    def __call__(self, frame, event, argument):
        """Take an event of the interpreter."""
        if not frame.f_code.co_filename.startswith(str(ROOT)):
            return None
        self._left -= event == "line"
        if event == "line" and self._left == 0:
            sys.settrace(None)
            self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            self.child = os.fork()
            if self.child == 0:
                signal.alarm(int(LONG_TIMEOUT))
                if self._begin is not None:
                    self._begin()
        return self


def forked_in_the_middle(call, number, begin):
    """Make a call, and fork in the middle; return where, and how the call ended here and there."""
    tracer, before = Fork(number, begin), sys.gettrace()
    sys.settrace(tracer)
    try:
        ended = call()
    except requests.RequestException as error:
        ended = type(error).__name__
    finally:
        sys.settrace(before)
    if tracer.child == 0:
        # Whatever came of it: the next one is to be as any.
        status = 1
        with suppress(BaseException):
            status = 0 if call() == 200 else 1
        os._exit(status)
    return tracer, ended


def at_lines(call, every, begin=None):
    """Fork in the middle of a call, at one line after the other; return what went wrong."""
    wrong, number, begin_there = [], 1, None
    if begin is not None:

        def begin_there():
            try:
                os._exit(0 if begin() == 200 else 1)
            except BaseException:
                traceback.print_exc()
                os._exit(1)

    while True:
        tracer, ended = forked_in_the_middle(call, number, begin_there)
        if tracer.where is None:
            return number, wrong
        status = os.waitpid(tracer.child, 0)[1]
        if (ended, status) != (200, 0):
            wrong.append((tracer.where, ended, status))
        number += every


def session_for(server):
    """Return a session of its own."""
    session = requests.Session()
    session.trust_env = False
    mount(session)
    return session


def get(session, server):
    """Return the status of a GET."""
    return session.get(server.url + "/words/3", timeout=LONG_TIMEOUT).status_code


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_fork_at_each_line_of_a_call(plain, method):
    """The parent's call succeeds, and is served once; the child's next one does, whatever it was in."""
    plain.play(Script())
    session, made = session_for(plain), [0]

    def call():
        made[0] += 1
        name = {"X-Request-Id": f"{os.getpid()} {made[0]}"}
        url = plain.url + ("/echo" if method == "POST" else "/words/3")
        return session.request(method, url, data=b"x", headers=name, timeout=LONG_TIMEOUT).status_code

    call()
    lines, wrong = at_lines(call, every=23)
    ours = [n for name, n in plain.counts().executions.items() if name.startswith(f"{os.getpid()} ")]

    assert lines > 500
    assert wrong == []
    # The child goes on with a call under its parent's name: over a connection of its own, and once.
    assert max(ours) <= 2


@pytest.mark.slow
def test_a_worker_begins_at_each_line_of_a_call(plain):
    """A child that is forked in the middle of a call, and leaves it, is served over a pool of its own."""
    plain.play(Script())
    session = session_for(plain)
    get(session, plain)
    lines, wrong = at_lines(
        lambda: get(session, plain), every=23, begin=lambda: get(session_for(plain), plain)
    )

    assert lines > 500
    assert wrong == []


def test_a_fork_in_a_thread(server, dial):
    """The child of a thread has its calls answered, and so has the parent."""
    server.play(Script())
    session, told = dial(server), []
    session.get(server.url)
    thread = threading.Thread(target=lambda: told.append(in_child(lambda: session.get(server.url).ok)))
    thread.start()
    thread.join(LONG_TIMEOUT)

    assert told == ["True"]
    assert session.get(server.url).ok
