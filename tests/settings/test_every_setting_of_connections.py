"""Every setting of connections changes what the server, or the socket, sees; and the log what people see."""

import socket
from contextlib import ExitStack

import pytest
import requests

from resilient_transport import attempts_of, registry
from resilient_transport.telemetry import log as logs
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.end_to_end.socks5 import SOCKS5
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told
from tests.end_to_end.ways import CONSTRUCTOR, ENVIRONMENT, most_at_once, resolved_to_both
from tests.loopback import has_ipv6
from tests.missing import missing, require

WAYS = [ENVIRONMENT, CONSTRUCTOR]


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


def accepts_of_two(server, session, clock, later):
    """How many connections two calls take, the second so many seconds after the first."""
    session.get(server.url)
    clock.ahead += later
    session.get(server.url)
    return server.counts().accepts


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("values", "later", "accepts"),
    [
        ({}, 50, 1),
        ({}, 60, 2),
        ({"idle_timeout": 20}, 15, 1),
        ({"idle_timeout": 20}, 25, 2),
        ({"idle_timeout": 600}, 500, 1),
        ({"idle_timeout": 0}, 0, 2),
        ({"max_age": 20}, 15, 1),
        ({"max_age": 20}, 25, 2),
        ({"max_age": "none"}, 50, 1),
    ],
)
def test_idle_timeout_and_max_age(server, dial, say, clock, way, values, later, accepts):
    """A connection that was idle for too long, or is too old, is not used again."""
    if way == CONSTRUCTOR:
        values = {name: None if value == "none" else value for name, value in values.items()}
    session = dial(server, **say(way, **values).arguments)

    assert accepts_of_two(server, session, clock, later) == accepts


def ages(server, session, clock):
    """How many connections seven calls take, 10 s apart."""
    for _ in range(7):
        session.get(server.url)
        clock.ahead += 10
    return server.counts().accepts


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("values", "accepts"), [({}, 1), ({"max_age": 25}, 3), ({"idle_timeout": 25}, 1)])
def test_a_busy_connection_grows_old(server, dial, say, clock, way, values, accepts):
    """`max_age` counts from the handshake, and `idle_timeout` from the last use."""
    assert ages(server, dial(server, **say(way, **values).arguments), clock) == accepts


@pytest.mark.parametrize("name", ["idle_timeout", "max_age"])
@pytest.mark.parametrize(("from_environment", "given", "accepts"), [(20, 50, 1), (50, 20, 2)])
def test_the_constructor_is_stronger(
    server, dial, environment, clock, name, from_environment, given, accepts
):
    """The environment has no say in what the constructor was given."""
    environment(**{name: from_environment})
    session = dial(server, **{name: given})

    assert accepts_of_two(server, session, clock, 30) == accepts


def keepalive_of(session, url, **values):
    """Whether the socket has keep-alive, and after how many seconds."""
    with session.get(url, stream=True, **values) as response:
        sock = response.raw.connection.sock
        is_on = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return bool(is_on), sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="the platform keeps its own times")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("values", "expected"), [({}, 60), ({"tcp_keepalive": 7}, 7), ({"tcp_keepalive": 0}, None)]
)
def test_tcp_keepalive(server, dial, say, way, values, expected):
    """The socket's own options say so: on after 60 s by default, after what was said, or off."""
    is_on, after = keepalive_of(dial(server, **say(way, **values).arguments), server.url + "/bytes/300000")

    assert is_on == (expected is not None)
    assert not is_on or after == expected


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="the platform keeps its own times")
def test_the_constructors_tcp_keepalive_is_stronger(server, dial, environment):
    """The environment has no say in what the constructor was given."""
    environment(tcp_keepalive=7)

    assert keepalive_of(dial(server, tcp_keepalive=9), server.url + "/bytes/300000") == (True, 9)


class SixTeller(VerbatimServer):
    """The same on the other family's loopback, at a given port."""

    at = 0

    def _listen(self):
        return socket.create_server(("::1", self.at), family=socket.AF_INET6)


@pytest.fixture
def both():
    """One server for each family, at one port."""
    answers = lambda _: Answer(told("204 No Content", b""))  # noqa: E731 - as short as it is
    if not has_ipv6():
        missing("this machine has no IPv6 loopback")
    for _ in range(9):
        with ExitStack() as stack:
            four = stack.enter_context(VerbatimServer(answers))
            six = SixTeller(answers)
            six.at = four.port
            try:
                stack.enter_context(six)
            except OSError:
                # Somebody has this port on the other family.
                continue
            yield four, six
            return
    pytest.fail("no port was free on both families")


