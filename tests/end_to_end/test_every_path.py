"""A value is honoured on every path: directly, through proxies, however the adapter was made."""

import pickle
import socket
import ssl
from contextlib import ExitStack
from functools import cache

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.poolmanager import PoolManager

import resilient_transport
from resilient_transport import DeadlineExceeded, EndpointDisabled, ResilientAdapter, mount, registry
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from tests.end_to_end.socks5 import SOCKS5
from tests.end_to_end.ways import CONSTRUCTOR, ENVIRONMENT, arguments, most_at_once, resolved_to_both
from tests.missing import require
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT


class OwnManager(HTTPAdapter):
    """The pattern of requests' documentation: a subclass that makes urllib3's pool manager itself."""

    def init_poolmanager(self, connections, maxsize, block=False):
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block)


class Documented(OwnManager, ResilientAdapter):
    """The pattern, on top of this transport."""


class Path:
    """A way to a server: a session, a URL, and what else a call takes."""

    def __init__(self, server, proxy=None, way=None, socks=None):
        self.server, self.proxy, self.way, self.socks = server, proxy, way, socks

    def session(self, stack, **settings):
        """Return a session whose adapter was made in this way."""
        certificates = self.server.authority
        if self.way in ("install", "mounted"):
            stack.enter_context(resilient_transport.install(**settings))
        session = stack.enter_context(requests.Session())
        session.trust_env = False
        session.verify, session.cert = certificates.ca_file, certificates.client
        if self.way == "context":
            context = ssl.create_default_context(cafile=certificates.ca_file)
            context.load_cert_chain(*certificates.client)
            session.verify, session.cert = True, None
            settings["ssl_context"] = context
        if self.way == "mount":
            mount(session, **settings)
        elif self.way == "mounted":
            of_pools = {name: value for name, value in settings.items() if name.startswith("pool_")}
            session.mount("https://", HTTPAdapter(**of_pools))
        elif self.way != "install":
            adapter = (Documented if self.way == "own" else ResilientAdapter)(**settings)
            adapter = pickle.loads(pickle.dumps(adapter)) if self.way == "pickled" else adapter
            session.mount("https://", adapter)
            session.mount("http://", adapter)
        if self.proxy is not None:
            session.proxies = dict.fromkeys(("http", "https"), self.proxy.url)
        elif self.socks is not None:
            session.proxies = dict.fromkeys(("http", "https"), f"socks5h://localhost:{self.socks.port}")
        return session

    @property
    def url(self):
        """What to ask for."""
        return self.server.url


MADE = ["https", "own", "pickled", "install", "mounted", "mount", "context"]
PATHS = [*MADE, "http", "forwarded", "tunnel", "https tunnel", "socks", "plain socks"]
#: What shakes hands with the server.
SECURE = [name for name in PATHS if name not in ("http", "forwarded", "plain socks")]


@pytest.fixture(scope="module")
def server_with(authority):
    """Return a function to the server of this module that has these options."""
    with ExitStack() as stack:
        yield cache(lambda **options: stack.enter_context(FaultServer(authority=authority, **options)))


@pytest.fixture
def faultless(server_with):
    """Return the same function; what a server has met in tests before is forgotten."""
    registry.clear()

    def begun_anew(**options):
        server = server_with(**options)
        server.reset_peers()
        server.play(Script())
        return server

    return begun_anew


@pytest.fixture
def path(request, server, faultless):
    """The way that the test is given by its name."""
    name = request.param
    server.play(Script())
    if name in MADE:
        yield Path(server, way=name)
    elif name in ("socks", "plain socks"):
        require("socks")
        socks = SOCKS5()
        yield Path(server if name == "socks" else faultless(tls=False), socks=socks)
        registry.clear()
        socks.close()
    elif name in ("tunnel", "https tunnel"):
        secure = {"client_auth": "none"} if name == "https tunnel" else {"tls": False}
        yield Path(server, faultless(**secure))
    else:
        plain = faultless(tls=False)
        yield Path(plain, plain if name == "forwarded" else None)


@pytest.fixture
def stack():
    """Ends what a test begins."""
    with ExitStack() as stack:
        yield stack


def begin(path, stack, say, way, **values):
    """Return a session that was told in this way."""
    if way == ENVIRONMENT:
        say(way, **values)
        values = {}
    return path.session(stack, **arguments(**values))


every_path = pytest.mark.parametrize("path", PATHS, indirect=True)
secure_path = pytest.mark.parametrize("path", SECURE, indirect=True)
each_way = pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR])


@every_path
@each_way
def test_retries(path, stack, say, way, pauses):
    """As many repetitions as were asked for reach the server; by default there are five."""
    path.server.play(Script((Rule(Fault(Moment.EXECUTED), on_request=None),)))
    session = begin(path, stack, say, way, retries=1)
    with pytest.raises(requests.ConnectionError):
        session.get(path.url, headers={"X-Request-Id": "one"})

    assert path.server.counts().executions == {"one": 2}


@every_path
@each_way
def test_retry_non_idempotent(path, stack, say, way, pauses):
    """A POST is executed again since somebody has said that it may."""
    path.server.play(Script((Rule(Fault(Moment.EXECUTED), first=1),)))
    session = begin(path, stack, say, way, retry_non_idempotent=True)

    assert session.post(path.url, headers={"X-Request-Id": "one"}).ok
    assert path.server.counts().executions == {"one": 2}


