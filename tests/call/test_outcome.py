"""What a call leaves behind, and that no query string is in it."""

import contextlib
import io
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from urllib3 import HTTPConnectionPool, HTTPResponse
from urllib3.exceptions import (
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    ResponseError,
)
from urllib3.util.retry import RequestHistory

from resilient_transport import attempts_of
from resilient_transport.call.outcome import discard, history, too_many, with_attempts
from resilient_transport.call.redaction import describe, forget_frames, redact, without_query
from resilient_transport.events.attempt import Attempts
from tests.events.test_events import ANSWERED, FAILED, STORY
from tests.retry.values import raised_from, tls, unexplained
from tests.timeouts import LONG_TIMEOUT

SECRET = "token=8f14e45f"
URL = f"/path?{SECRET}"


def request(method="GET"):
    """Return a prepared request with a secret in its query."""
    return requests.Request(method, f"https://localhost{URL}").prepare()


def answer(body=b"", status=503, **fields):
    """Return requests' response around a real one of urllib3, not read yet."""
    response = requests.Response()
    response.status_code = status
    response.raw = HTTPResponse(io.BytesIO(body), status=status, preload_content=False, **fields)
    return response


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ConnectionResetError(104, "Connection reset by peer"),
            "ConnectionResetError: Connection reset by peer",
        ),
        (socket.gaierror(-2, "Name or service not known"), "gaierror: Name or service not known"),
        (TimeoutError("timed out"), "TimeoutError"),
        (tls("WRONG_VERSION_NUMBER"), "SSLError: WRONG_VERSION_NUMBER"),
        (unexplained(ssl.SSLError, 1, "unknown error"), "SSLError: unknown error"),
        (unexplained(), "SSLError"),
        (
            raised_from(
                NewConnectionError(None, "refused"), ConnectionRefusedError(111, "Connection refused")
            ),
            "ConnectionRefusedError: Connection refused",
        ),
        (raised_from(ProtocolError("Connection broken"), ValueError("why")), "ProtocolError"),
        (ReadTimeoutError(None, URL, f"Read timed out: {URL}"), "ReadTimeoutError"),
        (ValueError(f"Failed to parse: https://localhost{URL}"), "ValueError"),
        (
            FileNotFoundError(2, "No such file or directory", "/secret.pem"),
            "FileNotFoundError: No such file or directory",
        ),
        (OSError(f"Could not find {URL}"), "OSError"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_error_is_described_by_type_and_reason(error, told):
    """The operating system's and OpenSSL's own words hold no secret; every other message may."""
    assert describe(error) == told
    assert SECRET not in describe(error)


def broken(url=URL):
    """Return what stock raises when attempts end, with its whole chain."""
    inner = ReadTimeoutError(None, url, "Read timed out.")
    outer = raised_from(MaxRetryError(None, url, inner), inner)
    return requests.ConnectionError(outer, request=request())


def test_a_message_of_urllib3_loses_its_query():
    """What is printed, and the address that the error carries."""
    error = broken()
    redact(error)
    (inner,) = error.args

    assert "Max retries exceeded with url: /path (Caused by ReadTimeoutError(" in str(error)
    assert (inner.url, inner.reason.url) == ("/path", "/path")
    assert SECRET not in f"{error} {error!r} {getattr(inner, '_message', '')} {inner.reason!r}"


def test_before_that_the_query_is_there():
    """The control: the same error tells the secret until it is redacted."""
    error = broken()

    assert SECRET in str(error)
    assert error.args[0].url == URL


@pytest.mark.parametrize("link", ["__context__", "__cause__"])
def test_the_whole_chain_is_redacted(link):
    """A traceback prints what came before, so that it loses its query as well."""
    error = requests.exceptions.RetryError("too many")
    middle = ValueError("in between")
    setattr(error, link, middle)
    setattr(middle, link, MaxRetryError(None, URL, ResponseError("too many 503 error responses")))
    redact(error)
    last = getattr(middle, link)

    assert last.url == "/path"
    assert str(last).endswith(
        "Max retries exceeded with url: /path (Caused by ResponseError('too many 503 error responses'))"
    )


def test_a_reason_within_a_proxys_error_is_redacted():
    """It stands among the arguments, or is the reason of the one that does."""
    inner = MaxRetryError(None, URL, None)
    error = requests.exceptions.ProxyError(MaxRetryError(None, "/", ProxyError("proxy", inner)))
    error.args[0].reason.args = ("proxy", inner)
    redact(error)

    assert inner.url == "/path"
    assert SECRET not in str(inner)


def test_a_chain_that_bites_its_tail_ends():
    """Each error is looked at once."""
    first, second = MaxRetryError(None, URL, None), ValueError("x")
    first.__context__, second.__context__ = second, first
    redact(second)

    assert first.url == "/path"


@pytest.mark.parametrize(
    "error", [broken("/path"), ValueError("https://localhost/?x"), ReadTimeoutError(None, "", "x")]
)
def test_what_holds_no_query_of_urllib3s_stays_as_it_is(error):
    """The control: messages that are not rebuilt are not touched."""
    before = str(error), error.args
    redact(error)

    assert (str(error), error.args) == before


def raised_while_handling(met, error, explicit):
    """Return an error as it is caught, with a traceback and a chain that has tracebacks, too."""
    try:
        try:
            raise met
        except OSError as first:
            if explicit:
                raise error from first
            raise error  # noqa: B904 - without a cause, as some of urllib3's
    except ProtocolError as caught:
        return caught


@pytest.mark.parametrize("explicit", [True, False])
def test_errors_without_frames(explicit):
    """What was on the stack when an attempt failed (sockets, bodies) goes; the errors stay."""
    met = ConnectionResetError(104, "Connection reset by peer")
    error = raised_while_handling(met, ProtocolError("Connection aborted.", met), explicit)
    had_frames = [one.__traceback__ is not None for one in (error, met)]
    forget_frames([None, error])

    assert had_frames == [True, True]
    assert (error.__traceback__, met.__traceback__) == (None, None)
    assert (error.__cause__, error.__context__) == (met if explicit else None, met)


def test_errors_that_come_from_each_other():
    """Each is looked at once."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    with pytest.raises(ValueError, match="first"):
        raise first
    forget_frames([first])

    assert first.__traceback__ is None


def test_an_error_that_may_be_raised_keeps_its_frames():
    """With all that it came from, even if another one came from the same."""
    met = ConnectionResetError(104, "Connection reset by peer")
    first, second = (
        raised_while_handling(met, ProtocolError("Connection aborted.", met), True) for _ in range(2)
    )
    forget_frames([first], keep=second)

    assert first.__traceback__ is None
    assert None not in (second.__traceback__, met.__traceback__)


@pytest.mark.parametrize(
    ("url", "short"),
    [
        (URL, "/path"),
        ("https://localhost:1/a?b?c", "https://localhost:1/a"),
        ("/path", "/path"),
        ("/?", "/"),
        ("", ""),
    ],
)
def test_a_url_ends_before_its_query(url, short):
    """At the first question mark."""
    assert without_query(url) == short


@pytest.mark.parametrize(
    ("attempts", "note"),
    [([FAILED], str(Attempts([FAILED]))), ([FAILED, ANSWERED], STORY)],
)
def test_an_error_is_given_its_attempts(attempts, note):
    """As a value, and as a note for whoever reads the traceback; it stays the same object."""
    error = requests.ConnectionError("reset")

    assert with_attempts(error, attempts) is error
    assert attempts_of(error) == tuple(attempts)
    assert error.__notes__ == [note]


def test_without_attempts_there_is_no_note():
    """The control: a call that was over before it began has nothing to tell."""
    error = with_attempts(requests.ConnectionError("reset"), [])

    assert attempts_of(error) == ()
    assert not hasattr(error, "__notes__")


def test_too_many_statuses_are_told_as_stock_tells_them():
    """Type, message and reason are stock's; the query is left out."""
    sent = request()
    error = too_many(sent, answer(status=503))

    assert type(error) is requests.exceptions.RetryError
    assert error.request is sent
    assert str(error) == (
        "None: Max retries exceeded with url: /path (Caused by ResponseError('too many 503 error responses'))"
    )


def test_too_many_statuses_know_the_pool():
    """Where the response came from a pool, the message names it."""
    sent, response = request(), answer(status=429)
    response.raw._pool = "the pool"

    assert str(too_many(sent, response)).startswith("the pool: Max retries exceeded")
    response.raw = io.BytesIO()
    assert str(too_many(sent, response)).startswith("None: Max retries exceeded")


RESET = ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset by peer"))
REFUSED = NewConnectionError(None, "refused")


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (requests.ConnectionError(RESET), RESET),
        (requests.ConnectionError(MaxRetryError(None, URL, REFUSED)), REFUSED),
        (RESET, RESET),
    ],
)
def test_a_failure_in_the_history_is_urllib3s(error, kept):
    """Who reads `raw.retries.history` finds what urllib3 would have put there, without the query."""
    entry = history(request("POST"), None, error)

    assert entry == RequestHistory("POST", "/path", kept, None, None)


