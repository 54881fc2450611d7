"""Bodies that are read when requests reads them, and not before: hooks, 401 and 407, redirects."""

import base64
import gc
import gzip
import io
import shutil
import ssl
import threading
import warnings
from contextlib import suppress

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth

from resilient_transport import (
    Breaker,
    CircuitOpen,
    DeadlineExceeded,
    RetryPolicy,
    attempts_of,
    mount,
    override,
)
from resilient_transport.body.unread import Unread
from tests.end_to_end.verbatim_server import FIN, KEEP, RAGGED, RST, STALL, Answer, VerbatimServer, told
from tests.missing import require
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

BODY = bytes(range(256)) * 8
KINDS = pytest.mark.parametrize("kind", ["ours", "stock"])


def open_session(kind="ours", **policy):
    """Return a session of stock requests, or one with an adapter that does not pause."""
    session = requests.Session()
    session.trust_env = False
    if kind == "ours":
        mount(session, policy=RetryPolicy(**{"backoff": 0, **policy}))
    return session


def whole(status="200 OK", body=BODY, cut=None, then=RST, **fields):
    """Return an answer with all of a body, or its first bytes and then an end."""
    data = told(status, b"", Content_Length=str(len(body)), **fields)
    return Answer(data + body[:cut], KEEP if cut is None else then)


def hooked(*hooks):
    """Return the argument of requests that has these hooks called with each response."""
    return {"response": list(hooks)}


def check(response, *args, **kwargs):
    """Be a hook as people write it."""
    response.raise_for_status()


@KINDS
def test_a_hook_sees_an_unread_response(kind):
    """It may refuse a body of 300 MB by its head: the server gets rid of next to nothing of it."""
    sent = []

    def send():
        sent.append(0)

    class Refused(Exception):
        pass

    def refuse(response, *args, **kwargs):
        sent.append(response.raw.tell())
        response.close()
        raise Refused

    endless = Answer(told("200 OK", b"x" * 1000, Content_Length="300000000"), STALL, send)
    with VerbatimServer([endless]) as server, open_session(kind) as session, pytest.raises(Refused):
        session.get(server.url, hooks=hooked(refuse), timeout=LONG_TIMEOUT)

    assert sent == [0, 0]


@KINDS
def test_raise_for_status_in_a_hook_comes_before_the_body(kind):
    """A 500 whose page is cut is an HTTPError."""
    page = whole("500 Oops", cut=3)
    with (
        VerbatimServer([page]) as server,
        open_session(kind) as session,
        pytest.raises(requests.HTTPError),
    ):
        session.get(server.url, hooks=hooked(check))

    assert len(server.heads) == 1


#: Ways to read a response in a hook.
READINGS = {
    "content": lambda response: response.content,
    "iter_content": lambda response: b"".join(response.iter_content(7)),
    "raw.read": lambda response: response.raw.read(decode_content=True),
    "raw.read in pieces": lambda response: b"".join(iter(lambda: response.raw.read(100), b"")),
    "raw.stream": lambda response: b"".join(response.raw.stream(100)),
    "copyfileobj": lambda response: _copied(response.raw),
}


def _copied(file):
    target = io.BytesIO()
    shutil.copyfileobj(file, target)
    return target.getvalue()


# Who reads `iter_content` in a hook leaves requests nothing to read, and that is an error in stock, too.
@pytest.mark.parametrize(
    ("where", "reading"),
    [("later", "content"), *(("hook", reading) for reading in READINGS if reading != "iter_content")],
)
def test_the_first_read_reads_all_of_it(reading, where):
    """A body without a validator survives resets with a hook as without one: it begins again."""
    found = []

    def look(response, *args, **kwargs):
        assert type(response.raw) is Unread
        if where == "hook":
            found.append(READINGS[reading](response))

    answers = [whole(cut=700), Answer(b"", RST), whole(cut=1), whole(ETag='"v2"')]
    with VerbatimServer(answers) as server, open_session() as session:
        response = session.get(server.url, hooks=hooked(look), stream=False)
        if where == "later":
            found.append(response.content)

    assert found == [BODY]
    assert [attempt.status for attempt in attempts_of(response)] == [200, None, 200, 200]
    assert response.headers["ETag"] == '"v2"'
    assert len(server.heads) == 4


