"""The contestants of the benchmarks do the same work: whole bodies, checked certificates, told failures."""

from contextlib import closing

import pytest

from benchmarks.clients import maker
from benchmarks.contestants import CONTROL, FLOOR, NIQUESTS, PEERS
from benchmarks.quantities import COMPLETED, CPU
from benchmarks.work import ORDERS, Work
from resilient_transport.testing import Fault, Moment, Rule, Script

#: Those that live in this environment.
HERE = [name for name in PEERS if name not in (CONTROL, NIQUESTS)]


@pytest.fixture
def client_of(authority):
    """Return a function that makes a contestant's client."""
    return lambda name, ca_file=authority.ca_file: closing(maker(name, ca_file, authority.client)())


def url_of(server, path):
    """Return a URL with an address, as the benchmarks have."""
    return f"https://127.0.0.1:{server.port}{path}"


@pytest.mark.parametrize("contestant", HERE)
def test_bodies_are_whole(server, client_of, contestant):
    """Whichever way they are fetched, over one connection."""
    server.play(Script())
    url = url_of(server, "/bytes/200000")
    with client_of(contestant) as client:
        ways = client.call("GET", url), client.prepared("GET", url)()
        length = client.stream(url)
        echoed = client.call("POST", url_of(server, "/echo"), b"a small body")

    assert [len(each) for each in ways] == [200_000, 200_000]
    assert ways[0] == ways[1]
    assert length == 200_000
    assert b"a small body" in echoed
    assert server.counts().accepts == 1


@pytest.mark.parametrize("contestant", HERE)
def test_an_answer_that_is_not_good_is_an_error(server, client_of, contestant):
    """A benchmark of refusals would be quick."""
    server.play(Script())
    with client_of(contestant) as client, pytest.raises(Exception, match="404"):
        client.call("GET", url_of(server, "/status/404"))


@pytest.mark.parametrize("contestant", HERE)
def test_certificates_are_checked(server, client_of, authority, contestant):
    """A CA that did not sign the server's certificate is noticed."""
    server.play(Script())

    with (
        client_of(contestant, authority.other_ca_file) as client,
        pytest.raises(Exception, match="certificate verify failed"),
    ):
        client.call("GET", url_of(server, "/bytes/1"))


@pytest.mark.parametrize("moment", [Moment.BODY, Moment.HEAD, Moment.REQUEST])
def test_the_floor_notices_a_cut(server, client_of, moment):
    """It is no floor if it takes less than an answer."""
    server.play(Script((Rule(Fault(moment), first=1),)))

    with client_of(FLOOR) as client, pytest.raises(OSError, match="closed|cut|reset|EOF"):
        client.call("GET", url_of(server, "/bytes/200000"))


def test_an_order_is_answered_with_a_sample(server, authority):
    """And a burst tells how many of its calls came through."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),)))
    work = Work(FLOOR, authority.ca_file, authority.client)
    url = url_of(server, "/words/3")
    burst = ORDERS["burst"](work, url, ["GET"] * 4)
    calls = ORDERS["calls"](work, url, 2)
    work.close()

    assert burst[COMPLETED] == 3
    assert 0 < calls[CPU] < burst[CPU] * 100
