"""The doctor's section on TLS, and the handshakes by hand that it is made of."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from resilient_transport.cli.doctor.finding import Finding, Level
from resilient_transport.cli.doctor.handshake import Handshake, Place
from resilient_transport.cli.doctor.line import Trouble
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections.tls import (
    MOST_TRIALS,
    TLS,
    TRIALS,
    Measured,
    _wanted,
    judge,
)
from resilient_transport.retry.causes import Cause
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from resilient_transport.waterfall.chart import Phase
from tests.cli.doctor.visiting import bad, by_check, dead_port, visit_to
from tests.plain_server import plain_server
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

DONE = Handshake("TLSv1.3", "TLS_AES_256_GCM_SHA384", "http/1.1", 0.01, tickets=2)
MEASURED = Measured(
    "https://a.test", "http://a.test/", (DONE,) * 4, replace(DONE, is_resumed=True), None, DONE
)


def ended(cause: Cause, place: Place, error: str = "OSError", phase: Phase = Phase.HANDSHAKE) -> Handshake:
    """Return a handshake that was ended."""
    return Handshake(trouble=Trouble(phase, cause, error, 0.01), place=place)


def judged(**fields: Any) -> dict[str, Finding]:
    """Judge a healthy server, but for these fields."""
    return by_check(judge(replace(MEASURED, **fields)))


def measured(url: str, **options: Any) -> Measured:
    """Measure a server."""
    found = TLS.measure(visit_to(url, **options))
    assert isinstance(found, Measured)
    return found


def as_alice(server: FaultServer) -> dict[str, Any]:
    """Return the options of a client that the server knows."""
    cert, key = server.authority.client
    return {"cert": cert, "key": key, "ca": server.authority.ca_file, "timeout": LONG_TIMEOUT}


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[str]:
    """Give the URL of a server that shakes hands, and says nothing more."""

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer, suppress(OSError):
                peer.settimeout(LONG_TIMEOUT)
                with context.wrap_socket(peer, server_side=True) as client:
                    client.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(LONG_TIMEOUT)


def server_context(server: FaultServer) -> ssl.SSLContext:
    """Return a server's side with a certificate of the same authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server.authority.server("good"))
    return context


def test_of_a_healthy_server_nothing_is_bad() -> None:
    """Version, cipher, tickets and times are told."""
    told = judged()

    assert bad(told.values()) == []
    assert list(told) == [check.name for check in TLS.checks]
    assert told["tls.version"].text == "the server speaks TLS 1.3"
    assert (
        told["tls.resumption"].text
        == "the server gives 2 session tickets right after the handshake, and resumes sessions by them"
    )
    assert told["tls.time"].text == "a full handshake takes 10.0 ms, a resumed one 10.0 ms"


@pytest.mark.parametrize(
    ("fields", "check", "words"),
    [
        ({"tries": (replace(DONE, version="TLSv1.2", tickets=0),) * 4}, "tls.version", "TLS 1.2, and no 1.3"),
        (
            {"choosing": replace(DONE, protocol="h2")},
            "tls.alpn",
            "chooses h2; requests offers only HTTP/1.1",
        ),
        ({"choosing": replace(DONE, protocol=None)}, "tls.alpn", "chooses nothing"),
        ({"choosing": None}, "tls.alpn", "not known"),
        ({"resumed": DONE}, "tls.resumption", "makes a full handshake all the same"),
        ({"resumed": None}, "tls.resumption", "no session ticket"),
        ({"resumed": ended(Cause.RESET, Place.HELLO)}, "tls.resumption", "is not known"),
        (
            {
                "tries": (replace(DONE, tickets=0),) * 4,
                "asking": replace(DONE, tickets=0, late_tickets=1),
            },
            "tls.resumption",
            "gives 1 session ticket with its first response, and resumes",
        ),
        (
            {"tries": (replace(DONE, version="TLSv1.2", tickets=0),) * 4},
            "tls.resumption",
            "gives a session identifier with the handshake",
        ),
    ],
)
def test_what_servers_differ_in_is_told_and_is_not_bad(
    fields: dict[str, Any], check: str, words: str
) -> None:
    """None of it is a failure."""
    told = judged(**fields)

    assert words in told[check].text
    assert bad(told.values()) == []


