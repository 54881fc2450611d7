"""Which calls have connections and TLS sessions in common: those whose addresses are the same, no others."""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
import requests

from resilient_transport import ResilientAdapter, attempts_of, registry
from tests.end_to_end.socks5 import SOCKS5
from tests.missing import require
from tests.timeouts import LONG_TIMEOUT
from tests.witness import Witness


@dataclass
class Ask:
    """One call: to whom, and with what."""

    #: The host as the URL has it; the port is the server's.
    host: str = "named.test"
    #: What a subclass gives its pools.
    pools: dict = field(default_factory=dict)
    #: The proxy; `{p}`, `{q}` and `{s}` are the ports of two proxies and a SOCKS proxy.
    proxy: str | None = None
    #: Fields of the request.
    headers: dict = field(default_factory=dict)


PAIRS_APART = {
    "trailing dot": (Ask(), Ask("named.test.")),
    "another name of the same address": (Ask(), Ask("other.test")),
    "name and address": (Ask(), Ask("127.0.0.1")),
    "source addresses": (
        Ask(pools={"source_address": ("127.0.0.2", 0)}),
        Ask(pools={"source_address": ("127.0.0.3", 0)}),
    ),
    "with a source address": (Ask(), Ask(pools={"source_address": ("127.0.0.2", 0)})),
    "socket options": (Ask(), Ask(pools={"socket_options": [(6, 1, 1), (1, 9, 1)]})),
    "SNI": (Ask(), Ask(pools={"server_hostname": "other.test"})),
    "two SNIs": (
        Ask(pools={"server_hostname": "xn--bcher-kva.test"}),
        Ask(pools={"server_hostname": "other.test"}),
    ),
    "pinned name": (Ask(), Ask(pools={"assert_hostname": "other.test"})),
    "no pinned name": (Ask(), Ask(pools={"assert_hostname": False})),
    "with a proxy": (Ask(), Ask(proxy="http://localhost:{p}")),
    "two proxies": (Ask(proxy="http://localhost:{p}"), Ask(proxy="http://localhost:{q}")),
    "two names of a proxy": (Ask(proxy="http://localhost:{p}"), Ask(proxy="http://127.0.0.1:{p}")),
    "credentials of a proxy": (
        Ask(proxy="http://ann:pw@localhost:{p}"),
        Ask(proxy="http://ben:pw@localhost:{p}"),
    ),
    "passwords of a proxy": (
        Ask(proxy="http://ann:pw@localhost:{p}"),
        Ask(proxy="http://ann:wp@localhost:{p}"),
    ),
    "no credentials of a proxy": (
        Ask(proxy="http://ann:pw@localhost:{p}"),
        Ask(proxy="http://localhost:{p}"),
    ),
    "kinds of proxies": (Ask(proxy="http://localhost:{p}"), Ask(proxy="socks5h://localhost:{s}")),
    "who resolves": (Ask(proxy="socks5://127.0.0.1:{s}"), Ask(proxy="socks5h://127.0.0.1:{s}")),
    "credentials of a SOCKS proxy": (
        Ask(proxy="socks5h://ann:pw@127.0.0.1:{s}"),
        Ask(proxy="socks5h://ann:wp@127.0.0.1:{s}"),
    ),
    "trailing dot through a proxy": (
        Ask(proxy="http://localhost:{p}"),
        Ask("named.test.", proxy="http://localhost:{p}"),
    ),
    "SNI through a proxy": (
        Ask(proxy="http://localhost:{p}"),
        Ask(proxy="http://localhost:{p}", pools={"server_hostname": "other.test"}),
    ),
    "source addresses to a proxy": (
        Ask(proxy="http://localhost:{p}", pools={"source_address": ("127.0.0.2", 0)}),
        Ask(proxy="http://localhost:{p}", pools={"source_address": ("127.0.0.3", 0)}),
    ),
}

