"""What servers and proxies see of a call is what they see of stock's, whatever its address is written like.

Through the whole package, directly and through each kind of proxy, at the first attempt and at the next.
"""

from contextlib import ExitStack

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, registry
from tests.end_to_end.socks5 import SOCKS5
from tests.loopback import has_ipv6
from tests.missing import missing, require
from tests.timeouts import LONG_TIMEOUT
from tests.witness import BODY, Witness

# For `http://` stock verifies no HTTPS proxy, and says so.
pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")

#: How a host may be written. A name ends up at 127.0.0.1.
HOSTS = {
    "name": "named.test",
    "trailing dot": "named.test.",
    "capitals": "NAMED.Test",
    "capitals and dot": "Named.Test.",
    "IDNA": "bücher.test",
    "IDNA with dot": "BÜCHER.test.",
    "encoded": "xn--bcher-kva.test",
    "IPv4": "127.0.0.1",
    "IPv6": "[::1]",
    "IPv6 in full": "[0:0:0:0:0:0:0:1]",
    "zone": "[::1%25lo]",
    "zone as it is": "[::1%lo]",
}
WAYS = ["direct", "http", "https", "socks5", "socks5h"]
#: Ours goes other ways to a connection with these.
VARIANTS = {
    "as it is": {},
    "ordered": {"dns_order": "ipv4first"},
    "deadline": {"policy": RetryPolicy(deadline=LONG_TIMEOUT * 3)},
}


@pytest.fixture(scope="module")
def places(certificates):
    """Servers and proxies, by what they speak and which kind of address they have."""
    tls = certificates.server()
    hosts = {4: "127.0.0.1", 6: "::1"} if has_ipv6() else {4: "127.0.0.1"}
    with ExitStack() as stack:
        made = {
            (scheme, kind): stack.enter_context(Witness(context, host))
            for kind, host in hosts.items()
            for scheme, context in (("http", None), ("https", tls))
        }
        made["proxy"] = stack.enter_context(Witness())
        made["secure proxy"] = stack.enter_context(Witness(tls))
        yield made


@pytest.fixture(autouse=True)
def anew(places, names):
    """Begin with nothing seen and no connection; each name under `.test` is this machine."""
    registry.clear()
    for place in places.values():
        place.forget()
    yield
    registry.clear()


@pytest.fixture
def route(places):
    """Return a function from a way to `proxies=` and the proxy."""
    with ExitStack() as stack:

        def made(way, credentials="us%40er:p%3Aw%20@"):
            if way == "direct":
                return {}, None
            if way.startswith("socks"):
                require("socks")
                proxy = SOCKS5()
                stack.callback(proxy.close)
                stack.callback(registry.clear)
                return {"all": f"{way}://{credentials}127.0.0.1:{proxy.port}"}, proxy
            proxy = places["secure proxy" if way == "https" else "proxy"]
            return {"all": f"{way}://{credentials}localhost:{proxy.port}"}, proxy

        yield made


def seen_by(proxy):
    """What a proxy has seen, without numbers."""
    if isinstance(proxy, SOCKS5):
        return sorted(set(proxy.asked)), sorted(set(proxy.users)), sorted(set(proxy.peers))
    return proxy.briefs if proxy else None


def told(adapter, certificates, server, proxies, proxy, urls, first=None):
    """What comes of calls, and what server and proxy have seen of them."""
    registry.clear()
    for place in (server, proxy):
        if isinstance(place, Witness):
            place.forget()
    if first:
        first()
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = certificates.servers, certificates.client("alice")
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        said = []
        for url, headers in urls:
            try:
                response = session.get(url, headers=headers, proxies=proxies, timeout=LONG_TIMEOUT)
                said.append(response.content)
            except requests.RequestException as error:
                said.append(type(error))
    return said, server.briefs, seen_by(proxy)


def server_for(places, scheme, how):
    """The server that an address leads to."""
    kind = 6 if ":" in HOSTS[how] else 4
    if (scheme, kind) not in places:
        missing("this machine has no IPv6 loopback")
    return places[scheme, kind]


def calls_to(server, scheme, how):
    """Calls on one connection: one, one for another virtual host, one again, and one with a query."""
    origin = f"{scheme}://{HOSTS[how]}:{server.port}"
    other = {"Host": "virtual.test"}
    return [(origin, {}), (f"{origin}/a", other), (f"{origin}/b", {}), (f"{origin}/c?q=ü#f", {})]


#: One of each kind.
SOME = ["name", "trailing dot", "IDNA", "IPv6"]
#: All of them directly, and through an HTTP proxy; one of each kind by the others. SOCKS knows no zones.
ROUTES = [(way, how) for way in ("direct", "http") for how in HOSTS]
ROUTES += [(way, how) for way in ("https", "socks5", "socks5h") for how in SOME]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("way", "how"), ROUTES)
def test_an_address_is_seen_as_stocks_is(places, certificates, route, way, scheme, how):
    """Host, SNI, certificate, target, CONNECT and credentials are the same, on a kept connection, too."""
    server = server_for(places, scheme, how)
    (proxies, proxy), urls = route(way), calls_to(server, scheme, how)
    stock = told(HTTPAdapter(), certificates, server, proxies, proxy, urls)
    ours = {
        name: told(ResilientAdapter(**values), certificates, server, proxies, proxy, urls)
        for name, values in VARIANTS.items()
    }

    assert ours == dict.fromkeys(VARIANTS, stock)
    # The control; as requests takes a URL apart, nobody gets to an address with a zone by himself.
    assert (stock[0] == [b"ok"] * len(urls)) == ("zone" not in how or way != "direct")