NO_TLS = ended(Cause.NO_COMMON_TLS, Place.HELLO, "SSLError: WRONG_VERSION_NUMBER")
NO_COMMON = ended(Cause.NO_COMMON_TLS, Place.HELLO, "SSLError: SSLV3_ALERT_HANDSHAKE_FAILURE")
RESET = ended(Cause.RESET, Place.HELLO)
SILENT = ended(Cause.TIMEOUT, Place.FLIGHT)


@pytest.mark.parametrize(
    ("tries", "plain", "root", "blocks", "words"),
    [
        ((NO_TLS,) * 4, None, Root.NO_TLS, True, "is not TLS"),
        ((NO_TLS,), 200, Root.NO_TLS, True, "plain HTTP"),
        ((SILENT,), 404, Root.NO_TLS, True, "plain HTTP"),
        ((NO_COMMON,) * 4, None, Root.NO_COMMON_TLS, True, "in common"),
        # So says a server that speaks TLS, when it reads a plain request.
        ((RESET,) * 4, 400, Root.HANDSHAKE_RESET, True, "all handshakes are reset or closed with no answer"),
        ((RESET,) * 4, None, Root.HANDSHAKE_RESET, True, "all handshakes are reset"),
        ((SILENT,) * 2, None, Root.HANDSHAKE_SILENT, True, "silence in the middle of the server's flight"),
        ((RESET, DONE, DONE, RESET), None, Root.HANDSHAKE_RESET, False, "2 of 4 handshakes"),
        ((NO_TLS, DONE, DONE, DONE), None, Root.HANDSHAKE_RESET, False, "1 of 4"),
        ((ended(Cause.DAMAGED, Place.DONE), DONE), None, Root.DAMAGED, False, "1 of 2 handshakes fail after"),
        (
            (ended(Cause.RESET, Place.BEFORE, phase=Phase.DIAL),),
            None,
            Root.HANDSHAKE_RESET,
            True,
            "all handshakes are reset or closed before",
        ),
        ((ended(Cause.REFUSED, Place.BEFORE, phase=Phase.DIAL),), None, Root.REFUSED, True, "no connection"),
        (
            (ended(Cause.TIMEOUT, Place.BEFORE, phase=Phase.DIAL),),
            None,
            Root.UNREACHABLE,
            True,
            "no connection",
        ),
        ((ended(Cause.NAME, Place.BEFORE, phase=Phase.NAME),), None, Root.NAME, True, "no connection"),
        ((ended(Cause.DENIED, Place.BEFORE, phase=Phase.TUNNEL),), None, Root.PROXY_REFUSES, True, "no conn"),
    ],
)
def test_what_ends_handshakes_is_named(
    tries: tuple[Handshake, ...], plain: int | None, root: Root, blocks: bool, words: str
) -> None:
    """It stands in the way of other sections only if no handshake works."""
    found = judged(tries=tries, plain_status=plain)["tls.handshake"]

    assert (found.level, found.root, found.blocks) == (Level.FAIL, root, blocks)
    assert words in found.text


def test_a_refused_client_certificate_is_no_failure_of_tls(server: FaultServer) -> None:
    """Another section tells it. A reset in the same place is one."""
    server.play(Script())
    with FaultServer(max_tls="1.2", authority=server.authority) as older:
        found = [
            measured(one.url, ca=server.authority.ca_file, timeout=LONG_TIMEOUT) for one in (server, older)
        ]
    reset = ended(Cause.RESET, Place.DONE)

    assert all(one.is_refusal for tried in found for one in tried.tries)
    assert [one.tries[0].alert for one in found] == ["certificate_required", "handshake_failure"]
    assert [bad(judge(one)) for one in found] == [[], []]
    assert bad(judge(replace(found[0], tries=(reset,) * 4))) == ["tls.handshake"]


def test_where_each_connection_ends_that_shows_no_certificate_tls_works() -> None:
    """Some servers end it without an alert. Where one was shown, or not each ends, it is the network."""
    silent = replace(ended(Cause.RESET, Place.REPLY), asks=True)

    assert bad(judged(tries=(silent,) * 4).values()) == []
    assert bad(judged(tries=(silent, DONE)).values()) == ["tls.handshake"]
    assert bad(judged(tries=(replace(silent, shows=True),) * 4).values()) == ["tls.handshake"]


