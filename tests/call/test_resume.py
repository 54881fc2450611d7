"""A body that breaks is gone on with: what is asked for, what is taken for the rest, and what is not."""

import base64
import gc
import gzip
import hashlib
import io
import re
import shutil
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from importlib import import_module

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import DeadlineExceeded, ResilientAdapter, RetryPolicy, attempts_of, mount, override
from resilient_transport.retry.deadline import Deadline
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.end_to_end.verbatim_server import FIN, KEEP, RST, STALL, Answer, VerbatimServer, told
from tests.end_to_end.ways import Later
from tests.missing import require
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

BODY = bytes(range(256)) * 8
ETAG = '"v1"'
#: Validators of a version, and of another one.
V1, V2 = {"ETag": ETAG}, {"ETag": '"v2"'}
FAST = RetryPolicy(backoff=0.0, jitter=0.0)


@pytest.fixture
def session():
    """Return a session with an adapter that does not pause."""
    with requests.Session() as session:
        session.trust_env = False
        mount(session, policy=FAST)
        yield session


def stock():
    """Return a session of stock requests."""
    session = requests.Session()
    session.trust_env = False
    return session


def whole(body=BODY, cut=None, then=RST, **fields):
    """Return an answer with all of a body, or its first bytes and then an end."""
    data = told("200 OK", b"", Content_Length=str(len(body)), **{**V1, **fields})
    return Answer(data + body[:cut], KEEP if cut is None else then)


def part(at, body=BODY, upto=None, cut=None, total=None, then=RST, **fields):
    """Return an answer with the part of a body from a byte on."""
    piece = body[at:upto]
    last = at + len(piece) - 1
    fields = {"Content_Range": f"bytes {at}-{last}/{total or len(body)}", **V1, **fields}
    data = told("206 Partial Content", b"", Content_Length=str(len(piece)), **fields)
    return Answer(data + piece[:cut], KEEP if cut is None else then)


