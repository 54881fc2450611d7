"""The stream under a body, over sockets that give what a test has written down, piece by piece."""

import errno
import socket
from http.client import HTTPException, HTTPResponse
from io import BufferedReader

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from resilient_transport.body.source import Rest, Source, watch
from resilient_transport.connection.response_head import WatchedHTTPResponse

BODY = bytes(range(97, 123)) * 3
RESET = ConnectionResetError(errno.ECONNRESET, "reset")


class Dribble:
    """A socket that gives one piece at each read, then an error or an end."""

    def __init__(self, pieces, error=None):
        self.pieces, self.error = list(pieces), error
        self.was_shut = False

    def makefile(self, mode):
        """Return what a real one does."""
        return BufferedReader(socket.SocketIO(self, "r"))

    def recv(self, size):
        """Read the next piece, as far as it goes."""
        if self.pieces:
            piece = self.pieces.pop(0)
            if len(piece) > size:
                self.pieces.insert(0, piece[size:])
            if isinstance(piece, Exception):
                raise piece
            return piece[:size]
        if self.error is not None:
            raise self.error
        return b""

    def recv_into(self, buffer):
        """Read the next piece into a buffer."""
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def shutdown(self, how):
        """Note it."""
        self.was_shut = True

    def gettimeout(self):
        """Wait for ever."""

    def settimeout(self, seconds):
        """Nothing is waited for here."""

    def _decref_socketios(self):
        pass


class Sequel:
    """Goes on with the responses that a test has given it."""

    listener = None

    def __init__(self, *rests):
        self.rests, self.asked, self.finished = list(rests), [], []

    def go_on(self, received, owed, error):
        """Note what was asked, and give the next rest."""
        self.asked.append((received, error))
        return self.rests.pop(0) if self.rests else None

    def finish(self, received):
        """Note it."""
        self.finished.append(received)


def response_of(sock, kind=WatchedHTTPResponse):
    """Return urllib3's response over a socket, its head read."""
    answer = kind(sock, method="GET")
    answer.begin()
    return urllib3.HTTPResponse(
        answer,
        headers=answer.headers.items(),
        preload_content=False,
        original_response=answer,
        decode_content=False,
    )


def split(data, sizes):
    """Return bytes in pieces of these sizes, and the rest."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [piece for piece in [*pieces, data[at:]] if piece]


def framed(body, sizes):
    """Return a body in chunks."""
    return (
        b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in split(body, sizes)) + b"0\r\nA: b\r\n\r\n"
    )


def head(body, chunks):
    """Return a head and the body behind it, in chunks or with a length."""
    if chunks:
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed(body, chunks)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def read(response, how):
    """Read a body in one of the ways there are."""
    if how == "all":
        return response.read()
    if how == "stream":
        return b"".join(response.stream(10))
    if how == "read1" and hasattr(response, "read1"):
        return b"".join(iter(lambda: response.read1(7), b""))
    if how == "fp":
        space, found = bytearray(9), b""
        while count := response._fp.readinto(space):
            found += space[:count]
        return found
    return b"".join(iter(lambda: response.read(3), b""))


sizes = st.lists(st.integers(1, 12), min_size=1, max_size=40)
ways = st.sampled_from(["all", "stream", "read1", "read3", "fp"])


@given(sizes, st.booleans(), sizes, ways)
def test_a_body_that_does_not_break_is_what_it_was(steps, chunked, chunks, how):
    """However it dribbles in."""
    sequel = Sequel()
    response = response_of(Dribble(split(head(BODY, chunks if chunked else None), steps)))

    assert watch(response, sequel)
    assert read(response, how) == BODY
    assert (sequel.asked, sequel.finished) == ([], [])
    assert response._original_response.isclosed()


@given(
    sizes,
    st.booleans(),
    st.lists(st.integers(1, 12), max_size=9),
    ways,
    st.data(),
    st.sampled_from([RESET, None]),
)
def test_a_body_that_breaks_twice_goes_on(steps, chunked, chunks, how, data, error):
    """Cut anywhere, gone on with in any frame, which is cut as well: the same body, each byte once."""
    whole = head(BODY, chunks if chunked else None)
    begin = whole.index(b"\r\n\r\n") + 4
    ends = len(whole) - (len(b"0\r\nA: b\r\n\r\n") if chunked else 1)
    cut = data.draw(st.integers(begin, ends))
    rest_chunks = data.draw(st.one_of(st.none(), sizes))
    share = data.draw(st.integers(0, len(BODY)))

    class Going(Sequel):
        def go_on(self, received, owed, error):
            self.asked.append((received, error))
            body = BODY[received:]
            full = head(body, rest_chunks) if body else head(b"", None)
            if len(self.asked) == 1 and share < len(body):
                full = full[: full.index(b"\r\n\r\n") + 4 + share]
            rest = response_of(Dribble(split(full, steps), RESET))
            return Rest(rest, len(body), len(BODY))

    sequel = Going()
    response = response_of(Dribble(split(whole[:cut], steps), error))
    watch(response, sequel)

    assert read(response, how) == BODY
    assert 1 <= len(sequel.asked) <= 2
    assert sequel.finished == [len(BODY)]


@pytest.mark.parametrize("chunks", [None, [20, 20]])
def test_without_a_rest_it_is_the_error_that_it_was(chunks):
    """Or stock's own, where the connection just ended."""
    for error, expected in ((RESET, ConnectionResetError), (None, HTTPException)):
        response = response_of(Dribble([head(BODY, chunks)[:90]], error))
        watch(response, Sequel())
        with pytest.raises(expected):
            response._fp.read()


