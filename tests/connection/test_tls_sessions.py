"""TLS sessions: resumed wherever they may be, and never across a name, an identity, a proxy or a port.

A resumed handshake checks neither the certificate nor the host name. Who was let in, the server tells.
"""

import hashlib
import os
import select
import shutil
import socket
import ssl
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of
from resilient_transport.connection.liveness import confirm, new_session
from resilient_transport.testing import FaultServer, Script
from tests.pool.test_fork import in_child
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

BURST = 16
VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
#: In what a call may differ from an ordinary one: see `session_of`.
WAYS = ["name", "port", "client", "no client", "unverified", "authority", "fingerprint", "name pin", "proxy"]
#: The extension of a ClientHello that offers a session (RFC 8446 section 4.2).
PRE_SHARED_KEY = 41


@pytest.fixture(scope="module")
def servers(authority):
    """Fault servers that take a client certificate and do without, by the newest TLS version they offer."""
    with (
        FaultServer(authority=authority, client_auth="optional", max_tls="1.2") as older,
        FaultServer(authority=authority, client_auth="optional") as newer,
    ):
        yield {"1.2": older, "1.3": newer}


@pytest.fixture
def server(servers, version):
    """One of them, which does nothing wrong."""
    servers[version].play(Script())
    return servers[version]


class Relay:
    """A port of its own before a server, which may be another one later."""

    def __init__(self, port):
        #: The port of the server.
        self.port_behind = port
        #: Whether to reset every connection whose ClientHello offers a session.
        self.chokes = False
        #: How many it has reset.
        self.choked = 0
        self._clients = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept_all)]
        self._threads[0].start()

    def close(self):
        """Accept no more, and end what is open."""
        for sock in (self._listener, *self._clients):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(LONG_TIMEOUT)

    def _accept_all(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client):
        with client, suppress(OSError):
            client.settimeout(LONG_TIMEOUT)
            hello = client.recv(1 << 16)
            if self.chokes and offers_session(hello):
                self.choked += 1
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            with socket.create_connection(("127.0.0.1", self.port_behind), LONG_TIMEOUT) as server:
                server.sendall(hello)
                splice(client, server)


def splice(one, other):
    """Carry bytes both ways until a side ends."""
    while True:
        for ready in select.select([one, other], [], [], LONG_TIMEOUT)[0]:
            data = ready.recv(1 << 16)
            if not data:
                return
            (other if ready is one else one).sendall(data)


