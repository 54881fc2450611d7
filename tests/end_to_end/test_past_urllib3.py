"""Where a call goes past urllib3, neither the server nor the caller can tell. Through the whole house.

A usual request over an idle connection is written in one pass, and a usual head taken apart in one. Each case
here runs three times: with stock, with ours, and with ours where all goes through urllib3.
"""

import ssl
from contextlib import ExitStack, contextmanager, nullcontext
from unittest.mock import patch

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, registry
from resilient_transport.connection import response_head
from resilient_transport.connection.connection import ResilientConnection
from resilient_transport.pool import lease
from resilient_transport.testing import Moment, Rule, Script
from tests.end_to_end.test_differential import FAULTS, TLS_FAULTS, name, patience, shape
from tests.end_to_end.verbatim_server import FIN, KEEP, RAGGED, RST, STALL, Answer, VerbatimServer, told
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

#: Those that a connection can meet that was used before.
LATE_FAULTS = [
    fault
    for fault in TLS_FAULTS + FAULTS
    if fault.at in (Moment.REQUEST, Moment.EXECUTED, Moment.HEAD, Moment.BODY)
]
FIRST = Answer(told("200 OK", b"first", Content_Length="5"))
WHOLE = told("200 OK", b"0123456789", Content_Length="10", Content_Type="text/plain; charset=utf-8")
CHUNKED = told("200 OK", b"5\r\nhello\r\n0\r\n\r\n", Transfer_Encoding="chunked")
ANSWERS = {
    "whole": (WHOLE, KEEP),
    "closed by the server": (told("200 OK", b"0123456789", Content_Length="10", Connection="close"), FIN),
    "to the end of the connection": (told("200 OK", b"0123456789"), FIN),
    "chunked": (CHUNKED, KEEP),
    "chunked, with trailers": (CHUNKED[:-2] + b"X: y\r\n\r\n", KEEP),
    "no content": (told("204 No Content", b""), KEEP),
    "not modified": (told("304 Not Modified", b"", Content_Length="99"), KEEP),
    "cookies": (told("200 OK", b"x", Set_Cookie="a=1", set_cookie="b=2; Path=/", Content_Length="1"), KEEP),
    "not found": (told("404 Not Found", b"no", Content_Length="2"), KEEP),
    "after an early hint": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + WHOLE, KEEP),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", FIN),
    "folded": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\r\n b\r\n\r\nok", KEEP),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", KEEP),
    "a length said twice": (told("200 OK", b"ok", Content_Length="2", content_length="2"), KEEP),
    "two lengths": (told("200 OK", b"ok", Content_Length="2", content_length="3"), KEEP),
    "length and chunks": (
        told("200 OK", b"2\r\nok\r\n0\r\n\r\n", Content_Length="3", Transfer_Encoding="chunked"),
        KEEP,
    ),
    "a line that is none": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno colon\r\n\r\nok", KEEP),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n", FIN),
    "too many fields": (told("200 OK", b"", **{f"X_{n}": "y" for n in range(101)}), FIN),
    "a body cut by a close": (WHOLE[:-4], FIN),
    "a body cut by a reset": (WHOLE[:-4], RST),
    "a body that stalls": (WHOLE[:-4], STALL),
    "chunks cut": (CHUNKED[:-8], FIN),
    "a head cut by a close": (WHOLE[:30], FIN),
    "a head cut by a reset": (WHOLE[:30], RST),
    "a head that stalls": (WHOLE[:30], STALL),
    "nothing, and a close": (b"", FIN),
    "nothing, and a reset": (b"", RST),
    "nothing at all": (b"", STALL),
    "a length that is too short": (told("200 OK", b"0123456789", Content_Length="4"), FIN),
}
CALLS = {
    "GET": {"method": "GET"},
    "HEAD": {"method": "HEAD"},
    "POST": {"method": "POST", "data": b"body"},
    "a query": {"method": "GET", "params": {"a": "\u00e9 b", "c": ["1", "2"]}, "headers": {"X": "y"}},
    "a stream": {"method": "GET", "stream": True},
    "no time-out between bytes": {"method": "GET", "timeout": (LONG_TIMEOUT, LONG_TIMEOUT)},
}


