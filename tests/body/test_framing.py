"""Frames of bodies: bytes in, bytes out."""

from http.client import HTTPResponse
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_transport.body.framing import Chunked, Sized


def read(framed):
    """Return the body in a frame, as `http.client` reads it."""

    class Sock:
        def makefile(self, mode):
            return BytesIO(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed)

    response = HTTPResponse(Sock())
    response.begin()
    return response.read()


def in_chunks(body, sizes, extension=b""):
    """Return a body in chunks of these sizes, and one with what is left."""
    framed, at = b"", 0
    for size in [*sizes, len(body)]:
        piece = body[at : at + size]
        at += len(piece)
        if piece:
            framed += b"%X%b\r\n%b\r\n" % (len(piece), extension, piece)
    return framed + b"00\r\n\r\n"


def admit(framing, data):
    """Show a framing some bytes; return those that it lets through."""
    return data[: framing.admit(data, len(data))]


@given(
    st.binary(max_size=60),
    st.lists(st.integers(1, 9), max_size=9),
    st.lists(st.integers(1, 20), max_size=30),
    st.sampled_from([b"", b";a", b';a="b"']),
)
def test_what_is_let_through_is_what_came(body, sizes, steps, extension):
    """However it comes, all is let through in the end; each byte of the body is counted and shown once."""
    framed, seen = in_chunks(body, sizes, extension), bytearray()
    framing = Chunked(seen.extend)
    out, held, at = b"", b"", 0
    for step in [*steps, len(framed)]:
        data = held + framed[at : at + step]
        at += step
        through = admit(framing, data)
        out, held = out + through, data[len(through) :]

    assert (out, held) == (framed, b"")
    assert bytes(seen) == body
    assert framing.received == len(body)
    assert framing.is_over()


@given(st.binary(min_size=1, max_size=40), st.lists(st.integers(1, 9), max_size=9), st.data())
def test_a_frame_is_gone_on_with(body, sizes, data):
    """Cut anywhere, with the rest in any pieces: what comes out is one frame, with one body in it."""
    framed = in_chunks(body, sizes)
    cut = data.draw(st.integers(0, len(framed)))
    pieces = data.draw(st.lists(st.integers(1, 9), max_size=9))
    framing = Chunked()
    out = admit(framing, framed[:cut])
    if not framing.is_over():
        rest = body[framing.received :]
        out += framing.framed(b"")
        for size in [*pieces, len(rest)]:
            out += framing.framed(rest[:size]) if rest else b""
            rest = rest[size:]
        out += framing.ending()
    elif b"\r\n\r\n" not in out[-6:]:
        out += b"\r\n"

    assert read(out) == body
    assert framing.received == len(body)


@pytest.mark.parametrize("line", [b"x\r\n", b"-5\r\n", b"\r\n", b"1" * 70000])
def test_a_line_that_makes_no_sense(line):
    """It is passed on as it is, and nobody goes on with it."""
    framing = Chunked()

    assert admit(framing, line + b"more") == line + b"more"
    assert (framing.broken, framing.may_end(), framing.is_over()) == (True, True, False)


@pytest.mark.parametrize(
    ("length", "received", "over", "may_end"),
    [(5, 4, False, False), (5, 5, True, True), (None, 5, False, True), (0, 0, True, True)],
)
def test_sized(length, received, over, may_end):
    """A body of known length is over when it is there; one without may end whenever its connection does."""
    seen = bytearray()
    framing = Sized(length, seen.extend)
    framing.admit(b"abcdefgh", received)

    assert (framing.is_over(), framing.may_end()) == (over, may_end)
    assert framing.framed(b"xy") + framing.ending() == b"xy"
    assert bytes(seen) == b"abcdefgh"[:received] + b"xy"
