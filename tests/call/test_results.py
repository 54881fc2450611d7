"""What is no result: a status that says that a link is used up, and a doing that meets itself."""

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, override
from tests.end_to_end.verbatim_server import FIN, RST, Answer, VerbatimServer, told

CUT = Answer(told("200 OK", b"x" * 50_000, Content_Length="100000"), RST)
EMPTY = {"Content_Length": "0"}


@pytest.mark.parametrize("validator", [{}, {"ETag": '"v1"'}])
@pytest.mark.parametrize("status", [401, 403, 404, 410, 416])
def test_a_link_that_works_once(session, status, validator):
    """Its body was cut: the error is that of the cut, and the attempts tell what came then."""
    cut = Answer(told("200 OK", b"x" * 50_000, Content_Length="100000", **validator), RST)
    used = Answer(told(f"{status} Used", b"used", Content_Length="4"))
    with (
        VerbatimServer([cut, used, used]) as server,
        pytest.raises(requests.exceptions.ChunkedEncodingError) as caught,
    ):
        session.get(server.url)

    assert attempts_of(caught.value)[-1].status == status
    assert f"not handed out: status {status}" in attempts_of(caught.value)[-1].decision


@pytest.mark.parametrize(
    ("status", "field"), [(206, "Range"), (304, "If-None-Match"), (412, "If-Unmodified-Since")]
)
def test_an_answer_to_what_nobody_has_asked(session, status, field):
    """A part, or an answer to a condition, that the request has no field for; with one it is a result."""
    other = Answer(told(f"{status} Told", b"", Content_Range="bytes 2-3/4", **EMPTY))
    with VerbatimServer([CUT, other]) as server, pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(server.url)
    with VerbatimServer([CUT, other]) as server:
        assert session.get(server.url, headers={field: "bytes=0-3"}).status_code == status


@pytest.mark.parametrize("status", [200, 400, 500])
def test_another_status_is_a_result(session, status):
    """The control: what does not say that a link is used up is handed out."""
    other = Answer(told(f"{status} Told", b"more", Content_Length="4"))
    with VerbatimServer([CUT, other]) as server:
        assert session.get(server.url).status_code == status


def test_a_404_in_its_own_right_is_a_result(session):
    """The control: after a failure without a head, a 404 is the answer."""
    with VerbatimServer([Answer(b"", RST), Answer(told("404 None", b"", **EMPTY))]) as server:
        assert session.get(server.url).status_code == 404


LOST = Answer(b"", FIN)
FAILED = Answer(told("412 Precondition Failed", b"", **EMPTY))


@pytest.mark.parametrize("field", ["If-Match", "If-None-Match", "If-Unmodified-Since"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_precondition_is_no_invitation(session, method, field):
    """Repeated after its answer was lost, the request would meet its own doing as a 412."""
    with VerbatimServer([LOST, FAILED]) as server, pytest.raises(requests.ConnectionError):
        session.request(method, server.url, data=b"x", headers={field: "*"})

    assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("method", "headers"),
    [("PUT", {}), ("DELETE", {}), ("GET", {"If-None-Match": "*"}), ("PUT", {"If-Range": "*"})],
)
def test_without_one_it_is_repeated(session, method, headers):
    """The control; and a GET may ask as often as it likes."""
    with VerbatimServer([LOST, FAILED]) as server:
        assert session.request(method, server.url, headers=headers).status_code == 412


@pytest.mark.parametrize(
    ("policy", "repeated"),
    [
        (RetryPolicy(backoff=0, retry_non_idempotent=True), True),
        (RetryPolicy(backoff=0, allowed_methods={"PUT"}), True),
        (RetryPolicy(backoff=0, allowed_methods=None), True),
        (Retry(2, allowed_methods={"PUT"}), True),
        (Retry(2, allowed_methods=None), True),
        (Retry(2), False),
        (2, False),
    ],
)
def test_who_opts_in_is_served(policy, repeated):
    """By name, by policy or by `Retry`; a default that nobody has chosen is no word."""
    own = {"policy": policy} if isinstance(policy, RetryPolicy) else {"max_retries": policy}
    with VerbatimServer([LOST, FAILED]) as server, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter(**own))
        try:
            session.put(server.url, data=b"x", headers={"If-Match": '"v1"'})
        except requests.ConnectionError:
            assert not repeated

        assert len(server.heads) == 1 + repeated


def test_a_key_and_a_block_opt_in(session):
    """An Idempotency-Key, and `override`; which may also opt out."""
    with VerbatimServer([LOST, FAILED] * 2) as server:
        conditional = {"If-Match": '"v1"'}
        session.put(server.url, data=b"x", headers={**conditional, "Idempotency-Key": "k"})
        with override(retry_non_idempotent=True):
            session.put(server.url, data=b"x", headers=conditional)
        assert len(server.heads) == 4

    with (
        VerbatimServer([LOST, FAILED]) as server,
        override(retry_non_idempotent=False),
        pytest.raises(requests.ConnectionError),
    ):
        session.put(server.url, data=b"x", headers={**conditional, "Idempotency-Key": "k"})