def chunks(body, size=100):
    """Return a body in chunks, with everything that a frame may have."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return (
        b"".join(b"%x;name=v\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX-End: 1\r\n\r\n"
    )


def in_chunks(body=BODY, cut=None, then=RST, **fields):
    """Return an answer with a body in chunks, or its first bytes, frame included, and then an end."""
    data = told("200 OK", b"", Transfer_Encoding="chunked", **{**V1, **fields})
    return Answer(data + chunks(body)[:cut], KEEP if cut is None else then)


READERS = {
    "iter_content(1)": lambda r: b"".join(r.iter_content(1)),
    "iter_content(500)": lambda r: b"".join(r.iter_content(500)),
    "iter_content(None)": lambda r: b"".join(r.iter_content(None)),
    "content": lambda r: r.content,
    "raw.read": lambda r: r.raw.read(),
    "raw.read(7)": lambda r: b"".join(iter(lambda: r.raw.read(7), b"")),
    "raw.stream": lambda r: b"".join(r.raw.stream(300)),
    "raw.data": lambda r: r.raw.data,
    "raw.readinto": lambda r: by_readinto(r.raw),
    "copyfileobj": lambda r: copied(r.raw),
    "iteration": lambda r: b"".join(r.raw),
    "readlines": lambda r: b"".join(iter(r.raw.readline, b"")),
}
if hasattr(requests.packages.urllib3.HTTPResponse, "read1"):
    READERS["raw.read1"] = lambda r: b"".join(iter(r.raw.read1, b""))
    READERS["raw.read1(90)"] = lambda r: b"".join(iter(lambda: r.raw.read1(90), b""))


def by_readinto(raw):
    """Read a file by `readinto` alone."""
    found, space = b"", bytearray(200)
    while count := raw.readinto(space):
        found += space[:count]
    return found


def copied(raw):
    """Read a file as `shutil` does."""
    file = io.BytesIO()
    shutil.copyfileobj(raw, file, 1000)
    return file.getvalue()


def test_what_is_asked_for(session):
    """The rest is asked for from the byte that is missing, if it is the same; all other fields stay."""
    with VerbatimServer([whole(cut=700), part(700)]) as server:
        response = session.get(server.url + "a?b=c", headers={"X-Mine": "1", "If-None-Match": '"v0"'})

        first, second = server.fields(0), server.fields(1)
    assert response.content == BODY
    assert server.heads[1].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert (second.pop("range"), second.pop("if-range")) == ("bytes=700-", ETAG)
    assert second == first


def test_stock_asks_for_nothing():
    """The control."""
    with (
        VerbatimServer([whole(cut=700)]) as server,
        stock() as session,
        pytest.raises(requests.RequestException),
    ):
        session.get(server.url)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("then", [RST, FIN])
@pytest.mark.parametrize("frame", [whole, in_chunks])
def test_every_way_to_read_a_stream(session, reader, then, frame):
    """A stream that breaks twice is read whole in any way, from the same objects."""
    with (
        VerbatimServer([frame(cut=900, then=then), part(700, cut=300), Answer(b"")]) as server,
        session.get(server.url, stream=True) as response,
    ):
        server.answers = lambda head: answers_from(head)
        raw = response.raw

        assert READERS[reader](response) == BODY
        assert response.raw is raw
        assert server.accepts == len(server.heads) > 1


def answers_from(head):
    """Return 300 bytes from where a request asks for them, and then a reset; in the end the rest."""
    at = int(re.search(rb"Range: bytes=(\d+)-", head)[1])
    return part(at, cut=300) if at < 1200 else part(at)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("frame", [whole, in_chunks])
def test_no_way_to_read_returns_a_short_body(session, reader, frame):
    """Where nobody goes on, each way to read ends in an error of urllib3's or requests' and never short."""
    with (
        VerbatimServer([frame(cut=900, then=FIN, ETag='W/"v1"')]) as server,
        session.get(server.url, stream=True) as response,
        pytest.raises((requests.RequestException, requests.packages.urllib3.exceptions.HTTPError)) as caught,
    ):
        READERS[reader](response)

    assert "no strong validator" in str(attempts_of(caught.value))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("then", [RST, FIN])
@pytest.mark.parametrize("cut", range(73))
def test_chunks_that_are_cut_anywhere(session, cut, then, stream):
    """Wherever a chunked body is cut, in a size, an extension, a line's end or a trailer: it comes whole."""
    body = BODY[:30]
    framed = b'1\r\n%b\r\n0F;x="y"\r\n%b\r\n00e\r\n%b\r\n000;z\r\nX-End: 1\r\n\r\n'
    framed %= body[:1], body[1:16], body[16:]
    head = told("200 OK", b"", Transfer_Encoding="chunked", **V1)
    assert len(framed) == 73

    def answers(asked):
        at = re.search(rb"Range: bytes=(\d+)-", asked)
        if at is None:
            return Answer(head + (framed[:cut] if len(server.heads) == 1 else framed), then)
        if int(at[1]) >= len(body):
            return Answer(told("416 No", b"", Content_Range=f"bytes */{len(body)}", Content_Length="0"))
        return part(int(at[1]), body)

    with VerbatimServer(answers) as server, session.get(server.url, stream=stream) as response:
        assert b"".join(response.iter_content(4)) == body


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("stream", [False, True])
def test_offsets_count_encoded_bytes(session, encoding, stream):
    """An encoded body goes on where the wire broke, and decodes as one."""
    encoded = gzip.compress(BODY) if encoding == "gzip" else zlib.compress(BODY)
    named = {"Content_Encoding": encoding}

    def answers(head):
        at = re.search(rb"Range: bytes=(\d+)-", head)
        if at is None:
            return whole(encoded, cut=150, **named)
        return part(int(at[1]), encoded, **(named if stream else {}))

    with VerbatimServer(answers) as server, session.get(server.url, stream=stream) as response:
        assert response.content == BODY
        assert len(server.heads) == 2


def test_a_body_until_close_goes_on_too(session):
    """Without a length a reset is the only sign of a cut; the rest tells how long the body is."""
    head = told("200 OK", BODY[:500], **V1)
    with VerbatimServer([Answer(head, RST), part(500, cut=100, then=FIN), part(600)]) as server:
        response = session.get(server.url)

    assert response.content == BODY


def test_a_short_part_is_gone_on_with(session):
    """A server may send less than it was asked for (RFC 9110 section 15.3.7)."""
    answers = [whole(cut=500), part(500, upto=800), part(800, upto=1000), part(1000)]
    with VerbatimServer(answers) as server:
        assert session.get(server.url).content == BODY

        assert [server.fields(nth)["range"] for nth in (1, 2, 3)] == [
            "bytes=500-",
            "bytes=800-",
            "bytes=1000-",
        ]


def test_a_range_of_the_callers_own_is_resumed_inside(session):
    """It ends where the caller's range ends."""
    with VerbatimServer([part(100, upto=1000, cut=300), part(400, upto=1000)]) as server:
        response = session.get(server.url, headers={"range": "bytes=100-999"})

        assert server.fields(1)["range"] == "bytes=400-999"
        assert server.fields(1)["if-range"] == ETAG
    assert (response.status_code, response.content) == (206, BODY[100:1000])


def test_a_range_whose_rest_comes_whole(session):
    """A server that has no part any more sends everything: what lies before and behind is passed over."""
    with VerbatimServer([part(100, upto=1000, cut=300), whole()]) as server:
        response = session.get(server.url, headers={"Range": "bytes=100-999"}, stream=True)

        assert response.content == BODY[100:1000]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("again", [whole, in_chunks])
def test_all_of_it_once_more(session, stream, again):
    """Where ranges are ignored, what is there already is passed over if the version is the same."""
    with VerbatimServer([whole(cut=700), again(cut=650 if stream else 100), again()]) as server:
        response = session.get(server.url, stream=stream)

        assert response.content == BODY
        assert [attempt.status for attempt in attempts_of(response)] == [200, 200, 200]


