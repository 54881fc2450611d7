"""The doctor's section on the proxy, and why there is one."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import requests

from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.finding import Finding, Level
from resilient_transport.cli.doctor.known_faults import parsed
from resilient_transport.cli.doctor.program_calls import OURS, STOCK, calls
from resilient_transport.cli.doctor.proxy_choice import ProxyChoice, proxy_choice_of
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections import proxy
from resilient_transport.cli.doctor.sections.proxy import PROXY, judge
from resilient_transport.cli.doctor.target import UnusableTarget
from resilient_transport.retry.causes import Cause
from resilient_transport.testing import Authority, FaultServer
from tests.cli.doctor.visiting import bad, by_check, dead_port, listening, visit_to
from tests.end_to_end.slow_peers import Answering, Slow, Stalling
from tests.end_to_end.socks5 import SOCKS5
from tests.plain_server import plain_server
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

URL = "https://api.example.test/page"
AGENT = "http://proxy.example.test:3128"


@pytest.fixture(scope="module")
def carrier(authority: Authority) -> Iterator[FaultServer]:
    """Return a proxy that connects to any port of loopback."""
    with FaultServer(authority=authority, tls=False) as server:
        yield server


def through(proxy: str, url: str = "https://127.0.0.1:9/", **options: Any) -> dict[str, Finding]:
    """Measure a proxy, and judge it."""
    visit = visit_to(url, proxy=proxy, **options)
    assert PROXY.idle_because(visit) is None
    return by_check(judge(PROXY.measure(visit)))


class Refusing(Slow):
    """Says something to whatever it hears, as a SOCKS5 proxy does that refuses."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__()
        self._answers = answers

    def talk(self, client):
        """Answer each word with the next answer."""
        for answer in self._answers:
            client.recv(65536)
            client.sendall(answer)


def answering(status: int) -> Answering:
    """Return a proxy that answers everything with a status."""
    return Answering(b"HTTP/1.1 %d Word\r\nContent-Length: 0\r\n\r\n" % status)


def test_without_a_proxy_the_section_does_not_apply() -> None:
    """An option that is empty says so, too."""
    assert PROXY.idle_because(visit_to(URL)) == "no proxy is used"
    assert PROXY.idle_because(visit_to(URL, proxy="")) == "no proxy is used"


def test_a_proxy_that_connects_is_ok(carrier: FaultServer) -> None:
    """It is told what names it, without its credentials."""
    with ExitStack() as stack:
        port = listening(stack)[1]
        told = through(f"http://user:secret@127.0.0.1:{carrier.port}", f"https://127.0.0.1:{port}/")

    assert bad(told.values()) == []
    assert told["proxy.used"].text == f"--proxy sets the proxy http://127.0.0.1:{carrier.port}"
    assert told["proxy.connect"].text == f"the proxy connects to 127.0.0.1:{port}"
    assert "secret" not in repr(told)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (403, "does not allow 127.0.0.1:9"),
        (405, "does not know CONNECT"),
        (502, "cannot reach 127.0.0.1:9"),
        (503, "cannot reach"),
        (504, "cannot reach"),
    ],
)
def test_a_status_of_connect_is_told_in_words(status: int, word: str) -> None:
    """It is asked once: a status is an answer."""
    with answering(status) as peer:
        found = through(f"http://127.0.0.1:{peer.port}")["proxy.connect"]

    assert (found.level, found.root, found.value) == (Level.FAIL, Root.PROXY_REFUSES, f"status {status}")
    assert word in found.text
    assert peer.accepts == 1


@pytest.mark.parametrize(
    ("userinfo", "word"), [("", "gets none"), ("user:secret@", "does not take the user name and password")]
)
@pytest.mark.parametrize("url", ["https://127.0.0.1:9/", "http://127.0.0.1:9/"])
def test_407_says_whether_credentials_are_missing_or_wrong(url: str, userinfo: str, word: str) -> None:
    """To CONNECT or to a plain request; the hint has no credentials."""
    with answering(407) as peer:
        found = through(f"http://{userinfo}127.0.0.1:{peer.port}", url)["proxy.connect"]

    assert (found.level, found.root) == (Level.FAIL, Root.PROXY_REFUSES)
    assert word in found.text
    assert "USER:PASSWORD" in found.hint
    assert "secret" not in repr(found)


def test_a_proxy_that_says_nothing_is_left_after_two_tries() -> None:
    """Each try takes as long as a step may take."""
    with Stalling() as peer:
        found = through(f"http://127.0.0.1:{peer.port}", timeout=SHORT_TIMEOUT)["proxy.connect"]

    assert (found.level, found.root) == (Level.FAIL, Root.PROXY_REFUSES)
    assert "is silent for 0.2 s" in found.text
    assert peer.accepts == 2


