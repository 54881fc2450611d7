"""What a subclass sets for its connections holds through each kind of proxy; stock forgets it there."""

import contextlib
import hashlib
import socket
import ssl

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager, ProxyManager

from resilient_transport import ResilientAdapter, attempts_of, registry
from resilient_transport.testing import FaultServer, Script
from tests.end_to_end.socks5 import SOCKS5
from tests.timeouts import LONG_TIMEOUT

WAYS = ["direct", "http", "https", "socks5"]
PROXIES = WAYS[1:]
#: Nobody's.
WRONG = "00" * 32


@pytest.fixture(scope="module")
def old_server(authority):
    """A server that knows TLS 1.2 at the most."""
    with FaultServer(authority=authority, max_tls="1.2") as server:
        yield server


@pytest.fixture(scope="module")
def secure_proxy(authority):
    """A proxy with a certificate of its own, for another name."""
    with FaultServer(authority=authority, client_auth="optional", certificate="misnamed") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def plain_proxy(authority):
    """A proxy without TLS."""
    with FaultServer(authority=authority, tls=False) as proxy:
        yield proxy


@pytest.fixture
def proxies_for(plain_proxy, secure_proxy):
    """Return a function from a way to `proxies=`."""
    for proxy in (plain_proxy, secure_proxy):
        proxy.play(Script())
    with contextlib.ExitStack() as stack:

        def make(way):
            if way == "direct":
                return {}
            if way == "socks5":
                proxy = SOCKS5()
                stack.callback(proxy.close)
                stack.callback(registry.clear)
                url = f"socks5://127.0.0.1:{proxy.port}"
            else:
                url = (secure_proxy if way == "https" else plain_proxy).url
            return {"https": url, "http": url}

        yield make


def kind_of(base, settings, how="init"):
    """A subclass that sets this for its pools, in one of the ways that people have."""

    class Set(base):
        def init_poolmanager(self, connections, maxsize, block=False, **kwargs):
            if how == "own":
                self.poolmanager = PoolManager(
                    num_pools=connections, maxsize=maxsize, block=block, **settings
                )
            else:
                given = settings if how == "init" else {}
                super().init_poolmanager(connections, maxsize, block, **kwargs, **given)

        def proxy_manager_for(self, proxy, **kwargs):
            if proxy.startswith("https:"):
                kwargs["proxy_assert_hostname"] = "misnamed.invalid"
            return super().proxy_manager_for(proxy, **kwargs)

    adapter = Set()
    if how == "later":
        adapter.poolmanager.connection_pool_kw.update(settings)
    return adapter


def outcome(dial, server, adapter, proxies):
    """The status of a call, or the type of its exception; and how often the server has executed it."""
    server.play(Script())
    try:
        said = dial(server, adapter).get(server.url, proxies=proxies, timeout=LONG_TIMEOUT).status_code
    except requests.RequestException as error:
        said = type(error)
    return said, server.counts().executed


