"""What you catch today you still catch tomorrow: with retries off, exceptions are stock's."""

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

TLS_FAULTS = [
    Fault(Moment.ACCEPT, How.FIN),
    Fault(Moment.CLIENT_HELLO, How.RST),
    Fault(Moment.CLIENT_HELLO, How.FIN),
    Fault(Moment.CLIENT_HELLO, How.STALL),
    Fault(Moment.HANDSHAKE, How.FIN),
    Fault(Moment.HANDSHAKE, How.CLOSE_NOTIFY),
    Fault(Moment.HANDSHAKE, How.CORRUPT),
    Fault(Moment.REQUEST, How.CORRUPT),
    Fault(Moment.EXECUTED, How.CORRUPT),
    Fault(Moment.BODY, How.CORRUPT, after_bytes=5),
]
FAULTS = [
    Fault(Moment.REQUEST, How.RST),
    Fault(Moment.REQUEST, How.FIN),
    Fault(Moment.REQUEST, How.STALL),
    Fault(Moment.EXECUTED, How.RST),
    Fault(Moment.EXECUTED, How.FIN),
    Fault(Moment.EXECUTED, How.STALL),
    Fault(Moment.BODY, How.RST, after_bytes=5),
    Fault(Moment.BODY, How.FIN, after_bytes=5),
    Fault(Moment.BODY, How.STALL, after_bytes=5),
]
TUNNEL_FAULTS = [
    Fault(Moment.TUNNEL, How.RST),
    Fault(Moment.TUNNEL, How.FIN),
    Fault(Moment.TUNNEL, How.STALL),
]


def name(fault):
    """A fault's name in a test's id."""
    return f"{fault.at.value}-{fault.how.value}"


def shape(error):
    """Return the types of an exception, of what it carries, and of its causes; its messages differ by port.

    `RemoteDisconnected` is a `ConnectionResetError`; which of the two a reset becomes depends on whether the
    kernel reports it to the write or to the read, so that stock itself raises now one, now the other.
    """
    if not isinstance(error, BaseException):
        return None
    if isinstance(error, ConnectionResetError):
        return ConnectionResetError
    carried = [shape(arg) for arg in error.args if isinstance(arg, BaseException)]
    reason = shape(getattr(error, "reason", None)) if not isinstance(error, OSError) else None
    return type(error), carried, reason, shape(error.__cause__)


def outcome(adapter, server, path="/words/30", proxies=None, timeout=(LONG_TIMEOUT, LONG_TIMEOUT)):
    """The shape of what a POST raises, or None."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        try:
            session.post(
                server.url + path,
                data=b"x",
                verify=server.authority.ca_file,
                cert=server.authority.client,
                proxies=proxies,
                timeout=timeout,
            )
        except Exception as error:
            return shape(error)
    return None


def both(make_adapters, *args, begin, **kwargs):
    """The shapes of stock's outcome and of ours, each after the same beginning."""
    shapes = []
    for adapter in make_adapters:
        begin()
        shapes.append(outcome(adapter, *args, **kwargs))
    return shapes


@pytest.fixture
def pair(dial):
    """Stock, and this adapter with its retries off."""
    from resilient_transport import ResilientAdapter

    return [HTTPAdapter(), ResilientAdapter(max_retries=0)]


@pytest.fixture(scope="module")
def plain(authority):
    """A server without TLS; it serves as a proxy, too."""
    with FaultServer(authority=authority, tls=False) as server:
        yield server


def patience(fault):
    """The time-outs of a call that meets this fault."""
    return (SHORT_TIMEOUT, SHORT_TIMEOUT) if fault.how is How.STALL else (LONG_TIMEOUT, LONG_TIMEOUT)


@pytest.mark.parametrize("path", ["/words/30", "/chunked/300"])
@pytest.mark.parametrize("fault", TLS_FAULTS + FAULTS, ids=name)
def test_direct_over_tls(server, pair, fault, path):
    """Every fault on a direct TLS connection raises what stock raises."""
    stock, ours = both(
        pair, server, path, timeout=patience(fault), begin=lambda: server.play(Script((Rule(fault),)))
    )

    assert stock is not None
    assert ours == stock


