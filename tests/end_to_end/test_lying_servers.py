"""Servers that lie about the rest of a body, in one field or in two: never other bytes, whole or an error.

Walks through the whole house: a session, the loop, the wire. `LYING_EXAMPLES=10000` is for so many, with
`-o faulthandler_timeout=400`, since they take a minute.
"""

import gzip
import os
import random
import re
import socket
import struct
from collections import Counter
from contextlib import suppress

import pytest
import requests
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of
from tests.listening import Listening
from tests.timeouts import LONG_TIMEOUT

EXAMPLES = int(os.environ.get("LYING_EXAMPLES", "300"))

chance = random.Random(12)
#: What is served, another version of it, and what a middleware makes of the first.
PLAIN = b"".join(b"%04d some,row,of,%06x\n" % (i, chance.getrandbits(24)) for i in range(100))
OTHER = b"".join(b"%04d some,row,of,%06x\n" % (i, chance.getrandbits(24)) for i in range(100))
ZIPPED = gzip.compress(PLAIN, 6, mtime=0)


class Liar(Listening):
    """Cuts the first body, and answers as a story has it from then on."""

    def __enter__(self):
        self.tell, self.asked = None, []
        return super().__enter__()

    @property
    def url(self):
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/"

    def _serve(self, client):
        self._run(self._talk, client)

    def _talk(self, client):
        client.settimeout(LONG_TIMEOUT)
        with client, suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    data = client.recv(65536)
                    if not data:
                        return
                    head += data
                self.asked.append(head)
                data, then = self.tell(head, len(self.asked))
                client.sendall(data)
                if then == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if then != "keep":
                    return


def answer(status, fields, body, frame):
    """Return a response; a field that is None is not there."""
    framing = {"chunks": "Transfer-Encoding: chunked\r\n", "close": "Connection: close\r\n"}.get(frame, "")
    told = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    if frame == "chunks":
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:300], body[300:]) if piece)
        body += b"0\r\n\r\n"
    return f"HTTP/1.1 {status} Told\r\n{framing}{told}\r\n".encode() + body


#: What a lie makes of an honest answer: of its status, its fields, and the first byte, last byte and total.
LIES = {
    "status 200": lambda s, f, a, z, n: (200, f),
    "status 206": lambda s, f, a, z, n: (206, f),
    "first is earlier": lambda s, f, a, z, n: (s, {**f, "Content-Range": f"bytes {max(a - 40, 0)}-{z}/{n}"}),
    "first is later": lambda s, f, a, z, n: (s, {**f, "Content-Range": f"bytes {min(a + 40, z)}-{z}/{n}"}),
    "last is earlier": lambda s, f, a, z, n: (s, {**f, "Content-Range": f"bytes {a}-{max(z - 40, a)}/{n}"}),
    "last is later": lambda s, f, a, z, n: (s, {**f, "Content-Range": f"bytes {a}-{z + 40}/{n + 99}"}),
    "total is less": lambda s, f, a, z, n: (s, {**f, "Content-Range": f"bytes {a}-{z}/{n - 1}"}),
    "total is more": lambda s, f, a, z, n: (s, {**f, "Content-Range": f"bytes {a}-{z}/{n + 1}"}),
    "total is unknown": lambda s, f, a, z, n: (s, {**f, "Content-Range": f"bytes {a}-{z}/*"}),
    "other unit": lambda s, f, a, z, n: (s, {**f, "Content-Range": f"lines {a}-{z}/{n}"}),
    "no range": lambda s, f, a, z, n: (s, {**f, "Content-Range": None}),
    "two ranges": lambda s, f, a, z, n: (s, {**f, "Content-Range": f"bytes {a}-{z}/{n}, bytes {a}-{z}/{n}"}),
    "all of it": lambda s, f, a, z, n: (s, {**f, "Content-Range": f"bytes 0-{n - 1}/{n}"}),
    "length is less": lambda s, f, a, z, n: (s, {**f, "Content-Length": max(z - a - 40, 0)}),
    "length is more": lambda s, f, a, z, n: (s, {**f, "Content-Length": z - a + 41}),
    "length is the whole's": lambda s, f, a, z, n: (s, {**f, "Content-Length": n}),
    "no length": lambda s, f, a, z, n: (s, {**f, "Content-Length": None}),
    "another tag": lambda s, f, a, z, n: (s, {**f, "ETag": '"v2"'}),
    "a weak tag": lambda s, f, a, z, n: (s, {**f, "ETag": 'W/"v1"'}),
    "an empty tag": lambda s, f, a, z, n: (s, {**f, "ETag": '""'}),
    "no tag": lambda s, f, a, z, n: (s, {**f, "ETag": None}),
    "gzip": lambda s, f, a, z, n: (s, {**f, "Content-Encoding": "gzip"}),
    "br": lambda s, f, a, z, n: (s, {**f, "Content-Encoding": "br"}),
    "no encoding": lambda s, f, a, z, n: (s, {**f, "Content-Encoding": None}),
    "several parts": lambda s, f, a, z, n: (s, {**f, "Content-Type": "multipart/byteranges; boundary=x"}),
    "encoded for the transfer": lambda s, f, a, z, n: (s, {**f, "Transfer-Encoding": "gzip"}),
}

