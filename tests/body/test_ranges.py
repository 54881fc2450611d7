"""What counts as the rest of a body: values in, values out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_transport.body.ranges import (
    Part,
    Representation,
    representation_of,
    span_of,
    validator_of,
)

TAG = ("etag", '"v1"')
WHOLE = Representation(TAG, "", 0, 1000, 1000)
PIECE = Representation(TAG, "gzip", 100, 50, 1000, is_part=True)
ENDLESS = Representation(TAG, "")
ZIPPED = Representation(TAG, "gzip")
DATED = Representation(("last-modified", "then"), "", 0, 1000, 1000)


def fields(span=None, **more):
    """Return the fields of a response; underscores stand for hyphens."""
    told = {"etag": '"v1"', **({"content-range": span} if span else {}), **more}
    return {name.replace("_", "-"): value for name, value in told.items()}


@pytest.mark.parametrize(
    ("known", "at", "span"),
    [
        (WHOLE, 7, "bytes=7-"),
        (ENDLESS, 7, "bytes=7-"),
        (PIECE, 7, "bytes=107-149"),
        (PIECE, 0, "bytes=100-149"),
    ],
)
def test_what_is_asked_for(known, at, span):
    """From the byte that is missing, to where the caller's own range ends."""
    assert known.headers(at) == {"Range": span, "If-Range": '"v1"'}


def test_nothing_is_added_where_nothing_came():
    """A body that broke before its first byte is asked for as before."""
    assert WHOLE.headers(0) == {}


CHUNKED = {"transfer_encoding": "chunked"}
#: What a 206 may say of the body of a known response from its byte 7 on, and what that makes it: a part, or
#: the field that contradicts the request, the first response or the others.
PARTS = [
    (WHOLE, {"span": "bytes 7-999/1000"}, Part(0, 993, 1000)),
    (WHOLE, {"span": "bytes 7-999/1000", "content_length": "993"}, Part(0, 993, 1000)),
    (WHOLE, {"span": "bytes 7-999/1000", "content_length": "993, 993"}, Part(0, 993, 1000)),
    (WHOLE, {"span": " bytes 7-999/1000 ", **CHUNKED}, Part(0, 993, 1000)),
    (WHOLE, {"span": "bytes 7-999/1000", "content_encoding": "identity"}, Part(0, 993, 1000)),
    (WHOLE, {"span": "Bytes 7-20/*"}, Part(0, 14, 1000)),
    (ENDLESS, {"span": "bytes 7-20/21"}, Part(0, 14, 21)),
    (PIECE, {"span": "bytes 107-149/1000"}, Part(0, 43, 1000)),
    (PIECE, {"span": "bytes 107-149/1000", "content_encoding": "GZIP"}, Part(0, 43, 1000)),
    (PIECE, {"span": "bytes 107-149/*", "content_encoding": "gzip"}, Part(0, 43, 1000)),
    (ZIPPED, {"span": "bytes 7-20/21", "content_encoding": "gzip"}, Part(0, 14, 21)),
    # A part that begins earlier is passed over to where it is wanted.
    (WHOLE, {"span": "bytes 4-999/1000"}, Part(3, 993, 1000)),
    (WHOLE, {"span": "bytes 0-999/1000", "content_length": "1000"}, Part(7, 993, 1000)),
    (PIECE, {"span": "bytes 64-149/1000"}, Part(43, 43, 1000)),
    # Anything else contradicts something.
    (WHOLE, {}, "Content-Range"),
    (WHOLE, {"span": "lines 7-999/1000"}, "Content-Range"),
    (WHOLE, {"span": "bytes 7-6/1000"}, "Content-Range"),
    (WHOLE, {"span": "bytes 7-1000/1000"}, "Content-Range"),
    (WHOLE, {"span": "bytes 7-999/1000, bytes 7-999/1000"}, "Content-Range"),
    (WHOLE, {"span": "bytes 8-999/1000"}, "Content-Range"),
    (WHOLE, {"span": "bytes 0-6/1000"}, "Content-Range"),
    (WHOLE, {"span": "bytes 7-999/1001"}, "Content-Range"),
    (WHOLE, {"span": "bytes 7-998/999"}, "Content-Range"),
    (WHOLE, {"span": "bytes 7-1000/*"}, "Content-Range"),
    (PIECE, {"span": "bytes 107-150/1000"}, "Content-Range"),
    (ENDLESS, {"span": "bytes 7-20/*"}, "Content-Range"),
    (WHOLE, {"span": "bytes 7-999/1000", "content_length": "992"}, "Content-Length"),
    (WHOLE, {"span": "bytes 7-999/1000", "content_length": "1000"}, "Content-Length"),
    (WHOLE, {"span": "bytes 7-999/1000", "content_length": "1000", **CHUNKED}, "Content-Length"),
    (WHOLE, {"span": "bytes 7-999/1000", "content_length": "993, 994"}, "Content-Length"),
    (WHOLE, {"span": "bytes 7-999/1000", "content_length": "-1"}, "Content-Length"),
    (WHOLE, {"span": "bytes 7-999/1000", "etag": '"v2"'}, "ETag"),
    (WHOLE, {"span": "bytes 7-999/1000", "etag": 'W/"v1"'}, "ETag"),
    (WHOLE, {"span": "bytes 7-999/1000", "etag": ""}, "ETag"),
    (WHOLE, {"span": "bytes 7-999/1000", "etag": '"v1", "v1"'}, "ETag"),
    (DATED, {"span": "bytes 7-999/1000", "last_modified": "now"}, "Last-Modified"),
    (WHOLE, {"span": "bytes 7-999/1000", "content_encoding": "gzip"}, "Content-Encoding"),
    (PIECE, {"span": "bytes 107-149/1000", "content_encoding": "br"}, "Content-Encoding"),
    # Encoded, and without a length: it was compressed on the way, and this may be of what was compressed.
    (ZIPPED, {"span": "bytes 7-20/21"}, "Content-Encoding"),
    (PIECE, {"span": "bytes 107-149/*"}, "Content-Encoding"),
    (WHOLE, {"span": "bytes 7-999/1000", "transfer_encoding": "gzip, chunked"}, "Transfer-Encoding"),
    (WHOLE, {"span": "bytes 7-999/1000", "content_type": "multipart/byteranges; boundary=x"}, "Content-Type"),
]


