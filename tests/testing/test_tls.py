"""Handshakes: who is let in, what is shown, tickets, resumption, late alerts, and the race."""

import json
import ssl
import threading

import pytest

from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.testing.wires import (
    client_context,
    client_hello,
    get,
    is_silent,
    name_of,
    read_response,
    tcp,
    tls,
    to_the_end,
)
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT


def whoami(sock):
    """Ask the server whom it sees."""
    sock.sendall(get("/whoami"))
    return json.loads(read_response(sock)[1])


def without_certificate(server):
    """Return a context that shows none."""
    return ssl.create_default_context(cafile=server.authority.ca_file)


def readable_now(sock):
    """Read what has come; return whether the connection lives."""
    sock.settimeout(SHORT_TIMEOUT)
    try:
        return sock.recv(1)
    except TimeoutError:
        return None
    finally:
        sock.settimeout(LONG_TIMEOUT)


@pytest.mark.parametrize(("pair", "name"), [("client", "alice"), ("other_client", "bob")])
def test_the_server_knows_its_client(server, pair, name):
    """By the certificate's common name, on the page and in the books."""
    with tls(server, client_context(server, getattr(server.authority, pair))) as sock:
        seen = whoami(sock)
    (execution,) = server.executions()

    assert seen == {
        "client": name,
        "connection": 1,
        "resumed": False,
        "tls_version": "TLSv1.3",
        "server_name": "localhost",
    }
    assert (execution.client, execution.tls_version, execution.server_name) == (name, "TLSv1.3", "localhost")


def refusal(server, context):
    """Shake hands, wait for the server's verdict; return it."""
    try:
        with tls(server, context) as sock:
            return to_the_end(sock)[1]
    except OSError as error:
        return name_of(error)


def test_a_missing_certificate_is_refused(server):
    """After the client's handshake is over, by an alert of its own name."""
    assert refusal(server, without_certificate(server)) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert server.wait_for(lambda counts: counts.handshake_failures == 1).handshakes == 0


@pytest.mark.parametrize(
    ("pair", "verdict"),
    [
        ("expired_client", "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        ("stranger_client", "TLSV1_ALERT_UNKNOWN_CA"),
    ],
)
def test_a_bad_certificate_is_refused(server, pair, verdict):
    """For what is wrong with it."""
    assert refusal(server, client_context(server, getattr(server.authority, pair))) == verdict


@pytest.mark.parametrize("client_auth", ["optional", "none"])
def test_a_certificate_need_not_be_required(start, client_auth):
    """Without one the client is nobody; with one it is somebody only where it was asked for."""
    with start(client_auth=client_auth) as server:
        with tls(server, without_certificate(server)) as sock:
            nobody = whoami(sock)["client"]
        with tls(server) as sock:
            somebody = whoami(sock)["client"]

    assert nobody is None
    assert somebody == ("alice" if client_auth == "optional" else None)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("expired", "certificate has expired"),
        ("misnamed", "Hostname mismatch"),
        ("untrusted", "unable to get local issuer certificate"),
    ],
)
def test_a_bad_server_certificate_is_shown(start, kind, complaint):
    """The client's own check says what is wrong; the server counts a failed handshake."""
    with start(certificate=kind) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=complaint):
            tls(server)
        counts = server.wait_for(lambda counts: counts.open_connections == 0)

    assert (counts.handshakes, counts.handshake_failures) == (0, 1)


def test_tls_1_2_is_spoken_when_it_is_the_newest(start):
    """And a client with a certificate is let in."""
    with start(max_tls="1.2") as server, tls(server) as sock:
        assert whoami(sock)["tls_version"] == "TLSv1.2"


def test_tickets_come_with_the_handshake(server):
    """One read that waits for nothing else, and the client has its ticket; the request finds it unchanged."""
    with tls(server) as sock:
        nothing = readable_now(sock)
        ticket = sock.session.has_ticket
        whoami(sock)

    assert nothing is None
    assert ticket


@pytest.mark.parametrize(("tickets", "after"), [("first-response", True), ("none", False)])
def test_tickets_can_be_late_or_never(start, tickets, after):
    """After the handshake there is silence; with the first response a ticket, or none."""
    with start(tickets=tickets) as server, tls(server) as sock:
        silent = is_silent(sock)
        before = sock.session.has_ticket
        whoami(sock)

        assert silent
        assert not before
        assert sock.session.has_ticket is after