#: How a body is made: what is served, what a part is a part of, and whether the first answer has a length.
KINDS = {
    "plain": (PLAIN, PLAIN, True),
    "plain, no length": (PLAIN, PLAIN, False),
    "gzip": (ZIPPED, ZIPPED, True),
    # A middleware compresses the 200, and not the 206.
    "compressed on the way": (ZIPPED, PLAIN, False),
}


def story(kind, cut, frame, lies, ignores_ranges):
    """Return what a server tells: it cuts its first body, lies once about the rest, and is honest then."""
    whole, parts, has_length = KINDS[kind]
    tag = {"ETag": '"v1"', **({"Content-Encoding": "gzip"} if whole is ZIPPED else {})}

    def honest(head, framing):
        asked = re.search(rb"\r\nRange: bytes=(\d+)-(\d*)", head)
        if asked is None or ignores_ranges:
            length = {"Content-Length": len(whole)} if framing == "sized" else {}
            return 200, {**tag, **length}, whole, (0, len(whole) - 1, len(whole))
        first, total = int(asked[1]), len(parts)
        last = min(int(asked[2] or total), total - 1)
        if first >= total:
            return 416, {"Content-Range": f"bytes */{total}", "Content-Length": 0}, b"", (0, 0, total)
        fields = {"ETag": '"v1"', "Content-Range": f"bytes {first}-{last}/{total}"}
        if parts is ZIPPED:
            fields["Content-Encoding"] = "gzip"
        body = parts[first : last + 1]
        length = {"Content-Length": len(body)} if framing == "sized" else {}
        return 206, {**fields, **length}, body, (first, last, total)

    def tell(head, number):
        framing = frame if number > 1 else "sized" if has_length else "chunks"
        status, fields, body, span = honest(head, framing)
        if number == 1:
            head_and_body = answer(status, fields, body, framing)
            start = head_and_body.index(b"\r\n\r\n") + 4
            return head_and_body[: start + 1 + cut % (len(head_and_body) - start - 8)], "reset"
        if number == 2 and status != 416 and b"\r\nRange: " in head:
            for lie in lies:
                status, fields = LIES[lie](status, fields, *span)
        return answer(status, fields, body, framing), "keep" if framing != "close" and number > 2 else "close"

    return tell


@pytest.fixture(scope="module")
def liar():
    """A server whose story each conversation replaces."""
    with Liar() as server:
        yield server


@pytest.fixture(scope="module")
def session():
    """A session that waits for nothing."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter(policy=RetryPolicy(backoff=0)))
        yield session


def conversation(session, liar, tell, stream):
    """Return what came (None: an error), and what the attempts say."""
    liar.tell, liar.asked = tell, []
    try:
        with session.get(liar.url, stream=stream, timeout=LONG_TIMEOUT) as response:
            return response.content, str(attempts_of(response))
    except requests.RequestException as error:
        return None, str(attempts_of(error))


lies = st.lists(st.sampled_from(sorted(LIES)), min_size=1, max_size=2, unique=True)
stories = st.tuples(
    st.sampled_from(sorted(KINDS)),
    st.integers(0, 10**6),
    st.sampled_from(["sized", "chunks", "close"]),
    lies,
    st.sampled_from([False, False, True]),
    st.booleans(),
)


@pytest.mark.slow
@given(stories)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_lie_makes_other_bytes(liar, session, one):
    """The body is the right one, or there is an exception of requests'."""
    kind, cut, frame, told, ignores_ranges, stream = one
    # The one lie that nothing contradicts: all of it comes again, but shorter, and nobody knows its length.
    assume(not (ignores_ranges and "length is less" in told and not KINDS[kind][2]))

    body, _ = conversation(session, liar, story(kind, cut, frame, told, ignores_ranges), stream)

    assert body in (PLAIN, None)