NOT_THE_REST = {
    "another version": part(700, **V2),
    "a weak one": part(700, ETag='W/"v1"'),
    "none": part(700, ETag=""),
    "elsewhere": part(800),
    "of another length": part(700, total=5000),
    "in another encoding": part(700, Content_Encoding="gzip"),
    "several parts": Answer(
        told("206 OK", b"", Content_Type="multipart/byteranges; boundary=x", Content_Length="0", **V1)
    ),
    "nonsense": part(700, Content_Range="bytes 700-600/2048"),
    "another version, whole": whole(**V2),
    "the same, weakly": whole(ETag='W/"v1"'),
    "whole, in another encoding": whole(Content_Encoding="gzip"),
    "whole, of another length": whole(BODY[:1000]),
    "several parts that name one": part(700, Content_Type="multipart/byteranges; boundary=x"),
    "encoded for the transfer": part(700, Transfer_Encoding="gzip"),
    "in chunks that nobody reads": part(700, Transfer_Encoding="chunked\t"),
    "whole, encoded for the transfer": whole(Transfer_Encoding="identity, chunked"),
    "not found": Answer(told("404 Not Found", b"", Content_Length="0")),
    "gone elsewhere": Answer(told("302 Found", b"", Content_Length="0", Location="/b")),
    "not modified": Answer(told("304 Not Modified", b"", **V1)),
    "beyond its end": Answer(told("416 No", b"", Content_Length="0", Content_Range="bytes */100")),
}


@pytest.mark.parametrize("answer", NOT_THE_REST)
def test_what_is_not_the_rest_is_an_error_for_a_stream(session, answer):
    """With a prefix handed out, two versions are never mixed: an error, which says what came."""
    with (
        VerbatimServer([whole(cut=700), NOT_THE_REST[answer]]) as server,
        session.get(server.url, stream=True) as response,
        pytest.raises(requests.exceptions.ChunkedEncodingError) as caught,
    ):
        response.content  # noqa: B018 - reading it is the point

    assert len(server.heads) == 2
    assert [attempt.decision[:12] for attempt in attempts_of(caught.value)] == [
        "resumed from",
        "not resumed:",
    ]
    assert attempts_of(response) == attempts_of(caught.value)
    assert "v1" not in str(attempts_of(response))


@pytest.mark.parametrize("answer", NOT_THE_REST)
def test_what_is_not_the_rest_starts_a_buffered_body_over(session, answer):
    """With nothing handed out, the call begins again, and gets one version with its own head."""
    other = BODY[::-1]
    with VerbatimServer([whole(cut=700), NOT_THE_REST[answer], whole(other, ETag='"v3"')]) as server:
        response = session.get(server.url)

        assert "range" not in server.fields(2)
    assert (response.content, response.headers["ETag"]) == (other, '"v3"')
    first, second, third = attempts_of(response)
    assert (first.stage, first.bytes_in) == ("body", 700)
    assert (second.stage, second.bytes_in) == ("body", 0)
    assert first.decision.startswith("resumed from byte 700")
    assert second.decision.startswith("not resumed: ")
    assert "sent again" in second.decision
    assert third.stage == "done"


OLD, NEW = "Mon, 02 Nov 2026 10:00:00 GMT", "Mon, 02 Nov 2026 10:00:59 GMT"


def dated(answer, date, modified=OLD):
    """Return an answer without an ETag, with dates in its place."""
    dates = f"Last-Modified: {modified}\r\nDate: {date}".encode()
    return Answer(answer.data.replace(b'ETag: "v1"', dates), answer.then)


@pytest.mark.parametrize(
    ("date", "resumed"), [(NEW, False), ("Mon, 02 Nov 2026 10:01:00 GMT", True), ("then", False), ("", False)]
)
def test_a_date_counts_as_strong_only_when_it_is_old(session, date, resumed):
    """RFC 9110 section 8.8.2.2: a Last-Modified a good while before the Date beside it."""
    with VerbatimServer(
        [dated(whole(cut=700), date), dated(part(700) if resumed else whole(), date)]
    ) as server:
        assert session.get(server.url).content == BODY

        assert server.fields(1).get("if-range") == (OLD if resumed else None)


@pytest.mark.parametrize(
    "fields",
    [
        {"ETag": 'W/"v1"', "Last_Modified": OLD, "Date": "Mon, 02 Nov 2026 11:00:00 GMT"},
        {"ETag": "v1"},
        {"ETag": '"v1", "v2"'},
        {"Accept_Ranges": "none"},
        {"Transfer_Encoding": "gzip"},
    ],
    ids=["a weak tag beside a date", "no tag", "two tags", "no ranges", "encoded for the transfer"],
)
def test_what_says_that_it_cannot_be_resumed(session, fields):
    """Then the whole of it is asked for again, or a stream breaks."""
    with VerbatimServer([whole(cut=700, **fields), whole()]) as server:
        assert session.get(server.url).content == BODY

        assert "range" not in server.fields(1)