@pytest.mark.parametrize(("known", "told", "part"), PARTS)
def test_a_part(known, told, part):
    """It agrees with what was asked for, with the first response and with itself, or the field is named."""
    found = known.part_in(206, fields(**told), 7)

    assert found == part if isinstance(part, Part) else str(found).startswith(f"{part}: ")


@pytest.mark.parametrize(
    ("known", "told", "part"),
    [
        (WHOLE, {"content_length": "1000"}, Part(7, 993, 1000)),
        (WHOLE, CHUNKED, Part(7, 993, None)),
        (ENDLESS, {}, Part(7, None, None)),
        (ENDLESS, {"content_length": "1000"}, Part(7, 993, 1000)),
        (PIECE, {"content_length": "1000", "content_encoding": "gzip"}, Part(107, 43, 1000, False)),
        (WHOLE, {"span": "bytes 0-999/1000", "content_length": "1000"}, "Content-Range"),
        (WHOLE, {"span": "bytes 7-999/1000", "content_length": "993"}, "Content-Range"),
        (PIECE, {"content_length": "1000"}, "Content-Encoding"),
        (WHOLE, {"content_length": "1000", "content_encoding": "gzip"}, "Content-Encoding"),
        (WHOLE, {"content_length": "999"}, "Content-Length"),
        (WHOLE, {"content_length": "5", **CHUNKED}, "Content-Length"),
        (WHOLE, {"content_length": "many"}, "Content-Length"),
        (WHOLE, {"etag": '"v2"'}, "ETag"),
        (WHOLE, {"etag": 'W/"v1"'}, "ETag"),
        (WHOLE, {"transfer_encoding": "gzip"}, "Transfer-Encoding"),
    ],
)
def test_all_of_it_again(known, told, part):
    """What is there already, and what lies before a caller's own range, is passed over."""
    found = known.part_in(200, fields(**told), 7)

    assert found == part if isinstance(part, Part) else str(found).startswith(f"{part}: ")