#: Lies that contradict the request, the first answer or their own answer, for a body with a length.
CONTRADICTIONS = {
    "status 200": "Content-Range",
    "first is later": "Content-Range",
    "last is earlier": "Content-Length",
    "last is later": "Content-Range",
    "total is less": "Content-Range",
    "total is more": "Content-Range",
    "other unit": "Content-Range",
    "no range": "Content-Range",
    "two ranges": "Content-Range",
    "all of it": "Content-Length",
    "first is earlier": "Content-Length",
    "length is less": "Content-Length",
    "length is more": "Content-Length",
    "length is the whole's": "Content-Length",
    "another tag": "ETag",
    "a weak tag": "ETag",
    "an empty tag": "ETag",
    "no tag": "ETag",
    "gzip": "Content-Encoding",
    "br": "Content-Encoding",
    "several parts": "Content-Type",
    "encoded for the transfer": "Transfer-Encoding",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("lie", CONTRADICTIONS)
def test_a_lie_is_noticed(liar, session, lie, stream):
    """The field is named; a body of which nothing was handed out begins again, and a stream is an error."""
    body, attempts = conversation(session, liar, story("plain", 1500, "sized", [lie], False), stream)

    assert f"not resumed: {CONTRADICTIONS[lie]}: " in attempts
    assert body == (None if stream else PLAIN)
    assert len(liar.asked) == (2 if stream else 3)


@pytest.mark.parametrize("lie", ["first is earlier", "last is earlier", "last is later", "all of it"])
def test_a_lie_that_only_the_length_shows(liar, session, lie):
    """In chunks, a part that is longer or shorter than its Content-Range shows at its end."""
    body, attempts = conversation(
        session, liar, story("plain, no length", 1500, "chunks", [lie], False), True
    )

    assert body is None
    assert "not resumed: " in attempts


def test_what_is_passed_over_is_compared(liar, session):
    """A part pretends to begin earlier, with a length that fits: its bytes are not those that came before."""
    lies = ["first is earlier", "length is more"]
    body, attempts = conversation(session, liar, story("plain", 1500, "sized", lies, False), False)

    assert body == PLAIN
    assert "its bytes are not those that came before" in attempts


@pytest.mark.parametrize("stream", [False, True])
def test_compressed_on_the_way(liar, session, stream):
    """As few requests as it takes: a buffered body is asked for again at once; a stream ends in an error."""
    body, attempts = conversation(
        session, liar, story("compressed on the way", 700, "sized", [], False), stream
    )

    assert body == (None if stream else PLAIN)
    assert len(liar.asked) == (1 if stream else 2)
    assert "not resumed: Content-Encoding: it was compressed on the way" in attempts


def test_honest_servers_are_believed(liar, session):
    """The control: without a lie each kind of body is resumed or begun again, and whole."""
    found = Counter()
    for kind in KINDS:
        for frame in ("sized", "chunks", "close"):
            for cut in (20, 40, 1500):
                body, _ = conversation(session, liar, story(kind, cut, frame, [], False), False)
                assert body == PLAIN
                found[kind] += b"\r\nRange: " in liar.asked[1]

    assert found == {"plain": 9, "plain, no length": 9, "gzip": 9, "compressed on the way": 0}


def test_stock_is_an_error_at_the_cut(liar):
    """The control: stock asks for nothing more."""
    with requests.Session() as stock:
        stock.trust_env = False
        stock.mount("http://", HTTPAdapter())
        body, _ = conversation(stock, liar, story("plain", 1500, "sized", [], False), False)

    assert body is None
    assert len(liar.asked) == 1
