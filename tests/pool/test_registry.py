"""One context per identity, one shared pool per key for the process; nothing of it in a forked child."""

import gc
import json
import os
import socket
import ssl
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from time import monotonic

import pytest
from urllib3.util.wait import wait_for_read

from resilient_transport.call.origin_state import state_of
from resilient_transport.connection.connection import PlainConnection
from resilient_transport.connection.tls_connection import TLSConnection
from resilient_transport.pool.identity import context_for
from resilient_transport.pool.registry import Registry
from resilient_transport.pool.registry import registry as the_registry
from resilient_transport.pool.shared_pool import IDLE_TIMEOUT
from resilient_transport.settings.options import DEFAULT_OPTIONS
from tests.timeouts import LONG_TIMEOUT


class Lease:
    """What the registry wants of a pool: how many idle connections it asks for, and how it uses them."""

    connection_options = DEFAULT_OPTIONS
    origin = "https://api.example"

    def __init__(self, idle_capacity=10):
        """Ask for so many."""
        self.idle_capacity = idle_capacity


@pytest.fixture
def registry():
    """Return a registry of the test's own, empty again at its end."""
    with Registry() as registry:
        yield registry


def make():
    """Build a context, whatever it is for."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def connected(kind=PlainConnection):
    """Give a connection that is idle, and the other end of its socket."""
    ours, theirs = socket.socketpair()
    connection = kind("localhost")
    connection.sock = ours
    connection.proven_at = monotonic()
    with ours, theirs:
        yield connection, theirs


def is_closed(connection):
    """Tell whether a connection has no socket any more."""
    return connection.sock is None


def long_ago(shared_pool):
    """Put a shared pool, and all that lies on it, into the state in which it is after its time."""
    shared_pool.used_at -= IDLE_TIMEOUT + 1
    for connection in shared_pool.gate._idle:
        connection.proven_at -= IDLE_TIMEOUT + 1


def due(registry):
    """Put a registry into the state in which it reaps at the next occasion."""
    registry._reaped_at -= 2


def test_an_identity_has_one_context(registry):
    """It is built when it is first asked for, and never again while somebody holds it."""
    first = registry.context("alice", make)
    again = registry.context("alice", lambda: pytest.fail("it was built twice"))
    other = registry.context("bob", make)

    assert again is first
    assert other is not first
    assert registry.contexts_built == 2


def test_a_context_that_nobody_holds_is_forgotten(registry):
    """The registry is no reason to keep it."""
    registry.context("alice", make)
    gc.collect()
    registry.context("alice", make)

    assert registry.contexts_built == 2


def test_threads_that_ask_at_once_share_one_context(registry):
    """Eight threads, one build, one object: "creating agent" stands in the log once."""
    together, built = threading.Barrier(8), []

    def build():
        built.append(threading.get_ident())
        return make()

    def ask(_):
        together.wait(LONG_TIMEOUT)
        return registry.context("alice", build)

    with ThreadPoolExecutor(8) as pool:
        contexts = list(pool.map(ask, range(8)))

    assert len(built) == registry.contexts_built == 1
    assert len({id(context) for context in contexts}) == 1


def test_threads_that_ask_for_different_ones_do_not_wait(registry):
    """The control: one build does not hold up another, since the lock is not held meanwhile."""
    together = threading.Barrier(4)

    def build():
        together.wait(LONG_TIMEOUT)
        return make()

    with ThreadPoolExecutor(4) as pool:
        contexts = list(pool.map(lambda name: registry.context(name, build), range(4)))

    assert len({id(context) for context in contexts}) == 4


def test_who_comes_second_gets_what_the_first_builds(registry):
    """The state that the losing thread finds: the identity is being built, and it waits for that."""
    registry._building["alice"] = pending = Future()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(registry.context, "alice", lambda: pytest.fail("it was built twice"))
        pending.set_result(context := make())

        assert waiting.result(LONG_TIMEOUT) is context


def test_who_waits_for_a_failing_build_fails_with_it(registry):
    """All that wait are told at once what the build has met, each by an exception of its own."""
    registry._building["alice"] = pending = Future()
    error = FileNotFoundError(2, "No such file or directory", "ca.pem")
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(registry.context, "alice", make) for _ in range(3)]
        pending.set_exception(error)
        errors = [one.exception(LONG_TIMEOUT) for one in waiting]

    assert [repr(one) for one in errors] == [repr(error)] * 3
    assert [one.__cause__ for one in errors] == [error] * 3
    assert len({id(one) for one in (error, *errors)}) == 4


def test_who_waits_for_an_interrupted_build_builds_anew(registry):
    """Ctrl-C in one thread is nobody else's: the next in line takes over, and one context comes of it."""
    registry._building["alice"] = pending = Future()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(registry.context, "alice", make) for _ in range(3)]
        del registry._building["alice"]
        pending.set_exception(KeyboardInterrupt())
        contexts = [one.result(LONG_TIMEOUT) for one in waiting]

    assert len({id(one) for one in contexts}) == 1
    assert registry.contexts_built == 1