def test_one_reset_is_no_failure(carrier: FaultServer) -> None:
    """What works in the end is told with what came first."""
    with ExitStack() as stack:
        socks = stack.enter_context(closing(SOCKS5(resets=1)))
        port = listening(stack)[1]
        found = through(f"socks5h://127.0.0.1:{socks.port}", f"https://127.0.0.1:{port}/")["proxy.connect"]
        socks.resets = 3
        failed = through(f"socks5h://127.0.0.1:{socks.port}", f"https://127.0.0.1:{port}/")["proxy.connect"]

    assert found.level is Level.OK
    assert found.text.endswith("at attempt 2: first it closes the connection")
    assert failed.root is Root.PROXY_REFUSES


def test_a_plain_server_is_asked_for_by_its_whole_url(carrier: FaultServer) -> None:
    """The proxy's answer has a status, whose it is or the server's."""
    found = through(carrier.url, carrier.url)["proxy.connect"]

    assert (found.level, found.value.partition(",")[0]) == (Level.OK, "status 200")


@pytest.mark.slow
def test_a_proxy_may_speak_tls(authority: Authority) -> None:
    """One that is not trusted, or speaks no TLS, is told from one that refuses."""
    with ExitStack() as stack:
        server = stack.enter_context(FaultServer(authority=authority, client_auth="none"))
        plain = stack.enter_context(Refusing(b"HTTP/1.1 400 No\r\n\r\n"))
        url = f"https://127.0.0.1:{listening(stack)[1]}/"
        there = through(f"https://localhost:{server.port}", url, ca=authority.ca_file)
        untrusted = through(f"https://localhost:{server.port}", url)["proxy.connect"]
        without = through(f"https://localhost:{plain.port}", url)["proxy.connect"]

    assert bad(there.values()) == []
    assert (untrusted.root, without.root) == (Root.PROXY_UNREACHABLE, Root.PROXY_UNREACHABLE)
    assert "certificate" in untrusted.hint
    assert without.hint.startswith("--proxy http://localhost:")


@pytest.mark.slow
def test_a_page_comes_through_a_proxy_that_speaks_tls(authority: Authority, server: FaultServer) -> None:
    """The server's TLS goes inside the proxy's, and what either ends is over on both sides."""
    with FaultServer(authority=authority, client_auth="none") as proxy:
        visit = visit_to(
            server.url, proxy=f"https://localhost:{proxy.port}", ca=authority.ca_file,
            cert=authority.client[0], key=authority.client[1],
        )  # fmt: skip
        with visit.line() as line:
            line.dial()
            line.tunnel()
            line.shake_hands(visit.context())
            answer = line.ask(resource="/bytes/300000")
            version = line.sock.version()
            server.reset_peers()
            with pytest.raises((OSError, http.client.HTTPException)):
                line.ask()
            after = line.trouble
        for thread in threading.enumerate():
            if thread.name == "resilient-doctor-tls":
                thread.join(LONG_TIMEOUT)
        carrying = [thread for thread in threading.enumerate() if thread.name == "resilient-doctor-tls"]

    assert (answer.status, answer.cut, version) == (200, None, "TLSv1.3")
    assert answer.body_bytes == 300000
    assert after.cause is Cause.RESET
    assert carrying == []


def test_what_is_no_proxy_of_that_kind_is_told() -> None:
    """A SOCKS proxy does not answer in HTTP, and one for HTTP does not answer in SOCKS."""
    with Refusing(b"\x05\xff\r\n") as socks, Refusing(b"HTTP/1.1 400 No\r\n\r\n") as web:
        as_http = through(f"http://127.0.0.1:{socks.port}")["proxy.connect"]
        as_socks = through(f"socks5h://127.0.0.1:{web.port}")["proxy.connect"]

    assert "not a proxy of that kind" in as_http.text
    assert "--proxy socks5h://127.0.0.1:" in as_http.hint
    assert "not a proxy of that kind" in as_socks.text
    assert "--proxy http://127.0.0.1:" in as_socks.hint


