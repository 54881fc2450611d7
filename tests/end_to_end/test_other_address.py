"""Several addresses of a name: if a connection fails after TCP's connect, the next goes elsewhere."""

import gc
import socket
import ssl
import struct
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, registry
from resilient_transport.connection.failed_addresses import FAILED
from resilient_transport.connection.happy_eyeballs import Race
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told
from tests.listening import Listening
from tests.loopback import full_queue, has_ipv6
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

NAME = "several.test"
OK = told("200 OK", b"ok", Content_Length="2", Connection="close")
#: What an address does that is ill.
RESET, FIN, SILENCE, CONFIRM = "reset", "fin", "silence", "reset after the handshake"
UNANSWERED, ANSWERS_ONCE = "no answer", "one answer"


class Ill(Listening):
    """Accepts, and fails in the handshake."""

    def __init__(self, host, port, how, context=None):
        self.host, self.at, self.how, self.context = host, port, how, context
        self._left = threading.Event()

    def _listen(self):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        return socket.create_server((self.host, self.at), family=family)

    def _hang_up(self):
        self._left.set()

    def _serve(self, client):
        self._run(self._fail, client)

    def _fail(self, client):
        with client, suppress(OSError):
            client.settimeout(LONG_TIMEOUT)
            if self.how == SILENCE:
                self._left.wait(LONG_TIMEOUT)
                return
            if self.how == ANSWERS_ONCE:
                client.recv(65536)
                client.sendall(told("200 OK", b"ok", Content_Length="2"))
                self._left.wait(LONG_TIMEOUT)
                return
            if self.how == UNANSWERED:
                if self.context is not None:
                    client = self.context.wrap_socket(client, server_side=True)
                self._left.wait(LONG_TIMEOUT)
                client.close()
                return
            if self.how == CONFIRM:
                client = self.context.wrap_socket(client, server_side=True)
            else:
                client.recv(10)
            if self.how != FIN:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()


@pytest.fixture(scope="module")
def contexts(authority):
    """Of a server that is well, and of one that resets before it has sent a ticket."""
    made = []
    for tickets in (2, 0):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.server("good"))
        context.num_tickets = tickets
        made.append(context)
    return made


