"""The page on failures is true: its traceback, its log line, and each exception that it names."""

import inspect
import pickle
import re
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from traceback import format_exception
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import (
    Attempt,
    Breaker,
    ResilientAdapter,
    RetryPolicy,
    Stage,
    attempts_of,
    events,
    exceptions,
    mount,
    override,
)
from resilient_transport.retry.policy import STATUSES
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from tests.docs.test_tutorial import alike, files_of, play, shown_by
from tests.end_to_end.provoked import closed_port
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told
from tests.programs import ROOT
from tests.test_docs import rows, section
from tests.timeouts import SHORT_TIMEOUT

PAGE = "docs/failures.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


def named_in(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`(\w+)`", text)


def likened(output: str) -> str:
    """Return an output without what is another one in each run, nor where files are."""
    output = re.sub(r'File "[^"]*?([\w.]+)"', r'File "\1"', output)
    return re.sub(r"\(call \d+", "(call", alike(output))


def has_parts(output: str, shown: str) -> bool:
    """Tell whether an output has what is shown, in this order; dots stand for other lines, and it ends so."""
    *parts, last = (likened(part) for part in shown.split("\n...\n"))
    rest = likened(output)
    for part in parts:
        _, found, rest = rest.partition(part)
        if not found:
            return False
    return rest.endswith(last)


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 11), reason="before Python 3.11 a traceback has no notes")
def test_each_program_prints_what_is_shown(tmp_path):
    """The traceback, with its notes; and the line of the log, and the event, of a call that gave up."""
    shown = shown_by(PAGE)
    said = play(tmp_path, files_of(PAGE), [one.command for one in shown])

    assert [one.command for one in shown] == ["python order.py", "python heard.py"]
    assert [has_parts(*pair) for pair in zip(said, (one.output for one in shown), strict=True)] == [True] * 2
    assert "secret" in files_of(PAGE)["heard.py"]
    assert "secret" not in said[1]


@pytest.mark.parametrize(
    ("shown", "there"),
    [
        ("a\n...\nd", True),
        ("b\n...\nd", True),
        ("a\n...\nb\n...\nc", False),
        ("d\n...\na", False),
        ("a\n...\nx", False),
    ],
)
def test_other_lines_are_left_out_by_dots(shown, there):
    """The control: what is shown has to be there, in this order, up to the end."""
    assert has_parts("a\nb\nc\nd\n", shown) is there


#: What no call raises because of the wire or of its URL: what the caller does with the answer, or before.
ELSEWHERE = {
    *("RequestException", "Timeout", "URLRequired"),
    *("InvalidJSONError", "JSONDecodeError", "StreamConsumedError"),
}
CLASSES = {
    name: kind
    for module in (exceptions, requests.exceptions)  # of two `ReadTimeout`, that of requests
    for name, kind in vars(module).items()
    if inspect.isclass(kind) and issubclass(kind, requests.RequestException) and name == kind.__name__
    if not name.startswith("_")
}
EXCEPTIONS = {named_in(first)[0]: others for first, *others in rows(section(TEXT, "What can be raised"))}


def test_every_exception_has_a_row():
    """Of the package's own, and of requests' those that a call can raise."""
    *_, what_to_do = EXCEPTIONS["InvalidURL"]
    named = {*EXCEPTIONS, *named_in(what_to_do)}

    assert named | ELSEWHERE == set(CLASSES)
    assert named & ELSEWHERE == set()


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_each_exception_is_what_its_row_says(name):
    """Its bases, but for those that nobody sees."""
    bases = [base.__name__ for base in CLASSES[name].__bases__]

    assert named_in(EXCEPTIONS[name][0]) == [base for base in bases if not base.startswith("_")]


Provoker = Callable[[requests.Session, FaultServer], object]


def get(path: str, **values: Any) -> Provoker:
    """Return what asks for a page."""
    return lambda session, server: session.get(server.url + path, **values)


def overdue(session: requests.Session, server: FaultServer) -> None:
    """Ask for more than there is time for."""
    with override(deadline=SHORT_TIMEOUT):
        session.get(server.url)


def twice(session: requests.Session, server: FaultServer) -> None:
    """Ask again after a failure."""
    with suppress(requests.exceptions.ChunkedEncodingError):
        session.get(f"{server.url}/words/30")
    session.get(server.url)


def sent_before(session: requests.Session, server: FaultServer) -> None:
    """Send a body that was sent before."""
    body = (each for each in [b"once"])
    for _ in range(2):
        session.post(f"{server.url}/echo", data=body)