@pytest.mark.parametrize(
    ("options", "version", "tickets", "late", "resumed"),
    [
        ({}, "TLSv1.3", 2, None, True),
        ({"tickets": "first-response"}, "TLSv1.3", 0, 2, True),
        ({"tickets": "none"}, "TLSv1.3", 0, 0, None),
        ({"max_tls": "1.2"}, "TLSv1.2", 1, None, True),
        ({"max_tls": "1.2", "tickets": "none"}, "TLSv1.2", 0, None, False),
    ],
)
def test_what_a_server_gives_to_resume_by(
    server: FaultServer,
    options: dict[str, str],
    version: str,
    tickets: int,
    late: int | None,
    resumed: bool | None,
) -> None:
    """How many tickets, when, and whether they work."""
    server.play(Script())
    other = FaultServer(authority=server.authority, **options) if options else server
    found = measured(other.url, **as_alice(server))
    if options:
        other.close()

    assert bad(judge(found)) == []
    assert {one.version for one in found.tries} == {version}
    assert found.tries[0].asks
    assert found.tries[0].shows
    assert max(one.tickets for one in found.tries) == tickets
    assert (None if found.asking is None else found.asking.late_tickets) == late
    assert (None if found.resumed is None else found.resumed.is_resumed) == resumed


@pytest.mark.parametrize(
    ("fault", "root", "place"),
    [
        (Fault(Moment.CLIENT_HELLO), Root.HANDSHAKE_RESET, Place.HELLO),
        (Fault(Moment.CLIENT_HELLO, How.FIN), Root.HANDSHAKE_RESET, Place.HELLO),
        (Fault(Moment.HANDSHAKE), Root.HANDSHAKE_RESET, Place.DONE),
        (Fault(Moment.HANDSHAKE, How.CORRUPT), Root.DAMAGED, Place.DONE),
    ],
    ids=str,
)
def test_faults_are_told_with_their_place_and_rate(
    server: FaultServer, fault: Fault, root: Root, place: Place
) -> None:
    """All handshakes, or one of four; the control is the same server without the fault."""
    server.play(Script((Rule(fault),)))
    always = measured(server.url, **as_alice(server))
    server.play(Script((Rule(fault, first=1),)))
    once = measured(server.url, **as_alice(server))
    server.play(Script())
    never = measured(server.url, **as_alice(server))
    told = [by_check(judge(one))["tls.handshake"] for one in (always, once)]

    assert {one.place for one in always.tries} == {place}
    assert [(one.root, one.blocks) for one in told] == [(root, True), (root, False)]
    assert once.tries[0].place is place
    assert bad(judge(never)) == []


@pytest.mark.parametrize(
    ("resets", "tries", "works"), [(0, 4, True), (5, 5, True), (12, 12, True), (13, 12, False)]
)
def test_it_tries_on_until_one_is_not_reset(
    server: FaultServer, resets: int, tries: int, works: bool
) -> None:
    """The sections that follow need one. One more connection asks whether it is plain HTTP."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=resets),) if resets else ()))
    found = measured(server.url, **as_alice(server))

    assert len(found.tries) == tries
    assert found.works is works


def test_a_certificate_that_is_missing_is_no_reason_to_try_on() -> None:
    """Not where each ends without a word; the control: where one was shown, it is a reset as any other."""
    silent = replace(ended(Cause.RESET, Place.REPLY), asks=True)
    tried = [(silent,) * 4, (replace(silent, shows=True),) * 4, (silent, DONE)]

    assert list(map(_wanted, tried)) == [TRIALS, MOST_TRIALS, TRIALS]


def test_silence_ends_after_two_tries(server: FaultServer) -> None:
    """Each takes as long as a step may."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO, How.STALL)),)))
    found = measured(server.url, **{**as_alice(server), "timeout": SHORT_TIMEOUT})
    told = by_check(judge(found))["tls.handshake"]

    assert len(found.tries) == 2
    assert (told.root, told.blocks) == (Root.HANDSHAKE_SILENT, True)


