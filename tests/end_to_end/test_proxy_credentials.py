"""Credentials of a proxy reach that proxy, and no server and no other proxy, on whatever way a call goes.

Through the whole package: redirects, `NO_PROXY`, proxies by scheme, repetitions; each compared with stock.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import _basic_auth_str

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, registry
from tests.end_to_end.socks5 import SOCKS5
from tests.missing import require
from tests.timeouts import LONG_TIMEOUT
from tests.witness import BODY, Witness

# For `http://` stock verifies no HTTPS proxy, and says so.
pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")

#: As they stand in a URL, and as they are sent.
ANN, BEN = "ann:s%40cret%2F", "ben:"
SENT = {ANN: _basic_auth_str("ann", "s@cret/"), BEN: _basic_auth_str("ben", "")}


@dataclass
class Ground:
    """Two servers and two proxies; which of them is the proxy of TLS differs."""

    plain: Witness
    secure: Witness
    proxy: Witness
    other_proxy: Witness

    def all(self):
        """Each of them."""
        return self.plain, self.secure, self.proxy, self.other_proxy

    def url(self, host, secure=True, path="/"):
        """A URL of one of the servers, by a name."""
        return f"http{'s' if secure else ''}://{host}:{(self.secure if secure else self.plain).port}{path}"


@pytest.fixture(scope="module", params=["http", "https"])
def ground(request, certificates):
    """Servers and proxies, which speak TLS or do not."""
    tls = certificates.server()
    of_proxy = tls if request.param == "https" else None
    with ExitStack() as stack:
        yield Ground(*(stack.enter_context(Witness(each)) for each in (None, tls, of_proxy, of_proxy)))


@pytest.fixture(autouse=True)
def anew(names):
    """Begin and end without connections."""
    registry.clear()
    yield
    registry.clear()


def told(adapter, certificates, ground, urls, first=None, **values):
    """What comes of calls of one session, and what all have seen."""
    registry.clear()
    for place in ground.all():
        place.forget()
    if first:
        first()
    with requests.Session() as session:
        session.verify, session.cert = certificates.servers, certificates.client("alice")
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        said = [session.get(url, timeout=LONG_TIMEOUT, **values).content for url in urls]
    return said, *(place.briefs for place in ground.all())


def away(first, then):
    """A URL that redirects to another."""
    return f"{first}redirect?to={then}"


#: Host of a call and whether it is asked with TLS, and the same of what it is redirected to. All hosts but
#: `other.test` have a proxy, which forwards what is plain.
REDIRECTS = {
    "forwarded, then a tunnel": (("named.test", False), ("named.test", True)),
    "forwarded, then directly": (("named.test", False), ("other.test", False)),
    "forwarded, then directly with TLS": (("named.test", False), ("other.test", True)),
    "a tunnel, then forwarded": (("named.test", True), ("named.test", False)),
    "a tunnel, then directly": (("named.test", True), ("other.test", True)),
    "a tunnel, then directly without TLS": (("named.test", True), ("other.test", False)),
    "a tunnel, then another": (("named.test", True), ("xn--bcher-kva.test", True)),
    "directly, then forwarded": (("other.test", False), ("named.test", False)),
    "directly, then a tunnel": (("other.test", False), ("named.test", True)),
}
EACH = "one call after the other"


def urls_of(ground, walk):
    """The URLs of a walk."""
    if walk == EACH:
        hosts = ("named.test", "other.test") * 2
        return [ground.url(host, secure) for host in hosts for secure in (True, False)]
    first, then = REDIRECTS[walk]
    return [away(ground.url(*first), ground.url(*then))]


@pytest.fixture
def environment(ground, monkeypatch):
    """Each scheme has a proxy of its own, with credentials of its own, and one host has none."""
    scheme = "https" if ground.proxy.context else "http"
    monkeypatch.setenv("HTTP_PROXY", f"{scheme}://{ANN}@localhost:{ground.proxy.port}")
    monkeypatch.setenv("http_proxy", f"{scheme}://{ANN}@localhost:{ground.proxy.port}")
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://{BEN}@localhost:{ground.other_proxy.port}")
    monkeypatch.setenv("NO_PROXY", "other.test,.nobody.test")


@pytest.mark.parametrize("walk", [*REDIRECTS, EACH])
def test_they_go_to_their_proxy_only(ground, certificates, environment, walk):
    """Through redirects and past `NO_PROXY` all see what they see of stock, and servers no credentials."""
    urls = urls_of(ground, walk)
    stock = told(HTTPAdapter(), certificates, ground, urls)
    ours = told(ResilientAdapter(), certificates, ground, urls)
    policy = RetryPolicy(backoff=0)

    def broken():
        for place in ground.all():
            place.forget(resets=1)

    again = told(ResilientAdapter(policy=policy), certificates, ground, urls, first=broken)
    said, plain, secure, proxy, other_proxy = ours

    assert ours == stock
    # A CONNECT whose tunnel is reset is asked again.
    assert [set(map(str, seen)) for seen in again] == [set(map(str, seen)) for seen in ours]
    assert {one[-1] for one in plain + secure} <= {None}
    assert {one[-1] for one in proxy} <= {SENT[ANN]}
    assert {one[-1] for one in other_proxy} <= {SENT[BEN]}
    # The control: the walk has been to a proxy.
    assert proxy or other_proxy


def test_what_is_asked_for_anew_is_asked_with_the_same(ground, certificates, environment):
    """The rest of a body that a proxy has forwarded is asked for with the proxy's credentials, too."""
    for place in ground.all():
        place.forget()
    with requests.Session() as session:
        session.mount("http://", ResilientAdapter())
        ground.proxy.cuts = 1
        response = session.get(
            ground.url("named.test", False, "/body"), timeout=LONG_TIMEOUT, stream=True, auth=("eve", "pw")
        )
        body = response.content

    assert body == BODY
    assert attempts_of(response)[-1].body_resumed
    assert [one.fields["proxy-authorization"] for one in ground.proxy.seen] == [SENT[ANN]] * 2
    assert [one.fields["authorization"] for one in ground.proxy.seen] == [_basic_auth_str("eve", "pw")] * 2


