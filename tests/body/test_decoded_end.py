"""A resumed body reaches the end of its encoding, checksum included; what came at once is stock's affair."""

import gzip
import io
import zlib

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.response import HTTPResponse

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of
from resilient_transport.body.decoded_end import is_at_end, why_not_whole
from tests.end_to_end.verbatim_server import KEEP, RST, Answer, VerbatimServer, told

PLAIN = b"".join(b"%06d,%08x\n" % (i, i * 2654435761 % 2**32) for i in range(300))
ZIPPED = gzip.compress(PLAIN, mtime=0)
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
DEFLATED = RAW.compress(PLAIN) + RAW.flush()
WRONG_SUM = ZIPPED[:-8] + bytes(4) + ZIPPED[-4:]
#: Bodies by their encoding, and whether they are whole.
BODIES = [
    ("gzip", ZIPPED, True),
    ("GZIP", ZIPPED, True),
    ("gzip", ZIPPED * 2, True),
    ("gzip", ZIPPED + bytes(9), True),
    ("gzip", ZIPPED[:-1], False),
    ("gzip", ZIPPED[:-8], False),
    ("gzip", ZIPPED[:100], False),
    ("gzip", ZIPPED + ZIPPED[:100], False),
    ("gzip", WRONG_SUM, False),
    ("gzip", b"nonsense", False),
    ("deflate", zlib.compress(PLAIN), True),
    ("deflate", zlib.compress(PLAIN)[:-1], False),
    ("deflate", DEFLATED, True),
    ("deflate", DEFLATED[:-1], False),
    ("deflate, gzip", gzip.compress(zlib.compress(PLAIN)), True),
    ("deflate, gzip", gzip.compress(zlib.compress(PLAIN)[:-1]), False),
    ("identity", b"whatever", True),
    ("unheard-of", b"whatever", True),
    ("gzip", b"", True),
]


@pytest.mark.parametrize(("encoding", "body", "whole"), BODIES)
def test_a_body_says_whether_it_is_whole(encoding, body, whole):
    """By the decoder's own account; where there is none, nobody can say."""
    refusal = why_not_whole(body, {"content-encoding": encoding})

    assert (refusal is None) is whole
    assert whole or refusal.startswith("Content-Encoding: ")


@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_other_decoders_say_it_too(encoding):
    """Where they are installed."""
    module = pytest.importorskip({"br": "brotlicffi", "zstd": "backports.zstd"}[encoding])
    body = module.compress(PLAIN)

    assert why_not_whole(body, {"content-encoding": encoding}) is None
    assert why_not_whole(body[:-3], {"content-encoding": encoding}) is not None


def test_a_decoder_that_holds_something_back_is_not_judged():
    """It was asked for less than it has."""
    response = HTTPResponse(io.BytesIO(ZIPPED), headers={"content-encoding": "gzip"}, preload_content=False)
    response._init_decoder()
    decoder = response._decoder
    if not hasattr(decoder, "has_unconsumed_tail"):
        pytest.skip("this urllib3 decodes all that it is given")
    assert not is_at_end(decoder)

    decoder.decompress(ZIPPED, 10)

    assert is_at_end(decoder)
    assert is_at_end(None)


def answers(body, cut):
    """Return a first answer that is cut, and the rest of another body of the same length and validator."""
    fields = {"ETag": '"v1"', "Content_Encoding": "gzip"}
    head = told("200 OK", b"", Content_Length=str(len(ZIPPED)), **fields)
    rest = body[cut:]
    span = f"bytes {cut}-{len(ZIPPED) - 1}/{len(ZIPPED)}"
    part = told("206 Partial", rest, Content_Length=str(len(rest)), Content_Range=span, **fields)
    return [Answer(head + ZIPPED[:cut], RST), Answer(part), Answer(head + ZIPPED, KEEP)]


#: Other bodies of the same length, which the validator does not tell from the right one.
OTHERS = {
    "a wrong checksum": WRONG_SUM,
    "no end": ZIPPED[:-200] + ZIPPED[-400:-200],
    "another text": ZIPPED[:-200] + bytes(200),
}
READ = {
    "content": lambda response: response.content,
    "iter_content": lambda response: b"".join(response.iter_content(1000)),
    "raw.read": lambda response: response.raw.read(decode_content=True),
    "raw.read in pieces": lambda response: b"".join(
        iter(lambda: response.raw.read(1000, decode_content=True), b"")
    ),
    "raw.stream": lambda response: b"".join(response.raw.stream(1000, decode_content=True)),
}


@pytest.fixture
def session():
    """Return a session with an adapter that does not pause."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter(policy=RetryPolicy(backoff=0)))
        yield session


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("other", OTHERS)
def test_a_stream_ends_in_an_error(session, other, read):
    """Whatever way it is read."""
    with VerbatimServer(answers(OTHERS[other], 1000)) as server:
        response = session.get(server.url, stream=True)

        with pytest.raises((requests.RequestException, Exception)) as caught:
            READ[read](response)

    assert "encod" in str(caught.value)


@pytest.mark.parametrize("other", OTHERS)
def test_a_buffered_body_begins_again(session, other):
    """Nothing was handed out; the attempts tell the field."""
    with VerbatimServer(answers(OTHERS[other], 1000)) as server:
        response = session.get(server.url)

        assert response.content == PLAIN
        assert len(server.heads) == 3
        assert "Content-Encoding" in attempts_of(response)[1].error


@pytest.mark.parametrize("stream", [False, True])
def test_the_right_rest_is_whole(session, stream):
    """The control."""
    with VerbatimServer(answers(ZIPPED, 1000)) as server:
        assert session.get(server.url, stream=stream).content == PLAIN
        assert len(server.heads) == 2


@pytest.mark.parametrize("adapter", [HTTPAdapter, ResilientAdapter])
@pytest.mark.parametrize("frame", ["length", "chunks"])
def test_a_short_one_that_came_at_once_is_as_in_stock(adapter, frame):
    """A proxy that has lost its upstream frames what it has: nobody can tell that from a short text."""
    half = ZIPPED[:1000]
    body = half if frame == "length" else b"%x\r\n%b\r\n0\r\n\r\n" % (len(half), half)
    framing = {"Content_Length": "1000"} if frame == "length" else {"Transfer_Encoding": "chunked"}
    with (
        VerbatimServer([Answer(told("200 OK", body, Content_Encoding="gzip", **framing))]) as server,
        requests.Session() as session,
    ):
        session.trust_env = False
        session.mount("http://", adapter())

        assert 0 < len(session.get(server.url).content) < len(PLAIN)