SETTINGS = [
    {"assert_fingerprint": WRONG},
    {"assert_hostname": "another.example"},
    {"ssl_minimum_version": ssl.TLSVersion.TLSv1_3},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_a_pin_or_a_least_version_holds(old_server, dial, proxies_for, way, settings):
    """The server is refused on each way; the control: stock calls it through every proxy."""
    proxies = proxies_for(way)
    stock = outcome(dial, old_server, kind_of(HTTPAdapter, settings), proxies)
    ours = outcome(dial, old_server, kind_of(ResilientAdapter, settings), proxies)

    assert stock == ((requests.exceptions.SSLError, 0) if way == "direct" else (200, 1))
    assert ours == (requests.exceptions.SSLError, 0)


@pytest.mark.parametrize("how", ["init", "own", "later"])
@pytest.mark.parametrize("way", WAYS)
def test_however_it_was_set(server, dial, proxies_for, way, how):
    """By `init_poolmanager`, by a manager of the subclass's own, or in `connection_pool_kw` afterwards."""
    adapter = kind_of(ResilientAdapter, {"assert_fingerprint": WRONG}, how)

    assert outcome(dial, server, adapter, proxies_for(way)) == (requests.exceptions.SSLError, 0)


@pytest.mark.parametrize("way", ["direct", "http", "socks5"])
def test_what_is_set_between_two_calls(server, dial, proxies_for, way):
    """A pin that comes later holds for the next call, although a connection without it lies idle."""
    adapter, proxies = ResilientAdapter(), proxies_for(way)
    before = outcome(dial, server, adapter, proxies)
    adapter.poolmanager.connection_pool_kw["assert_fingerprint"] = WRONG
    pinned = outcome(dial, server, adapter, proxies)
    del adapter.poolmanager.connection_pool_kw["assert_fingerprint"]

    assert (before, pinned) == ((200, 1), (requests.exceptions.SSLError, 0))
    assert outcome(dial, server, adapter, proxies) == (200, 1)


@pytest.mark.parametrize("way", ["direct", "http", "socks5"])
def test_another_manager_brings_its_own(server, dial, proxies_for, way):
    """A manager that is assigned between two calls counts for proxies, too."""
    adapter, proxies = ResilientAdapter(), proxies_for(way)
    before = outcome(dial, server, adapter, proxies)
    adapter.poolmanager = PoolManager(assert_fingerprint=WRONG)

    assert before == (200, 1)
    assert outcome(dial, server, adapter, proxies) == (requests.exceptions.SSLError, 0)


@pytest.mark.parametrize("way", PROXIES)
def test_whoever_asks_the_manager_gets_it(server, dial, proxies_for, way):
    """A subclass that finds its pools by the manager's own methods has the pin, too."""

    class Asks(type(kind_of(ResilientAdapter, {"assert_fingerprint": WRONG}))):
        def get_connection_with_tls_context(self, request, verify, proxies=None, cert=None):
            settings = {"ca_certs": verify, "cert_file": cert[0], "key_file": cert[1]}
            manager = self.proxy_manager_for(proxies["https"])
            return manager.connection_from_url(request.url, pool_kwargs=settings)

    assert outcome(dial, server, Asks(), proxies_for(way)) == (requests.exceptions.SSLError, 0)


def fingerprint(server):
    """Of the server's certificate."""
    with open(server.authority.server(server.options.certificate)[0]) as file:
        first = file.read().partition("-----END CERTIFICATE-----")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[0] + first[1])).hexdigest()


@pytest.mark.parametrize("way", WAYS)
def test_the_pin_is_the_servers(server, dial, proxies_for, way):
    """A proxy that speaks TLS has another certificate, and is not held to the server's fingerprint."""
    adapter = kind_of(ResilientAdapter, {"assert_fingerprint": fingerprint(server)})

    assert outcome(dial, server, adapter, proxies_for(way)) == (200, 1)


def test_a_proxy_has_a_pin_of_its_own(server, dial, proxies_for, secure_proxy):
    """The control: `proxy_assert_fingerprint` is held against the proxy, and not against the server."""

    class Pinned(ResilientAdapter):
        pin = WRONG

        def proxy_manager_for(self, proxy, **kwargs):
            return super().proxy_manager_for(proxy, proxy_assert_fingerprint=self.pin, **kwargs)

    proxies = proxies_for("https")
    refused = outcome(dial, server, Pinned(), proxies)
    registry.clear()
    Pinned.pin = fingerprint(secure_proxy)

    assert refused == (requests.exceptions.ProxyError, 0)
    assert outcome(dial, server, Pinned(), proxies) == (200, 1)


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_a_forwarding_proxy_is_not_the_server(dial, secure_proxy, proxies_for):
    """A plain URL takes TLS with the proxy only: no pin, and no client certificate, of the server's."""
    settings = {"assert_fingerprint": WRONG, "assert_hostname": "another.example"}
    cert, key = secure_proxy.authority.client
    adapter = kind_of(ResilientAdapter, {**settings, "cert_file": cert, "key_file": key})
    session = dial(secure_proxy, adapter)
    session.cert = None

    response = session.get("http://localhost/", proxies=proxies_for("https"), timeout=LONG_TIMEOUT)

    assert response.status_code == 200
    assert [one.client for one in secure_proxy.executions()] == [None]


