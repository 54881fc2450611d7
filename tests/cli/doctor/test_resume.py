"""Resume: whether a body that is cut is resumed where it ended."""

import gzip
import random

import pytest

from resilient_transport.cli.doctor.finding import Level
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections.keep_alive import KEEP_ALIVE
from resilient_transport.cli.doctor.sections.resumable_body import LARGE, RESUME, Measured, Rest, measure
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.cli.doctor.raw_server import RawServer, Then, ranged, response
from tests.cli.doctor.visits import bad, found, visit_to
from tests.timeouts import SHORT_TIMEOUT

VALIDATOR, RANGE, BODY, HEAD = (check.name for check in RESUME.checks)
PAGE = random.Random(0).randbytes(1000)
OTHER = random.Random(1).randbytes(1000)


def resume_of(server, path="/"):
    """What is measured, and what is found."""
    measured = measure(visit_to(server, path))
    return measured, found(RESUME, measured)


def serving(reply):
    """A server that answers HEAD with a head, and other requests as told; it keeps each connection."""

    def answer(_, head):
        whole = reply(head)
        return (
            whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head.startswith("HEAD") else whole
        ), Then.KEEP

    return RawServer(answer)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/bytes/1000", "1,000 B, Content-Length"),
        ("/chunked/1000", "1,000 B, chunked"),
        ("/until-close/1000", "1,000 B, until the connection closes"),
    ],
)
def test_a_page_with_ranges_would_be_resumed(plain, path, value):
    """The rest comes alone, and is that of the page, however its end is told."""
    plain.play(Script())

    measured, findings = resume_of(plain, path)

    assert bad(RESUME, measured) == []
    assert findings[VALIDATOR].value == value
    assert "the rest of the body alone" in findings[RANGE].text
    assert findings[BODY].text == "a body that is cut is resumed where it ended"
    assert findings[HEAD].text == "the responses to HEAD and GET agree"


def test_an_encoded_body_is_compared_as_encoded(plain):
    """Offsets count encoded bytes."""
    plain.play(Script())

    measured, findings = resume_of(plain, "/gzip/1000")

    assert measured.encoding == "gzip"
    assert findings[BODY].text == "a body that is cut is resumed where it ended"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/words/30", "no strong validator"),
        ("/bytes/1000?etag=weak", "no strong validator"),
        ("/bytes/1000?etag=none", "no strong validator"),
        ("/bytes/1000?etag=changing", "another version came for it (ETag)"),
        ("/status/404", "its status is 404"),
        ("/bytes/0", "it has no body"),
    ],
)
def test_why_a_small_page_would_not_be_resumed_is_told(plain, path, why):
    """That is no warning: it is asked for again from its start."""
    plain.play(Script())

    measured, findings = resume_of(plain, path)

    assert bad(RESUME, measured) == []
    assert why in findings[BODY].text


def test_a_page_that_comes_again_would_be_resumed(plain):
    """Without ranges all of it comes, and the beginning is passed over."""
    plain.play(Script())

    _, findings = resume_of(plain, "/bytes/1000?ranges=none")

    assert "the whole body again" in findings[RANGE].text
    assert findings[BODY].text == "a body that is cut is resumed where it ended"


@pytest.mark.parametrize(
    "reply",
    [
        lambda head: ranged(OTHER if "If-Range" in head else PAGE, head, ETag='"a"'),
        lambda head: response(OTHER if "If-Range" in head else PAGE, ETag='"a"'),
        lambda head: ranged(PAGE, head, ETag='"a"', **wrong(head, Content_Range="bytes 500-999/1001")),
        lambda head: ranged(PAGE, head, ETag='"a"', **wrong(head, Content_Range="bytes 501-999/1000")),
        lambda head: ranged(PAGE, head, ETag='"a"', **wrong(head, Content_Encoding="gzip")),
        lambda head: ranged(PAGE, head, ETag='"a"', **wrong(head, Content_Range="lines 1-2")),
        lambda head: ranged(
            OTHER if "If-Range" in head else PAGE, head, ETag='"b"' if "If-Range" in head else '"a"'
        ),
    ],
    ids=["bytes", "same validator", "total", "begin", "encoding", "no range", "other version"],
)
def test_a_rest_that_lies_is_told(reply):
    """A body with it would be wrong, whether the adapter sees that or not."""
    with serving(reply) as server:
        _, findings = resume_of(server)

    assert (findings[RANGE].level, findings[RANGE].root) == (Level.FAIL, Root.WRONG_RANGE)
    assert not findings[RANGE].blocks


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (lambda head: ranged(PAGE, head, ETag='"b"' if "If-Range" in head else '"a"'), "another version"),
        (lambda head: wanted(head) or response(PAGE, ETag='"a"'), "status 416"),
    ],
)
def test_a_rest_that_is_refused_gives_no_finding(reply, text):
    """The adapter asks for all of it again."""
    with serving(reply) as server:
        measured, findings = resume_of(server)

    assert bad(RESUME, measured) == []
    assert text in findings[RANGE].text
    assert "from its start" in findings[BODY].text