@pytest.mark.parametrize("method", ["POST", "PUT", "QUERY", "DELETE", "OPTIONS"])
def test_only_get_is_resumed(session, method):
    """What a range of another method's response is, nobody has said."""
    with (
        VerbatimServer([whole(cut=700)]) as server,
        session.request(method, server.url, stream=True) as response,
        pytest.raises(requests.exceptions.ChunkedEncodingError) as caught,
    ):
        response.content  # noqa: B018 - reading it is the point

    assert attempts_of(caught.value)[-1].decision == "not resumed: only the body of a GET without a body is"


def test_a_get_with_a_body_is_not_resumed(session):
    """Its response may depend on that."""
    with VerbatimServer([whole(cut=700), whole()]) as server:
        assert session.get(server.url, data=b"{}").content == BODY

        assert "range" not in server.fields(1)


def test_resumes_that_gain_are_free(session):
    """A body that comes in twenty pieces needs no more than one repetition to be allowed."""
    mount(session, policy=RetryPolicy(retries=1, backoff=0.0))
    with VerbatimServer(lambda head: piece_for(head, 100)) as server:
        assert session.get(server.url).content == BODY
        assert len(server.heads) > 20


def test_resumes_that_gain_nothing_are_counted(session):
    """A body that does not go on is given up after as many as the policy grants."""
    mount(session, policy=RetryPolicy(retries=3, backoff=0.0))
    with (
        VerbatimServer(lambda head: piece_for(head, 0)) as server,
        pytest.raises(requests.exceptions.ChunkedEncodingError) as caught,
    ):
        session.get(server.url)

    assert len(server.heads) == 4
    assert "retries=3 is used up" in attempts_of(caught.value)[-1].decision


def piece_for(head, size):
    """Return so many bytes of what a request asks for, and then a reset."""
    at = re.search(rb"Range: bytes=(\d+)-", head)
    if at is None:
        return whole(cut=size)
    start = int(at[1])
    return part(start, cut=size) if start + size < len(BODY) else part(start)


