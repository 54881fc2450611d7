"""HTTP without a wire: heads, bodies, framing, and where a ClientHello ends."""

import pytest

from resilient_transport.testing.engine.channel import hello_is_complete
from resilient_transport.testing.engine.messages import BadRequest, Reader, Reply, Request, parse_head
from resilient_transport.testing.engine.termination import PeerGone


def reader(*pieces):
    """Return a reader whose client sends these pieces and leaves."""
    coming = iter(pieces)
    return Reader(lambda _timeout: next(coming, b""))


def head(reader):
    """Return the next request of a reader."""
    return reader.head(None, lambda: None)


def body(*pieces):
    """Return the body of the one request that these pieces make."""
    read = reader(*pieces)
    return b"".join(read.body(head(read)))


def test_a_request_is_read_from_any_pieces():
    """However the bytes arrive, one by one too."""
    sent = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    bit_by_bit = reader(*(sent[i : i + 1] for i in range(len(sent))))
    request = head(bit_by_bit)

    assert request == Request("POST", "/a?b=c", "HTTP/1.1", {"host": "x", "content-length": "3"})
    assert (request.path, request.query) == ("/a", {"b": "c"})
    assert b"".join(bit_by_bit.body(request)) == b"abc"
    assert head(bit_by_bit) is None


def test_requests_may_follow_in_one_piece():
    """What belongs to the next one is kept for it."""
    pair = reader(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nrest")

    assert [head(pair).target, head(pair).target] == ["/1", "/2"]
    assert pair.buffered
    assert pair.leftover() == b"rest"
    assert not pair.buffered


@pytest.mark.parametrize(
    ("target", "path"),
    [("http://host:80/a?b", "/a"), ("http://host", "/"), ("/a?b", "/a"), ("*", "*")],
)
def test_a_proxy_is_sent_urls(target, path):
    """The path is the same, whether a URL was sent or not."""
    assert Request("GET", target, "HTTP/1.1", {}).path == path


def test_chunks_are_put_together():
    """Extensions and trailers are legal and ignored."""
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n"

    assert body(head + chunks) == b"abc0123456789"


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / SPDY/3\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 200_000,
    ],
)
def test_what_is_not_http_is_refused(sent):
    """There is one error for all of it."""
    with pytest.raises(BadRequest):
        body(sent)


@pytest.mark.parametrize("sent", [b"GET / HT", b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"])
def test_a_client_that_leaves_in_the_middle_is_gone(sent):
    """Half a request is none."""
    with pytest.raises(PeerGone):
        body(sent)


def test_a_bad_head_is_told_apart():
    """The message says which line."""
    with pytest.raises(BadRequest, match="not a request line"):
        parse_head(b"GET /")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(200, b"ab"), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        (Reply(204), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (Reply(599, close=True), b"HTTP/1.1 599 Unknown\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        (Reply(200, b"ab", framing="chunked"), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Reply(200, b"ab", framing="close"), b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
    ],
)
def test_a_head_says_how_the_body_ends(reply, expected):
    """Length, chunks or the end of the connection; nothing for a body that cannot be."""
    assert reply.head() == expected


@pytest.mark.parametrize(
    ("framing", "cut", "expected"),
    [
        ("length", None, b"abcdef"),
        ("length", 4, b"abcd"),
        ("chunked", None, b"6\r\nabcdef\r\n0\r\n\r\n"),
        ("chunked", 4, b"6\r\nabcd"),
        ("chunked", 6, b"6\r\nabcdef"),
        ("chunked", 0, b""),
    ],
)
def test_a_body_is_framed_and_cut(framing, cut, expected):
    """A cut counts bytes of the body; its chunk announces what was meant to come."""
    assert Reply(200, b"abcdef", framing=framing).framed(b"abcdef", cut) == expected


def test_an_empty_chunked_body_has_an_end():
    """Or its client would wait for ever."""
    assert Reply(framing="chunked").framed(b"") == b"0\r\n\r\n"


def test_a_cut_between_chunks_is_between_chunks():
    """The chunk before is whole, the next is not announced."""
    framed = Reply(framing="chunked").framed(b"x" * 20000, 1 << 14)

    assert framed == b"4000\r\n" + b"x" * (1 << 14) + b"\r\n"


def record(payload):
    """Return a TLS record of type handshake."""
    return b"\x16\x03\x01" + len(payload).to_bytes(2, "big") + payload


HELLO = b"\x01\x00\x00\x10" + b"x" * 16


@pytest.mark.parametrize(
    ("data", "complete"),
    [
        (b"", False),
        (record(HELLO)[:4], False),
        (record(HELLO)[:-1], False),
        (record(HELLO), True),
        (record(HELLO) + b"more", True),
        (record(HELLO[:2]) + record(HELLO[2:10]), False),
        (record(HELLO[:2]) + record(HELLO[2:]), True),
        (b"GET / HTTP/1.1\r\n\r\n", True),
    ],
)
def test_a_client_hello_ends_where_it_says(data, complete):
    """Over as many records as it takes; what is no TLS is for OpenSSL to refuse."""
    assert hello_is_complete(data) is complete