def test_stock_loses_it():
    """The control: stock asks once."""
    with (
        VerbatimServer([whole(cut=700), whole()]) as server,
        open_session("stock") as session,
        pytest.raises(requests.exceptions.ChunkedEncodingError),
    ):
        session.get(server.url, hooks=hooked(check))

    assert len(server.heads) == 1


def test_it_is_resumed_too():
    """With a strong validator only what is missing is asked for."""
    rest = told("206 Partial Content", BODY[700:], ETag='"v1"', Content_Range="bytes 700-2047/2048",
                Content_Length=str(len(BODY) - 700))  # fmt: skip
    with VerbatimServer([whole(cut=700, ETag='"v1"'), Answer(rest)]) as server, open_session() as session:
        response = session.get(server.url, hooks=hooked(check))

    assert response.content == BODY
    assert [attempt.status for attempt in attempts_of(response)] == [200, 206]


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "204 No Content"])
def test_what_begins_again_has_the_status_whose_head_was_seen(status):
    """Otherwise the error is that of the cut body, and the attempts tell the status."""
    body = b"" if status.startswith("204") else b"no"
    other = Answer(told(status, body, Content_Length=str(len(body))))
    with (
        VerbatimServer([whole(cut=700), other]) as server,
        open_session() as session,
        pytest.raises(requests.exceptions.ChunkedEncodingError) as caught,
    ):
        session.get(server.url, hooks=hooked(check))

    assert f"not handed out: status {status[:3]}" in attempts_of(caught.value)[-1].decision


def test_a_body_that_is_encoded_another_way_is_decoded_its_own_way():
    """The head that comes with it takes the place of the first."""
    zipped = gzip.compress(BODY)
    again = whole(body=zipped, Content_Encoding="gzip")
    with VerbatimServer([whole(cut=700), again]) as server, open_session() as session:
        response = session.get(server.url, hooks=hooked(check))

    assert response.content == BODY
    assert response.headers["Content-Encoding"] == "gzip"


def test_what_a_hook_has_set_stays():
    """Also when another response takes the place of the one that it has seen."""
    zipped = gzip.compress(BODY)
    found = []

    def look(response, *args, **kwargs):
        response.headers["X-Mine"] = "yes"
        response.encoding = "koi8-r"
        response.raw.decode_content = True
        found.append(response.raw.read())

    fields = {"body": zipped, "Content_Encoding": "gzip"}
    answers = [whole(cut=99, **fields), whole(**fields)]
    with VerbatimServer(answers) as server, open_session() as session:
        response = session.get(server.url, hooks=hooked(look))

    assert found == [BODY]
    assert (response.headers["X-Mine"], response.encoding) == ("yes", "koi8-r")


@pytest.mark.parametrize("cut", [None, 2])
def test_what_is_repeated_for_its_status_is_not_read_later(cut):
    """A hook sees the last response only; what is discarded is no answer to anybody."""
    seen = []
    busy = whole("503 Busy", b"busy", cut)
    with VerbatimServer([busy, whole()]) as server, open_session() as session:
        hook = hooked(lambda response, *args, **kwargs: seen.append(response.status_code))

        assert session.get(server.url, hooks=hook).content == BODY
        assert seen == [200]
        assert len(server.heads) == 2


#: What a hook may do with a response that it does not want to read.
LEAVING = {
    "close": lambda response, *args, **kwargs: response.close(),
    "raw.close": lambda response, *args, **kwargs: response.raw.close(),
    "with": lambda response, *args, **kwargs: response.__exit__(),
}


@KINDS
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("way", LEAVING)
def test_what_a_hook_has_closed_stays_closed(way, method, kind):
    """Nothing is read of it, asked for again or raised, as in stock."""
    with VerbatimServer([whole(body=b"fine"), whole()]) as server, open_session(kind) as session:
        response = session.request(method, server.url, hooks=hooked(LEAVING[way]))

        assert response.content == b""
        assert len(server.heads) == 1


@KINDS
def test_a_shut_down_response_is_an_error(kind):
    """It is not asked for again, as in stock."""
    if not hasattr(urllib3.HTTPResponse, "shutdown"):
        pytest.skip("this urllib3 has no shutdown")
    shut = hooked(lambda response, *args, **kwargs: response.raw.shutdown())
    with (
        VerbatimServer([whole(cut=700, then=STALL), whole()]) as server,
        open_session(kind) as session,
        pytest.raises(requests.exceptions.ChunkedEncodingError),
    ):
        session.get(server.url, hooks=shut)

    assert len(server.heads) == 1