@pytest.mark.parametrize(
    "policy", [RetryPolicy(retries=0), RetryPolicy(allowed_methods={"PUT"})], ids=["retries=0", "methods"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_may_not_be_repeated_is_not_resumed(session, policy, stream):
    """Progress makes a resume free, not allowed."""
    mount(session, policy=policy)
    with VerbatimServer([whole(cut=700)]) as server, pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(server.url, stream=stream).content  # noqa: B018 - reading it is the point

    assert len(server.heads) == 1


def test_a_busy_server_is_waited_for(session):
    """A 503 in place of the rest is repeated like any, and what fails before it, too."""
    busy = Answer(told("503 Busy", b"", Content_Length="0"))
    with VerbatimServer([whole(cut=700), busy, Answer(b"", RST), part(700)]) as server:
        response = session.get(server.url)

    assert response.content == BODY
    assert [attempt.status for attempt in attempts_of(response)] == [200, 503, None, 206]


def test_the_story_of_a_resumed_body(session):
    """Each attempt says what it brought, and what came of it."""
    with VerbatimServer([whole(cut=700), part(700, cut=1000, then=FIN), part(1700)]) as server:
        response = session.get(server.url)

    assert [(one.number, one.stage, one.status, one.bytes_in) for one in attempts_of(response)] == [
        (1, "body", 200, 700),
        (2, "body", 206, 1000),
        (3, "done", 206, 348),
    ]
    assert attempts_of(response)[0].decision.startswith("resumed from byte 700 at once: reset or closed")
    assert [entry.status for entry in response.raw.retries.history or ()] == []


def test_the_story_of_a_resumed_stream(session):
    """The response tells it while it is read."""
    with VerbatimServer([whole(cut=700), part(700, cut=1000, then=FIN), part(1700)]) as server:
        response = session.get(server.url, stream=True)
        before = attempts_of(response)
        assert response.content == BODY

    assert [(one.stage, one.status) for one in before] == [("done", 200)]
    assert [(one.stage, one.status, one.bytes_in) for one in attempts_of(response)] == [
        ("body", 200, 700),
        ("body", 206, 1000),
        ("done", 206, 348),
    ]


def test_a_stall_is_a_cut(session):
    """A time-out between two bytes is gone on from, and counts as one."""
    with VerbatimServer([whole(cut=700, then=STALL), part(700)]) as server:
        response = session.get(server.url, timeout=(5, SHORT_TIMEOUT))

    assert response.content == BODY
    assert "timed out at stage body" in attempts_of(response)[0].decision


@pytest.mark.parametrize("seconds", [0.3])
def test_the_deadline_bounds_a_resumed_body(session, seconds):
    """Each resume gets on, and the call ends all the same."""

    def slowly(head):
        at = re.search(rb"Range: bytes=(\d+)-", head)
        return piece_for(head, 30) if at is None or int(at[1]) < 300 else part(int(at[1]), cut=30, then=STALL)

    with VerbatimServer(slowly) as server, override(deadline=seconds), pytest.raises(DeadlineExceeded):
        session.get(server.url)


def test_a_pool_with_one_slot(session):
    """`pool_block`: the connection that broke makes room for the one that goes on."""
    mount(session, pool_maxsize=1, pool_block=True, policy=FAST)
    with VerbatimServer([whole(cut=700), part(700, cut=10), part(710), whole(), whole()]) as server:
        for stream in (False, True, False):
            assert session.get(server.url, stream=stream).content == BODY


def test_a_resumed_connection_is_used_again(session):
    """What was read to its end goes back; and the next call takes it."""
    with VerbatimServer([whole(cut=700), part(700), whole()]) as server:
        session.get(server.url, stream=True).content  # noqa: B018 - reading it is the point
        session.get(server.url)

        assert server.accepts == 2


def test_a_resumed_connection_with_more_in_it_is_not(session):
    """Somebody else's bytes would be in its next response."""
    with VerbatimServer([part(100, upto=1000, cut=300), whole(), whole()]) as server:
        response = session.get(server.url, headers={"Range": "bytes=100-999"}, stream=True)
        assert response.content == BODY[100:1000]
        assert session.get(server.url).content == BODY

        assert server.accepts == 3


@pytest.mark.parametrize("how", ["close", "forget", "session"])
def test_leaving_in_the_middle_leaks_nothing(session, how):
    """After a resume, a response that is closed or forgotten closes its connection: the server sees it."""
    with VerbatimServer([whole(cut=700), part(700, cut=100, then=STALL)]) as server:
        response = session.get(server.url, stream=True)
        assert len(response.raw.read(750)) == 750
        if how == "close":
            response.close()
            assert response.raw.closed
        elif how == "session":
            response.close()
            session.close()
        del response
        gc.collect()
    # The server has ended: its threads wait for the client to leave.


def test_reading_goes_on_after_the_session_is_closed():
    """A stream outlives its session, as with stock."""
    with VerbatimServer([whole(cut=700), part(700)]) as server:
        with requests.Session() as session:
            session.trust_env = False
            mount(session, policy=FAST)
            response = session.get(server.url, stream=True)

        assert response.content == BODY


def test_nothing_of_an_empty_body_is_asked_for(session):
    """A body that broke before its first byte is asked for from its beginning, and must be the same."""
    with VerbatimServer([whole(cut=0), whole()]) as server:
        response = session.get(server.url, stream=True)

        assert response.content == BODY
        assert "range" not in server.fields(1)


def test_another_version_before_the_first_byte(session):
    """Its head was handed out: the body of another version does not belong to that."""
    with (
        VerbatimServer([whole(cut=0), whole(**V2)]) as server,
        pytest.raises(requests.exceptions.ChunkedEncodingError),
    ):
        session.get(server.url, stream=True).content  # noqa: B018 - reading it is the point


@pytest.mark.parametrize("path", ["/bytes/300000", "/gzip/300000", "/chunked/300000", "/until-close/300000"])
@pytest.mark.parametrize("how", [How.RST, How.FIN, How.CORRUPT])
@pytest.mark.parametrize("stream", [False, True])
def test_over_tls(server, dial, path, how, stream):
    """Every framing over mutual TLS; a close without close_notify is a cut, too."""
    server.play(Script((Rule(Fault(Moment.BODY, how, after_bytes=100_000), first=1),)))
    session = dial(server, policy=FAST)

    response = session.get(server.url + path, stream=stream)
    content = response.content

    server.play(Script())
    assert content == session.get(server.url + path).content
    assert len(attempts_of(response)) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_stock_loses_it_over_tls(server, dial, stream):
    """The control."""
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=100_000), first=1),)))

    with pytest.raises(requests.RequestException):
        dial(server, HTTPAdapter(max_retries=3)).get(server.url + "/bytes/300000", stream=stream).content  # noqa: B018


