"""Every row of the cause table, provoked for real: how often the server was asked, and what the error says.

`errors.txt` has `print(error)` for each case, to be read from top to bottom. After a change of the words,
`UPDATE_ERRORS=1` writes it anew.
"""

import os
import re
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, attempts_of, registry
from resilient_transport.call import origin_state, record
from resilient_transport.gate import cold_start
from resilient_transport.retry.causes import Cause, classify
from tests.end_to_end.provoked import CASES, GARBAGE, answers, ground_for, request, until_gone
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

GOLDEN = Path(__file__).with_name("errors.txt")
RULE = "-" * 100
#: Behind it is what stock does not say; before it, stock's words, which differ by version.
MARK = "--> "


def failed(base, case):
    """Return what a call raises through an adapter of this kind, and what the wire met."""
    made = base() if not isinstance(base, type) else None

    class Adapter(base if made is None else object):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, **kwargs, **case.pool)

    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", made or Adapter())
        session.mount("http://", made or Adapter())
        try:
            session.get(case.url, **case.values)
        except Exception as error:
            return error
    return None


def shape(error):
    """Return the type of an exception, of what it carries, and of the reason of that."""
    carried = error.args[0] if error.args else None
    return type(error), type(carried), type(getattr(carried, "reason", None))


def told(error):
    """Return what `print` says of an error, without what differs from run to run."""
    text = re.sub(r"0x[0-9a-f]{6,}", "0x...", str(error))
    text = re.sub(r"(127\.0\.0\.1|localhost)(:|', port=|\", port=)\d{4,5}", r"\1\2PORT", text)
    text = re.sub(r"port=\d{4,5}", "port=PORT", text)
    text = re.sub(r"/\S*/(\S+\.pem)", r"\1", text)
    text = re.sub(r"\(_ssl\.c:\d+\)", "(_ssl.c)", text)
    text = re.sub(r"[0-9a-f]{64}", "FINGERPRINT", text)
    text = re.sub(r"O=trustme \S+ OU=Testing cert #\S+ ", "", text)
    return re.sub(r"\w{3} [ \d]\d [\d:]{8} \d{4} GMT", "DATE", text)


def added(stock, ours):
    """Return what an error says besides what stock's says; all of it, if it is one of ours."""
    begin = stock.removesuffix(")")
    return ours[len(begin) :].lstrip("'\"., )").rstrip("'\")") if ours.startswith(begin) else ours


class Once(ResilientAdapter):
    """Repeats nothing."""

    def __init__(self):
        super().__init__(max_retries=0)


@pytest.fixture
def fresh():
    """Nothing is known of any server."""
    registry.clear()
    origin_state.clear()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_failure_costs_what_its_cause_says(authority, fresh, name):
    """Counted at the server; type and cause are stock's, whose one attempt is the control."""
    with ground_for(authority) as ground:
        stock = failed(HTTPAdapter, CASES[name](ground))
    with ground_for(authority) as ground:
        case = CASES[name](ground)
        ours = failed(ResilientAdapter, case)
        connects = case.attempts if case.connects is None else case.connects
        counted = (case.server.accepts if case.server else connects, len(attempts_of(ours)))

    assert counted == (connects, case.attempts if isinstance(ours, requests.RequestException) else 0)
    assert isinstance(ours, type(stock))
    assert type(ours) is not type(stock) or shape(ours) == shape(stock)
    compare(name, told(stock), added(told(stock), told(ours)))


def test_the_cases_meet_every_cause(authority, fresh, monkeypatch):
    """Each row of the table is among them, but for those that are answers, or take a change of files."""
    met = set()
    monkeypatch.setattr(record, "cause_at", lambda error, _: met.add(classify(error)) or classify(error))
    for name in CASES:
        with ground_for(authority) as ground:
            failed(Once, CASES[name](ground))

    assert {cause for cause in Cause if cause not in met} == {Cause.STATUS, Cause.MISDIRECTED, Cause.ROTATED}


