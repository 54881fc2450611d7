"""The doctor's section on the server's certificate, and what it makes of who vouches for it."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import certifi
import pytest

from resilient_transport.cli.doctor.finding import Finding, Level
from resilient_transport.cli.doctor.handshake import Handshake, Place
from resilient_transport.cli.doctor.line import Trouble
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections.server_certificate import SERVER_CERTIFICATE, Measured, judge
from resilient_transport.cli.doctor.trust import Trust, is_named, organisation, public_organisations, trust_of
from resilient_transport.cli.doctor.validity import left_of
from resilient_transport.pool.certificate import Certificate
from resilient_transport.retry.causes import Cause
from resilient_transport.testing import FaultServer
from resilient_transport.waterfall.chart import Phase
from tests.cli.doctor.visiting import bad, by_check, visit_to
from tests.end_to_end.verbatim_server import FIN, Answer, VerbatimServer, told
from tests.listening import Listening
from tests.timeouts import LONG_TIMEOUT

DAY = 86400.0
NOW = 2_000_000_000.0
OWN = Certificate(
    "CN=a.test",
    NOW - 30 * DAY,
    NOW + 60 * DAY,
    b"1" * 32,
    False,
    "O=Acme, CN=Acme R1",
    ("a.test", "*.b.test"),
)
ABOVE = Certificate("O=Acme, CN=Acme R1", NOW - 99 * DAY, NOW + 99 * DAY, b"2" * 32, False, "O=Acme, CN=Root")
PRIVATE = Trust("ca.pem", has_public=False, named=("CN=Ours",))
VERIFIED = Handshake("TLSv1.3", verify_code=0)
UNKNOWN = Handshake(verify_code=20, verify_message="unable to get local issuer certificate")
SELF_SIGNED = Handshake(verify_code=18, verify_message="self-signed certificate")
MEASURED = Measured(
    "a.test",
    "https://a.test",
    None,
    (OWN, ABOVE),
    Trust(),
    VERIFIED,
    None,
    has_public_issuer=False,
    now=NOW,
    skew=1.0,
)


def judged(**fields: Any) -> dict[str, Finding]:
    """Judge a healthy server, but for these fields; findings by the second half of their checks."""
    found = by_check(judge(replace(MEASURED, **fields)))
    return {check.partition(".")[2]: finding for check, finding in found.items()}


def measured(url: str, **options: Any) -> Measured:
    """Measure a server."""
    found = SERVER_CERTIFICATE.measure(visit_to(url, timeout=LONG_TIMEOUT, **options))
    assert isinstance(found, Measured)
    return found


@pytest.fixture(scope="module")
def good(authority: Any) -> Iterator[FaultServer]:
    """Give a server that asks for no certificate."""
    with FaultServer(client_auth="none", authority=authority) as other:
        yield other


@contextmanager
def showing(kind: str, good: FaultServer) -> Iterator[FaultServer]:
    """Give a server with a certificate of some kind."""
    if kind == "good":
        yield good
        return
    with FaultServer(certificate=kind, client_auth="none", authority=good.authority) as other:
        yield other


class Interceptor(Listening):
    """A proxy that answers CONNECT, and then shows a certificate of its own for the right name."""

    def __init__(self, server: FaultServer) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*server.authority.server("untrusted"))

    def _serve(self, client: socket.socket) -> None:
        self._run(self._talk, client)

    def _talk(self, client: socket.socket) -> None:
        client.settimeout(LONG_TIMEOUT)
        with client, suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with self._context.wrap_socket(client, server_side=True) as inner:
                inner.recv(1)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(3600.0, "1.0 hours"), (47.9 * 3600, "47.9 hours"), (60 * DAY, "60 days"), (355_412 * DAY, "973 years")],
)
def test_time_left_has_a_unit_that_people_use(seconds: float, told: str) -> None:
    """And no more digits than somebody needs."""
    assert left_of(replace(OWN, not_after=NOW + seconds), NOW) == told


def test_of_a_good_certificate_nothing_is_bad() -> None:
    """Whose it is, by whom, until when, for which names, and the clock."""
    found = judged()

    assert bad(found.values()) == []
    assert [finding.check for finding in found.values()] == [
        check.name for check in SERVER_CERTIFICATE.checks
    ]
    assert found["chain"].text == "the server shows CN=a.test, signed by O=Acme, CN=Acme R1"
    assert found["chain"].value == f"2 certificates, SHA-256 {OWN.fingerprint.hex()}"
    assert found["expiry"].value == "60 days left"
    assert found["trust"].text == "a public authority has signed it: O=Acme, CN=Root"
    assert found["clock"].value == "+1 s"


@pytest.mark.parametrize(
    ("own", "fields", "level", "root"),
    [
        (replace(OWN, not_after=NOW + 15 * DAY), {}, Level.OK, None),
        (replace(OWN, not_before=NOW - 77 * DAY, not_after=NOW + 13 * DAY), {}, Level.WARN, Root.OTHER),
        # One that lives for six days is renewed in its last two.
        (replace(OWN, not_before=NOW - 3 * DAY, not_after=NOW + 3 * DAY), {}, Level.OK, None),
        (
            replace(OWN, not_before=NOW - 5 * DAY, not_after=NOW + DAY),
            {},
            Level.WARN,
            Root.OTHER,
        ),
        (replace(OWN, not_after=NOW - DAY), {}, Level.FAIL, Root.SERVER_CERTIFICATE_EXPIRED),
        (replace(OWN, not_after=NOW - DAY), {"skew": 2 * DAY}, Level.FAIL, Root.CLOCK),
        (replace(OWN, not_after=NOW - DAY), {"skew": DAY / 2}, Level.FAIL, Root.SERVER_CERTIFICATE_EXPIRED),
        (replace(OWN, not_before=NOW + DAY), {"skew": None}, Level.FAIL, Root.CLOCK),
        (replace(OWN, not_before=NOW + DAY), {"skew": -2 * DAY}, Level.FAIL, Root.CLOCK),
        (replace(OWN, not_before=NOW + DAY), {"skew": 0.0}, Level.FAIL, Root.OTHER),
        (
            replace(OWN, not_after=NOW - DAY),
            {"trust": Trust(verifies=False)},
            Level.WARN,
            Root.SERVER_CERTIFICATE_EXPIRED,
        ),
    ],
)
def test_expiry(own: Certificate, fields: dict[str, Any], level: Level, root: Root | None) -> None:
    """An expired certificate fails, unless it is the clock; one that expires soon is worth a word."""
    found = judged(chain=(own, ABOVE), verified=Handshake(verify_code=10), **fields)["expiry"]

    assert (found.level, found.root) == (level, root)


def test_an_expired_certificate_behind_the_first_counts_if_openssl_needs_it() -> None:
    """Servers still send authorities' expired certificates, for clients that know no newer one."""
    chain = (OWN, replace(ABOVE, not_after=NOW - DAY))
    needed = judged(chain=chain, verified=Handshake(verify_code=10))["expiry"]

    assert needed.root is Root.SERVER_CERTIFICATE_EXPIRED
    assert ABOVE.subject in needed.text
    assert bad(judged(chain=chain).values()) == []