@pytest.mark.parametrize(
    "error", [FileNotFoundError("ca.pem"), ssl.SSLError("mismatch"), KeyboardInterrupt()]
)
def test_a_failing_build_leaves_nothing_behind(registry, error):
    """Who asks next builds again."""

    def fail():
        raise error

    with pytest.raises(type(error)) as failure:
        registry.context("alice", fail)

    assert failure.value is error
    assert isinstance(registry.context("alice", make), ssl.SSLContext)
    assert registry.contexts_built == 1


def test_a_key_has_one_shelf(registry):
    """Whoever leases it shares it; another key's is another."""
    leases = [Lease() for _ in range(3)]
    first, same, other = (
        registry.shared_pool(key, lease) for key, lease in zip(("a", "a", "b"), leases, strict=True)
    )

    assert same is first
    assert other is not first
    assert set(first.leases) == set(leases[:2])


def test_a_shelf_has_room_for_its_largest_lease(registry):
    """What one lease asks for is there for all; what it asked for goes with it."""
    small, large = Lease(2), Lease(7)
    shared_pool = registry.shared_pool("a", small)
    story = [shared_pool.gate.capacity]
    registry.shared_pool("a", large)
    story.append(shared_pool.gate.capacity)
    shared_pool.leave(large)
    story.append(shared_pool.gate.capacity)
    shared_pool.leave(small)
    story.append(shared_pool.gate.capacity)

    assert story == [2, 7, 2, 2]


def test_it_confesses_what_it_holds(registry):
    """Counts of origins, idle connections, leases and contexts."""
    empty = repr(registry)
    leases = [Lease(), Lease(), Lease()]
    shared_pool, _, _ = (registry.shared_pool(key, lease) for key, lease in zip("aab", leases, strict=True))
    context = registry.context("alice", make)
    with connected() as (connection, _):
        shared_pool.put(connection)
        full = repr(registry)

    assert empty == "<Registry 0 origins, 0 idle connections, 0 leases, 0 TLS contexts>"
    assert full == "<Registry 2 origins, 1 idle connections, 3 leases, 1 TLS contexts>"
    assert context is not None


def test_a_lease_that_was_dropped_does_not_count(registry):
    """An adapter that nobody closes is forgotten with its pools."""
    registry.shared_pool("a", Lease())
    gc.collect()

    assert "0 leases" in repr(registry)


def test_clear_closes_what_is_idle(registry):
    """Leased or not."""
    lease = Lease()
    with connected() as (first, _), connected() as (second, _):
        registry.shared_pool("a", lease).put(first)
        registry.shared_pool("b", Lease()).put(second)
        registry.clear()

        assert is_closed(first)
        assert is_closed(second)


def test_clear_forgets_only_what_nobody_leases(registry):
    """A leased shared pool stays the one of its key, and keeps again what comes back to it."""
    lease = Lease()
    leased, dropped = registry.shared_pool("a", lease), registry.shared_pool("b", Lease())
    gc.collect()
    registry.clear()
    with connected() as (connection, _):
        leased.put(connection)
        kept = repr(registry)

    assert registry.shared_pool("a", lease) is leased
    assert registry.shared_pool("b", lease) is not dropped
    assert kept == "<Registry 1 origins, 1 idle connections, 1 leases, 0 TLS contexts>"


def test_the_end_of_a_block_clears_it():
    """As a context manager, for tests."""
    with Registry() as registry, connected() as (connection, _):
        registry.shared_pool("a", Lease()).put(connection)
        during = is_closed(connection)
        registry.__exit__(None, None, None)

        assert not during
        assert is_closed(connection)


def test_what_nobody_uses_for_long_is_reaped(registry):
    """At the next occasion, whatever key is asked for: its connections are closed, its pool forgotten."""
    shared_pool = registry.shared_pool("old", Lease())
    gc.collect()
    with connected() as (connection, _):
        shared_pool.put(connection)
        long_ago(shared_pool)
        due(registry)
        lease = Lease()
        registry.shared_pool("new", lease)

        assert is_closed(connection)
        assert repr(registry) == "<Registry 1 origins, 0 idle connections, 1 leases, 0 TLS contexts>"


def test_reaping_is_done_at_most_once_a_second(registry):
    """The control: within the second nothing is looked at."""
    shared_pool = registry.shared_pool("old", Lease())
    gc.collect()
    long_ago(shared_pool)
    lease = Lease()
    registry.shared_pool("new", lease)

    assert "2 origins" in repr(registry)


@pytest.mark.parametrize("case", ["leased", "used a moment ago", "connection used a moment ago"])
def test_what_is_in_use_is_not_reaped(registry, case):
    """A shared pool that somebody leases, or whose time is not over yet."""
    lease = Lease()
    shared_pool = registry.shared_pool("old", lease if case == "leased" else Lease())
    gc.collect()
    with connected() as (connection, _):
        if case == "connection used a moment ago":
            shared_pool.put(connection)
            shared_pool.used_at -= IDLE_TIMEOUT + 1
        elif case == "leased":
            long_ago(shared_pool)
        due(registry)
        registry.shared_pool("new", lease)

        assert registry.shared_pool("old", lease) is shared_pool
        assert not is_closed(connection)


