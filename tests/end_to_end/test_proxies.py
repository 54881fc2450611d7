"""Proxies work from the start: the tunnel is a stage, and what is honoured directly is honoured here."""

import pytest
import requests

from resilient_transport import RetryPolicy, attempts_of, registry
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.end_to_end.socks5 import SOCKS5
from tests.missing import require


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


@pytest.fixture
def proxy(fault_server_factory):
    """A proxy that does nothing wrong until it is told to."""
    return fault_server_factory(tls=False)


@pytest.mark.parametrize(
    "fault", [Fault(Moment.TUNNEL), Fault(Moment.TUNNEL, How.FIN)], ids=lambda f: f.how.value
)
def test_a_broken_tunnel_is_repeated_for_a_post(server, dial, proxy, fault):
    """No byte of the request has left while the tunnel is made, so that any method may go again."""
    proxy.play(Script((Rule(fault, first=2),)))

    response = dial(server).post(server.url, proxies={"https": proxy.url})

    assert [attempt.stage for attempt in attempts_of(response)] == ["tunnel", "tunnel", "done"]
    assert server.counts().executed == 1


def test_a_broken_handshake_behind_a_tunnel_is_repeated(server, dial, proxy):
    """The server's handshake behind the tunnel is a stage of its own."""
    server.play(
        Script((Rule(Fault(Moment.HANDSHAKE), first=1), Rule(Fault(Moment.CLIENT_HELLO), first=2, skip=1)))
    )

    response = dial(server).post(server.url, proxies={"https": proxy.url})

    stages = [attempt.stage for attempt in attempts_of(response)]
    assert stages == ["confirm", "handshake", "handshake", "done"]
    assert server.counts().executed == 1


@pytest.mark.parametrize(("status", "tunnels"), [(403, 1), (407, 1), (502, 3)])
def test_a_proxy_that_says_no(fault_server_factory, server, dial, status, tunnels):
    """A client error of the proxy does not heal; a server error may."""
    proxy = fault_server_factory(tls=False, connect_status=status)
    session = dial(server, policy=RetryPolicy(retries=2, backoff=0))

    with pytest.raises(requests.RequestException) as caught:
        session.get(server.url, proxies={"https": proxy.url})

    assert proxy.counts().tunnels == tunnels
    assert len(attempts_of(caught.value)) == tunnels


def test_a_forwarded_post_is_not_sent_twice(fault_server_factory, dial, proxy):
    """A proxy that forwards plain requests may have executed one, too."""
    proxy.play(Script((Rule(Fault(Moment.EXECUTED)),)))

    with pytest.raises(requests.ConnectionError):
        dial(proxy).post("http://localhost/", headers={"X-Request-Id": "one"}, proxies={"http": proxy.url})

    assert proxy.counts().executions == {"one": 1}


def test_an_https_proxy(fault_server_factory, server, dial):
    """TLS to the proxy is part of the tunnel; its certificate is checked like the server's."""
    proxy = fault_server_factory(client_auth="none")
    proxy.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),)))

    response = dial(server).post(server.url + "/echo", data=b"x", proxies={"https": proxy.url})

    assert response.content == b"x"
    assert [attempt.stage for attempt in attempts_of(response)] == ["tunnel", "done"]


def test_an_https_proxy_that_cannot_be_trusted(fault_server_factory, server, dial):
    """The control: with another's certificate there is no tunnel, at the first try."""
    proxy = fault_server_factory(client_auth="none", certificate="untrusted")

    with pytest.raises(requests.exceptions.ProxyError) as caught:
        dial(server).get(server.url, proxies={"https": proxy.url})

    assert len(attempts_of(caught.value)) == 1
    assert proxy.counts().tunnels == 0


def test_a_tunnel_is_kept_warm(server, dial, proxy):
    """Sessions that use one proxy in the same way share its tunnels."""
    for _ in range(3):
        dial(server).get(server.url, proxies={"https": proxy.url})

    assert proxy.counts().tunnels == 1


@pytest.fixture
def socks():
    """A function that starts SOCKS5 proxies, which end with the test."""
    require("socks")
    made = []

    def make(**values):
        made.append(SOCKS5(**values))
        return made[-1]

    yield make
    registry.clear()
    for each in made:
        each.close()


def test_a_socks_proxy_is_repeated_like_any_other(server, dial, socks):
    """With PySocks installed, connections through SOCKS are leases, marked, retried and kept warm."""
    proxy = socks(resets=2)
    session = dial(server, policy=RetryPolicy(backoff=0))
    proxies = {"https": f"socks5://127.0.0.1:{proxy.port}"}

    first = session.post(server.url + "/echo", data=b"x", proxies=proxies)
    second = dial(server).get(server.url, proxies=proxies)

    assert first.content == b"x"
    assert len(attempts_of(first)) == 3
    assert attempts_of(second)[0].reused
    session.close()


def test_socks_users_do_not_share(server, dial, socks):
    """The credentials of a SOCKS proxy part the pools."""
    proxy = socks()

    for user in ("ann", "ben", "ann"):
        with dial(server) as session:
            session.get(server.url, proxies={"https": f"socks5h://{user}:pw@127.0.0.1:{proxy.port}"})

    assert proxy.users == ["ann", "ben"]


def test_plain_http_through_socks(fault_server_factory, dial, socks):
    """Plain connections go the same way."""
    server, proxy = fault_server_factory(tls=False), socks()

    assert dial(server).get(server.url, proxies={"http": f"socks5://127.0.0.1:{proxy.port}"}).ok