def test_an_authority_that_has_expired_here_is_told() -> None:
    """What the server sends is valid, and OpenSSL says that something has expired."""
    found = judged(verified=Handshake(verify_code=10), trust=PRIVATE)["trust"]

    assert found.root is Root.SERVER_CERTIFICATE_UNTRUSTED
    assert "has expired in ca.pem" in found.text


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.test", True),
        ("A.test.", True),
        ("x.b.test", True),
        ("x.y.b.test", False),
        ("b.test", False),
        ("other.test", False),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("::1", True),
        ("0:0::1", True),
    ],
)
def test_names(host: str, expected: bool) -> None:
    """As RFC 9525 has it: a wildcard stands for one label."""
    assert is_named(("a.test", "*.b.test", "127.0.0.1", "::1"), host) is expected


def test_a_certificate_for_another_name_is_told() -> None:
    """Whatever else is wrong with it."""
    by_openssl = judged(host="c.test", verified=Handshake(verify_code=62))["name"]
    besides = judged(host="c.test", verified=UNKNOWN)["name"]

    assert [one.root for one in (by_openssl, besides)] == [Root.SERVER_CERTIFICATE_NAME] * 2
    assert by_openssl.value == "a.test, *.b.test"


@pytest.mark.parametrize(
    ("fields", "root", "words"),
    [
        # A private authority that nobody has named, and a server that signs for itself.
        ({}, Root.SERVER_CERTIFICATE_UNTRUSTED, "not a public authority"),
        ({"verified": SELF_SIGNED}, Root.SERVER_CERTIFICATE_UNTRUSTED, "signed by itself"),
        ({"verified": SELF_SIGNED, "trust": PRIVATE}, Root.SERVER_CERTIFICATE_UNTRUSTED, "signed by itself"),
        ({"trust": Trust("/etc/ssl/certs")}, Root.SERVER_CERTIFICATE_UNTRUSTED, "not among /etc/ssl/certs"),
        # What lies between the certificate and an authority.
        ({"has_public_issuer": True}, Root.SERVER_CERTIFICATE_UNTRUSTED, "does not send the intermediate"),
        (
            {"chain": (replace(OWN, tells_issuer=True),)},
            Root.SERVER_CERTIFICATE_UNTRUSTED,
            "does not send the inter",
        ),
        (
            {"has_public_issuer": True, "proxy": "http://p:1"},
            Root.SERVER_CERTIFICATE_UNTRUSTED,
            "does not send",
        ),
        # A bundle that was set for another server.
        (
            {"trust": PRIVATE, "public": VERIFIED},
            Root.SERVER_CERTIFICATE_UNTRUSTED,
            "ca.pem does not have that one",
        ),
        # Somebody in between.
        ({"proxy": "http://p:1"}, Root.INTERCEPTED, "came through the proxy http://p:1"),
        ({"trust": PRIVATE}, Root.INTERCEPTED, "by O=Acme, CN=Root, and not by CN=Ours"),
        ({"chain": (replace(OWN, issuer="O=Zscaler Inc."),)}, Root.INTERCEPTED, "reads along"),
        ({"chain": (OWN, replace(ABOVE, issuer="CN=mitmproxy"))}, Root.INTERCEPTED, "reads along"),
        # For another name it is somebody else's server.
        (
            {"proxy": "http://p:1", "host": "c.test"},
            Root.SERVER_CERTIFICATE_UNTRUSTED,
            "not a public authority",
        ),
        (
            {"verified": Handshake(verify_code=23, verify_message="revoked")},
            Root.SERVER_CERTIFICATE_UNTRUSTED,
            "revoked",
        ),
    ],
)
def test_who_vouches_for_it(fields: dict[str, Any], root: Root, words: str) -> None:
    """A private authority, one that is not sent, and something that intercepts are told apart."""
    found = judged(**{"verified": UNKNOWN, **fields})["trust"]

    assert (found.level, found.root, found.blocks) == (Level.FAIL, root, True)
    assert words in found.text