def resolve(monkeypatch, *families):
    """Let each name have an address of each family, in this order."""
    hosts = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

    def getaddrinfo(host, port, *args, **values):
        return [(family, socket.SOCK_STREAM, 6, "", (hosts[family], int(port))) for family in families]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("order", ["ipv4first", "ipv6first", "system", None])
@pytest.mark.parametrize("families", [(socket.AF_INET, socket.AF_INET6), (socket.AF_INET6, socket.AF_INET)])
@pytest.mark.parametrize("deadline", [None, 30])
def test_dns_order(both, say, monkeypatch, dial, server, way, order, families, deadline):
    """The family that is asked for is connected to first; "system", the default, is the resolver's order."""
    resolve(monkeypatch, *families)
    values = {name: value for name, value in (("dns_order", order), ("deadline", deadline)) if value}
    first = {"ipv4first": socket.AF_INET, "ipv6first": socket.AF_INET6}.get(order, families[0])
    four, six = both

    dial(server, **say(way, **values).arguments).get(four.url)

    assert [four.accepts, six.accepts] == [int(first == socket.AF_INET), int(first == socket.AF_INET6)]


def test_the_other_family_is_tried_next(monkeypatch, dial, server):
    """Where nobody listens on the first address, the second one is taken, within one attempt."""
    resolve(monkeypatch, socket.AF_INET, socket.AF_INET6)
    with (
        VerbatimServer([Answer(told("204 No Content", b""))]) as four,
        dial(server, dns_order="ipv6first") as session,
    ):
        response = session.get(four.url)

    assert len(attempts_of(response)) == 1
    assert four.accepts == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [1, 2, 5])
def test_handshakes(server, dial, say, way, number):
    """The server never sees more handshakes at once than were allowed."""
    session = dial(server, **say(way, handshakes=number).arguments)
    session.get(server.url)

    assert most_at_once(server, session, number) == number


def test_handshakes_otherwise(server, dial, environment):
    """The control: by default all seven that are missing shake hands at once."""
    session = dial(server)
    session.get(server.url)

    assert most_at_once(server, session, 7) == 7


@pytest.mark.parametrize(("from_environment", "given"), [(2, 5), (5, 2)])
def test_the_constructors_handshakes_are_stronger(server, dial, environment, from_environment, given):
    """The environment has no say in what the constructor was given."""
    environment(handshakes=from_environment)
    session = dial(server, handshakes=given)
    session.get(server.url)

    assert most_at_once(server, session, given) == given


@pytest.fixture
def quiet_log():
    """Leave the log as it was."""
    level, handlers = logs.log.level, list(logs.log.handlers)
    yield
    logs.log.setLevel(level)
    logs.log.handlers[:] = handlers


@pytest.mark.parametrize(
    ("level", "repeated", "gave_up"),
    [
        (None, False, False),
        ("off", False, False),
        ("error", False, False),
        ("warning", False, True),
        ("info", False, True),
        ("debug", True, True),
    ],
)
@pytest.mark.usefixtures("quiet_log")
def test_log(server, dial, environment, capsys, level, repeated, gave_up):
    """Standard error has what is told, from the level on, and nothing without it."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), on_request=None),)))
    said = environment(**({"log": level} if level else {}))
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            dial(server, max_retries=1, **said.arguments).get(server.url + "/?secret=hunter2")
    lines = capsys.readouterr().err

    assert ("sent again" in lines.replace("not sent again", "")) == repeated
    assert lines.count("WARNING resilient_transport: GET ") == 2 * gave_up
    assert ("gave up" in lines) == gave_up
    assert "hunter2" not in lines


@pytest.mark.parametrize("order", ["ipv4first", "ipv6first"])
def test_dns_order_of_a_socks_proxy(server, dial, monkeypatch, order):
    """The name of a SOCKS proxy has addresses, too: the family that was asked for comes first."""
    require("socks")
    families = resolved_to_both(monkeypatch)
    proxy = SOCKS5()
    proxies = {"https": f"socks5h://localhost:{proxy.port}"}
    status = dial(server, dns_order=order).get(server.url, proxies=proxies).status_code
    registry.clear()
    proxy.close()

    assert status == 200
    assert families[0] == {"ipv4first": socket.AF_INET, "ipv6first": socket.AF_INET6}[order]
