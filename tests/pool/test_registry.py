"""One context per identity, one shared pool per key for the process; nothing of it in a forked child."""

import gc
import json
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from time import monotonic

import pytest
from urllib3.util.wait import wait_for_read

from resilient_transport.call.origin_state import state_of
from resilient_transport.connection.connection import PlainConnection
from resilient_transport.connection.tls_connection import TLSConnection
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
    context = registry.contexts.get("alice", make)
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
    context = the_registry.contexts.of({"ca_certs": authority.ca_file})
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
    with the_registry._lock, the_registry.contexts._lock, shared_pool.gate._lock:
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