def offers_session(hello):
    """Whether a ClientHello, in one record, offers a TLS 1.3 session to resume."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at]
    at += 2
    while at < len(hello):
        kind, length = struct.unpack_from("!HH", hello, at)
        if kind == PRE_SHARED_KEY:
            return True
        at += 4 + length
    return False


@pytest.fixture
def relay():
    """A function that makes relays, which end with the test."""
    made = []

    def make(server):
        made.append(Relay(server.port))
        return made[-1]

    yield make
    for each in made:
        each.close()


class Pinning(ResilientAdapter):
    """Pins the server's certificate, or its name, as requests-toolbelt's adapters do."""

    def __init__(self, **pins):
        self.pins = pins
        super().__init__()

    def init_poolmanager(self, *args, **kwargs):
        """Add the pins."""
        super().init_poolmanager(*args, **self.pins, **kwargs)


def fingerprint(server):
    """The digest of the certificate that a server shows."""
    shown = Path(server.authority.server("good")[0]).read_text(encoding="ascii")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).hexdigest()


@pytest.fixture
def patient(monkeypatch):
    """Wait for the first ticket of a connection for as long as a busy machine needs."""
    monkeypatch.setattr("resilient_transport.connection.tls_connection.PROOF_WAIT", LONG_TIMEOUT)


@pytest.fixture
def connect(patient):
    """A function that makes a call over a new connection; returns what the server has seen of it.

    The responses are left unread until the test ends, so that their connections serve no other call.
    """
    held = []

    def call(server, session, url=None, **values):
        held.append(session.get((url or server.url) + "/whoami", stream=True, **values))
        return server.executions()[-1]

    yield call
    for response in held:
        response.close()


def stored(session, url):
    """How many TLS sessions are kept for what this session has called last."""
    adapter = session.get_adapter(url)
    return sum(len(entry.pool.shared_pool.sessions) for entry in adapter._lookup._entries.values())


def burst(server, session):
    """Make calls at once that all need a connection of their own; return how many full handshakes it took."""
    barrier = threading.Barrier(BURST)
    server.play(Script(response_delay=SHORT_TIMEOUT))

    def call(_):
        barrier.wait(LONG_TIMEOUT)
        return session.get(server.url).ok

    with ThreadPoolExecutor(BURST) as threads:
        assert all(threads.map(call, range(BURST)))
    counts = server.counts()
    return counts.handshakes, counts.handshakes - counts.resumptions


@VERSIONS
def test_a_cold_burst_makes_one_full_handshake(server, dial):
    """Where tickets are given, all connections of a cold burst but the first are resumed."""
    handshakes, full = burst(server, dial(server))

    assert handshakes > BURST / 2
    assert full == 1


@VERSIONS
def test_stock_makes_one_for_each(server, dial):
    """The control: stock resumes nothing."""
    assert burst(server, dial(server, HTTPAdapter(pool_maxsize=BURST))) == (BURST, BURST)


@pytest.mark.parametrize("version", ["1.3"])
@pytest.mark.parametrize(("enough", "all_are_kept"), [(None, False), (BURST, True)])
def test_a_burst_copies_no_more_sessions_than_are_offered_next(
    server, dial, monkeypatch, enough, all_are_kept
):
    """Two unused ones are kept, and the last; the control keeps one of almost every connection."""
    if enough is not None:
        monkeypatch.setattr("resilient_transport.connection.tls_sessions.ENOUGH", enough)
    session = dial(server)

    handshakes, _ = burst(server, session)

    # Threads that look at the same time may each keep one.
    assert (stored(session, server.url) > BURST // 2) is all_are_kept
    assert handshakes > BURST / 2


@VERSIONS
def test_without_tickets_nothing_is_resumed(fault_server_factory, dial, version):
    """A server that gives no tickets is served as well: nothing is resumed, and nothing fails."""
    server = fault_server_factory(tickets="none", max_tls=version)

    handshakes, full = burst(server, dial(server))

    assert handshakes == full > BURST / 2


def resumed_later(server, session, calls=3):
    """Whether calls were resumed that came one after another, when the connection of the last was reset."""
    for _ in range(calls):
        session.get(server.url)
        server.reset_peers()
    return [execution.resumed for execution in server.executions()]


def test_tickets_that_come_with_the_first_response_are_used(fault_server_factory, dial):
    """A server like BoringSSL's sends them late: from the second connection on, its sessions are resumed."""
    server = fault_server_factory(tickets="first-response")

    assert resumed_later(server, dial(server)) == [False, True, True]


@VERSIONS
def test_a_session_outlives_its_connection(server, dial):
    """Once every connection is gone, the next is resumed; `ssl` alone, in a control below, can do it."""
    assert resumed_later(server, dial(server)) == [False, True, True]


@VERSIONS
def test_stock_resumes_nothing_later(server, dial):
    """The control: neither late tickets nor kept ones are used."""
    assert resumed_later(server, dial(server, HTTPAdapter())) == [False, False, False]


@pytest.fixture(scope="module")
def proxy(authority):
    """A proxy that does nothing wrong."""
    with FaultServer(authority=authority, tls=False) as proxy:
        yield proxy


def session_of(way, server, dial, relay, proxy):
    """A session, and the values of its calls, that differ in one way from those of an ordinary one."""
    session, values = dial(server), {}
    match way:
        case "name":
            values["url"] = server.url.replace("localhost", "127.0.0.1")
        case "port":
            values["url"] = relay(server).url
        case "client":
            values["cert"] = server.authority.other_client
        case "no client":
            session.cert = None
        case "unverified":
            values["verify"] = False
        case "authority":
            bundle = server.authority.directory / "both.pem"
            both = (server.authority.ca_file, server.authority.other_ca_file)
            bundle.write_bytes(b"".join(Path(one).read_bytes() for one in both))
            values["verify"] = str(bundle)
        case "fingerprint":
            session.mount("https://", Pinning(assert_fingerprint=fingerprint(server)))
        case "name pin":
            session.mount("https://", Pinning(assert_hostname="127.0.0.1"))
        case "proxy":
            values["proxies"] = {"https": proxy.url}
    return session, values


