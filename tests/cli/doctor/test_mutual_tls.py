"""The doctor's section on the client certificate."""

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resilient_transport.cli.doctor.finding import Finding, Level
from resilient_transport.cli.doctor.handshake import Handshake, Place
from resilient_transport.cli.doctor.line import Trouble
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections.mutual_tls import (
    CLIENT_CERTIFICATE,
    Files,
    Measured,
    Reply,
    files_of,
    judge,
)
from resilient_transport.cli.doctor.sections.tls import TLS
from resilient_transport.pool.certificate import Certificate
from resilient_transport.retry.causes import Cause
from resilient_transport.testing import Authority, Fault, FaultServer, How, Moment, Rule, Script
from resilient_transport.waterfall.chart import Phase
from tests.cli.doctor.visiting import bad, by_check, visit_to
from tests.end_to_end.verbatim_server import FIN, Answer, VerbatimServer, told
from tests.timeouts import LONG_TIMEOUT

DAY = 86400.0
NOW = 2_000_000_000.0
OWN = Certificate("CN=alice", NOW - 300 * DAY, NOW + 60 * DAY, b"1" * 32, False, "CN=Acme")
FILES = Files("alice.pem", "alice.key", chain=(OWN,))
SHOWN = Handshake("TLSv1.3", tickets=1, asks=True, shows=True)
MEASURED = Measured("https://a.test", FILES, (Reply(SHOWN, 200),), now=NOW)
RESET = Trouble(Phase.CONFIRM, Cause.RESET, "ConnectionResetError", 0.01)
#: As nginx has it.
PAGE = b"<html>\r\n<head><title>%s</title></head>\r\n<body></body>\r\n</html>\r\n"


def refused(alert: str, **fields: Any) -> Reply:
    """Return a connection that an alert ends."""
    return Reply(Handshake(asks=True, shows=True, place=Place.DONE, trouble=RESET, alert=alert, **fields))


def judged(*replies: Reply, **fields: Any) -> dict[str, Finding]:
    """Judge what is good but for these; findings by the second half of their checks."""
    found = by_check(judge(replace(MEASURED, **({"replies": replies} if replies else {}), **fields)))
    return {check.partition(".")[2]: finding for check, finding in found.items()}


def measured(url: str, pair: tuple[str | None, str | None], ca: str | None) -> Measured:
    """Measure a server."""
    visit = visit_to(url, cert=pair[0], key=pair[1], ca=ca, timeout=LONG_TIMEOUT, skip=("tls",))
    found = CLIENT_CERTIFICATE.measure(visit)
    assert isinstance(found, Measured)
    return found


def roots(found: Measured) -> list[Root | None]:
    """Return what a measurement's failures come from."""
    return [one.root for one in judge(found) if one.level is Level.FAIL]


def test_of_a_good_certificate_nothing_is_bad() -> None:
    """Whose it is, that it is asked for, and that it is answered."""
    found = judged()

    assert bad(found.values()) == []
    assert [one.check for one in found.values()] == [check.name for check in CLIENT_CERTIFICATE.checks]
    assert found["files"].text == "certificate and key match: CN=alice, signed by CN=Acme"
    assert (found["asked"].value, found["accepted"].value) == ("one is shown", "status 200")
    assert found["expiry"].value == "60 days left"
    assert found["chain"].text == "the file has no intermediate certificates"


@pytest.mark.parametrize(
    ("replies", "fields", "root", "words"),
    [
        (
            (refused("unknown_ca"),),
            {},
            Root.CLIENT_CERTIFICATE_REFUSED,
            "refuses CN=alice (TLS alert unknown_ca)",
        ),
        ((refused("access_denied"),), {}, Root.CLIENT_CERTIFICATE_REFUSED, "refuses"),
        ((refused("certificate_expired"),), {}, Root.CLIENT_CERTIFICATE_EXPIRED, "has expired"),
        (
            (refused("certificate_unknown"),),
            {"files": replace(FILES, chain=(replace(OWN, not_after=NOW - DAY),))},
            Root.CLIENT_CERTIFICATE_EXPIRED,
            "which was valid until",
        ),
        (
            (Reply(replace(SHOWN, shows=False), 400, "400 No required SSL certificate was sent"),),
            {"files": Files()},
            Root.CLIENT_CERTIFICATE_MISSING,
            "no client certificate is set",
        ),
        (
            (Reply(replace(SHOWN, shows=False), 400, "400 No required SSL certificate was sent"),),
            {},
            Root.CLIENT_CERTIFICATE_MISSING,
            "none of those that the server names",
        ),
        (
            (Reply(SHOWN, 400, "400 The SSL certificate error"),),
            {},
            Root.CLIENT_CERTIFICATE_REFUSED,
            "refuses",
        ),
        # No word, four times.
        (
            (Reply(Handshake(asks=True, place=Place.REPLY, trouble=RESET)),) * 4,
            {"files": Files()},
            Root.CLIENT_CERTIFICATE_MISSING,
            "ends each connection that shows none",
        ),
        (
            (Reply(Handshake(asks=True), trouble=replace(RESET, phase=Phase.FIRST_BYTE)),) * 4,
            {"files": Files()},
            Root.CLIENT_CERTIFICATE_MISSING,
            "ends each connection that shows none",
        ),
        # The alert came when the request was on its way.
        (
            (Reply(SHOWN, trouble=Trouble(Phase.FIRST_BYTE, Cause.CLIENT_CERTIFICATE, "SSLError", 0.1)),),
            {},
            Root.CLIENT_CERTIFICATE_REFUSED,
            "refuses",
        ),
    ],
)
def test_refusals(replies: tuple[Reply, ...], fields: dict[str, Any], root: Root, words: str) -> None:
    """By an alert, a page, or no word at all; the cause is named, and so is the cure."""
    found = judged(*replies, **fields)["accepted"]

    assert (found.level, found.root, found.blocks) == (Level.FAIL, root, True)
    assert words in found.text