def sha256(body):
    """Return a Repr-Digest of a body."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("frame", [whole, in_chunks])
def test_a_digest_that_fits(session, frame, stream):
    """A resumed body is compared with what the first response has promised of it."""
    with VerbatimServer(lambda head: rest_after(head) or frame(cut=700, Repr_Digest=sha256(BODY))) as server:
        assert session.get(server.url, stream=stream).content == BODY
        assert len(server.heads) == 2


def rest_after(head, body=BODY):
    """Return the part that a request asks for."""
    at = re.search(rb"Range: bytes=(\d+)-", head)
    return at and part(int(at[1]), body)


@pytest.mark.parametrize("frame", [whole, in_chunks])
def test_a_digest_that_does_not_fit_ends_a_stream_in_an_error(session, frame):
    """A server whose validator lies mixes two versions: found at the end, and never passed for whole."""
    with (
        VerbatimServer(
            lambda head: rest_after(head, BODY[::-1]) or frame(cut=700, Repr_Digest=sha256(BODY))
        ) as server,
        pytest.raises(
            requests.exceptions.ChunkedEncodingError, match="Repr-Digest: it is not that of the resumed body"
        ) as caught,
    ):
        session.get(server.url, stream=True).content  # noqa: B018 - reading it is the point

    assert "all of it came, but it is not the body: Repr-Digest" in attempts_of(caught.value)[-1].decision


def test_a_digest_that_does_not_fit_starts_a_buffered_body_over(session):
    """Nothing was handed out yet."""
    answers = [whole(cut=700, Repr_Digest=sha256(BODY)), part(700, BODY[::-1]), whole()]
    with VerbatimServer(answers) as server:
        assert session.get(server.url).content == BODY

        assert "range" not in server.fields(2)


def test_a_body_that_comes_at_once_is_not_compared(session):
    """Whether a server's digests are right is not this transport's affair."""
    with VerbatimServer([whole(Repr_Digest=sha256(b""))] * 2) as server:
        assert session.get(server.url).content == session.get(server.url, stream=True).content == BODY


class Caching(ResilientAdapter):
    """An adapter that wraps what `urlopen` returns, where CacheControl does."""

    seen = b""

    def build_response(self, req, resp):
        """Listen to what is read."""
        resp._fp = Listening(resp._fp, self)
        return super().build_response(req, resp)


class Listening:
    """A file that remembers what was read."""

    def __init__(self, file, adapter):
        self.file, self.adapter = file, adapter

    def read(self, *args):
        """Read, and remember it."""
        data = self.file.read(*args)
        self.adapter.seen += data
        return data

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("stream", [False, True])
def test_who_wraps_the_response_sees_the_resumed_one(session, stream):
    """It is resumed inside `urlopen`, before `build_response`: one response, with all of the body."""
    adapter = Caching(policy=FAST)
    session.mount("http://", adapter)
    with VerbatimServer([whole(cut=700), part(700)]) as server:
        assert session.get(server.url, stream=stream).content == BODY

    assert adapter.seen == BODY


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("frame", [whole, in_chunks])
def test_a_cache_keeps_the_resumed_body(stream, frame):
    """CacheControl sees one response, whole; the second call is answered from it."""
    cachecontrol = require("cachecontrol")

    class Cached(cachecontrol.CacheControlAdapter, ResilientAdapter):
        pass

    fields = {"Cache_Control": "max-age=600", "Date": formatdate(usegmt=True)}
    with (
        VerbatimServer(lambda head: rest_after(head) or frame(cut=900, **fields)) as server,
        requests.Session() as session,
    ):
        session.trust_env = False
        session.mount("http://", Cached())

        assert session.get(server.url, stream=stream).content == BODY
        assert session.get(server.url).content == BODY
        assert len(server.heads) == 2


@pytest.mark.skipif(
    not hasattr(requests.packages.urllib3.HTTPResponse, "shutdown"), reason="urllib3 before 2.3"
)
def test_who_shuts_a_stream_down_ends_it(session):
    """`raw.shutdown()` in another thread ends the read that waits: it is no cut to go on from."""
    with VerbatimServer([whole(cut=700, then=STALL)]) as server, ThreadPoolExecutor(1) as other:
        response = session.get(server.url, stream=True)
        assert len(response.raw.read(700)) == 700
        ended = other.submit(response.raw.read, 10)
        while not ended.running():
            pass
        response.raw.shutdown()
        with pytest.raises(requests.packages.urllib3.exceptions.ProtocolError):
            ended.result(LONG_TIMEOUT)
        response.close()

        assert len(server.heads) == 1


def test_a_forwarding_proxy(session, fault_server_factory):
    """The rest is asked for through the same proxy."""
    proxy = fault_server_factory(Script((Rule(Fault(Moment.BODY, after_bytes=900), first=2),)), tls=False)

    response = session.get("http://elsewhere.test/bytes/5000", proxies={"http": proxy.url})

    assert len(response.content) == 5000
    assert [attempt.status for attempt in attempts_of(response)] == [200, 206, 206]


def test_through_a_tunnel(server, dial, fault_server_factory):
    """The rest comes through a tunnel of its own."""
    proxy = fault_server_factory(tls=False)
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=900), first=2),)))

    response = dial(server).get(server.url + "/bytes/5000", proxies={"https": proxy.url})

    assert len(response.content) == 5000
    assert [attempt.status for attempt in attempts_of(response)] == [200, 206, 206]


def test_a_redirect_keeps_its_rules(session):
    """Each hop is a call; the last one's body is resumed."""
    moved = Answer(told("302 Found", b"", Content_Length="0", Location="/b"))
    with VerbatimServer([moved, whole(cut=700), part(700)]) as server:
        response = session.get(server.url)

        assert [head.split(b" ")[1] for head in server.heads] == [b"/", b"/b", b"/b"]
    assert response.content == BODY