@pytest.mark.parametrize("way", WAYS)
def test_a_client_certificate_is_shown_to_the_server(server, dial, proxies_for, way):
    """Files that a subclass gives its pools are shown on each way; stock shows none through a proxy."""
    cert, key = server.authority.client
    said = []
    for base in (HTTPAdapter, ResilientAdapter):
        session = dial(server, kind_of(base, {"cert_file": cert, "key_file": key}))
        session.cert = None
        server.play(Script())
        with contextlib.suppress(requests.ConnectionError):
            session.get(server.url, proxies=proxies_for(way), timeout=LONG_TIMEOUT)
        said.append([one.client for one in server.executions()])

    assert said == [["alice"] if way == "direct" else [], ["alice"]]


def forwarding(base, **settings):
    """An adapter whose HTTPS proxy passes on what it reads, with settings for its managers of proxies."""

    class Forwarding(base):
        def proxy_manager_for(self, proxy, **kwargs):
            given = {"use_forwarding_for_https": True, "proxy_assert_hostname": "misnamed.invalid"}
            return super().proxy_manager_for(proxy, **{**given, **kwargs, **settings})

    return Forwarding()


def own_context(authority):
    """A program's own TLS context, with a client certificate, that compares no names."""
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.check_hostname = False
    context.load_cert_chain(*authority.other_client)
    return context


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("cert", [True, False])
@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("base", [HTTPAdapter, ResilientAdapter])
def test_the_managers_own_context_is_the_forwarding_proxys(
    secure_proxy, dial, proxies_for, base, scheme, cert
):
    """As with stock it is shown the certificate in there, and never the session's."""
    secure_proxy.play(Script())
    adapter = forwarding(base, ssl_context=own_context(secure_proxy.authority))
    session = dial(secure_proxy, adapter)
    session.cert = secure_proxy.authority.client if cert else None
    url = f"{scheme}://localhost/"
    response = session.get(url, proxies=proxies_for("https"), timeout=LONG_TIMEOUT)

    assert response.status_code == 200
    assert [one.client for one in secure_proxy.executions()] == ["bob"]


def test_what_is_for_the_server_a_forwarding_proxy_does_not_see(secure_proxy, dial, proxies_for):
    """The control: a context of `init_poolmanager` is not shown to it, nor the session's certificate."""

    class Bringing(type(forwarding(ResilientAdapter))):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, ssl_context=own_context(secure_proxy.authority), **kwargs)

    secure_proxy.play(Script())
    session = dial(secure_proxy, Bringing())
    session.get("https://localhost/", proxies=proxies_for("https"), timeout=LONG_TIMEOUT)

    assert [one.client for one in secure_proxy.executions()] == [None]


@pytest.mark.parametrize(
    "pin", [{"assert_fingerprint": WRONG}, {"assert_hostname": "another.example"}], ids=str
)
@pytest.mark.parametrize("where", ["init", "proxy"])
def test_a_pin_beside_a_forwarding_proxy_is_refused(secure_proxy, dial, proxies_for, pin, where):
    """Nobody could check it: the server is behind the proxy. Stock passes over it."""
    secure_proxy.play(Script())
    for base in (HTTPAdapter, ResilientAdapter):
        adapter = forwarding(base, **(pin if where == "proxy" else {}))
        if where == "init":
            adapter.poolmanager.connection_pool_kw.update(pin)
        session = dial(secure_proxy, adapter)
        session.cert = None

        def call(session=session):
            return session.get("https://localhost/", proxies=proxies_for("https"), timeout=LONG_TIMEOUT)

        if base is HTTPAdapter:
            assert call().ok
        else:
            with pytest.raises(ValueError, match="cannot be checked with use_forwarding_for_https"):
                call()

    assert secure_proxy.counts().executed == 1


def socket_of(response):
    """The TCP socket under a response."""
    sock = response.raw._connection.sock
    return getattr(sock, "socket", sock)