@every_path
def test_by_default(path, stack, pauses):
    """The control: a POST is executed once, a GET six times, and a slow answer is waited for."""
    path.server.play(Script((Rule(Fault(Moment.EXECUTED), on_request=None, path="/words"),)))
    session = path.session(stack)
    for method in ("GET", "POST"):
        with pytest.raises(requests.ConnectionError):
            session.request(method, path.url + "/words/1", headers={"X-Request-Id": method})
    seen = path.server.counts().executions
    path.server.play(Script(response_delay=2 * SHORT_TIMEOUT))

    assert session.get(path.url).ok
    assert seen == {"GET": 6, "POST": 1}


@every_path
@each_way
@pytest.mark.parametrize("stage", ["head", "body"])
def test_read_timeout(path, stack, say, way, stage):
    """What takes longer between two bytes has timed out."""
    fault = Fault(Moment.EXECUTED if stage == "head" else Moment.BODY, How.STALL)
    path.server.play(Script((Rule(fault),)))
    session = begin(path, stack, say, way, read_timeout=SHORT_TIMEOUT, retries=0)
    with pytest.raises(requests.RequestException, match="[Tt]imed out") as caught:
        session.get(path.url)

    assert isinstance(caught.value, requests.Timeout | requests.ConnectionError)


@secure_path
@each_way
def test_connect_timeout(path, stack, say, way):
    """A handshake that takes longer has timed out; the server sees no request."""
    path.server.play(Script(handshake_delay=2 * SHORT_TIMEOUT))
    session = begin(path, stack, say, way, connect_timeout=SHORT_TIMEOUT, retries=0)
    with pytest.raises(requests.RequestException, match="[Tt]imed out"):
        session.get(path.url)

    assert path.server.counts().requests == 0


@pytest.mark.parametrize("path", ["tunnel", "https tunnel"], indirect=True)
@each_way
def test_connect_timeout_of_a_tunnel(path, stack, say, way):
    """A proxy that does not answer belongs to connecting."""
    path.proxy.play(Script((Rule(Fault(Moment.TUNNEL, How.STALL)),)))
    session = begin(path, stack, say, way, connect_timeout=SHORT_TIMEOUT, retries=0)
    with pytest.raises(requests.RequestException, match="[Tt]imed out"):
        session.get(path.url)

    assert path.server.counts().accepts == 0


@every_path
@each_way
def test_deadline(path, stack, say, way):
    """What takes longer is over, whatever its time-outs are."""
    path.server.play(Script(response_delay=2 * SHORT_TIMEOUT))
    session = begin(path, stack, say, way, deadline=SHORT_TIMEOUT)
    with pytest.raises(DeadlineExceeded):
        session.get(path.url, timeout=LONG_TIMEOUT)


@every_path
@each_way
@pytest.mark.parametrize(("name", "later", "accepts"), [
    ("idle_timeout", 15, 1), ("idle_timeout", 25, 2), ("max_age", 15, 1), ("max_age", 25, 2),
])  # fmt: skip
def test_idle_timeout_and_max_age(path, stack, say, way, clock, name, later, accepts):
    """A connection that was idle for too long, or is too old, is not used again."""
    session = begin(path, stack, say, way, **{name: 20})
    session.get(path.url)
    clock.ahead += later
    session.get(path.url)

    assert path.server.counts().accepts == accepts


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="the platform keeps its own times")
@every_path
@each_way
@pytest.mark.parametrize("seconds", [7, 0, None])
def test_tcp_keepalive(path, stack, say, way, seconds):
    """The socket that is connected has it: after what was said, off, or after 60 s by default."""
    session = begin(path, stack, say, way, **({} if seconds is None else {"tcp_keepalive": seconds}))
    with session.get(path.url + "/bytes/300000", stream=True) as response:
        sock = response.raw.connection.sock
        sock = getattr(sock, "socket", sock)
        is_on = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        after = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)

    assert bool(is_on) == (seconds != 0)
    assert after == (seconds or 60) or not is_on


@secure_path
@each_way
def test_handshakes(path, stack, say, way):
    """The server never sees more at once than were allowed."""
    session = begin(path, stack, say, way, handshakes=2)
    session.get(path.url)

    assert most_at_once(path.server, session, 2, path.url) == 2


@every_path
@each_way
def test_disable(path, stack, say, way):
    """Nothing is opened."""
    told = path.url + "/words"
    session = begin(path, stack, say, way, disable=told if way == ENVIRONMENT else [told])
    before = path.server.counts().accepts
    with pytest.raises(EndpointDisabled):
        session.get(path.url + "/words/3")

    assert path.server.counts().accepts == before
    assert session.get(path.url).ok


FAMILIES = {"ipv4first": socket.AF_INET, "ipv6first": socket.AF_INET6}


@pytest.mark.parametrize("path", [name for name in PATHS if "socks" not in name], indirect=True)
@each_way
@pytest.mark.parametrize("order", FAMILIES)
def test_dns_order(path, stack, say, way, monkeypatch, order):
    """The family that was asked for is connected to first, be it the server's or the proxy's address."""
    families = resolved_to_both(monkeypatch)
    session = begin(path, stack, say, way, dns_order=order)

    assert session.get(path.url).ok
    assert families[0] == FAMILIES[order]