def test_an_end_in_a_rest_is_an_error_even_without_a_length():
    """A body until close that was gone on with would be short otherwise."""
    sock = Dribble([b"HTTP/1.1 200 OK\r\n\r\n" + BODY[:10]], RESET)
    rest = response_of(Dribble([b"HTTP/1.1 206 OK\r\nContent-Length: 50\r\n\r\n" + BODY[10:30]]))
    response = response_of(sock)
    watch(response, Sequel(Rest(rest, 50, 60)))

    assert response._fp.read(30) == BODY[:30]
    with pytest.raises(HTTPException):
        response._fp.read(1)


def test_a_rest_until_its_end():
    """Where nobody knows how long the body is, it ends where what goes on with it ends."""
    rest = response_of(Dribble([head(BODY[10:], [9])]))
    sequel = Sequel(Rest(rest, None, None))
    response = response_of(Dribble([b"HTTP/1.1 200 OK\r\n\r\n" + BODY[:10]], RESET))
    watch(response, sequel)

    assert response.read() == BODY
    assert sequel.finished == [len(BODY)]


@pytest.mark.parametrize("error", [RESET, None])
def test_after_the_last_chunk_nothing_is_missing(error):
    """A body is whole without its trailers."""
    data = head(BODY, [20])
    sequel = Sequel()
    response = response_of(Dribble([data[:-4]], error))
    watch(response, sequel)

    assert response.read() == BODY
    assert sequel.asked == []


def test_chunks_that_make_no_sense_are_nobodys_to_go_on_with():
    """What was read cannot be told from what was not."""
    sequel = Sequel()
    response = response_of(
        Dribble([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"], RESET)
    )
    watch(response, sequel)

    with pytest.raises((HTTPException, OSError)):
        response._fp.read()
    assert sequel.asked == []


def test_a_read_that_would_block():
    """`None`, as `SocketIO` has it."""
    sock = Dribble([head(BODY, None)[:60]], BlockingIOError(errno.EAGAIN, "not now"))
    response = response_of(sock)
    watch(response, Sequel())

    assert len(response._fp.read(10)) == 10
    assert response._fp.fp.raw.readinto(bytearray(5)) is None


def test_somebody_elses_stream_is_left_alone():
    """A file that is not a socket's is not watched."""

    class Other(socket.SocketIO):
        pass

    response = response_of(Dribble([head(BODY, None)]), HTTPResponse)
    response._fp.fp.raw.__class__ = Other

    assert not watch(response, Sequel())
    assert not isinstance(response._fp.fp.raw, Source)
    assert response.read() == BODY


@pytest.mark.parametrize("there", [b"", b"\r", b"\r\n", b"\r\n0", b"\r\n0\r\n", b"\r\n0\r\n\r\n"])
def test_a_last_chunk_is_taken_in(there):
    """If it does not come, all that was wanted is there: the connection is closed, and that is all."""

    class Connection:
        sock = socket.socket()
        is_closed = False

        def close(self):
            self.is_closed = True

        def part(self):
            pass

    pieces = [b"HTTP/1.1 206 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"44\r\n" + BODY[10:]]
    rest = response_of(
        Dribble([*pieces, *([there] if there else [])], BlockingIOError(errno.EAGAIN, "not now"))
    )
    response = response_of(Dribble([head(BODY, None)[:-68]], RESET))
    rest._connection = connection = Connection()
    watch(response, Sequel(Rest(rest, 68, 78)))
    with connection.sock:
        assert response._fp.read() == BODY

    assert connection.is_closed is (there != b"\r\n0\r\n\r\n")