@pytest.mark.parametrize("status", [204, 304, 404, 416, 500])
def test_another_status_is_no_part(status):
    """Whatever it says."""
    assert WHOLE.part_in(status, fields("bytes 7-999/1000"), 7) == f"status {status} came for it"


@pytest.mark.parametrize(
    ("status", "span", "over"),
    [(416, "bytes */7", True), (416, "bytes */8", False), (416, None, False), (200, "bytes */7", False)],
)
def test_a_refusal_may_say_that_nothing_is_missing(status, span, over):
    """RFC 9110 section 15.5.17: a 416 tells the length."""
    assert ENDLESS.is_over(status, fields(span), 7) is over
    assert not WHOLE.is_over(status, fields(span), 7)


@pytest.mark.parametrize(
    "tag", ['"v1"', '""', '"a,b"', '"\xe4"', 'W/"v1"', "v1", '"v1', '"a", "b"', '"a b"', '"a"b"', ""]
)
def test_strong_tags(tag):
    """RFC 9110 section 8.8.3: quoted, not weak, and not empty."""
    strong = tag in ('"v1"', '"a,b"', '"\xe4"')

    assert validator_of({"etag": tag, "last-modified": "then"}) == (("etag", tag) if strong else None)


@pytest.mark.parametrize(
    "date", ["", "nonsense", "Mon, 02 Nov 2026 10:00:59 GMT", "Mon, 02 Nov 99999 10:02:00 GMT", "\x00"]
)
def test_a_date_that_is_not_late_enough(date):
    """Then Last-Modified may be the date of two versions."""
    told = {"last-modified": "Mon, 02 Nov 2026 10:00:00 GMT", "date": date}

    assert validator_of(told) is None
    assert validator_of({**told, "date": "Mon, 02 Nov 2026 10:01:00 GMT"}) is not None


@pytest.mark.parametrize(
    ("status", "told", "length", "why"),
    [
        (404, {}, 5, "status 404 has no body that could be"),
        (200, {"accept-ranges": "None"}, 5, "the server says that it has no ranges"),
        (200, {"etag": 'W/"v1"'}, 5, "its response has no strong validator"),
        (200, {"transfer-encoding": "gzip, chunked"}, None, "it is encoded for the transfer"),
        (200, {"etag": '""'}, 5, "its response has no strong validator"),
        (200, {"content-range": "bytes 0-4/5"}, 5, "it has a Content-Range, and its status is 200"),
        (206, {}, 5, "it is a part without a usable Content-Range"),
        (206, {"content-range": "bytes 0-4/9"}, 6, "it is a part without a usable Content-Range"),
    ],
)
def test_what_cannot_be_resumed(status, told, length, why):
    """And why."""
    assert representation_of(status, {"etag": '"v1"', **told}, length) == why


def test_a_part_that_can_be_resumed():
    """It remembers where it lies."""
    told = {"etag": '"v1"', "content-range": "bytes 100-149/1000", "content-encoding": "gzip"}

    assert representation_of(206, told, None) == PIECE


@given(st.binary(max_size=30))
def test_a_content_range_is_what_it_says_or_nothing(value):
    """Whatever a server sends."""
    found = span_of({"content-range": value.decode("latin-1")})

    assert found is None or found[0] <= found[1]


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_content_range_is_read(first, length, beyond):
    """Every one that makes sense."""
    last = first + length - 1
    total = last + 1 + beyond

    assert span_of({"content-range": f"bytes {first}-{last}/{total}"}) == (first, last, total)