@contextmanager
def through_urllib3():
    """Let nothing go past urllib3 and `http.client`."""
    with patch.multiple(lease, is_as_shipped=bool), patch.multiple(response_head, is_as_shipped=bool):
        yield


@contextmanager
def exchanges():
    """Count the calls that go past urllib3."""
    made = []
    usual = ResilientConnection.exchange

    def exchange(self, *args):
        made.append(self)
        return usual(self, *args)

    with patch.object(ResilientConnection, "exchange", exchange):
        yield made


def seen_by_caller(session, url, call):
    """Return what a caller sees of a call: all of a response, or what is raised."""
    try:
        response = session.request(url=url, **call)
        content = response.content
    except Exception as error:
        return shape(error)
    raw = response.raw
    head = (response.status_code, response.reason, response.url, response.encoding, raw.version)
    fields = (list(response.headers.items()), list(raw.headers.items()), list(raw.headers))
    cookies = sorted((cookie.name, cookie.value) for cookie in (*response.cookies, *session.cookies))
    end = (raw.length_remaining, raw.chunked, raw.closed, raw._original_response.isclosed(), raw.tell())
    message = raw._original_response.msg
    return content, head, fields, cookies, end, message.items(), message.get_all("set-cookie")


def run(adapter, answer, call, context=None, verify=True):
    """Return what the caller and the server see of a call over a connection that was used before."""
    with VerbatimServer([FIRST, answer, answer], context, True) as server, requests.Session() as session:
        session.trust_env = False
        session.verify = verify
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        session.get(server.url)
        caller = seen_by_caller(session, server.url, call)
        heads = [head.replace(str(server.port).encode(), b"PORT") for head in server.heads]
        return str(caller).replace(str(server.port), "PORT"), heads


@pytest.fixture
def tls(authority):
    """What makes a server speak TLS, and a client trust it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server("good"))
    return {"context": context, "verify": authority.ca_file}


def three_ways(answer, call, **server):
    """Return what is seen with stock, with ours, and with ours through urllib3; and how many went past it."""
    found = [run(HTTPAdapter(), answer, call, **server)]
    with exchanges() as made:
        found.append(run(ResilientAdapter(max_retries=0), answer, call, **server))
    count = len(made)
    with through_urllib3(), exchanges() as made:
        found.append(run(ResilientAdapter(max_retries=0), answer, call, **server))
        assert not made
    return found, count


@pytest.mark.parametrize(
    "answer", ["whole", "chunked", "nothing, and a reset", "nothing at all", "a head that stalls"]
)
def test_nobody_can_tell_within_a_deadline(answer):
    """A call with a deadline goes past urllib3, too, and ends with it."""
    found = []
    for _ in range(2):
        adapter = ResilientAdapter(policy=RetryPolicy(retries=0, deadline=SHORT_TIMEOUT + 0.3))
        with exchanges() as made, ExitStack() as stack:
            if found:
                stack.enter_context(through_urllib3())
            found.append(run(adapter, Answer(*ANSWERS[answer]), {"method": "GET"}))
        assert len(made) == (len(found) == 1)

    assert found[0] == found[1]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_nobody_can_tell(answer, call):
    """The caller and the server see the same, whichever way it went; stock asks the same of the server."""
    data, then = ANSWERS[answer]
    patience = SHORT_TIMEOUT if then is STALL else LONG_TIMEOUT
    asked = {"timeout": (LONG_TIMEOUT, patience), **CALLS[call]} | (
        {"timeout": SHORT_TIMEOUT} if then is STALL else {}
    )
    (stock, ours, usual), count = three_ways(Answer(data, then), asked)

    assert count == 1
    assert ours == usual
    assert ours[1] == stock[1]


@pytest.mark.parametrize(
    "answer", ["whole", "chunked", "cookies", "a body cut by a reset", "nothing, and a reset"]
)
def test_nobody_can_tell_over_tls(tls, answer):
    """The same over TLS."""
    (stock, ours, usual), count = three_ways(Answer(*ANSWERS[answer]), {"method": "GET"}, **tls)

    assert count == 1
    assert ours == usual == stock


def test_a_body_that_ends_ragged_is_no_body(tls):
    """A body that ends with its connection, and without close_notify, is an error on either way."""
    found, count = three_ways(Answer(told("200 OK", b"0123456789"), RAGGED), {"method": "GET"}, **tls)

    assert count == 1
    assert found[1] == found[2]
    assert "ChunkedEncodingError" in found[1][0]
    assert "ChunkedEncodingError" not in found[0][0]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("policy", [RetryPolicy(retries=0), RetryPolicy(backoff=0)], ids=["once", "again"])
@pytest.mark.parametrize("fault", LATE_FAULTS, ids=name)
def test_every_fault_costs_the_same(server, dial, fault, policy, method):
    """What a fault does to a call, and how often the server executes it, is the same on both ways."""
    found = []
    for way in (nullcontext, through_urllib3):
        server.play(Script())
        session = dial(server, policy=policy)
        session.get(server.url, timeout=patience(fault))
        server.play(Script((Rule(fault, first=1),)))
        with way(), exchanges() as made:
            try:
                outcome = session.request(method, server.url + "/words/30", timeout=patience(fault))
            except requests.RequestException as error:
                outcome = error
        assert bool(made) == (way is nullcontext)
        story = [(str(one.stage), one.status, one.reused, one.bytes_in) for one in attempts_of(outcome)]
        result = shape(outcome) or (outcome.status_code, outcome.text)
        found.append((story, result, server.counts().executed))
        registry.clear()

    assert found[0] == found[1]


def test_what_follows_a_response_is_nobodys():
    """A connection on which more came than the response has is not used again, and stock's is the control."""
    surplus = told("200 OK", b"0123", Content_Length="4") + told("200 OK", b"evil", Content_Length="4")
    accepts = []
    for adapter in (ResilientAdapter(), HTTPAdapter()):
        answers = [FIRST, Answer(surplus), Answer(WHOLE)]
        with VerbatimServer(answers) as server, requests.Session() as session:
            session.trust_env = False
            session.mount("http://", adapter)
            texts = [session.get(server.url).text for _ in answers]
            accepts.append(server.accepts)
        assert texts == ["first", "0123", "0123456789"]

    assert accepts == [2, 1]