@KINDS
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [5, 100_000])
def test_who_gives_the_connection_back_may_read_on(size, stream, kind):
    """`release_conn()` before reading: the connection serves nobody else, and the body is whole."""
    body = bytes(size)
    give_back = hooked(lambda response, *args, **kwargs: response.raw.release_conn())
    with VerbatimServer([whole(body=body)]) as server, open_session(kind) as session:
        response = session.get(server.url, hooks=give_back, stream=stream)

        assert response.content == body
        assert len(server.heads) == 1


@KINDS
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_time_of_a_hook_is_not_the_attempts(method, kind):
    """`attempt_timeout` begins anew when the body is read."""
    policy = {"attempt_timeout": SHORT_TIMEOUT} if kind == "ours" else {}
    over = threading.Event()

    def take_time(*args, **kwargs):
        over.wait(2 * SHORT_TIMEOUT)

    hook = hooked(take_time)
    with VerbatimServer([whole(body=bytes(100_000))]) as server, open_session(kind, **policy) as session:
        assert len(session.request(method, server.url, hooks=hook).content) == 100_000
        assert len(server.heads) == 1


@KINDS
def test_who_reads_raw_catches_what_urllib3_raises(kind):
    """A hook that reads a cut body of a POST from `raw`."""
    look = hooked(lambda response, *args, **kwargs: response.raw.read() and None)
    with (
        VerbatimServer([whole(cut=700)], takes_bodies=True) as server,
        open_session(kind) as session,
        pytest.raises(urllib3.exceptions.ProtocolError, match="Connection broken"),
    ):
        session.post(server.url, data=b"x", hooks=look)