@pytest.mark.parametrize(
    ("reply", "files", "text"),
    [
        (
            Reply(replace(SHOWN, asks=False, shows=False), 200),
            FILES,
            "the server answers a request without a client certificate",
        ),
        (
            Reply(replace(SHOWN, shows=False), 404),
            Files(),
            "the server answers a request without a client certificate",
        ),
        (Reply(SHOWN, 403), FILES, "the server answers a request with your certificate"),
        (Reply(SHOWN), FILES, "the server accepts the connection, but answers no request"),
        (Reply(Handshake(trouble=RESET, place=Place.HELLO)), FILES, "skipped (no connection was answered)"),
        # One that was shown is no cause, where the network may be one.
        (
            Reply(Handshake(asks=True, shows=True, trouble=RESET, place=Place.DONE)),
            FILES,
            "skipped (no connection was answered)",
        ),
    ],
)
def test_what_is_no_refusal(reply: Reply, files: Files, text: str) -> None:
    """A status is an answer, whatever it says."""
    found = judged(reply, files=files)

    assert bad(found.values()) == []
    assert found["accepted"].text == text


@pytest.mark.parametrize(
    ("own", "level"),
    [
        (replace(OWN, not_after=NOW + 31 * DAY), Level.OK),
        (replace(OWN, not_after=NOW + 29 * DAY), Level.WARN),
        (replace(OWN, not_after=NOW - DAY), Level.WARN),
        (replace(OWN, not_before=NOW + DAY), Level.WARN),
        (replace(OWN, not_before=NOW - DAY / 2, not_after=NOW + DAY / 2), Level.OK),
    ],
)
def test_expiry(own: Certificate, level: Level) -> None:
    """One that the server still accepts is worth a word."""
    assert judged(files=replace(FILES, chain=(own,)))["expiry"].level is level


def test_intermediate_certificates_are_told() -> None:
    """An authority that signs for itself is none."""
    behind = replace(OWN, subject="CN=Acme")
    root = replace(behind, is_self_issued=True)

    assert "has the intermediate" in judged(files=replace(FILES, chain=(OWN, behind)))["chain"].text
    assert "no intermediate" in judged(files=replace(FILES, chain=(OWN, root)))["chain"].text


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (("{d}/none.pem", "{d}/client.key"), "none.pem cannot be read: No such file or directory"),
        (("{d}/client.pem", "{d}/none.key"), "none.key cannot be read: No such file or directory"),
        (("{d}", "{d}/client.key"), "cannot be read: Is a directory"),
        (("{d}/client.pem", None), "there is no private key in PEM form in"),
        (("{d}/client.key", None), "there is no certificate in PEM form in"),
        (("{d}/client.pem", "{d}/other-client.key"), "does not belong to the certificate"),
        (("{d}/client.pem", "{d}/client-encrypted.key"), "has a passphrase, and requests asks for none"),
    ],
)
def test_files_that_cannot_be_used(authority: Authority, pair: tuple[str, str | None], words: str) -> None:
    """That is told before any connection, and stands in the way of all others."""
    cert, key = (None if path is None else path.format(d=authority.directory) for path in pair)
    visit = visit_to("https://localhost:1/", cert=cert, key=key)
    found = CLIENT_CERTIFICATE.measure(visit)
    told_of = by_check(judge(found))

    assert words in told_of["client-certificate.files"].text
    assert roots(found) == [Root.CLIENT_FILES]
    assert told_of["client-certificate.accepted"].level is Level.SKIPPED
    assert visit.budget.connections == 0
    assert authority.key_password not in repr(found)