def wrong(head, **fields):
    """Fields that stand in the answer to a Range only."""
    return fields if "If-Range" in head else {}


def wanted(head):
    """An answer to a Range that has nothing of it; None: there is no Range."""
    return response(b"", "416 Range Not Satisfiable") if "If-Range" in head else None


def test_a_date_is_a_validator_only_if_it_is_old():
    """RFC 9110 section 8.8.2.2: two changes within the clock's tick look alike."""

    def dated(date):
        fields = {"Last_Modified": "Mon, 30 Nov 2020 12:00:00 GMT", "Date": date, "Accept_Ranges": "bytes"}
        return serving(lambda head: ranged(PAGE, head, **fields))

    with dated("Mon, 30 Nov 2020 12:00:01 GMT") as server:
        recent, refused = resume_of(server)
    with dated("Mon, 30 Nov 2020 13:00:00 GMT") as server:
        old, resumed = resume_of(server)

    assert recent.validator == "Last-Modified, too recent to be strong"
    assert "no strong validator" in refused[BODY].text
    assert (old.validator, resumed[BODY].text) == (
        "Last-Modified, strong",
        "a body that is cut is resumed where it ended",
    )


def test_what_was_compressed_on_the_way_is_not_resumed():
    """Encoded, and in chunks: the validator may be that of the body without its encoding."""
    body = gzip.compress(PAGE, mtime=0)
    chunked = (
        b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n'
        + f"{len(body):x}\r\n".encode()
        + body
        + b"\r\n0\r\n\r\n"
    )
    with serving(lambda _: chunked) as server:
        _, findings = resume_of(server)

    assert "it was compressed on the way (Content-Encoding)" in findings[BODY].text


def test_head_that_disagrees_is_told_and_no_warning():
    """Some servers make another answer for HEAD."""
    with RawServer(
        lambda _, head: (
            b"HTTP/1.1 405 No\r\n\r\n" if head.startswith("HEAD") else response(PAGE),
            Then.CLOSE,
        )
    ) as server:
        measured, findings = resume_of(server)

    assert bad(RESUME, measured) == []
    assert findings[HEAD].value == "status 405 for HEAD, 200 for GET"


def test_a_reset_does_not_end_the_section(plain):
    """Each request is tried twice."""
    plain.play(Script(tuple(Rule(Fault(Moment.REQUEST), first=1, skip=skip) for skip in (0, 2, 4))))

    _, findings = resume_of(plain, "/bytes/1000")

    assert findings[BODY].text == "a body that is cut is resumed where it ended"
    assert plain.counts().requests == 6


def test_a_silent_server_is_asked_once_for_each(plain):
    """A silence costs the whole time-out."""
    plain.play(Script((Rule(Fault(Moment.REQUEST, How.STALL)),)))

    visit = visit_to(plain, timeout=SHORT_TIMEOUT)
    measured = measure(visit)
    visit.measured["keep-alive"] = KEEP_ALIVE.measure(visit)

    assert plain.counts().requests == 3
    assert measure(visit) == measured
    assert plain.counts().requests == 3, "what has shown it before is believed"
    assert {one.level for one in found(RESUME, measured).values()} == {Level.SKIPPED}


@pytest.mark.parametrize(
    ("measured", "level"),
    [
        (Measured(200, LARGE - 1, refusal="its response has no strong validator"), Level.OK),
        (Measured(200, LARGE, refusal="its response has no strong validator"), Level.WARN),
        (Measured(200, LARGE, rest=Rest(206, LARGE // 2, None, True)), Level.OK),
    ],
)
def test_only_a_large_body_is_worth_a_warning(measured, level):
    """All of it would come again after each cut."""
    assert found(RESUME, measured)[BODY].level is level


def test_no_value_of_a_field_is_kept(plain):
    """A validator may be a secret of the page."""
    plain.play(Script())
    visit = visit_to(plain, "/bytes/1000?token=geheim")

    measured = measure(visit)

    assert "bytes-1000" not in repr(measured)
    assert "geheim" not in repr(measured) + repr(visit.charts())