def compare(name, stock, ours):
    """Hold what is said besides stock's words against the file, or write it there."""
    blocks = dict(
        re.findall(rf"^== (.*?)\n(.*?)\n{RULE}\n", GOLDEN.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    )
    if os.environ.get("UPDATE_ERRORS"):
        blocks[name] = f"{stock}\n{MARK}{ours}"
        ordered = [(one, blocks[one]) for one in CASES if one in blocks]
        GOLDEN.write_text("".join(f"== {one}\n{block}\n{RULE}\n" for one, block in ordered), "utf-8")

    assert ours == blocks[name].partition(MARK)[2]
    # Of bad arguments stock's own words say all.
    assert ours or name == "label too long"


#: What is met once however many ask, and by how many connects of 8 callers.
TOGETHER = {
    "untrusted": 1,
    "no TLS": 1,
    "407 to CONNECT": 1,
    "SOCKS: wrong password": 1,
    "503 to CONNECT": 3,
    "SOCKS: refused": 6,
    "alert 80": 2,
}


@pytest.mark.parametrize("name", TOGETHER)
def test_many_callers_cost_no_more_than_one(authority, fresh, name, monkeypatch):
    """They share what the one that connects has met, and say so; alone each would cost as much, see above."""
    # On a busy machine those that begin at once begin seconds apart.
    monkeypatch.setattr(cold_start, "HOLDS", LONG_TIMEOUT)
    with ground_for(authority) as ground, ThreadPoolExecutor(8) as threads:
        case = CASES[name](ground)
        adapter = ResilientAdapter()
        begin = threading.Barrier(8)

        def call(_):
            begin.wait(LONG_TIMEOUT)
            return failed(lambda: adapter, case)

        errors = list(threads.map(call, range(8)))
        attempts = [attempt for error in errors for attempt in attempts_of(error)]

    assert case.server.accepts == TOGETHER[name]
    assert sum(not attempt.shared for attempt in attempts) == TOGETHER[name]
    assert all(len(attempts_of(error)) <= case.attempts for error in errors)


@pytest.mark.parametrize(
    ("field", "wait"),
    [
        ("1", 1.0),
        ("1.5", 2.0),
        ("0", None),
        ("", None),
        ("soon", None),
        ("7200", "too long"),
    ],
)
def test_a_proxy_says_when_to_ask_again(authority, fresh, pauses, field, wait):
    """Its Retry-After is obeyed, on every version of Python, and one that is too long ends the call."""
    head = f"HTTP/1.1 503 Not now\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: {field}\r\n\r\nbody"
    with ground_for(authority) as ground:
        case = ground.proxied(answers(head.encode()), 3)
        error = failed(ResilientAdapter, case)
        told = [attempt.delay for attempt in attempts_of(error)]

    if wait == "too long":
        assert told == [None]
        assert "Retry-After asks for more than 60 s" in attempts_of(error)[0].decision
    elif wait is None:
        assert len(told) == 3
        assert max(told[:2]) <= 0.1
    else:
        assert told == [wait, wait, None]
    assert case.server.accepts == len(told)


def test_a_head_that_never_ends_is_a_time_out_no_more(authority, fresh):
    """A proxy that sends a status and then nothing costs one time-out, and its status is told."""
    with ground_for(authority) as ground:
        case = ground.proxied(answers(b"HTTP/1.1 403 Forbidden\r\nX: y\r\n"), 1)
        case.values["timeout"] = SHORT_TIMEOUT
        error = failed(ResilientAdapter, case)

    assert isinstance(error, requests.exceptions.ProxyError)
    assert "does not allow connections" in str(error)
    assert case.server.accepts == 1


@pytest.mark.parametrize("record", [b"no record", GARBAGE], ids=["no record", "wrong checksum"])
def test_a_record_that_is_none_heals_in_the_middle_of_a_body(authority, fresh, record):
    """The server was understood before: it is asked again, and not said to speak no TLS."""
    head, requests_seen = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server("good"))

    def talk(client):
        with context.wrap_socket(client, server_side=True) as channel:
            request(channel)
            requests_seen.append(client)
            channel.sendall(head + (b"hello" if len(requests_seen) == 2 else b"he"))
            if len(requests_seen) != 2:
                with socket.socket(fileno=os.dup(channel.fileno())) as raw:
                    raw.sendall(record)
            with suppress(OSError):
                until_gone(channel)

    with ground_for(authority) as ground, requests.Session() as session:
        session.trust_env = False
        session.mount("https://", ResilientAdapter())
        case = ground.case(talk, 2)
        response = session.get(case.url, **case.values)
        registry.clear()
        error = failed(Once, case)

    assert response.content == b"hello"
    assert len(attempts_of(response)) == 2
    assert f"TLS with {case.url[:-1]} failed" in str(error) or "was damaged on its way from" in str(error)