@pytest.mark.parametrize("headers", [{}, {"Host": "virtual.test"}], ids=["own host", "another host"])
@pytest.mark.parametrize("how", SOME)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("way", WAYS)
def test_a_repetition_is_seen_as_the_first_attempt(places, certificates, route, way, scheme, how, headers):
    """So is the rest of a body: address, names, certificate, target and credentials stay what they were.

    The proxy resets a connection, the server resets one in its handshake, and a body ends in the middle.
    """
    server = server_for(places, scheme, how)
    proxies, proxy = route(way)
    urls = [(f"{scheme}://{HOSTS[how]}:{server.port}/body", headers)]
    stock = told(HTTPAdapter(), certificates, server, proxies, proxy, urls)

    def broken():
        for place in (server, proxy):
            if isinstance(place, Witness):
                place.forget(resets=1, cuts=1)
        if isinstance(proxy, SOCKS5):
            proxy.resets = 1

    policy = RetryPolicy(backoff=0)
    ours = told(ResilientAdapter(policy=policy), certificates, server, proxies, proxy, urls, first=broken)
    answering = server if server.seen else proxy
    asked = [one for one in answering.seen if not one.line.startswith("CONNECT")]

    assert (ours[0], stock[0]) == ([BODY], [BODY])
    assert set(ours[1]) == set(stock[1])
    assert ours[2] == stock[2] if isinstance(proxy, SOCKS5) else set(ours[2] or ()) == set(stock[2] or ())
    assert [one.fields.get("range") for one in asked] == [None, f"bytes={len(BODY) // 2}-"]
    assert len(set(answering.begun)) == 1
    assert len(answering.begun) == 3


#: How a proxy may be written.
PROXIES = {
    "name": "{scheme}://named.test:{port}",
    "trailing dot": "{scheme}://named.test.:{port}/",
    "capitals": "{SCHEME}://NAMED.Test:{port}",
    "IDNA": "{scheme}://xn--bcher-kva.test:{port}",
    "IPv4": "{scheme}://127.0.0.1:{port}",
    "IPv6": "{scheme}://[::1]:{port}",
    "no scheme": "127.0.0.1:{port}",
}


@pytest.fixture(scope="module")
def proxies_at(certificates):
    """Proxies by what they speak and the family of their address."""
    hosts = ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",)
    with ExitStack() as stack:
        yield {
            (scheme, host): stack.enter_context(Witness(context, host))
            for host in hosts
            for scheme, context in (("http", None), ("https", certificates.server()))
        }


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("kind", "how"), [(k, h) for k in ("http", "https") for h in PROXIES])
def test_a_proxy_is_asked_as_stock_asks_it(places, proxies_at, certificates, kind, how, scheme):
    """However its address is written; after a reset and in the ways that ours takes, too."""
    kind = "http" if how == "no scheme" else kind
    proxy = proxies_at.get((kind, "::1" if how == "IPv6" else "127.0.0.1"))
    if proxy is None:
        missing("this machine has no IPv6 loopback")
    server = places[scheme, 4]
    urls = [(f"{scheme}://other.test:{server.port}/", {})]
    written = PROXIES[how].format(scheme=kind, SCHEME=kind.upper(), port=proxy.port)
    stock = told(HTTPAdapter(), certificates, server, {"all": written}, proxy, urls)
    ours = [
        told(
            ResilientAdapter(**values),
            certificates,
            server,
            {"all": written},
            proxy,
            urls,
            first=lambda: proxy.forget(resets=1),
        )
        for values in VARIANTS.values()
    ]

    assert ours == [stock] * len(VARIANTS)
    assert stock[0] == [b"ok"]
    assert len(proxy.begun) == 2
    assert len(set(proxy.begun)) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("order", ["system", "ipv4first"])
@pytest.mark.parametrize("written", ["[::1]", "127.0.0.1", "localhost"])
def test_a_socks_proxy_is_found(places, certificates, scheme, order, written):
    """However its address is written (PySocks asks the system for names); a reset is repeated."""
    require("socks")
    if written == "[::1]" and not has_ipv6():
        missing("this machine has no IPv6 loopback")
    proxy = SOCKS5(host="::1" if written == "[::1]" else "127.0.0.1")
    proxies = {"all": f"socks5h://{written}:{proxy.port}"}
    server = places[scheme, 4]
    urls = [(f"{scheme}://other.test:{server.port}/", {})]
    try:
        stock = told(HTTPAdapter(), certificates, server, proxies, proxy, urls)
        proxy.resets = 1
        adapter = ResilientAdapter(dns_order=order, policy=RetryPolicy(backoff=0))
        ours = told(adapter, certificates, server, proxies, proxy, urls)
    finally:
        registry.clear()
        proxy.close()

    assert ours == stock
    assert stock[0] == [b"ok"]
    assert proxy.asked == ["other.test"] * 2