def test_a_server_without_tls_is_told_as_such() -> None:
    """What to type instead is the hint. It waits for the end of a head, so the client waits for it once."""
    with plain_server() as url:
        found = measured(url.replace("http:", "https:"), timeout=SHORT_TIMEOUT)
        told = by_check(judge(found))["tls.handshake"]

        assert (told.root, told.hint) == (Root.NO_TLS, f"use {url}")
        assert len(found.tries) == 1


def test_a_server_with_another_cipher_is_told_as_such(server: FaultServer) -> None:
    """The server says so by an alert. With a cipher in common, the same server works."""
    old = server_context(server)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    with tls_server(old) as url:
        found = measured(url, timeout=LONG_TIMEOUT)
    with tls_server(server_context(server)) as url:
        fine = measured(url, timeout=LONG_TIMEOUT)
    told = by_check(judge(found))["tls.handshake"]

    assert told.root is Root.NO_COMMON_TLS
    assert "handshake_failure" in told.text
    assert bad(judge(fine)) == []


def test_a_server_that_would_choose_http2_is_told_as_such(server: FaultServer) -> None:
    """Nothing is wrong with it: requests offers HTTP/1.1 alone."""
    context = server_context(server)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with tls_server(context) as url:
        found = measured(url, timeout=LONG_TIMEOUT)

    assert {one.protocol for one in found.tries} == {"http/1.1"}
    assert by_check(judge(found))["tls.alpn"].value == "h2"


def test_a_dead_port_is_no_matter_of_tls() -> None:
    """The section on the connect tells more."""
    found = measured(f"https://127.0.0.1:{dead_port()}/", timeout=LONG_TIMEOUT)
    told = by_check(judge(found))["tls.handshake"]

    assert (told.root, told.blocks) == (Root.REFUSED, True)


def test_it_does_not_apply_to_a_plain_page() -> None:
    """There is no TLS to look at."""
    assert TLS.idle_because(visit_to("http://localhost/")) == "not https"
    assert TLS.idle_because(visit_to("https://localhost/")) is None


def test_files_that_cannot_be_used_do_not_stand_in_its_way(server: FaultServer) -> None:
    """They have a section of their own. The handshake is made without them."""
    server.play(Script())
    found = measured(server.url, cert="/nonexistent", timeout=LONG_TIMEOUT)

    assert bad(judge(found)) == []
    assert not any(one.shows for one in found.tries)


def test_through_a_proxy_it_is_the_server_that_shakes_hands(server: FaultServer) -> None:
    """The handshake goes through the tunnel."""
    with FaultServer(tls=False) as proxy:
        server.play(Script())
        found = measured(server.url, **as_alice(server), proxy=proxy.url)
        tunnels = len(proxy.tunnels())

    assert bad(judge(found)) == []
    assert tunnels == len(found.tries) + 2


def test_a_proxy_is_not_asked_whether_the_server_speaks_tls(server: FaultServer) -> None:
    """It would answer a plain request itself, and the server would seem to be one without TLS."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO)),)))
    with FaultServer(tls=False) as proxy:
        found = measured(server.url, **as_alice(server), proxy=proxy.url)
        asked = proxy.executions()

    assert by_check(judge(found))["tls.handshake"].root is Root.HANDSHAKE_RESET
    assert asked == ()


def test_a_ticket_is_proof_and_silence_is_none(server: FaultServer) -> None:
    """A ticket ends the wait. Silence ends it after its time, and what comes later is still heard."""
    visit = visit_to(server.url, **as_alice(server))
    server.play(Script())
    with visit.line() as line:
        line.dial()
        line.shake_hands(visit.context())
        by_ticket = line.confirm()
        answer = line.ask()

    server.play(Script((Rule(Fault(Moment.HANDSHAKE, How.STALL, seconds=60)),)))
    with visit.line() as line:
        line.dial()
        line.shake_hands(visit.context())
        by_silence = line.confirm()
        assert line.sock is not None
        waits = line.sock.gettimeout()
        server.reset_peers()
        with suppress(ConnectionResetError):
            assert line.sock.recv(1) == b""

    assert (by_ticket, by_silence) == (True, False)
    assert answer.status == 200
    assert waits == LONG_TIMEOUT
