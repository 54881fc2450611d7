"""Where connections come from, and what name they ask for: the same for each of a pool, however made."""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests_toolbelt.adapters.host_header_ssl import HostHeaderSSLAdapter
from requests_toolbelt.adapters.source import SourceAddressAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, registry
from resilient_transport.connection import tls_connection
from tests.end_to_end.socks5 import SOCKS5
from tests.end_to_end.ways import resolved_to_both
from tests.missing import require
from tests.timeouts import LONG_TIMEOUT
from tests.witness import BODY, Witness, others_wait

#: Of the loopback network, which is Linux's as a whole.
HERE = "127.0.0.2"
#: An interface that every machine has.
DEVICE = (socket.SOL_SOCKET, getattr(socket, "SO_BINDTODEVICE", 0), b"lo\0")
WAYS = ["direct", "http", "https", "socks5h"]
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only 127.0.0.1 is here")


class Ground:
    """A server that has no certificate for an address, and ways to it."""

    def __init__(self, server, proxies, certificates):
        self.server, self._proxies, self._certificates = server, proxies, certificates

    def reset(self, **values):
        """Forget what was seen."""
        registry.clear()
        self.server.forget(**values)
        for proxy in self._proxies.values():
            if isinstance(proxy, Witness):
                proxy.forget(**values)

    def proxy(self, way):
        """The proxy of a way."""
        return self._proxies.get(way)

    def proxies(self, way):
        """What a session is told of it."""
        if way == "direct":
            return {}
        return {"https": f"{way}://localhost:{self.proxy(way).port}"}

    def sources(self, way):
        """Whom all connections came from, as the first that they meet has seen."""
        first = self.proxy(way) or self.server
        return first.peers if isinstance(first, SOCKS5) else [peer for peer, _ in first.begun]

    def session(self, adapter, way="direct"):
        """A session, which the caller closes."""
        session = requests.Session()
        session.trust_env = False
        session.verify = self._certificates.both
        session.proxies = self.proxies(way)
        session.mount("https://", adapter)
        return session

    def url(self, host="named.test", path="/"):
        """A URL of the server."""
        return f"https://{host}:{self.server.port}{path}"


@pytest.fixture(scope="module")
def servers(certificates):
    """The server and its proxies."""
    names = ("named.test", "other.test")
    with ExitStack() as stack:
        server = stack.enter_context(Witness(certificates.server(*names)))
        proxies = {
            "http": stack.enter_context(Witness()),
            "https": stack.enter_context(Witness(certificates.proxy("localhost"))),
        }
        yield server, proxies


@pytest.fixture
def ground(servers, names, certificates):
    """Begin with nothing seen."""
    server, proxies = servers
    socks = SOCKS5()
    ground = Ground(server, {**proxies, "socks5h": socks}, certificates)
    ground.reset()
    yield ground
    registry.clear()
    socks.close()


def with_pools(base, **settings):
    """A subclass that gives this to its pools."""

    class Set(base):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, **kwargs, **settings)

    return Set


SETTINGS = {
    "as it is": {},
    "ordered": {"dns_order": "ipv4first"},
    "deadline": {"policy": RetryPolicy(deadline=LONG_TIMEOUT * 3)},
}


class FromHere(SourceAddressAdapter, ResilientAdapter):
    """requests-toolbelt's, on ours."""


@on_linux
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("way", WAYS)
def test_a_source_address_is_that_of_each_connection(ground, way, settings):
    """The first, one after a reset, one that asks for the rest of a body, and those that are made ready."""
    if way == "socks5h":
        require("socks")
    adapter = FromHere(HERE, **SETTINGS[settings])
    ground.reset(resets=1, cuts=1)
    with ground.session(adapter, way) as session:
        adapter.warm(ground.url(), 3, session=session)
        body = session.get(ground.url(path="/body"), timeout=LONG_TIMEOUT).content

    assert body == BODY
    assert len(ground.sources(way)) >= 4
    assert set(ground.sources(way)) == {HERE}


@pytest.fixture
def far(monkeypatch):
    """Let the server seem far away, so that connects are begun ahead; return the count of those."""
    taken = []
    begin = tls_connection.Route.begin

    def counted(route):
        taken.append(route)
        return begin(route)

    monkeypatch.setattr(tls_connection, "is_long", lambda *_: True)
    monkeypatch.setattr(tls_connection.Route, "begin", counted)
    return taken


def at_once(session, url, calls=6):
    """Calls at the same time."""
    with ThreadPoolExecutor(calls) as pool:
        return [one.status_code for one in pool.map(lambda _: session.get(url), range(calls))]


@pytest.fixture
def dialled(monkeypatch):
    """Note of each TCP connection that this process begins the port, where it comes from, and its device."""
    noted = []

    def noting(name):
        connect = getattr(socket.socket, name)

        def connect_and_note(sock, address):
            if sock.family == socket.AF_INET:
                device = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
                noted.append((address[1], sock.getsockname()[0], device.rstrip(b"\0")))
            return connect(sock, address)

        monkeypatch.setattr(socket.socket, name, connect_and_note)

    noting("connect")
    noting("connect_ex")
    return noted


