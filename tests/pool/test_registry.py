"""One context per identity, one shared pool per key for the process; nothing of it in a forked child."""

import gc
import json
import os
import socket
import ssl
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from urllib3.util.wait import wait_for_read

from resilient_transport.call.origin_state import state_of
from resilient_transport.connection.tls_connection import TLSConnection
from resilient_transport.pool import registry as registry_module
from resilient_transport.pool.registry import Registry
from resilient_transport.pool.registry import registry as the_registry
from resilient_transport.settings.options import DEFAULT_OPTIONS
from resilient_transport.util.clock import monotonic
from resilient_transport.util.inbox import Inbox
from tests.pool.values import idle_connection, is_closed
from tests.timeouts import LONG_TIMEOUT


def lease(registry, key, idle_capacity=10, private=False):
    """Lease the shared pool of a key, as a pool of urllib3's does."""
    return registry.lease(key, "https://api.example", idle_capacity, DEFAULT_OPTIONS, private)


def accepted(shared_pool):
    """The same pool, whose server has accepted a connection."""
    shared_pool.gate.window.proved()
    return shared_pool


@pytest.fixture
def registry():
    """Return a registry of the test's own, empty again at its end."""
    with Registry() as registry:
        yield registry


def make():
    """Build a context, whatever it is for."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def test_a_key_has_one_pool(registry):
    """Whoever leases it shares it; another key's is another."""
    (first, one), (same, two), (other, _) = (lease(registry, key) for key in "aab")

    assert same is first
    assert other is not first
    assert first.leases() == 2
    assert one is not two


def test_it_confesses_what_it_holds(registry):
    """Counts of pools, idle connections, leases and contexts."""
    empty = repr(registry)
    leases = [lease(registry, key) for key in "aab"]
    context = registry.contexts.get("alice", make)
    with idle_connection() as (connection, _):
        leases[0][0].put(connection)
        full = repr(registry)

    assert empty == "<Registry 0 pools, 0 idle connections, 0 leases, 0 TLS contexts>"
    assert full == "<Registry 2 pools, 1 idle connections, 3 leases, 1 TLS contexts>"
    assert context is not None


def test_a_lease_that_was_dropped_does_not_count(registry):
    """An adapter that nobody closes is forgotten with its pools."""
    lease(registry, "a")
    gc.collect()

    assert "0 leases" in repr(registry)


@pytest.mark.parametrize(("proven", "kept"), [(True, True), (False, False)])
def test_a_pool_without_a_lease_is_kept_if_it_knows_its_server(registry, proven, kept):
    """Its TLS sessions and idle connections are for the next; a server that refused has given none."""
    shared_pool, ticket = lease(registry, "a")
    if proven:
        accepted(shared_pool)
    ticket.end()
    _, other = lease(registry, "b")

    assert (lease(registry, "a")[0] is shared_pool) is kept
    assert not other.is_over


def test_of_pools_without_a_lease_the_newest_are_kept(registry, monkeypatch):
    """And what lies in the others is closed."""
    monkeypatch.setattr(registry_module, "MOST_UNLEASED", 2)
    with ExitStack() as stack:
        connections = []
        for key in "abcd":
            shared_pool, ticket = lease(registry, key)
            connections.append(stack.enter_context(idle_connection())[0])
            accepted(shared_pool).put(connections[-1])
            ticket.end()
        registry.look()

        assert [is_closed(one) for one in connections] == [True, True, False, False]
        assert "2 pools, 2 idle connections, 0 leases" in repr(registry)


def test_a_pool_that_is_leased_again_is_nobodys_to_forget(registry, monkeypatch):
    """The state that the losing thread finds: its last lease had ended, and another has begun."""
    monkeypatch.setattr(registry_module, "MOST_UNLEASED", 0)
    shared_pool, first = lease(registry, "a")
    accepted(shared_pool)
    first.end()
    again, ticket = lease(registry, "a")
    registry.look()

    assert again is shared_pool
    assert registry.lease("a", "", 1, DEFAULT_OPTIONS)[0] is shared_pool
    assert not ticket.is_over


def test_a_private_pool_is_forgotten_with_its_last_lease(registry):
    """A TLS context of a caller's own: nobody else can find its connections."""
    shared_pool, ticket = lease(registry, "a", private=True)
    with idle_connection() as (connection, _):
        accepted(shared_pool).put(connection)
        ticket.end()
        closed = is_closed(connection)
        registry.look()

    assert closed
    assert "0 pools" in repr(registry)