def test_files_that_can_be_used(authority: Authority, tmp_path: Path) -> None:
    """Two files, or one that has both."""
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(Path(path).read_bytes() for path in authority.client))
    found = files_of(authority.client), files_of(str(both))

    assert [one.problem for one in found] == ["", ""]
    assert found[0].chain == found[1].chain
    assert found[0].chain[0].subject.endswith("CN=alice")
    assert files_of(None) == Files()


@pytest.fixture(scope="module", params=["1.2", "1.3"])
def demanding(request: pytest.FixtureRequest, authority: Authority) -> Iterator[FaultServer]:
    """Give a server that demands a certificate."""
    with FaultServer(max_tls=request.param, authority=authority) as server:
        yield server


@pytest.mark.parametrize(
    ("shown", "root"),
    [
        ("client", None),
        (None, Root.CLIENT_CERTIFICATE_MISSING),
        ("expired_client", Root.CLIENT_CERTIFICATE_EXPIRED),
        ("stranger_client", Root.CLIENT_CERTIFICATE_REFUSED),
    ],
)
def test_what_a_server_says_by_alerts(demanding: FaultServer, shown: str | None, root: Root | None) -> None:
    """In TLS 1.3 after the client's handshake is over. The first is the control."""
    pair = (None, None) if shown is None else getattr(demanding.authority, shown)
    found = measured(demanding.url, pair, demanding.authority.ca_file)

    assert roots(found) == ([] if root is None else [root])
    assert found.replies[-1].handshake.asks
    assert found.replies[-1].status == (200 if root is None else None)


def test_an_alert_that_comes_late_is_waited_for(server: FaultServer) -> None:
    """A tenth of a second after the handshake is over. Without the fault, the certificate is accepted."""
    server.play(Script((Rule(Fault(Moment.HANDSHAKE, How.ALERT, seconds=0.1)),)))
    late = measured(server.url, server.authority.client, server.authority.ca_file)
    server.play(Script())
    fine = measured(server.url, server.authority.client, server.authority.ca_file)

    assert roots(late) == [Root.CLIENT_CERTIFICATE_REFUSED]
    assert roots(fine) == []


@pytest.mark.parametrize(
    ("title", "pair", "root"),
    [
        (b"400 No required SSL certificate was sent", False, Root.CLIENT_CERTIFICATE_MISSING),
        (b"400 The SSL certificate error", True, Root.CLIENT_CERTIFICATE_REFUSED),
        (b"400 Bad Request", False, None),
    ],
)
def test_what_a_server_says_by_a_page(
    server: FaultServer, title: bytes, pair: bool, root: Root | None
) -> None:
    """nginx ends the connection after it, so the page is asked for on another one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server.authority.server("good"))
    context.load_verify_locations(server.authority.ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL

    def answer(head: bytes) -> Answer:
        page = b"" if head.startswith(b"HEAD") else PAGE % title
        return Answer(told("400 Bad Request", page, Content_Type="text/html", Connection="close"), FIN)

    with VerbatimServer(answer, context) as nginx:
        shown = server.authority.client if pair else (None, None)
        found = measured(f"https://localhost:{nginx.port}/", shown, server.authority.ca_file)
        asked = [head[:4] for head in nginx.heads]

    assert roots(found) == ([] if root is None else [root])
    assert asked == [b"HEAD", b"GET "]


def test_a_server_that_asks_for_none(server: FaultServer) -> None:
    """That one is set is no fault. Whoever does not trust the server tells it no path."""
    with FaultServer(client_auth="none", authority=server.authority) as other:
        found = measured(other.url + "/words/1", server.authority.client, server.authority.ca_file)
        trusted = other.executions()
        other.play(Script())
        measured(other.url + "/words/1", server.authority.client, None)
        untrusted = other.executions()

    assert bad(judge(found)) == []
    assert not found.replies[-1].handshake.asks
    assert [one.path for one in (*trusted, *untrusted)] == ["/words/1", "/"]


def test_where_tls_does_not_work_nobody_is_asked() -> None:
    """What its section has found is enough; the files are looked at all the same."""
    visit = visit_to("https://localhost:1/", timeout=LONG_TIMEOUT)
    before = CLIENT_CERTIFICATE.measure(visit)
    visit.measured["tls"] = TLS.measure(visit)
    connections = visit.budget.connections
    after = CLIENT_CERTIFICATE.measure(visit)

    assert [one.idle for one in (before, after)] == ["needs tls"] * 2
    assert visit.budget.connections == connections
    assert by_check(judge(after))["client-certificate.accepted"].text == "skipped (needs tls)"