def switched_off(session: requests.Session, server: FaultServer) -> None:
    """Ask where nobody may."""
    mount(session, disable=[server.url])
    session.get(server.url)


def redirected(session: requests.Session, server: FaultServer, query: str = "") -> None:
    """Ask for a page that is elsewhere, and go nowhere."""
    session.max_redirects = 0
    session.get(f"{server.url}/redirect{query}")


def through_no_proxy(session: requests.Session, server: FaultServer) -> None:
    """Ask by a proxy that is not there."""
    session.get(server.url, proxies={"https": f"http://localhost:{closed_port()}"})


def of_bad_gzip(session: requests.Session, _: FaultServer) -> None:
    """Ask for a body that is not what it says it is."""
    answer = told("200 OK", b"none", Content_Length="4", Content_Encoding="gzip")
    with VerbatimServer([Answer(answer)]) as plain:
        session.get(plain.url)


def not_connected(session: requests.Session, server: FaultServer) -> None:
    """Ask where connecting takes too long."""

    def connect(sock: socket.socket, address: object) -> None:
        raise TimeoutError("timed out")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        session.get(server.url)


CUT, REFUSED = Fault(Moment.BODY, after_bytes=3), Fault(Moment.HANDSHAKE, How.ALERT, seconds=0)
CLOSED, SILENT = Fault(Moment.REQUEST, How.CLOSE_NOTIFY), Fault(Moment.REQUEST, How.STALL)
ONCE = {"policy": RetryPolicy(retries=0)}
#: How each comes about: what the server does, what the adapter is told, and what is asked.
PROVOKED: dict[str, tuple[Fault | None, dict[str, Any], Provoker]] = {
    "ConnectionError": (CLOSED, ONCE, get("/")),
    "ConnectTimeout": (None, ONCE, not_connected),
    "ReadTimeout": (SILENT, ONCE, get("/", timeout=SHORT_TIMEOUT)),
    "DeadlineExceeded": (SILENT, {}, overdue),
    "SSLError": (None, {}, get("/", verify=True)),
    "ClientCertificateRejected": (REFUSED, {}, get("/")),
    "ProxyError": (None, ONCE, through_no_proxy),
    "ChunkedEncodingError": (CUT, ONCE, get("/words/30")),
    "ContentDecodingError": (None, {}, of_bad_gzip),
    "RetryError": (None, {"policy": RetryPolicy(retries=0, raise_on_status=True)}, get("/status/503")),
    "CircuitOpen": (CUT, {"policy": RetryPolicy(retries=0, breaker=Breaker(failures=1))}, twice),
    "EndpointDisabled": (None, {}, switched_off),
    "UnrewindableBodyError": (None, {}, sent_before),
    "TooManyRedirects": (None, {}, redirected),
    "HTTPError": (None, {}, lambda *call: get("/status/404")(*call).raise_for_status()),
    "InvalidURL": (None, {}, lambda session, _: session.get("https://")),
}
#: Those for which stock has no occasion: it sends, or waits.
OURS_ALONE = {"DeadlineExceeded", "CircuitOpen", "EndpointDisabled", "UnrewindableBodyError", "RetryError"}


def raised(server: FaultServer, adapter: HTTPAdapter, fault: Fault | None, ask: Provoker) -> Exception:
    """Return what a call raises whose every connection fails so."""
    server.play(Script((Rule(fault),) if fault else ()))
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = server.authority.ca_file, server.authority.client
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        with pytest.raises(requests.RequestException) as caught:
            ask(session, server)
    return caught.value


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_each_exception_can_be_raised(server, name):
    """By a call; the control: what stock raises there is the same, or what ours is derived from."""
    fault, told_to_adapter, ask = PROVOKED[name]
    error = raised(server, ResilientAdapter(**told_to_adapter), fault, ask)

    assert type(error).__name__ == name
    assert name in OURS_ALONE or isinstance(error, type(raised(server, HTTPAdapter(), fault, ask)))


@pytest.mark.parametrize("name", ["CircuitOpen", "EndpointDisabled"])
def test_nothing_was_sent(server, name):
    """As their rows say: the server has executed nothing but what came before; stock, the control, sends."""
    fault, told_to_adapter, ask = PROVOKED[name]
    raised(server, ResilientAdapter(**told_to_adapter), fault, ask)
    before = server.counts().requests
    server.play(Script())
    with requests.Session() as session:
        session.verify, session.cert = server.authority.ca_file, server.authority.client
        session.trust_env = False
        session.get(server.url)

    assert before == (1 if ask is twice else 0)
    assert server.counts().requests == 1