@pytest.mark.parametrize("max_tls", ["1.2", "1.3"])
@pytest.mark.parametrize(("tickets", "resumed"), [("handshake", True), ("none", False)])
def test_a_session_is_resumed(start, tickets, resumed, max_tls):
    """The second connection with the first one's session is short; without tickets it is not."""
    with start(tickets=tickets, max_tls=max_tls) as server:
        context = client_context(server)
        with tls(server, context) as sock:
            first = whoami(sock)
            session = sock.session
        with tls(server, context, session) as sock:
            second = whoami(sock)
        counts = server.counts()

    assert (first["resumed"], second["resumed"]) == (False, resumed)
    assert second["client"] == "alice"
    assert (counts.handshakes, counts.resumptions) == (2, int(resumed))


@pytest.mark.parametrize(
    ("shown", "verdict"), [(False, "TLSV13_ALERT_CERTIFICATE_REQUIRED"), (True, "TLSV1_ALERT_UNKNOWN_CA")]
)
def test_an_alert_can_be_late(server, shown, verdict):
    """The client's handshake is over and for a while nothing comes; then it is the refusal."""
    server.play(Script((Rule(Fault(Moment.HANDSHAKE, How.ALERT, seconds=SHORT_TIMEOUT * 2), first=1),)))
    context = client_context(server) if shown else without_certificate(server)
    with tls(server, context) as sock:
        assert is_silent(sock)
        assert to_the_end(sock) == (b"", verdict)
    counts = server.wait_for(lambda counts: counts.open_connections == 0)

    assert (counts.handshakes, counts.handshake_failures, counts.requests) == (0, 1, 0)
    with tls(server) as sock:
        assert whoami(sock)["client"] == "alice"


def test_a_late_alert_ends_by_a_reset_of_all(server):
    """Who waits to send an alert can be interrupted."""
    server.play(Script((Rule(Fault(Moment.HANDSHAKE, How.ALERT)),)))
    with tls(server) as sock:
        server.wait_for(lambda counts: counts.in_flight == 1)
        server.reset_peers()

        assert to_the_end(sock) == (b"", "reset")


def test_plain_text_to_a_tls_server_is_no_handshake(server):
    """It is refused, as OpenSSL does it."""
    with tcp(server) as sock:
        sock.sendall(get("/"))
        _, ended = to_the_end(sock)
    counts = server.wait_for(lambda counts: counts.open_connections == 0)

    assert ended in ("closed", "reset")
    assert (counts.handshakes, counts.handshake_failures, counts.requests) == (0, 1, 0)


def test_a_client_that_leaves_is_forgotten(server):
    """Before, inside and after the handshake; nothing stays open."""
    for said in (b"", client_hello()[:20], client_hello()):
        with tcp(server) as sock:
            sock.sendall(said)
    with tls(server):
        pass

    assert server.wait_for(lambda c: c.accepts == 4 and c.open_connections == 0).requests == 0


def burst(server, count):
    """Shake hands `count` times at once; return how each ended."""
    ends = []

    def one():
        try:
            with tls(server):
                ends.append("done")
        except OSError as error:
            ends.append(name_of(error))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_TIMEOUT)
    return sorted(ends)


RACE = Script((Rule(Fault(Moment.CLIENT_HELLO), in_flight_over=1),), handshake_delay=0.2)


def test_overlapping_handshakes_are_all_reset(server):
    """The race: two at once, and neither is answered, not even the one that came first."""
    server.play(RACE)

    assert burst(server, 2) == ["reset", "reset"]
    assert server.counts().in_flight_max == 2
    assert server.counts().handshake_failures == 2


def test_handshakes_in_a_row_are_not(server):
    """The control: the same server, one after the other."""
    server.play(RACE)

    # A client of TLS 1.3 has shaken hands one flight before its server has.
    for done in (1, 2):
        assert burst(server, 1) == ["done"]
        server.wait_for(lambda counts, done=done: counts.handshakes == done)

    assert server.counts().in_flight_max == 1


def test_a_crowd_within_its_limit_passes(server):
    """Four allowed, four came, and they really overlapped."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), in_flight_over=4),), handshake_delay=0.2))

    assert burst(server, 4) == ["done"] * 4
    assert server.counts().in_flight_max == 4


def test_a_crowd_can_be_hit_later(server):
    """The crowd of its handshake follows a connection to its first request."""
    server.play(Script((Rule(Fault(Moment.HANDSHAKE), in_flight_over=1),), handshake_delay=0.2))
    burst(server, 2)
    counts = server.wait_for(lambda counts: counts.open_connections == 0)

    assert (counts.handshakes, counts.handshake_failures) == (2, 0)
