"""Whether the doctor names the right cause: one table, each row a situation and what has to be said of it."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from resilient_transport import registry
from resilient_transport.call import origin_state
from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.examination import Report, examine
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections import SECTIONS
from resilient_transport.cli.doctor.visit import Visit
from resilient_transport.testing import FaultServer, How, Moment
from tests.cli.doctor.sections import Listener
from tests.end_to_end import doctor_situations as to
from tests.end_to_end.doctor_situations import Situation, World, always, half
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

#: Where a connection is reset between its connect and its handshake, `SSLContext.wrap_socket` raises, and
#: leaves a socket that it has made to the collector: stock's as well as one that is made by hand.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <ssl\.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)

#: Seconds for each step where somebody is silent: what does answer takes a hundredth of that.
PATIENCE = 3 * SHORT_TIMEOUT

#: It starts a server of its own each time, and its own tests look at it.
SKIPPED = ("this-host",)


@dataclass(frozen=True)
class Row:
    """A situation, and what has to be said of it."""

    #: What it is called here.
    name: str
    #: What is wrong, or nothing.
    situation: Situation
    #: The verdict's level and root.
    level: str
    root: Root | None
    #: Words of the verdict, or of what is bad; where nothing is, of any finding.
    words: str
    #: The row with the same server, and nothing wrong with it; empty: this is one.
    beside: str = ""
    #: Seconds for each step.
    timeout: float = LONG_TIMEOUT


M, H = Moment, How
TLS, PLAIN, RAW, BARE = "healthy", "healthy http", "healthy, by hand", "healthy http, by hand"

# fmt: off
TABLE = (
    # Nothing is wrong: no warning, no failure.
    Row(TLS, to.shared(), "ok", None, "the server answers a request with your certificate"),
    Row(PLAIN, to.plain(), "ok", None, "socket and ssl alone get the page"),
    Row(RAW, to.answering(to.good), "ok", None, "the server asks for no client certificate"),
    Row(BARE, to.answering(to.good, ()), "ok", None, "keeps a connection open for the next request"),
    Row("IPv6", to.another(host="::1"), "ok", None, "::1 is an address"),
    Row("TLS 1.2 only", to.another(max_tls="1.2"), "ok", None, "TLS 1.2, and no 1.3"),
    Row("no tickets", to.another(tickets="none"), "ok", None, "no session ticket"),
    Row("HTTP/1.0", to.answering(to.by_1_0, ()), "ok", None, "the server closes each connection"),
    Row("HEAD is not allowed", to.answering(to.no_head, ()), "ok", None, "status 405 for HEAD, 200 for GET"),
    Row("an http proxy", to.behind(to.carrying, to.shared()), "ok", None, "the proxy connects to"),
    Row("an http proxy, and a plain page", to.behind(to.carrying, to.plain()), "ok", None, "the proxy asks"),
    Row("a SOCKS proxy", to.behind(to.socks, to.plain()), "ok", None, "--proxy sets the proxy socks5h://"),
    Row("a proxy with a trusted certificate", to.behind(to.trusted_interceptor, to.shared()), "ok", None,
        "is not a public authority"),
    Row("a session", to.shared(session="tests.cli.doctor.sessions:plain"), "ok", None,
        "every handshake works"),
    Row("calls at once", to.shared(burst=4, delay=0.005), "ok", None,
        "4 calls at once by stock requests work"),
    Row("pages of two sizes", to.shared(sizes=("/bytes/30000",)), "ok", None,
        "bodies of all sizes come whole"),
    Row("held idle", to.shared(hold=SHORT_TIMEOUT), "ok", None, "was idle still works"),
    Row("gzip", to.shared(path="/gzip/3000"), "ok", None, "Content-Length, gzip"),
    Row("a large page", to.plain(path="/bytes/9000000", hold=SHORT_TIMEOUT), "ok", None, "or never ends"),
    Row("a redirection", to.plain(path="/redirect?to=https://a.test/x"), "ok", None,
        "leads to https://a.test,"),
    Row("slow, and no more than that", to.plain(path="/slow/0.05"), "ok", None, "no response is an error"),
    # No way to the server.
    Row("a dead port", to.dead("https"), "fail", Root.REFUSED, "refused the connection at port", TLS),
    Row("a dead port, plain", to.dead("http"), "fail", Root.REFUSED, "connection is refused: nobody listens",
        PLAIN),
    Row("no such name", to.no_such_name, "fail", Root.NAME, "nowhere.invalid is not found", TLS),
    Row("one of two addresses is a black hole", to.black_holed(all_of_them=False), "warn", Root.SOME_ADDRESS,
        "1 of 2 addresses", PLAIN, PATIENCE),
    Row("both addresses are black holes", to.black_holed(all_of_them=True), "fail", Root.UNREACHABLE,
        "No address of the server answers", PLAIN, PATIENCE),
    # The proxy.
    Row("a dead proxy", to.behind(to.dead_proxy, to.shared()), "fail", Root.PROXY_UNREACHABLE,
        "the proxy 127.0.0.1 has refused", "an http proxy"),
    Row("the proxy says 403", to.behind(to.saying(403), to.shared()), "fail", Root.PROXY_REFUSES,
        "does not allow", "an http proxy"),
    Row("the proxy says 407", to.behind(to.saying(407), to.shared()), "fail", Root.PROXY_REFUSES,
        "wants a user name and a password", "an http proxy"),
    Row("the proxy says 502", to.behind(to.saying(502), to.shared()), "fail", Root.PROXY_REFUSES,
        "cannot reach", "an http proxy"),
    Row("a SOCKS proxy refuses", to.behind(to.refusing_socks, to.shared()), "fail", Root.PROXY_REFUSES,
        "The proxy refuses to connect", "a SOCKS proxy"),
    Row("a proxy intercepts", to.behind(to.intercepting, to.shared()), "fail", Root.INTERCEPTED,
        "it came through the proxy", "a proxy with a trusted certificate"),
    # TLS and certificates.
    Row("plain http behind https", to.without_tls, "fail", Root.NO_TLS, "does not speak TLS", TLS),
    Row("no cipher in common", to.nothing_in_common, "fail", Root.NO_COMMON_TLS, "cannot agree on TLS", RAW),
    Row("an expired certificate", to.another(certificate="expired"), "fail", Root.SERVER_CERTIFICATE_EXPIRED,
        "was valid until", TLS),
    Row("another host's certificate", to.another(certificate="misnamed"), "fail",
        Root.SERVER_CERTIFICATE_NAME, "is for misnamed.invalid, and not for localhost", TLS),
    Row("another authority's certificate", to.another(certificate="untrusted"), "fail", Root.INTERCEPTED,
        "and not by", TLS),
    Row("an authority that nobody knows", to.unknown_authority, "fail", Root.SERVER_CERTIFICATE_UNTRUSTED,
        "is not a public authority", TLS),
    Row("no client certificate", to.showing(""), "fail", Root.CLIENT_CERTIFICATE_MISSING,
        "certificate_required", TLS),
    Row("a stranger's client certificate", to.showing("stranger_client"), "fail",
        Root.CLIENT_CERTIFICATE_REFUSED, "CN=mallory (TLS alert unknown_ca)", TLS),
    Row("an alert to a good client certificate", to.shared(always(M.HANDSHAKE, H.ALERT)), "fail",
        Root.CLIENT_CERTIFICATE_REFUSED, "CN=alice (TLS alert", TLS),
    Row("an expired client certificate", to.showing("expired_client"), "fail",
        Root.CLIENT_CERTIFICATE_EXPIRED, "which was valid until", TLS),
    Row("another certificate's key", to.showing("mismatch"), "fail", Root.CLIENT_FILES,
        "does not belong to", TLS),
    # Faults of every connection.
    Row("reset at accept", to.shared(always(M.ACCEPT, H.RST)), "fail", Root.HANDSHAKE_RESET,
        "all handshakes are reset or closed", TLS),
    Row("reset at the ClientHello", to.shared(always(M.CLIENT_HELLO, H.RST)), "fail", Root.HANDSHAKE_RESET,
        "no answer to the ClientHello (ConnectionResetError", TLS),
    Row("closed at the ClientHello", to.shared(always(M.CLIENT_HELLO, H.FIN)), "fail", Root.HANDSHAKE_RESET,
        "no answer to the ClientHello (SSLEOFError", TLS),
    Row("silence at the ClientHello", to.shared(always(M.CLIENT_HELLO, H.STALL)), "fail",
        Root.HANDSHAKE_SILENT, "silence with no answer to the ClientHello", TLS, PATIENCE),
    Row("reset after the handshake", to.shared(always(M.HANDSHAKE, H.RST)), "fail", Root.HANDSHAKE_RESET,
        "after the handshake, before the server's first word", TLS),
    Row("damage after the handshake", to.shared(always(M.HANDSHAKE, H.CORRUPT)), "fail", Root.DAMAGED,
        "all handshakes fail after the handshake", TLS),
    Row("reset after the request", to.plain(always(M.REQUEST, H.RST)), "fail", Root.REQUEST_RESET,
        "8 of 8 requests, before a response comes (ConnectionResetError", PLAIN),
    Row("closed after its execution", to.plain(always(M.EXECUTED, H.FIN)), "fail", Root.REQUEST_RESET,
        "8 of 8 requests, before a response comes (RemoteDisconnected", PLAIN),
    Row("silence after the request", to.shared(always(M.REQUEST, H.STALL)), "fail", Root.SILENT,
        "silent after the request was sent (0 of 1 came whole)", TLS, PATIENCE),
    Row("silence in the head", to.plain(always(M.HEAD, H.STALL)), "fail", Root.SILENT,
        "1 of 1 requests, before a response comes (TimeoutError", PLAIN, PATIENCE),
    Row("bodies that are cut", to.plain(always(M.BODY, H.RST)), "fail", Root.CUT_BODY,
        "8 of 8 requests, in the middle of the body", PLAIN),
    Row("bodies that stall", to.plain(always(M.BODY, H.STALL)), "fail", Root.SILENT,
        "in the middle of the body (Time", PLAIN, PATIENCE),
    # Faults of half of them.
    Row("half are reset at the ClientHello", to.shared(half(M.CLIENT_HELLO, H.RST)), "fail",
        Root.HANDSHAKE_RESET, "of 8 requests, in the TLS handshake", TLS),
    Row("half are reset after the handshake", to.shared(half(M.HANDSHAKE, H.RST)), "fail",
        Root.HANDSHAKE_RESET, "of 8 requests, right after the TLS handshake", TLS),
    Row("half are damaged", to.shared(half(M.EXECUTED, H.CORRUPT)), "fail", Root.DAMAGED,
        "requests, before a response comes (SSLError", TLS),
    Row("half are reset after the request", to.shared(half(M.REQUEST, H.RST)), "fail", Root.REQUEST_RESET,
        "This adapter: 0 of 8 calls failed", TLS),
    Row("half the heads are cut", to.plain(half(M.HEAD, H.FIN)), "fail", Root.REQUEST_RESET,
        "takes a response whose head was cut for a whole one", PLAIN),
    Row("half the bodies are cut", to.shared(half(M.BODY, H.CLOSE_NOTIFY)), "fail", Root.CUT_BODY,
        "This adapter: 0 of 8 calls failed", TLS),
    Row("half are silent", to.plain(half(M.EXECUTED, H.STALL)), "fail", Root.SILENT,
        "This adapter: 0 of 8 calls failed", PLAIN, PATIENCE),
    # Faults of some.
    Row("resets where handshakes overlap", to.shared(always(M.HANDSHAKE, H.RST, in_flight_over=1), burst=4,
        delay=0.02), "fail", Root.HANDSHAKE_RACE, "some fail, and none fails alone", "calls at once"),
    Row("bodies that are cut by size", to.shared(always(M.BODY, H.RST, path="/bytes/9"), path="/bytes/100",
        sizes=("/bytes/90000",)), "fail", Root.CUT_BY_SIZE, "8 of 8 at 90,000 B", "pages of two sizes"),
    Row("a bad third of three backends", to.answering(to.good, ("good", "good", None)), "fail",
        Root.HANDSHAKE_RESET, "of 4 handshakes are reset", RAW),
    Row("another certificate at a third of them", to.answering(to.good, ("good", "good", "misnamed")),
        "fail", Root.SERVER_CERTIFICATE_NAME,
        "for misnamed.invalid, and not for localhost; other connections are shown", RAW),
    # What a server says, and does.
    Row("idle connections are closed", to.another(idle_timeout=SHORT_TIMEOUT, hold=LONG_TIMEOUT), "warn",
        Root.IDLE_CLOSED, "and does not say when", "held idle"),
    Row("keep-alive, and closed", to.answering(to.closing, ()), "warn", Root.KEEP_ALIVE,
        "closes it at once", BARE),
    Row("a lying 206", to.answering(to.lying, ()), "fail", Root.WRONG_RANGE,
        "its bytes are other ones", BARE),
    Row("a lying 206, and resets", to.answering(to.lying, ("good", "good", None)), "fail",
        Root.HANDSHAKE_RESET, "Also: requests for the rest of a body are answered wrongly", RAW),
    Row("no HTTP", to.answering(to.garbage, ()), "fail", Root.GARBLED, "BadStatusLine", BARE),
    Row("503", to.answering(to.with_status("503 Busy"), ()), "warn", Root.STATUS, "status 503", BARE),
    Row("404", to.answering(to.with_status("404 Not Found"), ()), "warn", Root.STATUS,
        "24 x status 404", BARE),
    Row("401", to.answering(to.with_status("401 Unauthorized"), ()), "warn", Root.STATUS,
        "24 x status 401", BARE),
    Row("too many requests", to.answering(to.Rationed, ()), "warn", Root.STATUS, "status 429", BARE),
    Row("a clock that is off", to.answering(to.with_status("200 OK", Date="Mon, 01 Jan 2024 00:00:00 GMT")),
        "warn", Root.CLOCK, "clock is ahead of the server's", RAW),
)
# fmt: on


@pytest.fixture(scope="module")
def plain() -> Iterator[FaultServer]:
    """A fault server without TLS."""
    with FaultServer(tls=False) as server:
        yield server


@pytest.fixture
def world(server: FaultServer, plain: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """What situations are made in; pauses are as good as none."""
    monkeypatch.setenv("RESILIENT_TRANSPORT_BACKOFF", "0.001")
    with ExitStack() as stack:
        registry.clear()
        yield World(stack, server, plain, monkeypatch)


def examined(world: World, row: Row) -> Report:
    """What the doctor says of a situation."""
    origin_state.clear()
    world.stack.callback(registry.clear)
    options = Options(timeout=row.timeout, skip=SKIPPED, **row.situation(world))
    return examine(Visit(options), SECTIONS, Listener())


@pytest.mark.slow
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_right_cause_is_named(world: World, row: Row) -> None:
    """Its root, how bad it is, and in words; and within the limit of requests."""
    report = examined(world, row)
    bad = [one for one in report.findings if one.is_bad]
    said = [
        report.verdict.whole,
        report.verdict.also,
        *(f"{one.text} ({one.value})" for one in bad or report.findings),
    ]

    assert (str(report.verdict.level), report.verdict.root) == (row.level, row.root), said
    assert row.words in "\n".join(said)
    assert bad or row.level == "ok"
    assert not any("could not be measured" in one.text for one in report.findings)
    assert report.requests <= 200


def test_each_fault_stands_beside_a_healthy_row() -> None:
    """The control: of the same server without the fault, nothing is found."""
    healthy = {row.name for row in TABLE if row.level == "ok" and row.root is None and not row.beside}

    assert {row.beside for row in TABLE if row.level != "ok"} <= healthy
    assert not healthy & {row.name for row in TABLE if row.level != "ok"}


def test_no_row_is_a_copy() -> None:
    """Two rows that expect the same root expect other words."""
    said = [(row.root, row.words) for row in TABLE]
    by_name = {row.name for row in TABLE}

    assert len(by_name) == len(TABLE) >= 28
    assert [each for each in said if said.count(each) > 1] == []