def test_an_interrupt_while_it_is_resumed(session, monkeypatch):
    """It gets through, and the response is closed."""

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("resilient_transport.call.resume.sleep", interrupt)
    with VerbatimServer([whole(cut=700), whole()]) as server:
        with session.get(server.url, stream=True) as response, pytest.raises(KeyboardInterrupt):
            response.content  # noqa: B018 - reading it is the point
        assert session.get(server.url).content == BODY


def test_a_body_that_breaks_for_good_leaves_no_connection(session):
    """It is closed at once, and not when the garbage is collected."""
    with VerbatimServer(
        lambda head: NOT_THE_REST["not found"] if b"Range" in head else whole(cut=700, then=STALL)
    ) as server:
        gc.disable()
        try:
            response = session.get(server.url, stream=True, timeout=(5, SHORT_TIMEOUT))
            with pytest.raises(requests.exceptions.ConnectionError):
                response.content  # noqa: B018 - reading it is the point
            server.wait_until_left()
        finally:
            gc.enable()

    assert response.raw.closed


def test_what_follows_the_last_chunk_is_not_the_next_calls(session):
    """A body whose trailers do not come is whole, and its connection is closed."""
    hello = Answer(told("200 OK", b"5\r\nhello\r\n0\r\n", Transfer_Encoding="chunked", **V1), STALL)
    with VerbatimServer([hello, whole()]) as server:
        assert session.get(server.url, timeout=(5, SHORT_TIMEOUT)).content == b"hello"
        assert session.get(server.url).content == BODY
        assert server.accepts == 2


def test_a_length_of_many_digits(session):
    """It is no number, and what has it is no rest."""
    answer = Answer(told("200 OK", BODY, Content_Length="9" * 5000, **V1), FIN)
    with VerbatimServer([whole(cut=700), answer, whole()]) as server:
        assert session.get(server.url).content == BODY

        assert len(server.heads) == 3


def test_an_idle_connection_holds_no_call(session):
    """Neither the adapter nor the request, with its credentials, outlives its caller."""
    with VerbatimServer([whole(), whole()]) as server, requests.Session() as own:
        own.trust_env = False
        adapter = mount(own)
        prepared = own.prepare_request(requests.Request("GET", server.url, headers={"X-Secret": "s"}))
        own.send(prepared)
        held = [weakref.ref(adapter), weakref.ref(prepared)]
        own.adapters.clear()
        del adapter, prepared
        gc.collect()

        assert [one() for one in held] == [None, None]


def test_a_chunk_that_the_rest_cannot_fill(session):
    """More of a chunk has been promised than the body is said to have: another body, and no slot is lost."""
    mount(session, pool_maxsize=1, pool_block=True, policy=FAST)
    begun = told("200 OK", b"400\r\n" + BODY[:100], Transfer_Encoding="chunked", **V1)
    with VerbatimServer([Answer(begun, RST), part(100, BODY[:200]), whole()]) as server:
        with (
            session.get(server.url, stream=True) as response,
            pytest.raises(requests.RequestException) as caught,
        ):
            response.content  # noqa: B018 - reading it is the point
        assert session.get(server.url, timeout=5).content == BODY

    assert "another length came for it" in attempts_of(caught.value)[1].decision


def test_a_request_that_is_changed_meanwhile(session):
    """What a stream's rest is asked for with is what its call was made with."""
    with VerbatimServer([whole(cut=700), part(700)]) as server:
        prepared = session.prepare_request(
            requests.Request("GET", server.url + "a", headers={"X-Who": "one"})
        )
        response = session.send(prepared, stream=True)
        prepared.url, prepared.headers["X-Who"] = server.url + "b", "two"

        assert response.content == BODY
        assert server.heads[1].startswith(b"GET /a ")
        assert server.fields(1)["x-who"] == "one"


def test_the_deadline_bounds_what_is_passed_over(session):
    """A server that sends everything again, and stops in what is there already, is not waited for."""
    with (
        VerbatimServer([whole(cut=700), whole(cut=100, then=STALL)]) as server,
        override(deadline=SHORT_TIMEOUT),
        pytest.raises(DeadlineExceeded),
    ):
        session.get(server.url)


def test_an_override_around_the_reading_bounds_it(session):
    """A stream's pause ends with the block it is read in."""
    busy = Answer(told("503 Busy", b"", Content_Length="0", Retry_After="30"))
    with (
        VerbatimServer([whole(cut=700), busy]) as server,
        session.get(server.url, stream=True) as response,
        override(deadline=SHORT_TIMEOUT),
        pytest.raises(requests.exceptions.ChunkedEncodingError) as caught,
    ):
        response.content  # noqa: B018 - reading it is the point

    assert "the deadline leaves" in attempts_of(caught.value)[-1].decision