def test_a_private_authority_that_is_trusted_is_no_interception() -> None:
    """That it is no public one is worth a word, and no warning."""
    found = judged(trust=PRIVATE, public=UNKNOWN)

    assert bad(found.values()) == []
    assert "is not a public authority" in found["trust"].text


def test_a_session_that_verifies_nothing_is_warned() -> None:
    """What is wrong does not make its calls fail."""
    off = Trust(verifies=False)

    assert judged(trust=off)["trust"].level is Level.WARN
    assert judged(trust=off, verified=UNKNOWN)["trust"].level is Level.WARN
    assert judged(trust=off, verified=Handshake(verify_code=62), host="c.test")["name"].level is Level.WARN


def test_what_is_not_known_is_said() -> None:
    """Handshakes that were reset, no certificate, trusted files that cannot be read."""
    trouble = Trouble(Phase.HANDSHAKE, Cause.RESET, "ConnectionResetError", 0.1)
    reset = Handshake(trouble=trouble, place=Place.HELLO)

    assert judged(verified=reset)["trust"].level is Level.WARN
    assert judged(verified=reset, chain=())["chain"].root is Root.HANDSHAKE_RESET
    assert judged(trust=replace(PRIVATE, unusable="no such file"))["trust"].root is Root.SETTING


@pytest.mark.parametrize(
    ("skew", "level"),
    [(None, Level.SKIPPED), (0.4, Level.OK), (-299.0, Level.OK), (301.0, Level.WARN), (-3600.0, Level.WARN)],
)
def test_the_clock(skew: float | None, level: Level) -> None:
    """Five minutes are none."""
    assert judged(skew=skew)["clock"].level is level