@VERSIONS
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_session_never_crosses(server, dial, connect, relay, proxy, way, back):
    """What differs in name, port, identity, trust, pins or way has sessions of its own, which are resumed."""
    ways = [session_of(each, server, dial, relay, proxy) for each in ("ordinary", way)]
    one, other = reversed(ways) if back else ways

    seen = [connect(server, session, **values) for session, values in (one, one, other, other, one)]

    assert [each.resumed for each in seen] == [False, True, False, True, True]


def shake_hands(server, context, name, session=None):
    """Shake hands by `ssl` alone; return the TLS session, whether it was resumed, and a response."""
    with (
        socket.create_connection(("127.0.0.1", server.port), LONG_TIMEOUT) as raw,
        context.wrap_socket(raw, server_hostname=name, session=session) as tls,
    ):
        tls.sendall(b"GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: tls.recv(1 << 16), b""))
        return tls.session, tls.session_reused, answer


@VERSIONS
def test_a_plain_context_resumes_under_any_name(server):
    """The control: offered under a name that its certificate does not cover, `ssl` takes a session."""
    context = ssl.create_default_context(cafile=server.authority.ca_file)
    session, _, _ = shake_hands(server, context, "localhost")

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, context, "wrong.invalid")
    _, resumed, _ = shake_hands(server, context, "wrong.invalid", session)

    assert resumed


@VERSIONS
def test_a_plain_context_resumes_as_somebody_else(server):
    """The control: with a session the server sees the certificate of whoever it was made for."""
    authority = server.authority
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.load_cert_chain(*authority.client)
    session, _, answer = shake_hands(server, context, "localhost")
    context.load_cert_chain(*authority.other_client)
    _, resumed, crossed = shake_hands(server, context, "localhost", session)

    assert b'"client": "alice"' in answer
    assert b'"client": "alice"' in crossed
    assert resumed


@VERSIONS
@pytest.mark.parametrize(
    ("pins", "kept"),
    [
        ({"assert_fingerprint": "00" * 32}, False),
        ({"assert_hostname": "other.invalid"}, False),
        ({"assert_hostname": "127.0.0.1"}, True),
    ],
    ids=["wrong fingerprint", "wrong name", "right name"],
)
def test_a_session_is_kept_after_every_check(server, dial, connect, pins, kept):
    """A pin that does not fit fails after the handshake and leaves no session; one that fits does."""
    session = dial(server, Pinning(**pins))
    for _ in range(2):
        with suppress(requests.exceptions.SSLError):
            connect(server, session)

    assert bool(stored(session, server.url)) == kept
    assert server.counts().resumptions == kept
    assert server.counts().executed == 2 * kept


@VERSIONS
@pytest.mark.parametrize("certificate", ["misnamed", "untrusted", "expired"])
def test_a_server_that_is_not_trusted_leaves_no_session(fault_server_factory, dial, version, certificate):
    """A certificate that fails in the handshake leaves no session."""
    server = fault_server_factory(certificate=certificate, max_tls=version)
    session = dial(server)
    with pytest.raises(requests.exceptions.SSLError):
        session.get(server.url)

    assert stored(session, server.url) == 0


@VERSIONS
def test_a_refused_session_is_dropped(fault_server_factory, server, dial, connect, relay, version):
    """A server that restarts with new keys is reached at the first attempt, and its sessions are resumed."""
    restarted = fault_server_factory(max_tls=version)
    front, session = relay(server), dial(server)
    before = [connect(server, session, front.url).resumed for _ in range(2)]
    front.port_behind = restarted.port
    answer = session.get(front.url)
    after = [connect(restarted, session, front.url).resumed for _ in range(2)]

    assert before == [False, True]
    assert len(attempts_of(answer)) == 1
    # The first of the two is on the connection of the answer.
    assert after == [False, True]
    assert restarted.counts().handshakes == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@VERSIONS
