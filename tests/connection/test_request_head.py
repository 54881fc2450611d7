"""A head that is written in one pass is, byte for byte, the one that urllib3 and `http.client` write."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from requests import Request, Session
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection
from urllib3.util import SKIP_HEADER
from urllib3.util.url import _encode_target

from resilient_transport import ResilientAdapter
from resilient_transport.connection.request_head import host_line, rendered
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told

USUAL = {"User-Agent": "me/1", "Accept-Encoding": "gzip", "Accept": "*/*", "Connection": "keep-alive"}


class Sink(HTTPConnection):
    """A connection of urllib3's that keeps what it sends."""

    def __init__(self, host="server.example", port=None):
        super().__init__(host, port)
        self.sent = []

    def send(self, data):
        """Keep what is to be sent."""
        self.sent.append(bytes(data))


def by_urllib3(method, target, headers, body=None, **place):
    """Return the pieces that urllib3 sends, or the type of what it raises."""
    sink = Sink(**place)
    try:
        sink.request(method, target, body=body, headers=headers)
    except Exception as error:
        return type(error)
    return sink.sent


def in_one_pass(method, target, headers, body=None, **place):
    """Return the head that we write, if it is a usual one."""
    line = host_line(by_urllib3("GET", "/", USUAL, **place)[0])
    return rendered(method, target, line, CaseInsensitiveDict(headers), body)


@pytest.mark.parametrize(
    "place", [{}, {"port": 8080}, {"host": "::1", "port": 81}, {"host": "xn--bcher-kva.example"}]
)
@pytest.mark.parametrize("target", ["/", "/a/b?c=d&e=f", "/%20/x?%2F", "/?x=[1]", "/~user;v=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_a_head_without_a_body(method, target, place):
    """Line for line it is urllib3's: the host's as well, with its port and its brackets."""
    head = in_one_pass(method, target, USUAL, **place)

    assert [head] == by_urllib3(method, target, USUAL, **place) or "[" in target
    assert (head is None) == ("[" in target)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
def test_a_head_with_a_body(method):
    """What follows it is the body, which urllib3 sends after it."""
    headers = {**USUAL, "Content-Length": "3"}

    assert [in_one_pass(method, "/", headers, b"abc"), b"abc"] == by_urllib3(method, "/", headers, b"abc")


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
def test_a_head_that_says_there_is_no_body(method):
    """requests says so for methods that usually have one."""
    headers = {**USUAL, "Content-Length": "0"}
    head = in_one_pass(method, "/", headers)

    assert [head] == by_urllib3(method, "/", headers)


def test_a_host_of_the_callers_own_takes_the_place_of_the_other():
    """A caller who says to which host the request goes is heard."""
    headers = {"Host": "other.example", **USUAL}
    head = in_one_pass("GET", "/", headers)

    assert [head] == by_urllib3("GET", "/", headers)
    assert head.count(b"Host:") == 1


@pytest.mark.parametrize(
    ("method", "target", "headers", "body"),
    [
        ("POST", "/", {}, None),
        ("GET", "/", {"User-Agent": None}, None),
        ("GET", "/", {"Accept-Encoding": None}, None),
        ("GET", "/", {"User-Agent": SKIP_HEADER}, None),
        ("GET", "/", {"Accept": b"bytes"}, None),
        ("GET", "/", {b"Accept2": "x"}, None),
        ("GET", "/", {"Accept": "\u20ac"}, None),
        ("GET", "/", {"Accept": "a\r\nInjected: x"}, None),
        ("GET", "/", {"A\r\nInjected": "x"}, None),
        ("GET", "/", {"A B": "x"}, None),
        ("GET", "/", {"A: B": "x"}, None),
        ("GET", "/", {"A": "x\x00y"}, None),
        ("GET", "/", {"Transfer-Encoding": "chunked"}, None),
        ("POST", "/", {"Content-Length": "4"}, b"abc"),
        ("POST", "/", {"Content-Length": "3"}, "abc"),
        ("POST", "/", {}, b"abc"),
        ("GET", "/", {"Content-Length": "1"}, None),
        ("get", "/", {}, None),
        ("GE\r\nT", "/", {}, None),
        ("GET", "", {}, None),
        ("GET", "http://server.example/", {}, None),
        ("GET", "/ ", {}, None),
        ("GET", "/\r\nInjected: x", {}, None),
        ("GET", "/%2f", {}, None),
        ("GET", "/%zz", {}, None),
        ("GET", "/#x", {}, None),
        ("GET", "/\xfc", {}, None),
    ],
)
def test_what_is_unusual_is_left_to_urllib3(method, target, headers, body):
    """Whatever urllib3 refuses, adds to or changes is not written here."""
    fields = {name: value for name, value in {**USUAL, **headers}.items() if value is not None}
    try:
        given = CaseInsensitiveDict(fields)
    except Exception:
        given = fields

    assert rendered(method, target, "Host: server.example\r\n", given, body) is None


def test_a_name_of_bytes_is_sent_over_a_new_connection():
    """A program may put one among the prepared fields, and stock sends it."""
    heads = []
    for adapter in (HTTPAdapter(), ResilientAdapter()):
        with (
            VerbatimServer([Answer(told("200 OK", b"", Content_Length="0"))]) as server,
            Session() as session,
        ):
            session.trust_env = False
            session.mount("http://", adapter)
            prepared = session.prepare_request(Request("GET", server.url))
            prepared.headers[b"X-Bytes"] = "1"

            assert session.send(prepared).ok
            heads.append(server.heads[0].split(b"\r\n")[2:])

    assert heads[0] == heads[1]
    assert b"X-Bytes: 1" in heads[0]


texts = st.text(st.characters(max_codepoint=0x110), max_size=6)
names = st.sampled_from(["X", "Host", "Content-Length", "x-y", "X: y"]) | texts
targets = st.text("ab/?&=%2F0[]\\ #\u00e9+;", max_size=8).map(lambda text: f"/{text}")


@given(
    st.sampled_from(["GET", "POST", "G T", "X"]) | texts, targets, st.dictionaries(names, texts, max_size=3)
)
@example("GET", "/", {"X": "a\r\n b"})
def test_whatever_is_sent_is_the_same(method, target, more):
    """What is written here is what urllib3 writes; what it refuses is not written."""
    headers = CaseInsensitiveDict({**USUAL, **more})
    head = in_one_pass(method, target, headers)
    usual = by_urllib3(method, target, headers)

    assert head is None or [head] == usual


@given(targets)
def test_a_target_that_is_sent_as_it_is_would_be_encoded_as_it_is(target):
    """urllib3 encodes a target before it is sent; what is written here it would have left alone."""
    head = in_one_pass("GET", target, USUAL)

    assert head is None or _encode_target(target) == target