def test_a_leased_shelf_loses_its_old_connections(registry):
    """The shared pool stays, what has been idle for too long does not, and what has not stays as well."""
    lease = Lease()
    shared_pool = registry.shared_pool("a", lease)
    with connected() as (old, _), connected() as (young, _):
        shared_pool.put(old)
        long_ago(shared_pool)
        shared_pool.put(young)
        due(registry)
        registry.shared_pool("b", lease)

        assert (is_closed(old), is_closed(young)) == (True, False)
        assert shared_pool.gate.idle() == 1


def test_a_shelf_that_is_leased_while_it_is_reaped_is_kept(registry):
    """The state that the losing thread finds: it was found to be unused, and then leased."""
    late = Lease()
    shared_pool = registry.shared_pool("old", Lease())
    gc.collect()
    long_ago(shared_pool)
    due(registry)
    reap = shared_pool.reap

    class Reaped(type(shared_pool)):
        def reap(self):
            unused = reap()
            self.join(late)
            return unused

    shared_pool.__class__ = Reaped
    registry.shared_pool("new", late)

    assert registry.shared_pool("old", late) is shared_pool


def in_child(work):
    """Fork, do some work in the child, and return what it returns; the child ends without a trace."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return json.loads(told)


def is_open(descriptor):
    """Tell whether a descriptor of this process is open."""
    with suppress(OSError):
        os.fstat(descriptor)
        return True
    return False


@pytest.fixture
def tls(authority):
    """Return a handshaked TLS connection in a pool of the process's registry, and the server's end of it."""
    context = context_for({"ca_certs": authority.ca_file})
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(*authority.server("good"))
    lease, (ours, theirs) = Lease(), socket.socketpair()
    for sock in (ours, theirs):
        sock.settimeout(LONG_TIMEOUT)
    with ThreadPoolExecutor(1) as pool:
        accepting = pool.submit(server_context.wrap_socket, theirs, server_side=True)
        client = context.wrap_socket(ours, server_hostname="localhost")
        server = accepting.result(LONG_TIMEOUT)
    connection = TLSConnection("localhost")
    connection.sock = client
    shared_pool = the_registry.shared_pool(object(), lease)
    shared_pool.put(connection)
    with client, server:
        yield shared_pool, connection, server
    the_registry.clear()


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
#: Other tests may have left a thread that is about to end.
threads = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@forks
@threads
def test_a_child_begins_anew(tls):
    """Its registry is empty and of another generation, and the inherited socket is closed."""
    shared_pool, connection, _ = tls
    descriptor = connection.sock.fileno()
    state_of("origin").quota.take(100)

    def look():
        return (
            repr(the_registry),
            the_registry.generation,
            the_registry.contexts_built,
            shared_pool.gate.idle(),
            connection.sock is None,
            is_open(descriptor),
            state_of("origin").quota.tokens,
        )

    generation = the_registry.generation
    told = in_child(look)
    state_of("origin").quota.give_back(100)

    assert told == [
        "<Registry 0 origins, 0 idle connections, 0 leases, 0 TLS contexts>",
        generation + 1,
        0,
        0,
        True,
        False,
        500,
    ]


@forks
@threads
def test_a_childs_child_is_another_generation():
    """Each fork raises the number."""
    assert in_child(lambda: in_child(lambda: the_registry.generation)) == the_registry.generation + 2


@forks
@threads
def test_a_child_writes_nothing_to_what_it_inherited(tls):
    """No byte and no end arrives at the server, and the parent's connection goes on."""
    shared_pool, connection, server = tls
    in_child(gc.collect)
    silent = not wait_for_read(server, timeout=0)
    connection.sock.sendall(b"still here")

    assert silent
    assert server.recv(100) == b"still here"
    assert shared_pool.gate.idle() == 1
    assert not is_closed(connection)


@forks
@threads
def test_a_child_that_wrote_would_be_heard(tls):
    """The control: one byte from the child is enough for the server to notice."""
    _, connection, server = tls
    kept = os.dup(connection.sock.fileno())
    in_child(lambda: os.write(kept, b"!"))
    os.close(kept)

    assert wait_for_read(server, timeout=0)


@forks
@threads
def test_a_child_does_not_wait_for_a_lock_of_its_parents(tls):
    """A thread that held the registry's or the gate's does not exist in the child."""
    shared_pool, _, _ = tls
    with the_registry._lock, shared_pool.gate._lock:
        told = in_child(lambda: [repr(the_registry), shared_pool.gate.idle()])

    assert told == ["<Registry 0 origins, 0 idle connections, 0 leases, 0 TLS contexts>", 0]


def test_a_registry_may_be_used_after_the_fork():
    """The control of the emptiness: what the child makes is the child's."""
    registry = Registry()
    lease = Lease()
    before = registry.shared_pool("a", lease)
    registry.after_fork()
    after = registry.shared_pool("a", lease)

    assert after is not before
    assert (before.generation, after.generation) == (0, 1)
    registry.clear()