def test_what_is_in_use_when_its_pool_is_forgotten_is_closed_when_it_comes_back(registry):
    """A response that is read after its session, and its pool, have gone."""
    shared_pool, ticket = lease(registry, "a")
    ticket.end()
    registry.look()
    with idle_connection() as (connection, _):
        shared_pool.put(connection)

        assert is_closed(connection)


def test_many_origins_that_refuse_leave_nothing(registry):
    """What is remembered is bounded by those who are there, not by the number of origins."""
    for number in range(500):
        lease(registry, number)[1].end()
    registry.look()

    assert len(registry._all()) == 0


def test_a_retired_context_takes_its_idle_connections_along(registry):
    """Its identity was rotated away; those of another context, the control, stay."""
    old, new = (namedtuple("Key", ["key_ssl_context"])(make()) for _ in range(2))
    (first, one), (second, two) = lease(registry, old), lease(registry, new)
    with idle_connection() as (retired, _), idle_connection() as (current, _):
        first.put(retired)
        second.put(current)
        registry.retire(old.key_ssl_context)

        assert (is_closed(retired), is_closed(current)) == (True, False)
        assert (one.is_over, two.is_over) == (False, False)


def test_clear_closes_what_is_idle(registry):
    """Leased or not."""
    (leased, ticket), (left, other) = lease(registry, "a"), lease(registry, "b")
    with idle_connection() as (first, _), idle_connection() as (second, _):
        accepted(leased).put(first)
        accepted(left).put(second)
        other.end()
        registry.clear()

        assert is_closed(first)
        assert is_closed(second)
        assert not ticket.is_over


def test_clear_forgets_only_what_nobody_leases(registry):
    """A leased pool stays the one of its key, and keeps again what comes back to it."""
    leased, ticket = lease(registry, "a")
    dropped, other = lease(registry, "b")
    accepted(dropped)
    other.end()
    registry.clear()
    with idle_connection() as (connection, _):
        leased.put(connection)
        kept = repr(registry)

    assert lease(registry, "a")[0] is leased
    assert lease(registry, "b")[0] is not dropped
    assert kept == "<Registry 1 pools, 1 idle connections, 1 leases, 0 TLS contexts>"
    assert not ticket.is_over


def test_the_end_of_a_block_clears_it():
    """As a context manager, for tests."""
    with Registry() as registry, idle_connection() as (connection, _):
        shared_pool, ticket = lease(registry, "a")
        shared_pool.put(connection)
        during = is_closed(connection)
        registry.__exit__(None, None, None)

        assert not during
        assert is_closed(connection)
        assert not ticket.is_over


def test_a_call_in_the_middle_of_its_bookkeeping_gets_a_pool_of_its_own(registry):
    """A signal handler's: it waits for nobody, and what it made ends with its lease."""
    with Inbox.lock:
        shared_pool, ticket = lease(registry, "a")
    ours, _ = lease(registry, "a")

    assert shared_pool is not ours
    assert shared_pool.is_disposable
    ticket.end()


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
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.settimeout(LONG_TIMEOUT)
    with ThreadPoolExecutor(1) as pool:
        accepting = pool.submit(server_context.wrap_socket, theirs, server_side=True)
        client = context.wrap_socket(ours, server_hostname="localhost")
        server = accepting.result(LONG_TIMEOUT)
    connection = TLSConnection("localhost")
    connection.sock = client
    connection.made_at = connection.proven_at = monotonic()
    shared_pool, ticket = the_registry.lease(object(), "https://api.example", 10, DEFAULT_OPTIONS)
    shared_pool.put(connection)
    with client, server:
        yield shared_pool, connection, server
    ticket.end()
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
            [idle.sock for idle in shared_pool.gate.idle()],
            connection.sock is None,
            is_open(descriptor),
            state_of("origin").quota.tokens,
        )

    generation = the_registry.generation
    told = in_child(look)
    state_of("origin").quota.give_back(100)

    assert told == [
        "<Registry 0 pools, 0 idle connections, 0 leases, 0 TLS contexts>",
        generation + 1,
        0,
        [None],
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
    assert len(shared_pool.gate.idle()) == 1
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
    with Inbox.lock:
        told = in_child(lambda: [repr(the_registry), [idle.sock for idle in shared_pool.gate.idle()]])

    assert told == ["<Registry 0 pools, 0 idle connections, 0 leases, 0 TLS contexts>", [None]]


def test_a_registry_may_be_used_after_the_fork():
    """The control of the emptiness: what the child makes is the child's."""
    registry = Registry()
    before, _ = lease(registry, "a")
    registry.after_fork()
    after, _ = lease(registry, "a")

    assert after is not before
    assert (before.generation, after.generation) == (0, 1)
    registry.clear()