def may_choose_a_device():
    """Whether this process may bind a socket to an interface; older kernels ask for a privilege."""
    if sys.platform != "linux":
        return False
    with socket.socket() as sock, suppress(OSError):
        sock.setsockopt(*DEVICE)
        return True
    return False


@pytest.mark.skipif(not may_choose_a_device(), reason="no socket can be bound to an interface here")
@pytest.mark.parametrize("way", ["direct", "http"])
def test_connects_that_are_begun_ahead_come_from_there_too(ground, far, dialled, way):
    """Source address and device are those of the pool; the control: without, they come from elsewhere."""
    seen = {}
    for name, kind in {
        "set": with_pools(ResilientAdapter, source_address=(HERE, 0), socket_options=[DEVICE]),
        "not set": ResilientAdapter,
    }.items():
        ground.reset()
        ground.server.before = others_wait
        dialled.clear()
        far.clear()
        with ground.session(kind(pool_maxsize=10), way) as session:
            at_once(session, ground.url())
        port = (ground.proxy(way) or ground.server).port
        seen[name] = ({one[1:] for one in dialled if one[0] == port}, bool(far), set(ground.sources(way)))

    assert seen["set"] == ({(HERE, b"lo")}, True, {HERE})
    assert seen["not set"] == ({("0.0.0.0", b"")}, True, {"127.0.0.1"})


class ByHostHeader(HostHeaderSSLAdapter, ResilientAdapter):
    """requests-toolbelt's, on ours."""


def called(ground, adapter, way, url, headers=None, **reset):
    """What comes of two calls on one connection, and what the server has seen."""
    ground.reset(**reset)
    said = []
    with ground.session(adapter, way) as session:
        for _ in range(2):
            try:
                answer = session.get(url, headers=headers, timeout=LONG_TIMEOUT)
                said.append(answer.content)
            except requests.RequestException as error:
                said.append(type(error))
    seen = [(one.peer, one.sni, one.line, one.fields["host"]) for one in ground.server.seen]
    return said, seen, [name for _, name in ground.server.begun]


@pytest.mark.parametrize("host", ["other.test", "nobody.test"])
@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_is_checked_against_the_host_field(ground, way, host):
    """requests-toolbelt's `HostHeaderSSLAdapter` on ours; on stock it is forgotten at a proxy."""
    if way == "socks5h":
        require("socks")
    url, headers = ground.url("127.0.0.1"), {"Host": host}
    stock = called(ground, HostHeaderSSLAdapter(), way, url, headers)
    ours = called(ground, ByHostHeader(), way, url, headers)
    again = called(ground, ByHostHeader(), way, url, headers, resets=1)
    refused = [requests.exceptions.SSLError] * 2

    assert ours[0] == ([b"ok"] * 2 if host == "other.test" else refused)
    assert again[:2] == ours[:2]
    if way == "direct":
        assert stock[:2] == ours[:2]
    else:
        # By stock the certificate has to be one for the address.
        assert stock[0] == refused


@pytest.mark.parametrize("way", WAYS)
def test_another_name_is_asked_for_and_checked(ground, way):
    """`server_hostname` is the name of TLS, Host that of the URL; a proxy is asked for its own name."""
    if way == "socks5h":
        require("socks")
    url = ground.url("127.0.0.1")
    good, bad = (
        called(ground, with_pools(ResilientAdapter, server_hostname=name)(), way, url, resets=resets)
        for name, resets in (("other.test.", 1), ("nobody.test", 0))
    )
    proxy = ground.proxy(way)
    asked = {name for _, name in proxy.begun} if way == "https" else {"localhost"}

    host = f"127.0.0.1:{ground.server.port}"
    assert good[0] == [b"ok"] * 2
    assert [one[1:] for one in good[1]] == [("other.test", "GET /", host)] * 2
    assert set(good[2]) == {"other.test"}
    assert bad[0] == [requests.exceptions.SSLError] * 2
    assert asked == {"localhost"}


def test_as_stock_asks_for_another_name(ground):
    """The same settings on stock, and on ours, directly: the server sees the same."""
    seen = [
        called(ground, with_pools(base, server_hostname="other.test.")(), "direct", ground.url())
        for base in (HTTPAdapter, ResilientAdapter)
    ]

    assert seen[0] == seen[1]
    assert seen[0][0] == [b"ok"] * 2


@on_linux
@pytest.mark.parametrize("settings", [*SETTINGS, "IPv6 first"])
def test_a_source_of_one_family_chooses_the_family(ground, monkeypatch, settings):
    """Of a name with addresses of both, those of the other family are passed over, as in stock."""
    ordered = {"dns_order": "ipv6first"}
    adapter = FromHere(HERE, **(ordered if settings == "IPv6 first" else SETTINGS[settings]))
    said = []
    with monkeypatch.context() as patch:
        resolved_to_both(patch)
        for one in (SourceAddressAdapter(HERE), adapter):
            said.append(called(ground, one, "direct", ground.url(), resets=int(one is adapter)))

    assert said[0][:2] == said[1][:2]
    assert {one[0] for one in said[1][1]} == {HERE}