@pytest.mark.parametrize("error", [requests.ConnectionError(), requests.ConnectionError("words")])
def test_a_failure_without_urllib3s_stands_for_itself(error):
    """The control: an exception of requests' own that wraps nothing."""
    assert history(request(), None, error) == RequestHistory("GET", "/path", error, None, None)


def test_a_status_in_the_history_has_no_error():
    """A response that was not good enough is told by its status."""
    assert history(request(), answer(status=503), None) == RequestHistory("GET", "/path", None, 503, None)


def serve_once(listener, head, body):
    """Answer one request with these bytes, and hear out whoever has enough before the end."""
    server, _ = listener.accept()
    with server, contextlib.suppress(OSError):
        server.recv(65536)
        server.sendall(b"HTTP/1.1 503 Busy\r\n" + head + b"\r\n" + body)
        server.recv(1)


@pytest.mark.parametrize(
    ("head", "length", "kept"),
    [
        (b"Content-Length: 0\r\n", 0, True),
        (b"Content-Length: 3\r\n", 3, True),
        (b"Content-Length: 65536\r\n", 65536, True),
        (b"Content-Length: 65537\r\n", 65537, False),
        (b"", 3, False),
    ],
)
def test_the_connection_of_a_discarded_response_is_kept_if_that_is_cheap(head, length, kept):
    """A small body is read to its end; a long one, or one of unknown length, costs its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        port = listener.getsockname()[1]
        serving = pool.submit(serve_once, listener, head, b"x" * length)
        with HTTPConnectionPool("127.0.0.1", port, timeout=LONG_TIMEOUT) as connections:
            response = requests.Response()
            response.raw = connections.urlopen("GET", "/", retries=False, preload_content=False)
            discard(response)
            connection = connections.pool.get(block=False)
            is_open = connection.sock is not None
            connection.close()
        serving.result(LONG_TIMEOUT)

    assert response.raw.closed
    assert is_open is kept


def test_a_response_without_urllib3s_is_closed():
    """Other adapters and test doubles put other things into `raw`."""
    response = requests.Response()
    response.raw = io.BytesIO(b"abc")
    discard(response)

    assert response.raw.closed