def test_a_child_resumes_nothing_of_its_parent(server, dial, connect):
    """After a fork the child has sessions of its own, and the parent keeps its."""
    session = dial(server)
    before = [connect(server, session).resumed for _ in range(2)]

    told = in_child(lambda: [connect(server, session).resumed for _ in range(2)])
    after = connect(server, session).resumed

    assert before == [False, True]
    assert told == "[False, True]"
    assert after is True


@VERSIONS
def test_a_rotated_certificate_resumes_nothing_of_the_old(server, dial, connect, tmp_path, monkeypatch):
    """With a new certificate in the same files, the server sees the new one."""
    monkeypatch.setattr("resilient_transport.pool.key._LOOK_EVERY", -1.0)
    paths = [str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")]
    session = dial(server)
    session.cert = tuple(paths)
    told = []
    for pair in (server.authority.client, server.authority.other_client):
        for source, target in zip(pair, paths, strict=True):
            shutil.copy(source, target + ".new")
            os.replace(target + ".new", target)
        told += [connect(server, session) for _ in range(2)]

    assert [each.client for each in told] == ["alice", "alice", "bob", "bob"]
    assert [each.resumed for each in told] == [False, True, False, True]


@pytest.mark.parametrize("version", ["1.3"])
@pytest.mark.parametrize("callers", [1, 8])
def test_a_server_that_resets_what_it_could_resume_is_reached(server, dial, connect, relay, callers):
    """After two failures a call offers no session, so that it gets through."""
    front, session = relay(server), dial(server)
    connect(server, session, front.url)
    front.chokes = True

    with ThreadPoolExecutor(callers) as threads:
        answers = list(threads.map(lambda _: session.get(front.url), range(callers)))

    assert [answer.ok for answer in answers] == [True] * callers
    assert max(len(attempts_of(answer)) for answer in answers) <= 4
    assert front.choked >= 2


@pytest.mark.parametrize("version", ["1.3"])
def test_if_sessions_were_offered_for_ever_it_would_not_be(server, dial, connect, relay, monkeypatch):
    """The control: a call that goes on offering them ends with its attempts."""
    monkeypatch.setattr("resilient_transport.connection.trace._CHOKES", 99)
    monkeypatch.setattr("resilient_transport.connection.tls_sessions._CHOKES", 99)
    front, session = relay(server), dial(server, policy=RetryPolicy(retries=3, backoff=0))
    connect(server, session, front.url)
    front.chokes = True

    with pytest.raises(requests.ConnectionError):
        session.get(front.url)

    assert front.choked >= 3


@VERSIONS
def test_a_context_of_ones_own_is_left_alone(server, dial, connect):
    """What a caller gives as `ssl_context=` works as it is: nothing is resumed with it, or set on it."""
    context = ssl.create_default_context(cafile=server.authority.ca_file)
    context.load_cert_chain(*server.authority.client)
    looks = (
        "options",
        "verify_mode",
        "check_hostname",
        "minimum_version",
        "maximum_version",
        "sslsocket_class",
    )
    before = [getattr(context, name) for name in looks]
    session = dial(server, ssl_context=context)
    session.cert, session.verify = None, True

    told = [connect(server, session) for _ in range(3)]

    assert [(each.client, each.resumed) for each in told] == [("alice", False)] * 3
    assert [getattr(context, name) for name in looks] == before
    assert context.session_stats()["hits"] == 0


@pytest.mark.parametrize(("tickets", "proven"), [("handshake", True), ("first-response", False)])
def test_the_ticket_of_a_resumed_session_proves_nothing(fault_server_factory, tickets, proven):
    """A resumed connection has a ticket before the server has said a word: only another one is proof."""
    server = fault_server_factory(tickets=tickets, client_auth="none")
    context = ssl.create_default_context(cafile=server.authority.ca_file)
    session, _, _ = shake_hands(server, context, "localhost")

    def proof():
        with (
            socket.create_connection(("127.0.0.1", server.port), LONG_TIMEOUT) as raw,
            context.wrap_socket(raw, server_hostname="localhost", session=session) as tls,
        ):
            assert tls.session_reused
            resumed = tls.session.id
            found = confirm(tls, SHORT_TIMEOUT, resumed)
            return bool(found), new_session(tls, resumed) is not None, new_session(tls, None) is not None

    # Without the old one's name, the control, any server passes for one that has accepted.
    assert proof() == (proven, proven, True)
