"""The head of a usual response is what `http.client` and urllib3 make of it; the rest is left to them."""

import http.client
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3 import HTTPHeaderDict

from resilient_transport.connection.head_parser import Fields, parse
from resilient_transport.connection.response_head import WatchedHTTPResponse

REST = b"the body\r\n\r\n"
USUAL = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n",
    b"HTTP/1.1 200 \r\nServer: nginx/1.22.1\r\nContent-Length: 8\r\nConnection: keep-alive\r\n\r\n",
    b"HTTP/1.1 404\r\nconnection:CLOSE\r\nX:\r\nY: \t blanks \t\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n",
    b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 99\r\n\r\n',
    b"HTTP/1.1 200 Sch\xf6n\r\nX-Latin: \xe9\x85\xa0\r\n\r\n",
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: x, close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 999 \x1c odd \r\n" + b"".join(b"N%d: v\r\n" % n for n in range(99)) + b"\r\n",
]
UNUSUAL = [
    b"",
    b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1 200\tOK\r\n\r\n",
    b"HTTP/2 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\n\n",
    b"HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: 1\rB: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n leading: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA : blank\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA\xe9: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nContent-Length: 8\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 8, 8\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: +8\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 8 \r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: a\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"".join(b"N%d: v\r\n" % n for n in range(100)) + b"\r\n",
]
NAMES = ["A", "Content-Length", "content-length", "Transfer-Encoding", "Connection", "X-Y", "x-y"]
token = st.sampled_from(NAMES)
value = st.sampled_from(["8", "0", "chunked", "close", "keep-alive", "", "a, b"]) | st.text(
    st.characters(max_codepoint=255), max_size=8
)
field = st.tuples(token | st.text("Ab: \t\r\n", max_size=4), st.sampled_from([": ", ":", " : ", ""]), value)
line_end = st.sampled_from(["\r\n"] * 8 + ["\n", "\r"])
LINES = ["HTTP/1.1 200 OK", "HTTP/1.1 204 ", "HTTP/1.1 304", "HTTP/1.0 200 OK", "HTTP/1.1 42 x", "x"]
lines = st.lists(st.tuples(field, line_end).map(lambda parts: "".join([*parts[0], parts[1]])), max_size=5)
heads = st.tuples(st.sampled_from(LINES), line_end, lines.map("".join), line_end).map(
    lambda parts: "".join(parts).encode("latin-1")
)


class Socket:
    """A socket that has received some bytes, and then an end of file."""

    def __init__(self, data):
        self.data = data

    def makefile(self, mode):
        """A file of what was received."""
        return io.BufferedReader(io.BytesIO(self.data))


def seen(response, begin):
    """Return what a response of `http.client` says of a head, or the type of what it raises."""
    try:
        begin()
    except http.client.HTTPException as error:
        return type(error)
    rest = b"" if response.fp is None else response.fp.read()
    told = (response.status, response.code, response.reason, response.version, response.msg.items(), rest)
    framing = (response.chunked, response.chunk_left, response.length, response.will_close)
    defects = list(map(type, response.msg.defects))
    return *told, *framing, defects, response.msg.get_payload(), response.headers is response.msg


def line_by_line(data, method=None):
    """Return our response, which is to read its head line by line."""
    response = WatchedHTTPResponse(Socket(data), method=method)
    response._was_tried = True
    return response


def by_itself(data, method):
    """Return what our response says that reads line by line."""
    response = line_by_line(data, method)
    return seen(response, response.begin)


def at_once(data, method):
    """Return what our response says that takes the head in one piece, and whether it did so."""
    response = WatchedHTTPResponse(Socket(data), method=method)
    was_usual = response.begin_at_once()
    return seen(response, response.begin), was_usual


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("head", USUAL)
def test_a_usual_head_says_what_http_client_reads(head, method):
    """What comes in one piece, and is usual, makes the same response as the standard parser does."""
    found, was_usual = at_once(head + REST, method)

    assert was_usual
    assert found == by_itself(head + REST, method)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("head", UNUSUAL)
def test_an_unusual_head_is_left_to_http_client(head, method):
    """What is unusual is not taken apart, and nothing of it is lost to who reads it then."""
    found, was_usual = at_once(head + REST, method)

    assert not was_usual
    assert found == by_itself(head + REST, method)


@given(heads, st.sampled_from(["GET", "HEAD"]))
@example(b"HTTP/1.1 200 OK\r\nX: a\x0bb\x0cc\x1cd\x85e\r\n\r\n", "GET")
def test_every_head_says_what_http_client_reads(head, method):
    """Whatever a head is made of, it makes the same response."""
    assert at_once(head + REST, method)[0] == by_itself(head + REST, method)


@given(heads)
def test_urllib3_gets_the_same_fields(head):
    """urllib3's fields are those that it makes of `http.client`'s, in their order, as they are written."""
    found = parse(head)
    if found is None:
        return
    response = line_by_line(head)
    response.begin()
    usual = HTTPHeaderDict(response.msg.items())

    assert list(found.headers.items()) == list(usual.items())
    assert list(found.headers) == list(usual)
    assert {name: found.headers[name] for name in usual} == dict(usual)


@pytest.mark.parametrize("size", range(len(USUAL[0])))
def test_a_head_that_is_not_all_there_is_not_taken_apart(size):
    """Of a head that is cut nothing is believed."""
    assert parse(USUAL[0][:size]) is None
    assert parse(USUAL[0]) is not None


def test_what_was_met_while_it_looked_is_met_by_begin():
    """An error of the socket is raised where `http.client` raises it, once."""

    class Broken(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise ConnectionResetError("reset")

    class BrokenSocket:
        def makefile(self, mode):
            return io.BufferedReader(Broken())

    response = WatchedHTTPResponse(BrokenSocket())
    was_usual = response.begin_at_once()
    with pytest.raises(ConnectionResetError) as met:
        response.begin()
    response.close()

    assert not was_usual
    assert str(met.value) == "reset"


@pytest.fixture
def fields():
    """The fields of a head."""
    found = parse(b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nB: 3\r\n\r\n")
    assert found is not None
    return found.fields


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.__setitem__("New", "x"),
        lambda fields: fields.add_header("New", "x"),
        lambda fields: fields.set_raw("New", "x"),
        lambda fields: setattr(fields, "_headers", [("New", "x")]),
        lambda fields: (fields.__delitem__("A"), fields.set_raw("New", "x"), fields.set_raw("New", "x")),
    ],
)
def test_fields_that_are_added_are_found(fields, change):
    """What somebody adds later is found, although it was missing at once before."""
    before = fields.get("new"), fields.get_all("NEW", [])
    change(fields)

    assert before == (None, [])
    assert (fields.get("new"), fields.get_all("NEW")[0]) == ("x", "x")


def test_fields_are_a_message_of_http_client(fields):
    """They are what `http.client` has, and find what is there under any spelling."""
    assert isinstance(fields, http.client.HTTPMessage)
    assert isinstance(fields, Fields)
    assert (fields.get("A"), fields.get_all("a"), fields["b"], "A" in fields) == ("1", ["1", "2"], "3", True)


def test_who_changes_urllib3s_fields_changes_nothing_in_the_message():
    """A field that is taken out of urllib3's response is still in the one of `http.client`."""
    found = parse(b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\n")
    assert found is not None
    del found.headers["A"]

    assert found.fields.get("A") == "1"