def test_a_socks_proxy_that_refuses_is_told_in_words() -> None:
    """Its reply, or that it wants a password."""
    with Refusing(b"\x05\x00", b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00") as peer:
        refused = through(f"socks5h://127.0.0.1:{peer.port}")["proxy.connect"]
    with Refusing(b"\x05\xff") as peer:
        closed = through(f"socks5h://127.0.0.1:{peer.port}")["proxy.connect"]

    assert "the server refuses the proxy's connection" in refused.text
    assert "wants a user name and a password" in closed.text
    assert (refused.root, closed.root) == (Root.PROXY_REFUSES, Root.PROXY_REFUSES)


def test_socks_takes_pysocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it requests cannot speak with the proxy, whatever we can."""
    with ExitStack() as stack:
        socks = stack.enter_context(closing(SOCKS5()))
        url = f"https://127.0.0.1:{listening(stack)[1]}/"
        there = through(f"socks5h://127.0.0.1:{socks.port}", url)
        monkeypatch.setattr(proxy.importlib.util, "find_spec", lambda name: None)
        missing = through(f"socks5h://127.0.0.1:{socks.port}", url)

    assert bad(there.values()) == []
    assert bad(missing.values()) == ["proxy.usable"]
    assert missing["proxy.usable"].hint == "pip install PySocks"


def test_a_proxy_that_is_not_there_is_measured() -> None:
    """With `--only proxy` nothing has been connected before."""
    found = through(f"http://127.0.0.1:{dead_port()}")["proxy.connect"]

    assert found.root is Root.PROXY_UNREACHABLE
    assert "has refused the connection" in found.text


@pytest.mark.parametrize("wrong", ["localhost:3128", "ftp://proxy:21", "http://:80", "http://proxy:x"])
def test_a_url_that_is_no_proxys_is_refused_without_being_shown(wrong: str) -> None:
    """Requests reads the first as a scheme; with a name that has a dot it is a host."""
    with pytest.raises(UnusableTarget, match="http://host:port") as met:
        visit_to(URL, proxy=wrong)

    assert wrong not in str(met.value)
    assert visit_to(URL, proxy="proxy.test:3128").target.proxy == "http://proxy.test:3128"


def test_the_option_holds_for_calls_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says: no proxy, or the one that was named."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{dead_port()}")
    with plain_server() as url, answering(418) as peer:
        direct = calls(visit_to(url, proxy=""), STOCK, 1)
        named = calls(visit_to(url, proxy=f"http://127.0.0.1:{peer.port}"), OURS, 1)
        control = calls(visit_to(url), STOCK, 1)

    assert [call.status for call in (*direct, *named, *control)] == [200, 418, None]


def choice(environment: dict[str, str], url: str = URL, **values: Any) -> ProxyChoice:
    """Return what decides, in this environment."""
    with pytest.MonkeyPatch.context() as patch, requests.Session() as session:
        for name, value in environment.items():
            patch.setenv(name, value)
        session.trust_env = values.pop("trust_env", True)
        session.proxies = values.pop("proxies", {})
        return proxy_choice_of(session, Options(url, **values), url, environment)


def test_the_option_beats_the_environment_and_that_the_session() -> None:
    """So requests has it; a variable in small letters beats one in capitals."""
    environment = {"HTTPS_PROXY": AGENT, "https_proxy": "http://small.test:1"}
    by_session = {"https": "http://session.test:2"}

    assert choice(environment, proxy="http://option.test:3").source == "--proxy"
    assert choice(environment, proxy="").proxy is None
    assert choice(environment, proxies=by_session).source == "https_proxy"
    assert choice(environment, proxies=by_session).proxy == "http://small.test:1"
    assert choice({"ALL_PROXY": AGENT}).source == "ALL_PROXY"
    assert choice(environment, proxies=by_session, trust_env=False).source == "session.proxies"
    assert choice({}).source == ""


def test_the_choice_is_what_requests_does() -> None:
    """The proxy of the choice is the one that the visit takes."""
    for environment in ({"HTTPS_PROXY": AGENT}, {"HTTPS_PROXY": AGENT, "NO_PROXY": "example.test"}, {}):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            taken = visit_to(URL).target.proxy_shown

        assert choice(environment).proxy == taken


@pytest.mark.parametrize(
    ("no_proxy", "excluded", "near"),
    [
        ("localhost, .example.test", (".example.test",), ()),
        ("example.test", ("example.test",), ()),
        ("*", ("*",), ()),
        ("https://api.example.test", (), (("https://api.example.test", "api.example.test"),)),
        ("*.example.test", (), (("*.example.test", "example.test"),)),
        ("api.example.test:8443", (), (("api.example.test:8443", "api.example.test"),)),
        ("localhost example.test", (), (("localhost example.test", "example.test"),)),
        ("other.test", (), ()),
        ("http://me:secret@api.example.test example.test", (), ()),
    ],
)
def test_entries_of_no_proxy_that_match_or_nearly_match_are_found(
    no_proxy: str, excluded: tuple[str, ...], near: tuple[tuple[str, str], ...]
) -> None:
    """Nearly: with a scheme, another port, a star, or without a comma."""
    found = choice({"HTTPS_PROXY": AGENT, "NO_PROXY": no_proxy})

    assert (found.excluded_by, found.near) == (excluded, near)
    assert found.proxy == (None if excluded else AGENT)


def test_an_entry_for_another_host_of_the_same_end_takes_it_out_of_old_requests_only() -> None:
    """Until 2.34 "i.example.test" took "api.example.test" out; where it does, the choice says so."""
    found = choice({"HTTPS_PROXY": AGENT, "NO_PROXY": "i.example.test"})
    is_old = parsed(requests.__version__) < (2, 34)

    assert found.excluded_by == found.too_wide == (("i.example.test",) if is_old else ())
    assert found.proxy == (None if is_old else AGENT)


def test_credentials_are_nowhere_in_a_choice() -> None:
    """Of each URL only the origin is kept."""
    found = choice({"HTTPS_PROXY": "http://me:secret@p.test:1"}, proxies={"https": "http://me:secret@s.test"})

    assert "secret" not in repr(found)
    assert (found.in_environment, found.in_session) == ("http://p.test:1", "http://s.test")
