"""Fork: the child starts empty, and writes nothing to sockets that it inherited."""

import os

import pytest
import requests

from resilient_transport import registry
from resilient_transport.testing import Script
from resilient_transport.util.inbox import Inbox

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def in_child(work):
    """Run work in a forked child; return what it writes to its pipe."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            os.write(writer, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        told = file.read()
    os.waitpid(child, 0)
    return told


def test_parent_and_child_go_on_side_by_side(server, dial):
    """The child makes a connection of its own; the parent's is neither closed nor disturbed."""
    server.play(Script())
    session = dial(server)
    session.get(server.url)

    told = in_child(lambda: (session.get(server.url + "/words/2").ok, repr(registry)))
    after = session.get(server.url)

    assert told.startswith("(True, '<Registry 1 pools, 1 idle connections")
    assert after.ok
    assert server.counts().accepts == 2
    assert server.counts().requests == 3


def test_a_response_that_was_open_at_the_fork(server, dial):
    """The child may drop it; the parent reads it to its end."""
    server.play(Script())
    session = dial(server)
    response = session.get(server.url + "/bytes/200000", stream=True)

    told = in_child(lambda: (response.close(), session.get(server.url).ok)[1])

    assert told == "True"
    assert len(response.content) == 200000


def test_locks_held_at_the_fork_block_nobody(server, dial):
    """Another thread may hold any lock of the package while the process forks."""
    server.play(Script())
    session = dial(server)
    session.get(server.url)

    with Inbox.lock, session.get_adapter(server.url).poolmanager.pools.lock:
        told = in_child(lambda: session.get(server.url).ok)

    assert told == "True"


def test_a_generation_is_counted(server, dial):
    """What was leased before the fork is not used after it, even by who holds on to a pool."""
    server.play(Script())
    session = dial(server)
    session.get(server.url)
    pool = next(iter(session.get_adapter(server.url)._lookup._entries.values())).pool

    told = in_child(lambda: pool.urlopen("GET", "/words/1").status)

    assert told == "200"
    assert server.counts().accepts == 2
    assert isinstance(session.get(server.url), requests.Response)
    assert server.counts().accepts == 2