def resolve(monkeypatch, *addresses):
    """Let the name have these addresses, in this order."""
    real = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        found = addresses if host == NAME else (host,)
        return [one for at in found for one in real(at, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def several(monkeypatch, contexts):
    """Return a function: one server that is well at 127.0.0.1, and others at the same port that are ill."""
    with ExitStack() as stack:

        def start(*ill, tls=True):
            well = stack.enter_context(
                VerbatimServer(lambda _: Answer(OK, "fin"), contexts[0] if tls else None)
            )
            others = [stack.enter_context(Ill(host, well.port, how, contexts[1])) for host, how in ill]
            resolve(monkeypatch, *(at for at, _ in ill), "127.0.0.1")
            url = f"{'https' if tls else 'http'}://{NAME}:{well.port}/"
            return url, well, others

        yield start
        registry.clear()


@pytest.fixture
def call(server, dial):
    """Return a function that calls a URL whose certificate names localhost."""

    def get(url, adapter=None, method="GET", read=LONG_TIMEOUT, **settings):
        session = dial(server, adapter, **settings)
        session.cert = None
        session.get_adapter(url).poolmanager.connection_pool_kw["assert_hostname"] = "localhost"
        return session.request(method, url, timeout=(SHORT_TIMEOUT, read))

    return get


def stages(x):
    """Of the attempts."""
    return [str(attempt.stage) for attempt in attempts_of(x)]


@pytest.mark.parametrize(
    ("how", "method"), [(RESET, "GET"), (FIN, "GET"), (SILENCE, "POST"), (CONFIRM, "POST")]
)
def test_the_second_attempt_goes_to_the_second_address(several, call, how, method):
    """A reset or an end in the handshake, silence there, and a reset before the server's first word."""
    url, well, (ill,) = several(("127.0.0.2", how))
    response = call(url, method=method)

    assert stages(response) == ["confirm" if how == CONFIRM else "handshake", "done"]
    assert (ill.accepts, well.accepts) == (1, 1)


@pytest.mark.parametrize("how", [RESET, SILENCE])
def test_stock_never_gets_there(several, call, how):
    """The control: four attempts, all at the first address."""
    url, well, (ill,) = several(("127.0.0.2", how))
    with pytest.raises(requests.ConnectionError):
        call(url, HTTPAdapter(max_retries=Retry(3)))

    assert (ill.accepts, well.accepts) == (4, 0)


def test_a_deadline_makes_no_difference(several, call):
    """The same by our own hand from the first attempt on."""
    url, well, (ill,) = several(("127.0.0.2", RESET))
    call(url, policy=RetryPolicy(deadline=LONG_TIMEOUT))

    assert (ill.accepts, well.accepts) == (1, 1)


def test_each_address_in_turn(several, call):
    """Of four, three are ill: each is asked once."""
    url, well, ill = several(("127.0.0.2", RESET), ("127.0.0.3", FIN), ("127.0.0.4", RESET))
    call(url)

    assert [one.accepts for one in ill] == [1, 1, 1]
    assert well.accepts == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_of_three_one_resets_and_one_is_silent(several, call, method):
    """Every call is served, once each, and after the first one nobody asks the ill ones."""
    url, well, ill = several(("127.0.0.2", RESET), ("127.0.0.3", SILENCE))
    served = [call(url, method=method) for _ in range(4)]

    assert [len(attempts_of(one)) for one in served] == [3, 1, 1, 1]
    assert [one.accepts for one in ill] == [1, 1]
    assert well.accepts == 4


@pytest.mark.parametrize("order", [(RESET, SILENCE), (SILENCE, RESET)])
def test_of_three_stock_serves_no_call(several, call, order):
    """The control."""
    url, well, _ = several(("127.0.0.2", order[0]), ("127.0.0.3", order[1]))
    with pytest.raises(requests.ConnectionError):
        call(url, HTTPAdapter(max_retries=Retry(2)))

    assert well.accepts == 0


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
@pytest.mark.parametrize(
    ("order", "accepts"), [("system", (1, 1)), ("ipv6first", (1, 1)), ("ipv4first", (0, 1))]
)
def test_of_two_families(several, call, order, accepts):
    """The order that is wanted decides where to begin, and the failure where to go on."""
    url, well, (ill,) = several(("::1", RESET))
    call(url, dns_order=order)

    assert (ill.accepts, well.accepts) == accepts


def test_the_next_call_begins_where_it_is_well(several, call):
    """What one has met all know: the ill address is tried last from then on."""
    url, well, (ill,) = several(("127.0.0.2", RESET))
    for _ in range(3):
        call(url)

    assert (ill.accepts, well.accepts) == (1, 3)


def test_calls_at_once(several, call):
    """Those that wait for the first one do not repeat its failure one by one."""
    url, well, (ill,) = several(("127.0.0.2", RESET))
    with ThreadPoolExecutor(4) as threads:
        got = list(threads.map(lambda _: call(url), range(4)))

    assert all(one.ok for one in got)
    assert (ill.accepts, well.accepts) == (1, 4)


def test_without_tls(several, call):
    """A plain address that resets the first request it gets is no better."""
    url, well, (ill,) = several(("127.0.0.2", RESET), tls=False)
    response = call(url)

    assert stages(response) == ["request", "done"]
    assert (ill.accepts, well.accepts) == (1, 1)


def test_one_address_is_asked_again(several, call):
    """Where there is no other, the same is tried as often as ever."""
    url, _, (ill,) = several(("127.0.0.2", RESET))
    with pytest.raises(requests.ConnectionError):
        call(url.replace(NAME, "127.0.0.2"), max_retries=2)

    assert ill.accepts == 3


def test_a_way_of_somebodys_own_is_left_alone(several, call, monkeypatch):
    """A program that has replaced how urllib3 connects chooses the address itself."""
    url, well, (ill,) = several(("127.0.0.2", RESET))

    def connect(address, *args, **kwargs):
        return socket.create_connection(("127.0.0.2", address[1]))

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    with pytest.raises(requests.ConnectionError):
        call(url, max_retries=2)

    assert (ill.accepts, well.accepts) == (3, 0)


@pytest.mark.parametrize("how", [RESET, SILENCE])
@pytest.mark.parametrize("base", [HTTPAdapter, ResilientAdapter])
def test_the_addresses_of_a_proxy(fault_server_factory, server, dial, monkeypatch, how, base):
    """A proxy that resets CONNECT, or says nothing, has a second address, too; the control: stock fails."""
    proxy = fault_server_factory(tls=False)
    resolve(monkeypatch, "127.0.0.2", "127.0.0.1")
    session = dial(server, base(max_retries=1))
    with Ill("127.0.0.2", proxy.port, how) as ill, ExitStack() as stack:
        if base is HTTPAdapter:
            # Python 3.10 leaves sockets of refused tunnels to the garbage collector.
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", ResourceWarning)
            stack.callback(gc.collect)
            stack.enter_context(pytest.raises(requests.ConnectionError))
        url = f"http://{NAME}:{proxy.port}"
        response = session.get(server.url, proxies={"https": url}, timeout=(SHORT_TIMEOUT, LONG_TIMEOUT))
        assert stages(response) == ["tunnel", "done"]

    assert (ill.accepts, proxy.counts().tunnels) == ((2, 0) if base is HTTPAdapter else (1, 1))


def held_against():
    """The addresses of the name at which something has failed."""
    return FAILED.of(NAME)


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("limit", [None, LONG_TIMEOUT])
def test_a_memory_that_leads_nowhere_is_given_up(several, call, monkeypatch, limit, tls):
    """After a failure at the only address that is well the other, where nobody listens, is asked once."""
    url, well, _ = several(tls=tls)
    resolve(monkeypatch, "127.0.0.1", "127.0.0.2")
    asked = []
    real = Race._enter
    monkeypatch.setattr(Race, "_enter", lambda *args: asked.append(args[2][0]) or real(*args))
    call(url, policy=RetryPolicy(deadline=limit))
    FAILED.add(NAME, ("127.0.0.1", well.port))
    asked.clear()
    for _ in range(3):
        call(url, policy=RetryPolicy(deadline=limit))

    assert asked[:2] == ["127.0.0.2", "127.0.0.1"]
    assert "127.0.0.2" not in asked[2:]
    assert held_against() == [("127.0.0.2", well.port)]
    assert well.accepts == 4


def test_the_own_deadline_counts_there(several, call, monkeypatch):
    """The memory leads to a black hole until the deadline: the next call is not led there again."""
    url, well, _ = several()
    resolve(monkeypatch, "127.0.0.1", "127.0.0.2")
    FAILED.add(NAME, ("127.0.0.1", well.port))
    with ExitStack() as stack:
        full_queue(socket.AF_INET, stack, SHORT_TIMEOUT, "127.0.0.2", well.port)
        with pytest.raises(requests.Timeout):
            call(url, policy=RetryPolicy(deadline=SHORT_TIMEOUT))
        assert held_against() == [("127.0.0.1", well.port), ("127.0.0.2", well.port)]

        assert call(url, policy=RetryPolicy(deadline=LONG_TIMEOUT)).ok
    assert held_against() == []


def test_a_deadline_says_nothing_of_an_address(several, call):
    """Silence in a handshake until the call's own time is over; the control is above: a time-out counts."""
    url, _, (ill,) = several(("127.0.0.2", SILENCE))
    with pytest.raises(requests.Timeout):
        call(url, policy=RetryPolicy(deadline=SHORT_TIMEOUT))

    assert ill.accepts == 1
    assert held_against() == []


def test_the_time_of_an_attempt_counts(several, call):
    """Silence in a handshake until the attempt's time is over: there is time for another, elsewhere."""
    url, well, (ill,) = several(("127.0.0.2", SILENCE))
    response = call(url, policy=RetryPolicy(attempt_timeout=SHORT_TIMEOUT, deadline=LONG_TIMEOUT))

    assert stages(response) == ["handshake", "done"]
    assert (ill.accepts, well.accepts) == (1, 1)


@pytest.mark.parametrize("tls", [True, False])
def test_silence_before_the_first_byte_moves_on(several, call, contexts, tls):
    """An address that takes the request and never answers: the repetition goes to the other one."""
    url, well, (ill,) = several(("127.0.0.2", UNANSWERED), tls=tls)
    ill.context = contexts[0] if tls else None
    response = call(url, read=SHORT_TIMEOUT)

    assert stages(response) == ["request", "done"]
    assert [attempt.address for attempt in attempts_of(response)] == [
        f"127.0.0.2:{well.port}", f"127.0.0.1:{well.port}",
    ]  # fmt: skip
    assert (ill.accepts, well.accepts) == (1, 1)


def test_silence_on_a_connection_that_was_idle_moves_on(several, call, contexts, dial, server):
    """An address that has answered, and hangs from then on: the repetition goes to the other one."""
    url, well, (ill,) = several(("127.0.0.2", ANSWERS_ONCE), tls=False)
    session = dial(server, max_retries=1)
    session.get(url, timeout=LONG_TIMEOUT)
    response = session.get(url, timeout=(LONG_TIMEOUT, SHORT_TIMEOUT))

    assert [attempt.reused for attempt in attempts_of(response)] == [True, False]
    assert (ill.accepts, well.accepts) == (1, 1)


def test_a_source_that_does_not_fit_says_nothing_of_an_address(several, dial, server, monkeypatch):
    """No socket can be made for it by this session; another one may reach it."""
    url, well, _ = several(tls=False)
    resolve(monkeypatch, "127.0.0.1", "::1")
    session = dial(server)
    session.get_adapter(url).poolmanager.connection_pool_kw["source_address"] = ("::1", 0)
    with suppress(requests.ConnectionError):
        session.get(url, timeout=LONG_TIMEOUT)

    assert ("127.0.0.1", well.port) not in held_against()


def test_nothing_is_remembered_of_the_only_address(several, call):
    """There is no other; and the memory is not filled with what helps nobody."""
    url, _, (ill,) = several(("127.0.0.2", RESET))
    with pytest.raises(requests.ConnectionError):
        call(url.replace(NAME, "127.0.0.2"), max_retries=0)

    assert ill.accepts == 1
    assert FAILED.of("127.0.0.2") == []


def test_a_certificate_says_nothing_of_an_address(several, dial, server):
    """One that is not trusted ends the call, and the next one begins where this one did."""
    url, well, _ = several()
    session = dial(server)
    session.cert, session.verify = None, server.authority.other_ca_file
    with pytest.raises(requests.exceptions.SSLError):
        session.get(url, timeout=LONG_TIMEOUT)

    assert well.accepts == 1
    assert held_against() == []


@pytest.mark.parametrize(("status", "counts"), [("403 No", False), ("407 No", False), ("503 Not yet", True)])
def test_a_proxys_refusal_says_nothing_of_an_address(dial, server, monkeypatch, status, counts):
    """Its 403 or 407 would be the same elsewhere; the control: that it is not ready would not."""
    resolve(monkeypatch, "127.0.0.1", "127.0.0.2")
    with VerbatimServer(lambda _: Answer(told(status, b"", Content_Length="0"), "fin")) as proxy:
        proxies = {"https": f"http://{NAME}:{proxy.port}"}
        with pytest.raises(requests.ConnectionError):
            dial(server, max_retries=0).get(server.url, proxies=proxies, timeout=LONG_TIMEOUT)

        assert held_against() == ([("127.0.0.1", proxy.port)] if counts else [])
    registry.clear()