#: How a hook may read a body, and say nothing of what goes wrong.
QUIET = {
    "text": lambda response: response.text,
    "raw.read": lambda response: response.raw.read(2),
    "json": lambda response: response.json(),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("reading", QUIET)
def test_an_error_that_a_hook_swallows_comes_again(reading, method):
    """A body that was cut is an error for whoever reads it, and not empty for the second."""

    def look(response, *args, **kwargs):
        with suppress(Exception):
            QUIET[reading](response)

    with (
        VerbatimServer(lambda head: whole(cut=700)) as server,
        open_session(retries=1) as session,
        pytest.raises(requests.exceptions.ChunkedEncodingError) as caught,
    ):
        session.request(method, server.url, hooks=hooked(look))

    assert len(server.heads) == (2 if method == "GET" else 1)
    assert len(attempts_of(caught.value)) == len(server.heads)


@KINDS
@pytest.mark.parametrize("way", ["shutdown", "close"])
def test_who_closes_it_in_another_thread_ends_it(way, kind):
    """While it is read: nothing is asked for again."""
    if not hasattr(urllib3.HTTPResponse, "shutdown"):
        pytest.skip("this urllib3 has no shutdown")
    ending = []

    def look(response, *args, **kwargs):
        def end():
            while type(response.raw) is Unread:
                pass
            getattr(response.raw, way)()

        ending.append(threading.Thread(target=end))
        ending[0].start()

    stalled = whole(cut=700, then=STALL, ETag='"v1"')
    with VerbatimServer([stalled, whole()]) as server, open_session(kind) as session:
        with suppress(requests.RequestException, AttributeError, ValueError):
            # What it ends in depends on the moment, in stock as well.
            session.get(server.url, hooks=hooked(look), timeout=5 * SHORT_TIMEOUT)
        ending[0].join()

    assert len(server.heads) == 1


def test_a_block_around_the_reading_bounds_it():
    """`override(deadline=...)` in a hook, as around the reading of a stream."""

    def look(response, *args, **kwargs):
        with override(deadline=SHORT_TIMEOUT):
            assert response.content

    with (
        VerbatimServer(lambda head: whole(cut=700)) as server,
        open_session(backoff=LONG_TIMEOUT, backoff_max=LONG_TIMEOUT) as session,
        pytest.raises(requests.exceptions.RequestException),
    ):
        session.get(server.url, hooks=hooked(look))

    assert len(server.heads) < 6


@pytest.mark.parametrize("hooks", [{}, hooked(lambda *args, **kwargs: None)])
def test_a_circuit_opens_for_bodies_that_are_cut(hooks):
    """A good head is no success before its body has come."""
    breaker = Breaker(failures=4)
    with (
        VerbatimServer(lambda head: whole(cut=700)) as server,
        open_session(retries=1, breaker=breaker) as session,
    ):
        for _ in range(2):
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                session.get(server.url, hooks=hooks)
        with pytest.raises(CircuitOpen):
            session.get(server.url, hooks=hooks)

        assert len(server.heads) == 4


@KINDS
def test_a_post_with_a_hook_is_sent_once(kind):
    """Its body was cut, and it may not be repeated."""
    with (
        VerbatimServer([whole(cut=700), whole()], takes_bodies=True) as server,
        open_session(kind) as session,
        pytest.raises(requests.exceptions.ChunkedEncodingError),
    ):
        session.post(server.url, data=b"x", hooks=hooked(check))

    assert len(server.heads) == 1


@KINDS
def test_a_refresh_at_a_cut_401_page(kind):
    """A hook that sends the request again with a new token does not care for the page."""
    page = whole("401 Unauthorized", cut=3)

    def refresh(response, *args, **kwargs):
        if response.status_code == 401:
            response.close()
            request = response.request.copy()
            request.headers["Authorization"] = "Bearer new"
            return response.connection.send(request, **kwargs)
        return response

    with VerbatimServer([page, whole()]) as server, open_session(kind) as session:
        response = session.get(server.url, hooks=hooked(refresh))

        assert response.status_code == 200
        assert response.content == BODY
        assert server.fields(1)["authorization"] == "Bearer new"


@KINDS
def test_digest_with_a_hook(kind):
    """The handler of a 401 reads its page, and sends again on the same connection."""
    challenge = whole("401 No", b"page", WWW_Authenticate='Digest realm="r", nonce="n", qop="auth"')
    with VerbatimServer([challenge, whole()]) as server, open_session(kind) as session:
        response = session.get(server.url, auth=HTTPDigestAuth("u", "p"), hooks=hooked(check))

        assert response.content == BODY
        assert server.accepts == 1


@KINDS
def test_a_deadline_holds_for_what_is_read_later(kind):
    """A body that stalls ends with the deadline of its call, or, in stock, with the time-out."""
    policy = {"deadline": 2 * SHORT_TIMEOUT} if kind == "ours" else {}
    kinds = (DeadlineExceeded,) if kind == "ours" else (requests.ConnectionError,)
    timeout = LONG_TIMEOUT if kind == "ours" else SHORT_TIMEOUT
    with (
        VerbatimServer([whole(cut=700, then=STALL)]) as server,
        open_session(kind, **policy) as session,
        pytest.raises(kinds),
    ):
        session.get(server.url, hooks=hooked(lambda *args, **kwargs: None), timeout=timeout)


@pytest.mark.parametrize("how", ["close", "forget"])
def test_what_is_left_unread_leaves_nothing_behind(how):
    """Its connection is closed, and its place in a blocking pool is free."""
    left = []

    def leave(response, *args, **kwargs):
        left.append(response)
        raise KeyError

    with VerbatimServer([whole(cut=700, then=STALL), whole()]) as server, requests.Session() as session:
        session.trust_env = False
        mount(session, pool_maxsize=1, pool_block=True, policy=RetryPolicy(deadline=LONG_TIMEOUT))
        with pytest.raises(KeyError):
            session.get(server.url, hooks=hooked(leave))
        if how == "close":
            left[0].raw.close()
        left.clear()
        gc.collect()

        assert session.get(server.url).content == BODY


# Redirects: whatever there is of their body is nobody's business.

LOCATION = {"Location": "/final"}
BROKEN = {
    "missing": Answer(told("302 Found", b"", Content_Length="178", **LOCATION), FIN),
    "cut": Answer(told("302 Found", b"<htm", Content_Length="178", **LOCATION), RST),
    "ended": Answer(told("302 Found", b"<htm", Content_Length="178", **LOCATION), FIN),
    "ended gzip": Answer(
        told("302 Found", gzip.compress(BODY), Content_Length="9999", Content_Encoding="gzip", **LOCATION),
        FIN,
    ),
    "no chunks": Answer(
        told("302 Found", b"<html>moved</html>\r\n", Transfer_Encoding="chunked", **LOCATION), FIN
    ),
    "a cut chunk": Answer(told("302 Found", b"10\r\nmov", Transfer_Encoding="chunked", **LOCATION), RST),
    "no gzip": Answer(told("302 Found", b"moved", Content_Length="5", Content_Encoding="gzip", **LOCATION)),
    "half a gzip": Answer(
        told("302 Found", gzip.compress(BODY)[:20], Content_Length="20", Content_Encoding="gzip", **LOCATION)
    ),
    "until close": Answer(told("302 Found", b"moved", **LOCATION), RST),
}  # fmt: skip
#: What came of these bodies, as far as it can be said.
CAME = {"missing": b"", "ended": b"<htm", "ended gzip": BODY, "no gzip": b""}
FINAL = Answer(told("200 OK", b"final", Content_Length="5"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("body", BROKEN)
def test_a_redirect_with_a_broken_body_is_followed(body, method, stream):
    """Each URL is seen once."""
    with VerbatimServer([BROKEN[body], FINAL]) as server, open_session() as session:
        response = session.request(method, server.url, data=b"x" * (method == "POST"), stream=stream)

        assert response.text == "final"
        assert len(server.heads) == 2
        assert [one.status_code for one in response.history] == [302]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("body", BROKEN)
def test_a_redirect_with_a_broken_body_is_returned(body, stream):
    """It is seen once, and what came of its body is there."""
    with VerbatimServer([BROKEN[body]]) as server, open_session() as session:
        response = session.get(server.url, allow_redirects=False, stream=stream)

        assert response.status_code == 302
        assert response.content == CAME.get(body, response.content)
        assert len(server.heads) == 1


def test_a_redirect_over_tls_without_goodbye(authority):
    """No close_notify, no length: in stock as with ours it is followed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server("good"))
    moved = Answer(told("302 Found", b"moved", **LOCATION), RAGGED)
    with VerbatimServer([moved, FINAL], context) as server, open_session() as session:
        session.verify = authority.ca_file

        assert session.get(server.url).text == "final"
        assert len(server.heads) == 2


@KINDS
@pytest.mark.parametrize("body", ["missing", "cut", "no chunks", "a cut chunk", "no gzip"])
def test_the_same_body_of_another_status_is_an_error(body, kind):
    """The control: it is the redirect that makes it nobody's business."""
    other = Answer(BROKEN[body].data.replace(b"302 Found", b"200 OK"), BROKEN[body].then)
    with (
        VerbatimServer(lambda head: other) as server,
        open_session(kind, retries=1) as session,
        pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)),
    ):
        session.get(server.url, allow_redirects=False)


@KINDS
def test_a_whole_redirect_keeps_its_connection_and_its_body(kind):
    """Nothing is lost of one that is in order."""
    moved = Answer(told("302 Found", b"moved", Content_Length="5", **LOCATION))
    with VerbatimServer([moved, FINAL]) as server, open_session(kind) as session:
        response = session.get(server.url)

        assert response.history[0].content == b"moved"
        assert server.accepts == 1


@KINDS
def test_ntlm_reads_the_living_connection(kind, monkeypatch, tmp_path):
    """requests-ntlm looks under an unread response for its peer's certificate, and reuses the connection."""
    ntlm, spnego = require("requests_ntlm"), require("spnego")
    users = tmp_path / "users"
    users.write_text("DOM:user:pass\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    contexts = []

    def answers(head):
        token = server.fields(len(server.heads) - 1).get("authorization", "")
        if not token:
            return whole("401 No", b"denied", WWW_Authenticate="NTLM")
        if not contexts:
            contexts.append(spnego.server(protocol="ntlm"))
        challenge = contexts[0].step(base64.b64decode(token.split()[1]))
        if contexts[0].complete:
            return whole(body=b"welcome")
        return whole("401 No", b"go on", WWW_Authenticate="NTLM " + base64.b64encode(challenge).decode())

    with VerbatimServer(answers) as server, open_session(kind) as session, warnings.catch_warnings():
        # MD4 is old, and this is loopback.
        warnings.simplefilter("ignore")
        session.auth = ntlm.HttpNtlmAuth("DOM\\user", "pass")
        response = session.get(server.url)

        assert (response.status_code, response.content) == (200, b"welcome")
        assert server.accepts == 1


def test_an_adapter_of_stock_reads_nothing_early():
    """The control of what "unread" means: stock's adapter leaves every body."""
    with VerbatimServer([whole()]) as server, open_session("stock") as session:
        prepared = session.prepare_request(requests.Request("GET", server.url))
        response = HTTPAdapter().send(prepared)

        assert response.raw.tell() == 0
        assert response.content == BODY