@pytest.mark.parametrize(
    ("name", "verify", "gave_up"),
    [("EndpointDisabled", None, []), ("SSLError", "missing.pem", []), ("SSLError", None, ["SSLError"])],
)
def test_a_call_that_never_began_is_no_give_up(server, caplog, name, verify, gave_up):
    """One that was switched off, or has no certificate; one that has met the wire, the control, is."""
    fault, told_to_adapter, ask = PROVOKED[name]
    heard: list[events.Event] = []
    with events.subscribed(heard.append), suppress(OSError):
        raised(server, ResilientAdapter(**told_to_adapter), fault, get("/", verify=verify) if verify else ask)

    assert [event.error for event in heard if isinstance(event, events.GaveUp)] == gave_up
    assert len(caplog.records) == len(gave_up)


@pytest.mark.parametrize(
    ("name", "ask", "in_text", "in_pickle"),
    [
        ("HTTPError", lambda *call: get("/status/404?secret")(*call).raise_for_status(), True, True),
        ("TooManyRedirects", lambda session, server: redirected(session, server, "?secret"), False, True),
        ("InvalidSchema", lambda session, _: session.get("ftp://me:secret@localhost"), True, True),
        ("MissingSchema", lambda session, _: session.get("localhost/?secret"), True, True),
        ("InvalidHeader", get("/", headers={"X-Key": "secret\n"}), True, True),
        ("RetryError", get("/status/503?secret"), False, False),
    ],
)
def test_what_requests_itself_raises_tells_more(server, name, ask, in_text, in_pickle):
    """A query, or a header; what the adapter raises, the control, does not."""
    _, told_to_adapter, _ = PROVOKED["RetryError"]
    error = raised(server, ResilientAdapter(**told_to_adapter), None, ask)

    assert type(error).__name__ == name
    assert ("secret" in str(error), b"secret" in pickle.dumps(error)) == (in_text, in_pickle)


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("retries", [Retry(0), Retry(1), 1], ids=["none", "Retry", "number"])
def test_with_a_retry_a_silent_server_ends_in_both(server, retries):
    """It is what stock raises with one, and without; the controls, stock, raise the one or the other."""
    _, _, ask = PROVOKED["ReadTimeout"]
    adapters = [ResilientAdapter(max_retries=retries), HTTPAdapter(max_retries=retries), HTTPAdapter()]
    ours, with_one, without = (raised(server, adapter, SILENT, ask) for adapter in adapters)
    pickled = pickle.loads(pickle.dumps(ours))

    assert isinstance(ours, requests.ReadTimeout)
    assert isinstance(ours, requests.ConnectionError)
    assert isinstance(with_one, requests.ConnectionError)
    assert not isinstance(with_one, requests.ReadTimeout)
    assert type(without) is requests.ReadTimeout
    assert (type(pickled), str(pickled), attempts_of(pickled)) == (type(ours), str(ours), attempts_of(ours))
    assert "\nTimeoutError: " in "".join(format_exception(ours))


def test_an_http_error_has_the_attempts_of_its_response(server):
    """It is one that requests has made; the control, stock, has none in either."""
    fault, told_to_adapter, ask = PROVOKED["HTTPError"]
    error = raised(server, ResilientAdapter(**told_to_adapter), fault, ask)
    control = raised(server, HTTPAdapter(), fault, ask)

    assert len(attempts_of(error)) == 1
    assert attempts_of(error) == attempts_of(error.response)
    assert len(attempts_of(control)) == len(attempts_of(control.response)) == 0


def test_every_field_of_an_attempt_has_a_row():
    """In the order of the code, with all stages."""
    fields = {named_in(first)[0]: what for first, what in rows(section(TEXT, "attempts_of"))}

    assert tuple(fields) == Attempt._fields
    assert fields["stage"] == f"how far it got: {', '.join(map(str, Stage))}"


def test_the_text_that_is_quoted_is_said():
    """It is in the file that has the texts of all failures, which is compared with them."""
    texts = (ROOT / "tests/end_to_end/errors.txt").read_text(encoding="utf-8")
    quoted = re.findall(r"^--> .+$", TEXT, re.MULTILINE)

    assert len(quoted) == 1
    assert set(quoted) <= set(texts.splitlines())


def test_the_statuses_are_the_codes():
    """Those that are repeated by default, and the longest pause that a server may ask for."""
    *others, last = sorted(STATUSES)
    text = re.sub(r"\s+", " ", TEXT)

    assert f"- **{', '.join(map(str, others))} and {last}** say" in text
    assert f"A `Retry-After` of more than {RetryPolicy().retry_after_max:g} s" in text
