"""TLS with an HTTPS proxy goes by the proxy's settings alone, and TLS with the server by the server's alone.

urllib3 before 2.8 mixes them up (CVE-2026-97687). `tests/neighbours/test_older_urllib3.py` runs this file
with such a one, where the control is that stock does.
"""

import hashlib
import ssl
from contextlib import ExitStack

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, attempts_of, registry
from tests.timeouts import LONG_TIMEOUT
from tests.witness import Witness

#: Whether stock has the defect.
IS_OLD = tuple(map(int, urllib3.__version__.split(".")[:2])) < (2, 8)
BASES = [HTTPAdapter, ResilientAdapter]
WRONG = "00" * 32

pytestmark = [
    # An unverified call warns, and old versions of urllib3 leave a socket open whose handshake has failed.
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def places(certificates):
    """A server and a proxy, and both once more with certificates for another name."""
    contexts = {
        "server": certificates.server(),
        "proxy": certificates.proxy(),
        "misnamed server": certificates.server("another.test"),
        "misnamed proxy": certificates.proxy("another.test"),
    }
    with ExitStack() as stack:
        yield {name: stack.enter_context(Witness(context)) for name, context in contexts.items()}


@pytest.fixture(autouse=True)
def anew(places):
    """Begin each test with nothing seen, and no connection."""
    registry.clear()
    for place in places.values():
        place.forget()
    yield
    registry.clear()


def for_proxy(certificates, trusted="proxies", cert=None, check_hostname=True):
    """A program's own context for a proxy."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_hostname
    context.load_verify_locations(getattr(certificates, trusted))
    if cert:
        context.load_cert_chain(*cert)
    return context


def session_with(base, proxy=None, server=None):
    """A session whose adapter sets some things for proxies, and some for the pools of servers."""

    class Set(base):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, **kwargs, **(server or {}))

        def proxy_manager_for(self, url, **kwargs):
            # Stock forgets there what is set for direct connections.
            more = {} if base is ResilientAdapter else server or {}
            return super().proxy_manager_for(url, **kwargs, **more, **(proxy or {}))

    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Set())
    session.mount("http://", Set())
    return session


def outcome(session, server, proxy, **values):
    """The status, or the type of the exception."""
    url = server if isinstance(server, str) else f"https://localhost:{server.port}/"
    with session:
        try:
            return session.get(
                url, proxies={"all": f"https://localhost:{proxy.port}"}, timeout=LONG_TIMEOUT, **values
            ).status_code
        except (requests.RequestException, AttributeError) as error:
            return type(error)


REFUSED = requests.exceptions.ProxyError


@pytest.mark.parametrize("base", BASES)
def test_an_unverified_server_leaves_the_proxy_verified(places, certificates, base):
    """`verify=False` is for the server; a proxy that its own context does not trust gets no CONNECT."""
    context = for_proxy(certificates, trusted="servers", check_hostname=False)
    session = session_with(base, proxy={"proxy_ssl_context": context})
    said = outcome(session, places["server"], places["proxy"], verify=False)

    has_defect = IS_OLD and base is HTTPAdapter
    assert said == (200 if has_defect else REFUSED)
    assert context.verify_mode is (ssl.CERT_NONE if has_defect else ssl.CERT_REQUIRED)
    assert len(places["proxy"].seen) == has_defect


@pytest.mark.parametrize("base", BASES)
def test_an_unverified_proxy_leaves_the_server_verified(places, certificates, base):
    """The other way round: a context that trusts every proxy lets no server through."""
    said = []
    for name in ("server", "misnamed server"):
        context = for_proxy(certificates, trusted="servers", check_hostname=False)
        context.verify_mode = ssl.CERT_NONE
        session = session_with(base, proxy={"proxy_ssl_context": context})
        said.append(outcome(session, places[name], places["proxy"], verify=certificates.servers))
        has_defect = IS_OLD and base is HTTPAdapter

        assert context.verify_mode is (ssl.CERT_REQUIRED if has_defect else ssl.CERT_NONE)
    assert said == [REFUSED] * 2 if has_defect else [200, requests.exceptions.SSLError]
    assert places["misnamed server"].seen == []


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("base", BASES)
def test_a_forwarding_proxy_sees_what_is_for_it(places, certificates, base, scheme):
    """It is shown the client certificate of its own context, and never the one that is for the server."""
    context = for_proxy(certificates, cert=certificates.client("for the proxy"))
    settings = {"proxy_ssl_context": context, "use_forwarding_for_https": True}
    session = session_with(base, proxy=settings)
    session.cert, session.verify = certificates.client("for the server"), certificates.both
    proxy = places["proxy"]

    assert outcome(session, f"{scheme}://named.test/", proxy) == 200
    has_defect = IS_OLD and base is HTTPAdapter
    assert [one.client for one in proxy.seen] == ["for the server" if has_defect else "for the proxy"]


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("base", BASES)
def test_a_forwarding_proxy_without_a_context_of_its_own(places, certificates, base, scheme):
    """It is checked as the server would be, and shown no certificate; stock of old shows it the server's."""
    session = session_with(base, proxy={"use_forwarding_for_https": True})
    session.cert, session.verify = certificates.client("for the server"), certificates.both
    said = outcome(session, f"{scheme}://named.test/", places["proxy"])

    assert said == 200
    has_defect = IS_OLD and base is HTTPAdapter
    assert [one.client for one in places["proxy"].seen] == ["for the server" if has_defect else None]


@pytest.mark.parametrize("base", BASES)
def test_a_name_that_is_asked_of_the_server_is_not_asked_of_a_forwarding_proxy(places, certificates, base):
    """`server_hostname` is the server's; to the proxy TLS asks for the proxy's own name, and checks it."""
    settings = {"proxy_ssl_context": for_proxy(certificates), "use_forwarding_for_https": True}
    seen = {}
    for name in ("proxy", "misnamed proxy"):
        session = session_with(base, proxy=settings, server={"server_hostname": "another.test"})
        seen[name] = outcome(session, "https://named.test/", places[name], verify=certificates.both)
    asked = [name for _, name in places["proxy"].begun]

    has_defect = IS_OLD and base is HTTPAdapter
    assert asked[0] == ("another.test" if has_defect else "localhost")
    assert seen == {
        "proxy": REFUSED if has_defect else 200,
        "misnamed proxy": 200 if has_defect else REFUSED,
    }


@pytest.mark.parametrize("is_forwarded", [True, False])
@pytest.mark.parametrize("base", BASES)
def test_a_verify_mode_for_the_server_is_not_a_forwarding_proxys(places, certificates, base, is_forwarded):
    """Without verification of the server a proxy with a context of its own is verified, also for `http://`."""
    context = for_proxy(certificates, trusted="servers", check_hostname=False)
    settings = {"proxy_ssl_context": context, "use_forwarding_for_https": is_forwarded}
    session = session_with(base, proxy=settings)
    said = outcome(session, "http://named.test/", places["proxy"], verify=False)

    has_defect = IS_OLD and base is HTTPAdapter
    assert said == (200 if has_defect else REFUSED)
    assert len(places["proxy"].seen) == has_defect


PINS = {
    "name": {"proxy_assert_hostname": "another.test"},
    "no name": {"proxy_assert_hostname": False},
    "fingerprint": {"proxy_assert_fingerprint": None},
}


@pytest.mark.parametrize("pin", PINS)
@pytest.mark.parametrize("base", BASES)
def test_a_pin_of_the_proxy_is_not_the_servers(places, certificates, base, pin):
    """What lets a proxy with another name through lets no server with that name through."""
    proxy, settings = places["misnamed proxy"], dict(PINS[pin])
    if pin == "fingerprint":
        settings["proxy_assert_fingerprint"] = fingerprint(proxy)
    said = [
        outcome(session_with(base, proxy=settings), places[name], proxy, verify=certificates.both)
        for name in ("server", "misnamed server")
    ]

    # urllib3 2.0 knows no `proxy_assert_hostname=False`.
    assert said == [200, requests.exceptions.SSLError] or (IS_OLD and base is HTTPAdapter)
    assert places["misnamed server"].seen == []


@pytest.mark.parametrize("base", BASES)
def test_what_is_pinned_of_the_server_is_not_the_proxys(places, certificates, base):
    """A server whose name nobody checks lets no proxy with another name through."""
    said = [
        outcome(
            session_with(base, server={"assert_hostname": False}),
            places["misnamed server"],
            places[name],
            verify=certificates.both,
        )
        for name in ("proxy", "misnamed proxy")
    ]

    # urllib3 2.0 knows no `assert_hostname=False`.
    assert said == [200, REFUSED] or (IS_OLD and base is HTTPAdapter)


def test_a_context_for_the_server_and_one_for_the_proxy(places, certificates):
    """Each keeps its own certificate and authority, also after a reset in each of the three handshakes."""
    registry.clear()
    of_server = for_proxy(certificates, "servers", certificates.client("for the server"))
    of_proxy = for_proxy(certificates, "proxies", certificates.client("for the proxy"))
    session = session_with(ResilientAdapter, {"proxy_ssl_context": of_proxy}, {"ssl_context": of_server})
    server, proxy = places["server"], places["proxy"]
    server.forget(resets=1)
    proxy.forget(resets=1)
    with session:
        response = session.get(
            f"https://localhost:{server.port}/",
            proxies={"https": f"https://localhost:{proxy.port}"},
            timeout=LONG_TIMEOUT,
        )

    assert [one.stage for one in attempts_of(response)] == ["tunnel", "handshake", "done"]
    assert {one.client for one in proxy.seen} == {"for the proxy"}
    assert [one.client for one in server.seen] == ["for the server"]


def fingerprint(place):
    """Of a server's certificate."""
    return hashlib.sha256(
        ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("localhost", place.port)))
    ).hexdigest()


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_context_that_trusts_every_server_trusts_no_proxy(places, certificates, scheme):
    """A program's own context is for servers; beside it a proxy is checked as the system says."""
    context = for_proxy(certificates, check_hostname=False)
    context.verify_mode = ssl.CERT_NONE
    said = []
    for proxy in ({}, {"proxy_ssl_context": for_proxy(certificates)}):

        class Trusting(ResilientAdapter):
            def proxy_manager_for(self, url, proxy=proxy, **kwargs):
                return super().proxy_manager_for(url, **kwargs, **proxy)

        session = requests.Session()
        session.trust_env = False
        session.mount(f"{scheme}://", Trusting(ssl_context=context))
        url = f"{scheme}://localhost:{places['misnamed server'].port}/"
        said.append(outcome(session, url, places["proxy"]))

    assert said == [REFUSED, 200]