PAIRS_ALIKE = {
    "the same": (Ask(), Ask()),
    "capitals": (Ask(), Ask("NAMED.Test")),
    "IDNA": (Ask("bücher.test"), Ask("xn--bcher-kva.test")),
    "capitals in IDNA": (Ask("BÜCHER.test"), Ask("XN--bcher-kva.TEST")),
    "another virtual host": (Ask(), Ask(headers={"Host": "virtual.test"})),
    "the same source": (
        Ask(pools={"source_address": ("127.0.0.2", 0)}),
        Ask(pools={"source_address": ("127.0.0.2", 0)}),
    ),
    "the same SNI": (
        Ask(pools={"server_hostname": "other.test"}),
        Ask(pools={"server_hostname": "other.test"}),
    ),
    "the same proxy": (
        Ask(proxy="http://ann:pw@localhost:{p}"),
        Ask(proxy="http://ann:pw@localhost:{p}"),
    ),
    "capitals of a proxy": (Ask(proxy="http://named.test:{p}"), Ask(proxy="HTTP://NAMED.Test:{p}")),
    "the same SOCKS proxy": (
        Ask(proxy="socks5h://ann:pw@127.0.0.1:{s}"),
        Ask(proxy="socks5h://ann:pw@127.0.0.1:{s}"),
    ),
}


@pytest.fixture(scope="module")
def server(certificates):
    """It shakes hands with everybody, and resumes every session of its own."""
    with Witness(certificates.server()) as made:
        yield made


@pytest.fixture(scope="module")
def ports():
    """The ports of two proxies, and of one of SOCKS."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(Witness()) for _ in "pq")
        socks = SOCKS5()
        stack.callback(socks.close)
        stack.callback(registry.clear)
        yield {"p": first.port, "q": second.port, "s": socks.port}


@pytest.fixture(autouse=True)
def anew(names, server):
    """Begin and end without connections."""
    registry.clear()
    server.forget()
    yield
    registry.clear()


@contextmanager
def asked(server, ports, certificates, ask):
    """A session of its own, and its call."""

    class Set(ResilientAdapter):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, **kwargs, **ask.pools)

    with requests.Session() as session:
        session.trust_env = False
        session.verify = certificates.servers
        session.mount("https://", Set())
        proxies = {"https": ask.proxy.format(**ports)} if ask.proxy else {}
        if "socks" in (ask.proxy or ""):
            require("socks")
        url = f"https://{ask.host}:{server.port}/"
        yield session.get(url, headers=ask.headers, proxies=proxies, timeout=LONG_TIMEOUT)


def both(server, ports, certificates, pair):
    """Whether the second of two calls has taken the connection of the first; then what comes of new ones."""
    first, second = pair
    with asked(server, ports, certificates, first):
        pass
    with asked(server, ports, certificates, second) as response:
        reused = attempts_of(response)[-1].reused
    # Sessions of TLS are what is left now.
    server.drop()
    registry.idle.close_all()
    with asked(server, ports, certificates, second):
        pass
    return reused


@pytest.mark.parametrize("what", PAIRS_APART)
def test_what_differs_has_nothing_in_common(server, ports, certificates, what):
    """Neither a connection nor a TLS session crosses; the control: each resumes a session of its own."""
    reused = both(server, ports, certificates, PAIRS_APART[what])

    assert not reused
    assert [one.resumed for one in server.seen] == [False, False, True]


@pytest.mark.parametrize("what", PAIRS_ALIKE)
def test_what_is_written_in_two_ways_is_one(server, ports, certificates, what):
    """The same address with the same settings has one pool, for two sessions, too."""
    reused = both(server, ports, certificates, PAIRS_ALIKE[what])

    assert reused
    assert [one.resumed for one in server.seen] == [False, False, True]
    assert len({one.sni for one in server.seen}) == 1


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
@pytest.mark.parametrize("host", ["named.test", "[::1]", "127.0.0.1", "named.test."])
def test_a_port_that_goes_without_saying_may_be_said(scheme, port, host):
    """The usual port is the same origin, said or not; any other, the other scheme's included, is another."""
    other, adapter = {80: 443, 443: 80}[port], ResilientAdapter()

    def pool(said):
        request = requests.Request("GET", f"{scheme}://{host}{said}/").prepare()
        return adapter.get_connection_with_tls_context(request, True).shared_pool

    usual = pool("")
    same = [pool(said) is usual for said in (f":{port}", ":", f":{other}", ":8443", "")]
    adapter.close()

    assert same == [True, True, False, False, True]
