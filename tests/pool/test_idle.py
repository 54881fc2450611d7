"""The idle connections of the process have one bound, whatever pools they lie in."""

import gc
import resource
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, registry
from resilient_transport.pool.idle import IdleConnections
from tests.timeouts import LONG_TIMEOUT

#: Addresses of this machine, one a host.
HOSTS = [f"127.0.1.{number}" for number in range(1, 41)]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Connection:
    """Something that can be idle, and is closed at last."""

    is_closed = False

    def close(self):
        """Note it."""
        self.is_closed = True


class Pool:
    """Holds what is idle in it."""

    def __init__(self):
        self.idle = set()

    def is_idle(self, connection):
        """Whether it is there."""
        return connection in self.idle

    def evict(self, connection):
        """Take it out, if it is there."""
        was_idle = connection in self.idle
        self.idle.discard(connection)
        return was_idle


def added(idle, *pools):
    """A connection in each of these pools, one after the other."""
    connections = []
    for pool in pools:
        connections.append(Connection())
        pool.idle.add(connections[-1])
        idle.add(connections[-1], pool)
    return connections


def bounded(most):
    """Idle connections with a bound of the test's own."""
    idle = IdleConnections()
    idle.most = most
    return idle


def test_the_oldest_beyond_the_bound_is_closed():
    """It does not matter in which pool it lies."""
    idle, first, second = bounded(3), Pool(), Pool()
    connections = added(idle, first, second, first, second, second)

    assert [one.is_closed for one in connections] == [True, True, False, False, False]
    assert len(idle) == 3


def test_one_that_was_used_again_is_the_newest():
    """What counts is when it became idle at last."""
    idle, pool = bounded(2), Pool()
    first, second = added(idle, pool, pool)
    idle.discard(first)
    idle.add(first, pool)
    added(idle, pool)

    assert (first.is_closed, second.is_closed) == (False, True)


def test_one_that_somebody_took_meanwhile_is_passed_over():
    """It is in the order still, and in no pool any more: who has it keeps it."""
    idle, pool = bounded(1), Pool()
    (taken,) = added(idle, pool)
    pool.idle.clear()
    added(idle, pool)

    assert not taken.is_closed
    assert len(idle) == 1


def test_one_that_was_lost_is_not_kept_open():
    """An interrupt may drop a connection between two steps: nothing here refers to it."""
    idle, pool = bounded(2), Pool()
    added(idle, pool)
    pool.idle.clear()
    gc.collect()

    assert not idle.close_all()


def test_a_look_corrects_what_was_left_out_and_what_was_left_here():
    """An interrupt, or another thread, may strike between two steps."""
    idle, pool = bounded(10), Pool()
    known, gone = added(idle, pool, pool)
    unknown = Connection()
    pool.idle = {known, unknown}
    before = len(idle)
    idle.correct([pool], lambda one: list(one.idle))
    closed = idle.close_all()

    assert (before, closed) == (2, True)
    assert [one.is_closed for one in (known, gone, unknown)] == [True, False, True]


def test_all_can_be_closed_at_once():
    """Whether there were any is told, so that nobody tries again for nothing."""
    idle, pool = bounded(10), Pool()
    connections = added(idle, pool, pool)

    assert (idle.close_all(), idle.close_all()) == (True, False)
    assert all(one.is_closed for one in connections)


def test_who_looks_is_woken():
    """Each that becomes idle says so."""
    woken = []
    idle = IdleConnections(lambda: woken.append(1))
    added(idle, Pool(), Pool())

    assert woken == [1, 1]


@contextmanager
def everywhere():
    """A server on every loopback address; gives its port and the connections that it has."""
    peers = []

    def answer(peer):
        with peer:
            while b"\r\n\r\n" in peer.recv(65536):
                peer.sendall(ANSWER)
        peers.remove(peer)

    def serve(listener):
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peers.append(peer)
            threading.Thread(target=answer, args=(peer,), daemon=True).start()

    with socket.create_server(("0.0.0.0", 0), backlog=128) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1], peers
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(LONG_TIMEOUT)


def crawl(session, port):
    """One request to each host; return how many were answered."""
    return sum(session.get(f"http://{host}:{port}/", timeout=LONG_TIMEOUT).ok for host in HOSTS)


def test_a_crawler_keeps_no_more_than_the_bound(monkeypatch):
    """One request to each of 40 hosts leaves as many connections as the environment says."""
    monkeypatch.setenv("RESILIENT_TRANSPORT_MAX_IDLE", "7")
    with everywhere() as (port, peers), requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter(pool_connections=1000))
        answered = crawl(session, port)
        idle = sum(count for _, count in registry.connections().values())
        registry.clear()

    assert (answered, idle) == (len(HOSTS), 7)
    assert len(peers) <= len(HOSTS)


def test_without_a_bound_every_host_keeps_one(monkeypatch):
    """The control: with a larger bound they are all kept."""
    monkeypatch.setenv("RESILIENT_TRANSPORT_MAX_IDLE", "1000")
    with everywhere() as (port, _), requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter(pool_connections=1000))
        crawl(session, port)
        idle = sum(count for _, count in registry.connections().values())
        registry.clear()

    assert idle == len(HOSTS)


#: Makes calls with few descriptors left: fills the table but for a few, then calls hosts in sequence.
SCARCE = """
import os, resource, sys
import requests
from requests.adapters import HTTPAdapter
from resilient_transport import ResilientAdapter, registry
kind, port, hosts = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
session = requests.Session()
session.trust_env = False
adapters = {"ours": lambda: ResilientAdapter(), "stock": lambda: HTTPAdapter(pool_connections=1000)}
session.mount("http://", adapters[kind]())
session.get(f"http://{hosts[0]}:{port}/", timeout=10)
resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = []
try:
    while True:
        held.append(os.dup(0))
except OSError:
    pass
for spare in held[:10]:
    os.close(spare)
answered = 0
for host in hosts:
    try:
        answered += session.get(f"http://{host}:{port}/", timeout=10).ok
    except requests.RequestException:
        pass
print(answered, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(("kind", "all_answered"), [("ours", True), ("stock", False)])
def test_where_no_descriptor_is_left_idle_ones_are_closed(kind, all_answered):
    """With ten descriptors 40 hosts are called all the same; stock, the control, keeps all its pools."""
    with everywhere() as (port, _):
        done = subprocess.run(
            [sys.executable, "-c", SCARCE, kind, str(port), ",".join(HOSTS)],
            stdout=subprocess.PIPE,
            check=True,
            timeout=6 * LONG_TIMEOUT,
        )

    assert (int(done.stdout) == len(HOSTS)) is all_answered


def test_the_limits_of_this_process_are_not_touched():
    """The control of the tests above: they set limits in processes of their own."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert soft != 128
    assert HTTPAdapter