@pytest.mark.parametrize("fault", FAULTS, ids=name)
def test_direct_without_tls(plain, pair, fault):
    """Every fault on a direct plain connection raises what stock raises."""
    stock, ours = both(pair, plain, timeout=patience(fault), begin=lambda: plain.play(Script((Rule(fault),))))

    assert stock is not None
    assert ours == stock


@pytest.mark.parametrize("fault", FAULTS, ids=name)
def test_through_a_forwarding_proxy(plain, pair, fault):
    """Every fault of a proxy that forwards plain requests raises what stock raises."""
    stock, ours = both(
        pair,
        plain,
        proxies={"http": plain.url},
        timeout=patience(fault),
        begin=lambda: plain.play(Script((Rule(fault),))),
    )

    assert stock is not None
    assert ours == stock


@pytest.mark.parametrize("fault", TUNNEL_FAULTS, ids=name)
def test_while_the_tunnel_is_made(server, plain, pair, fault):
    """Every fault of a proxy before it answers CONNECT raises what stock raises."""
    server.play(Script())

    stock, ours = both(
        pair,
        server,
        proxies={"https": plain.url},
        timeout=patience(fault),
        begin=lambda: plain.play(Script((Rule(fault),))),
    )

    assert stock is not None
    assert ours == stock


@pytest.mark.parametrize("fault", TLS_FAULTS[1:] + FAULTS, ids=name)
def test_through_a_tunnel(server, plain, pair, fault):
    """Every fault of a server behind a tunnel raises what stock raises."""
    plain.play(Script())

    stock, ours = both(
        pair,
        server,
        proxies={"https": plain.url},
        timeout=patience(fault),
        begin=lambda: server.play(Script((Rule(fault),))),
    )

    assert stock is not None
    assert ours == stock


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses_the_tunnel(fault_server_factory, server, pair, status):
    """A status other than 200 for CONNECT raises what stock raises."""
    proxy = fault_server_factory(tls=False, connect_status=status)

    stock, ours = both(pair, server, proxies={"https": proxy.url}, begin=lambda: None)

    assert stock is not None
    assert ours == stock


@pytest.mark.parametrize("certificate", ["expired", "misnamed", "untrusted"])
def test_a_bad_server_certificate(fault_server_factory, pair, certificate):
    """A server certificate that cannot be trusted raises what stock raises."""
    server = fault_server_factory(certificate=certificate)

    stock, ours = both(pair, server, begin=lambda: None)

    assert stock is not None
    assert ours == stock


@pytest.mark.parametrize("proxied", [False, True])
def test_a_port_where_nobody_listens(fault_server_factory, server, pair, proxied):
    """A refused connection, to the server or to the proxy, raises what stock raises."""
    gone = fault_server_factory(tls=False)
    gone.close()
    target, proxies = (server, {"https": gone.url}) if proxied else (gone, None)

    stock, ours = both(pair, target, proxies=proxies, begin=lambda: None)

    assert stock is not None
    assert ours == stock


def test_a_reset_right_after_the_handshake(server, pair):
    """Stock meets it as it writes or as it reads: before Python 3.13 that makes two exceptions of it."""
    outcomes = both(pair, server, begin=lambda: server.play(Script((Rule(Fault(Moment.HANDSHAKE)),))))

    assert [issubclass(shape[0], requests.ConnectionError) for shape in outcomes] == [True, True]


@pytest.mark.parametrize("tls", [True, False])
def test_a_cut_head_is_an_error(fault_server_factory, pair, tls):
    """The one difference: stock takes half a head for a whole response, and its body for an empty one."""
    server = fault_server_factory(Script((Rule(Fault(Moment.HEAD, How.FIN)),)), tls=tls)

    stock, ours = both(pair, server, begin=lambda: None)

    assert stock is None
    assert issubclass(ours[0], requests.ConnectionError)


def test_without_a_fault_neither_raises(server, pair):
    """The control: the comparison sees no exception where there is none."""
    assert both(pair, server, begin=lambda: server.play(Script())) == [None, None]