@pytest.mark.parametrize("base", [HTTPAdapter, ResilientAdapter])
@pytest.mark.parametrize("way", WAYS)
def test_source_address_and_socket_options(server, dial, proxies_for, way, base):
    """They are the socket's to the proxy; the control: stock has them on direct connections only."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)]
    settings = {"source_address": ("127.0.0.9", 0), "socket_options": options}
    session = dial(server, kind_of(base, settings))
    with session.get(server.url, proxies=proxies_for(way), timeout=LONG_TIMEOUT, stream=True) as response:
        sock = socket_of(response)
        source, count = sock.getsockname()[0], sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)

    has_it = way == "direct" or base is ResilientAdapter
    assert source == ("127.0.0.9" if has_it else "127.0.0.1")
    assert (count == 3) == has_it


@pytest.mark.parametrize("way", PROXIES)
def test_what_is_said_of_a_proxy_is_stronger(server, dial, proxies_for, way):
    """Keyword arguments of a subclass's own `proxy_manager_for` win; direct connections have the other."""

    class Both(type(kind_of(ResilientAdapter, {"assert_fingerprint": WRONG}))):
        def proxy_manager_for(self, proxy, **kwargs):
            return super().proxy_manager_for(proxy, assert_fingerprint=fingerprint(server), **kwargs)

    adapter = Both()

    assert outcome(dial, server, adapter, proxies_for(way)) == (200, 1)
    assert outcome(dial, server, adapter, {}) == (requests.exceptions.SSLError, 0)


@pytest.mark.parametrize("way", PROXIES)
def test_a_context_for_a_proxy_is_stronger(server, dial, proxies_for, way):
    """So does a context: that of `init_poolmanager` trusts nobody, that of the proxy's manager the server."""
    authority = server.authority
    trusting = ssl.create_default_context(cafile=authority.ca_file)
    trusting.load_cert_chain(*authority.client)

    class Contexts(type(kind_of(ResilientAdapter, {"ssl_context": ssl.create_default_context()}))):
        def proxy_manager_for(self, proxy, **kwargs):
            return super().proxy_manager_for(proxy, ssl_context=trusting, **kwargs)

    session = dial(server, Contexts())
    session.verify, session.cert = True, None
    proxies = proxies_for(way)
    if way == "https":
        # Whom it trusts with the proxy is the system's affair then, as in stock.
        proxies = proxies_for("http")

    assert session.get(server.url, proxies=proxies, timeout=LONG_TIMEOUT).status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        session.get(server.url, timeout=LONG_TIMEOUT)


def test_a_subclass_that_makes_its_own_proxy_manager(server, dial, proxies_for):
    """The manager of stock's kind, and one with methods of its own, hold the pin, too."""

    class OwnKind(ProxyManager):
        def urlopen(self, *args, **kwargs):
            raise AssertionError("requests asks its pools")

    seen = []
    for kind in (ProxyManager, OwnKind):

        class Makes(type(kind_of(ResilientAdapter, {"assert_fingerprint": WRONG}))):
            def proxy_manager_for(self, proxy, kind=kind, **kwargs):
                return kind(proxy, **kwargs)

        seen.append(outcome(dial, server, Makes(), proxies_for("http")))

    assert seen == [(requests.exceptions.SSLError, 0)] * 2


@pytest.mark.parametrize("way", WAYS)
def test_other_settings_share_nothing(server, dial, proxies_for, way):
    """Two adapters that differ in a pin or a version have neither connection nor TLS session in common."""
    proxies, right = proxies_for(way), fingerprint(server)
    server.play(Script())
    for settings in ({}, {"assert_fingerprint": right}, {"ssl_minimum_version": ssl.TLSVersion.TLSv1_3}):
        session = dial(server, kind_of(ResilientAdapter, settings))
        response = session.get(server.url, proxies=proxies, timeout=LONG_TIMEOUT)
        assert not attempts_of(response)[-1].reused
    same = dial(server, kind_of(ResilientAdapter, {"assert_fingerprint": right}))
    again = same.get(server.url, proxies=proxies, timeout=LONG_TIMEOUT)

    # The control: one that differs in nothing has both in common.
    assert attempts_of(again)[-1].reused
    assert (server.counts().handshakes, server.counts().resumptions) == (3, 0)