def test_who_debugs_sees_every_line(capsys):
    """`http.client` prints what it sends and receives, where a program says so, on every call."""
    with VerbatimServer([FIRST, Answer(WHOLE), Answer(WHOLE)]) as server, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter())
        session.get(server.url)
        with exchanges() as made:
            session.get(server.url)
            (connection,) = made
            connection.debuglevel = 1
            session.get(server.url)

    assert len(made) == 1
    assert {line.split(":")[0] for line in capsys.readouterr().out.splitlines()} == {
        "send",
        "reply",
        "header",
    }


@pytest.mark.parametrize(
    "ask",
    [
        lambda pool: pool.request("GET", "/"),
        lambda pool: pool.urlopen("GET", "/", None, None, 0, False, True, 10.0),
        lambda pool: pool.urlopen(method="GET", url="/", timeout=urllib3.Timeout(5), preload_content=True),
    ],
)
def test_who_asks_a_pool_himself_is_heard(ask):
    """A program that uses the adapter's pools as urllib3's gets what urllib3 gives, its time-outs too."""
    with VerbatimServer([FIRST, Answer(WHOLE), Answer(WHOLE)]) as server, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter())
        session.get(server.url)
        pool = session.get_adapter(server.url).poolmanager.connection_from_url(server.url)
        pool.timeout = urllib3.Timeout(7)
        with exchanges() as made:
            answer = ask(pool)

    assert (answer.data, made) == (b"0123456789", [])


class _Seconds:
    """A number of seconds that is neither an int nor a float, as one of NumPy's."""

    def __index__(self):
        return int(LONG_TIMEOUT)

    def __float__(self):
        return float(LONG_TIMEOUT)

    def __le__(self, other):
        return other >= LONG_TIMEOUT


def test_time_outs_of_other_kinds_are_set_by_urllib3():
    """What a request may take to be sent is then urllib3's to say, not what the call before has left."""
    with VerbatimServer([FIRST, Answer(WHOLE), Answer(WHOLE)]) as server, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter())
        session.get(server.url)
        with exchanges() as made:
            answers = [session.get(server.url, timeout=patience) for patience in (_Seconds(), LONG_TIMEOUT)]

    assert [answer.text for answer in answers] == ["0123456789"] * 2
    assert len(made) == 1