def test_what_is_trusted(tmp_path: Path, authority: Any) -> None:
    """Certifi's, a private authority, both in one file, a folder, and what is not there."""
    both = tmp_path / "both.pem"
    both.write_bytes(Path(certifi.where()).read_bytes() + Path(authority.ca_file).read_bytes())
    private = trust_of(authority.ca_file)

    assert trust_of(True) == trust_of(certifi.where()) == Trust()
    assert trust_of(False) == Trust(verifies=False)
    assert (private.has_public, len(private.named)) == (False, 1)
    assert trust_of(str(both)) == trust_of(str(tmp_path / "both.pem")) == Trust(str(both))
    assert trust_of(str(tmp_path)).has_public
    assert trust_of(str(tmp_path / "none")).unusable == "does not exist"
    assert "Internet Security Research Group" in public_organisations()
    assert organisation("C=US, O=DigiCert, Inc., CN=x") == "DigiCert, Inc."
    assert organisation("CN=x") == ""


@pytest.mark.parametrize(
    ("kind", "trusts", "root"),
    [
        ("good", True, None),
        ("good", False, Root.SERVER_CERTIFICATE_UNTRUSTED),
        ("expired", True, Root.SERVER_CERTIFICATE_EXPIRED),
        ("misnamed", True, Root.SERVER_CERTIFICATE_NAME),
        ("untrusted", True, Root.INTERCEPTED),
    ],
)
def test_certificates_of_real_servers(good: FaultServer, kind: str, trusts: bool, root: Root | None) -> None:
    """One cause each. Nothing is bad about the first."""
    with showing(kind, good) as other:
        found = measured(other.url, ca=good.authority.ca_file if trusts else None)
    told_of = [one.root for one in judge(found) if one.is_bad]

    assert told_of == ([] if root is None else [root])
    assert found.chain[0].names == (
        ("misnamed.invalid",) if kind == "misnamed" else ("localhost", "127.0.0.1", "::1")
    )


def test_a_server_that_refuses_the_client_is_looked_at_all_the_same(server: FaultServer) -> None:
    """In TLS 1.2 its handshake is never done."""
    with FaultServer(max_tls="1.2", authority=server.authority) as other:
        found = [measured(one.url, ca=server.authority.ca_file) for one in (server, other)]

    assert [bad(judge(one)) for one in found] == [[], []]
    assert [one.chain[0].names[0] for one in found] == ["localhost"] * 2


def test_a_proxy_that_shows_a_certificate_of_its_own(good: FaultServer) -> None:
    """The right name, and an authority that nobody knows. A proxy that only carries shows nothing."""
    with Interceptor(good) as proxy:
        caught = measured(good.url, proxy=f"http://localhost:{proxy.port}")
    with FaultServer(tls=False) as carrier:
        fine = measured(good.url, proxy=carrier.url, ca=good.authority.ca_file)

    assert [one.root for one in judge(caught) if one.is_bad] == [Root.INTERCEPTED]
    assert bad(judge(fine)) == []


@pytest.mark.parametrize(("date", "bad_ones"), [("Thu, 01 Jan 2026 00:00:00 GMT", ["clock"]), ("soon", [])])
def test_the_clock_is_compared_with_the_servers(server: FaultServer, date: str, bad_ones: list[str]) -> None:
    """A date that is none tells nothing; nobody who is not verified is told the path."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server.authority.server("good"))
    with VerbatimServer(lambda _: Answer(told("200 OK", b"", Date=date), FIN), context) as other:
        found = measured(f"https://localhost:{other.port}/secret?token=1", ca=server.authority.ca_file)
        heads = b"".join(other.heads)

    assert [one.check.partition(".")[2] for one in judge(found) if one.is_bad] == bad_ones
    assert heads.startswith(b"HEAD / HTTP/1.1\r\n")
    assert b"secret" not in heads


def test_a_file_of_trusted_certificates_that_is_not_there(good: FaultServer) -> None:
    """It is a setting that is wrong, and not the server."""
    found = measured(good.url, ca="/nonexistent")

    assert [one.root for one in judge(found) if one.is_bad] == [Root.SETTING]