def test_a_block_around_the_rest_alone_ends_it(session):
    """Though the body was resumed before the block began."""
    with (
        VerbatimServer([whole(cut=700), part(700, cut=100, then=STALL)]) as server,
        session.get(server.url, stream=True, timeout=2 * LONG_TIMEOUT) as response,
    ):
        response.raw.read(750)
        block = Deadline(LONG_TIMEOUT)
        with override(deadline=SHORT_TIMEOUT), pytest.raises(DeadlineExceeded):
            response.content  # noqa: B018 - reading it is the point
        is_over = block.is_over()

    assert not is_over


def test_a_rest_that_came_in_a_block_does_not_end_with_it(session, monkeypatch):
    """It is read on after the block, and is not asked for once more."""
    clock = Later()
    monkeypatch.setattr(Deadline.__init__, "__defaults__", (None, clock))
    monkeypatch.setattr(import_module("resilient_transport.settings.override"), "monotonic", clock)
    long = BODY * 100
    with VerbatimServer([whole(long, cut=700), part(700, long), part(750, long)]) as server:
        raw = session.get(server.url, stream=True).raw
        with override(deadline=LONG_TIMEOUT):
            begin = raw.read(750)
        clock.ahead = 2 * LONG_TIMEOUT
        body = begin + raw.read()

    assert body == long
    assert len(server.heads) == 2


def test_a_stream_goes_on_without_its_response(session):
    """`raw` is all that some callers keep."""
    mount(session)
    with VerbatimServer([whole(cut=700), part(700)]) as server:
        raw = session.get(server.url, stream=True).raw

        assert raw.read() == BODY


def test_a_stream_ends_with_the_deadline_of_its_call(session):
    """It covers the reading until the last byte, whenever that is; what came before stays whole."""
    mount(session, policy=RetryPolicy(deadline=SHORT_TIMEOUT))
    with VerbatimServer([whole(cut=700), part(700)]) as server:
        raw = session.get(server.url, stream=True).raw
        call = Deadline(SHORT_TIMEOUT)
        while call.left():
            pass
        with pytest.raises(DeadlineExceeded) as caught:
            raw.read()

    assert len(server.heads) == 1
    assert len(attempts_of(caught.value)) == 1


def test_a_body_that_changes_all_the_time_is_given_up(session):
    """Beginning again is never free, however much came before."""
    mount(session, policy=RetryPolicy(retries=1, backoff=0.0))

    def changing(head):
        tag = f'"{len(server.heads)}"'
        return part(1000, ETag=tag) if b"Range" in head else whole(cut=1000, ETag=tag)

    with (
        VerbatimServer(changing) as server,
        pytest.raises(requests.exceptions.ChunkedEncodingError) as caught,
    ):
        session.get(server.url)

    assert len(server.heads) <= 4
    assert "retries=1 is used up" in attempts_of(caught.value)[-1].decision


def test_a_misdirected_rest_gets_a_new_connection(session):
    """As any request does after a 421."""
    misdirected = Answer(told("421 No", b"", Content_Length="0"))
    with VerbatimServer([whole(), whole(cut=700), misdirected, part(700)]) as server:
        session.get(server.url)
        response = session.get(server.url)

    assert response.content == BODY
    assert [one.status for one in attempts_of(response)] == [200, 421, 206]
    assert not attempts_of(response)[2].reused


def test_each_request_is_an_attempt(session):
    """The second question after "there is nothing after it", too."""
    nothing = Answer(told("416 No", b"", Content_Length="0", Content_Range=f"bytes */{len(BODY)}"))
    framed = chunks(BODY)
    with VerbatimServer([in_chunks(cut=framed.index(b"0\r\nX-End")), nothing, part(len(BODY) - 1)]) as server:
        response = session.get(server.url)

    assert response.content == BODY
    assert [one.status for one in attempts_of(response)] == [200, 416, 206]


def test_a_rest_in_chunks_leaves_its_connection(session):
    """Its last chunk is taken in, if it is there."""
    rest = told(
        "206 OK", chunks(BODY[700:]), Transfer_Encoding="chunked", Content_Range="bytes 700-2047/2048", **V1
    )
    with VerbatimServer([whole(cut=700), Answer(rest), whole()]) as server:
        assert session.get(server.url).content == BODY
        assert session.get(server.url).content == BODY
        assert server.accepts == 2


def test_a_range_that_was_not_granted_is_not_asked_for_again(session):
    """The caller has got all of it: that is what goes on, from the first byte as well."""
    with VerbatimServer([whole(cut=0), whole()]) as server:
        response = session.get(server.url, headers={"Range": "bytes=100-199"}, stream=True)

        assert response.content == BODY
        assert "range" not in server.fields(1)