def proxies_by_host(ground, kind, socks):
    """A proxy with credentials for `http`, and something else for one host."""
    scheme = "https" if ground.proxy.context else "http"
    proxy = f"{scheme}://{ANN}@localhost:{ground.proxy.port}"
    other = f"{scheme}://{{}}localhost:{ground.other_proxy.port}"
    return {
        "SOCKS": {"http": f"socks5h://{ANN}@127.0.0.1:{socks.port}"},
        "directly": {"http": proxy, "http://other.test": ""},
        "another proxy": {"http": proxy, "http://other.test": other.format("")},
        "another proxy with its own": {"http": proxy, "http://other.test": other.format(f"{BEN}x@")},
        "the same proxy": {"http": proxy},
    }[kind]


#: Who is given what after a redirect: by stock, and by ours.
GIVEN = {
    "SOCKS": ("plain", SENT[ANN], None),
    "directly": ("plain", SENT[ANN], None),
    "another proxy": ("other_proxy", SENT[ANN], None),
    "another proxy with its own": ("other_proxy", *[_basic_auth_str("ben", "x")] * 2),
    "the same proxy": ("proxy", SENT[ANN], SENT[ANN]),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_after_a_redirect_they_are_their_proxys_alone(ground, certificates, kind):
    """requests puts those of the scheme's proxy into the next request, whoever gets it; ours does not."""
    require("socks")
    socks = SOCKS5()
    place, by_stock, by_ours = GIVEN[kind]
    urls = [away(ground.url("named.test", False), ground.url("other.test", False))]
    given = []
    try:
        for base in (HTTPAdapter, ResilientAdapter):
            told(base(), certificates, ground, urls, proxies=proxies_by_host(ground, kind, socks))
            given.append(getattr(ground, place).briefs[-1][-1])
    finally:
        registry.clear()
        socks.close()

    assert given == [by_stock, by_ours]


def test_what_a_caller_has_put_there_stays(ground, certificates):
    """A field of the caller's own goes where the caller sends it; as with stock."""
    urls = [ground.url("named.test", False)]
    proxies = {"http": "http://ben:pw@localhost:1", "http://named.test": ""}
    seen = [
        told(base(), certificates, ground, urls, proxies=proxies, headers={"Proxy-Authorization": "mine"})
        for base in (HTTPAdapter, ResilientAdapter)
    ]

    assert seen[0] == seen[1]
    assert [one[-1] for one in seen[1][1]] == ["mine"]


@pytest.mark.parametrize("secure", [True, False])
def test_warming_goes_the_way_of_the_call(ground, certificates, environment, secure):
    """By the proxy, with its credentials, or past it: the connection that was made ready serves the call."""
    for place in ground.all():
        place.forget()
    with requests.Session() as session:
        session.verify = certificates.servers
        adapter = ResilientAdapter()
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        reused = []
        for host in ("named.test", "other.test"):
            adapter.warm(ground.url(host, secure), session=session)
            answer = session.get(ground.url(host, secure), timeout=LONG_TIMEOUT)
            reused.append(attempts_of(answer)[-1].reused)
    server = ground.secure if secure else ground.plain
    asked = ground.other_proxy if secure else ground.proxy

    assert reused == [True, True]
    assert {one[-1] for one in server.briefs} == {None}
    assert {one[-1] for one in asked.briefs} == {SENT[BEN] if secure else SENT[ANN]}
    assert len(asked.briefs) == 1


@pytest.mark.parametrize(
    "proxies",
    [{"http": "http://[bad"}, {"http": 5}, {"http": "://"}, [("http", "http://localhost:1")]],
    ids=str,
)
def test_proxies_that_are_none_are_refused_as_in_stock(proxies):
    """With a field of the caller's own, too: the same exception, by type."""
    said = []
    for base in (HTTPAdapter, ResilientAdapter):
        request = requests.Request("GET", "http://127.0.0.1:1/", {"Proxy-Authorization": "mine"}).prepare()
        with pytest.raises((requests.RequestException, TypeError)) as caught:
            base().send(request, proxies=proxies)
        said.append(caught.type)

    assert said[0] is said[1]