# Responses without a body, and heads that are none.


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("method", "status"),
    [("DELETE", 204), ("POST", 204), ("GET", 304), ("HEAD", 200), ("GET", 204)],
)
@pytest.mark.parametrize("field", ["Transfer-Encoding: chunked", "Content-Length: 5"])
def test_no_body_whatever_it_says(session, method, status, field, stream):
    """Nobody waits for a chunk, nothing is sent twice, and the connection is good for the next request."""
    head = f"HTTP/1.1 {status} Told\r\n{field}\r\n\r\n".encode()
    with VerbatimServer([Answer(head), Answer(head)]) as server:
        for _ in range(2):
            response = session.request(method, server.url, timeout=10, stream=stream)
            assert (response.status_code, response.content) == (status, b"")

        assert len(server.heads) == 2
        assert server.accepts == 1


GARBAGE = {
    "120 fields": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(120)) + b"\r\n",
    "a field of 70 kB": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    "ICY": b"ICY 200 OK\r\n\r\n",
    "another protocol": b"HTTP/7.9 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 many OK\r\n\r\n",
    "JSON that is no chunk": told("200 OK", b'{"a": 1}', Transfer_Encoding="chunked"),
    "long JSON that is no chunk": told(
        "200 OK", b'{"a": 1}' * 3000, Transfer_Encoding="chunked", ETag='"v1"'
    ),
    "chunks that are none": told("200 OK", b"<html>moved</html>\r\n", Transfer_Encoding="chunked"),
}


def ended(adapter, answers, **values):
    """Return the type and the words of the exception, and how many requests that took."""
    with VerbatimServer(answers) as server, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        with pytest.raises(requests.RequestException) as caught:
            session.get(server.url, **values)
        return type(caught.value), str(caught.value), len(server.heads)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_cannot_be_parsed_costs_one_request(garbage):
    """It never heals; the exception is stock's, with what came, and says who has sent it."""
    answers = [Answer(GARBAGE[garbage], FIN)] * 7
    stock, ours = (ended(kind(), answers) for kind in (HTTPAdapter, ResilientAdapter))

    assert (ours[0], ours[2]) == (stock[0], 1)
    assert ours[1].startswith(stock[1].rstrip(")"))
    assert "sent what cannot be parsed as HTTP" in ours[1]


@pytest.mark.parametrize("cut", [b"", b"5", b"5;na", b"5\r", b"5\r\nhe", b"5\r\nhello", b"5\r\nhello\r\n1"])
def test_a_chunk_that_is_cut_is_repeated(session, cut):
    """The control: what may be the beginning of a chunk's size was cut, and is no garbage."""
    body = told("200 OK", cut, Transfer_Encoding="chunked")
    with VerbatimServer([Answer(body, FIN), Answer(told("204 Good", b""))]) as server:
        assert session.get(server.url).status_code == 204


@pytest.mark.parametrize("cut", ["HTTP/1.1 20", "HTTP/1.1 200 OK\r\nX: y", "HTTP/1.1 200 OK\r\nX: y\r\n"])
def test_a_head_that_is_cut_is_repeated(session, cut):
    """The control: what was cut is no garbage."""
    with VerbatimServer([Answer(cut.encode(), FIN), Answer(told("204 Good", b""))]) as server:
        assert session.get(server.url).status_code == 204


@pytest.mark.parametrize("field", ["Transfer-Encoding: chunked", "Content-Length: 5"])
def test_a_cut_head_that_has_announced_a_body(field):
    """Stock takes the head for whole and misses the body; what it raises is raised."""
    cut = [Answer(f"HTTP/1.1 200 OK\r\n{field}\r\n".encode(), FIN)] * 6
    adapters = (HTTPAdapter(), ResilientAdapter(policy=RetryPolicy(backoff=0)))
    stock, ours = (ended(adapter, cut) for adapter in adapters)

    assert ours[0] is stock[0] is requests.exceptions.ChunkedEncodingError
    assert (stock[2], ours[2]) == (1, 6)


def test_a_cut_head_without_a_body_is_no_answer():
    """Stock hands out a response of which nobody knows what is missing."""
    cut = [Answer(b"HTTP/1.1 200 OK\r\nX-Half: ye", FIN)] * 6
    assert ended(ResilientAdapter(policy=RetryPolicy(backoff=0)), cut)[0] is requests.ConnectionError
    with VerbatimServer(cut) as server:
        assert requests.Session().get(server.url).status_code == 200
