"""Resume: whether a body that is cut would be resumed, and if not, why.

The adapter asks for the rest of a body by Range and If-Range (RFC 9110 sections 13.1.5 and 14), where the
response has a strong validator. Its own rules (`body/ranges.py`) decide here, too: the page is asked for
once, and then from its middle on. What comes is compared with the bytes that are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ....body.ranges import (
    OK,
    PARTIAL,
    Part,
    Representation,
    coding_of,
    content_length,
    is_compressed_on_the_way,
    representation_of,
    validator_of,
)
from ....retry.causes import Cause
from ..finding import Finding, fail, ok, skipped, warn
from ..line import FAILURES, Answer, Line
from ..root import Root
from ..section import Check, Section
from ..visit import Visit
from .keep_alive import Measured as KeptConnections

#: A body of so many bytes is worth resuming.
LARGE: Final = 1_000_000
#: How often the rest is asked for, where the connection breaks.
_TRIES: Final = 2
#: What requests asks for by itself; an encoded body is another one.
_ACCEPT: Final = {"Accept-Encoding": "gzip, deflate"}


@dataclass(frozen=True, slots=True)
class Rest:
    """What came when the page was asked for from its middle on."""

    #: The response's status.
    status: int
    #: Where its middle is.
    at: int
    #: Why the adapter would not take it for the rest; None: it would.
    refusal: str | None
    #: Whether its bytes are those of the page; None: none came that could be compared.
    is_same: bool | None


@dataclass(frozen=True, slots=True)
class Measured:
    """A page, once whole, and once from its middle on. It holds no value of a field."""

    #: The page's status; None: it did not come whole.
    status: int | None
    #: Bytes of its body, as encoded.
    size: int = 0
    #: Whether it has an ETag, "strong" or "weak", or a date: "Last-Modified", which is strong if it is old
    #: enough; None: it has none.
    validator: str | None = None
    #: How the body's end is told: "Content-Length", "chunked" or "until the connection closes"; its encoding.
    framing: str = ""
    encoding: str = ""
    #: Whether `Accept-Ranges` says so; None: it says nothing.
    says_ranges: bool | None = None
    #: Why its body would not be resumed; None: it would be asked for from where it was cut.
    refusal: str | None = None
    #: What came of the rest; None: it was not asked for, or the connection broke.
    rest: Rest | None = None
    #: In what HEAD and GET do not agree; None: HEAD was not answered.
    disagreements: tuple[str, ...] | None = None


def measure(visit: Visit) -> Measured:
    """Ask for the page by HEAD, by GET, and from its middle on."""
    before = visit.of("keep-alive", KeptConnections)
    if before is not None and before.is_silent and not visit.was_answered:
        return Measured(None)
    head = _asked(visit, "HEAD", _ACCEPT)
    body = bytearray()
    whole = _asked(visit, "GET", _ACCEPT, body)
    if whole is None:
        return Measured(None)
    measured = described(whole, len(body))
    if head is not None:
        measured = replace(measured, disagreements=tuple(_disagreements(head, whole)))
    known = _known(whole, len(body))
    if isinstance(known, str):
        return replace(measured, refusal=known)
    return replace(measured, rest=_rest(visit, known, bytes(body)))


def _asked(
    visit: Visit, method: str, headers: Mapping[str, str], body: bytearray | None = None
) -> Answer | None:
    """An answer whose body is whole; None: the connection broke each time, or nothing came."""
    for number in range(_TRIES):
        came = bytearray()
        with visit.kept(visit.line(), f"{method} by hand, try {number + 1}") as line:
            answer = _tried(visit, line, method, headers, came)
        if answer is not None and body is not None:
            body[:] = came
        if answer is not None or _is_silent(line):
            return answer
    return None


def _tried(
    visit: Visit, line: Line, method: str, headers: Mapping[str, str], came: bytearray
) -> Answer | None:
    try:
        visit.connect(line)
        answer = line.ask(method, headers=headers, listener=came.extend)
    except FAILURES:
        return None
    return answer if answer.cut is None else None


def _is_silent(line: Line) -> bool:
    return line.trouble is not None and line.trouble.cause is Cause.TIMEOUT


def _rest(visit: Visit, known: Representation, body: bytes) -> Rest | None:
    """Ask for the page from its middle on, and compare."""
    at, came = len(body) // 2, bytearray()
    if not at:
        return None
    answer = _asked(visit, "GET", {**_ACCEPT, **known.headers(at)}, came)
    if answer is None:
        return None
    left = visit.target.url in visit.long
    return rest_of(known, answer.status, answer.headers, at, body, bytes(came), left)


def rest_of(
    known: Representation,
    status: int,
    headers: Mapping[str, str],
    at: int,
    body: bytes,
    came: bytes,
    is_left: bool = False,
) -> Rest:
    """Judge a response to a request for the rest of a body, as the adapter does, and its bytes besides.

    Args:
        known: what the first response has said.
        status, headers: the second one's; names are in lower case.
        at: from which byte on it was asked for.
        body, came: the bodies of the first and the second response, as far as they were read.
        is_left: whether they were not read to their end.
    """
    part = known.part_in(status, headers, at)
    if isinstance(part, Part):
        begins = at - part.skip
    elif status == PARTIAL:
        begins = at
    else:
        return Rest(status, at, part, None)
    wanted = body[begins:]
    common = min(len(wanted), len(came)) if is_left else len(wanted)
    same = came[:common] == wanted[:common]
    return Rest(status, at, part if isinstance(part, str) else None, same)


def described(answer: Answer, size: int) -> Measured:
    """What a response says of its body, without the values of its fields.

    Args:
        answer: the response.
        size: bytes of its body.
    """
    fields = answer.headers
    ranges = fields.get("accept-ranges", "").lower()
    chunked = "transfer-encoding" in fields
    told = "Content-Length" if "content-length" in fields else "until the connection closes"
    return Measured(
        answer.status,
        size,
        _kind_of_validator(fields),
        "chunked" if chunked else told,
        coding_of(fields),
        ("bytes" in ranges) if ranges else None,
    )


def _kind_of_validator(fields: Mapping[str, str]) -> str | None:
    strong = validator_of(fields) is not None
    if "etag" in fields:
        return "strong ETag" if strong else "weak ETag"
    if "last-modified" in fields:
        return "Last-Modified, strong" if strong else "Last-Modified, too recent to be strong"
    return None


def _known(answer: Answer, size: int) -> Representation | str:
    """What is known of the body, or why it would not be resumed."""
    fields = answer.headers
    if answer.status not in (OK, PARTIAL):
        return f"its status is {answer.status}"
    length = None if "transfer-encoding" in fields else content_length(fields)
    if isinstance(length, str):
        return length
    if is_compressed_on_the_way(fields, length):
        return "Content-Encoding: it was compressed on the way"
    return representation_of(answer.status, fields, length) if size else "it has no body"


def _disagreements(head: Answer, whole: Answer) -> Iterator[str]:
    """In what HEAD and GET do not agree. What a response to HEAD leaves out is no contradiction."""
    if head.status != whole.status:
        yield f"status {head.status} for HEAD, {whole.status} for GET"
        return
    for shown in ("ETag", "Last-Modified", "Content-Length"):
        name = shown.lower()
        both = head.headers.get(name), whole.headers.get(name)
        if None not in both and both[0] != both[1]:
            yield f"another {shown}"


def judge(measured: Measured) -> Iterator[Finding]:
    """Say whether a cut body would be resumed."""
    if measured.status is None:
        yield from (skipped(check.name, "the page did not come whole") for check in CHECKS)
        return
    yield _validator(measured)
    yield _range(measured)
    yield _body(measured)
    yield _head(measured.disagreements)


def _validator(measured: Measured) -> Finding:
    text = "the response has neither ETag nor Last-Modified"
    if measured.validator is not None:
        text = f"the response has a validator: {measured.validator}"
    value = [f"{measured.size:,} B", measured.framing, measured.encoding]
    return ok("resume.validator", text, ", ".join(filter(None, value)))


def _range(measured: Measured) -> Finding:
    check, rest = "resume.range", measured.rest
    if measured.refusal is not None:
        return skipped(check, measured.refusal)
    if rest is None:
        return skipped(check, "too small" if measured.size < 2 else "the connection broke")
    value = f"status {rest.status}, from byte {rest.at:,}"
    if (lie := _lie(rest)) is not None:
        hint = (
            "ask the operator of the server to correct its ranges, or to turn them off: Accept-Ranges: none"
        )
        return fail(check, f"a request for the rest of the body is answered wrongly: {lie}", hint, value,
                    Root.WRONG_RANGE, blocks=False)  # fmt: skip
    if rest.refusal is not None:
        return ok(check, f"the server does not send the rest of the body: {rest.refusal}", value)
    if rest.status == PARTIAL:
        return ok(check, "the server sends the rest of the body alone, and correctly", value)
    return ok(check, "the server sends the whole body again, and the adapter skips its beginning", value)


def _lie(rest: Rest) -> str | None:
    """What is wrong with a part, in that a body with it would be wrong; None: nothing."""
    if rest.status != PARTIAL:
        if rest.is_same is False:
            return "the body has changed, and its validator has not"
        return None
    if rest.refusal is None:
        return (
            None
            if rest.is_same
            else "its bytes are other ones, and nothing shows it. A resumed body would be wrong"
        )
    about_validator = rest.refusal.startswith(("ETag", "Last-Modified"))
    if rest.is_same and about_validator:
        return None
    return f"{rest.refusal}. The adapter sees that, and asks for the body anew"


def _body(measured: Measured) -> Finding:
    check, rest = "resume.body", measured.rest
    value = f"{measured.size:,} B"
    why = measured.refusal or (rest.refusal if rest else None)
    if why is None:
        return ok(check, "a body that is cut is resumed where it ended", value)
    text = f"a body that is cut is requested again from its start, because {_because(why)}"
    if measured.size < LARGE:
        return ok(check, text, value)
    hint = "ask the operator of the server to send a strong ETag, and Accept-Ranges: bytes"
    return warn(check, text, hint, value, Root.OTHER)


def _because(why: str) -> str:
    field, _, rest = why.partition(": ")
    return f"{rest} ({field})" if rest else why


def _head(disagreements: tuple[str, ...] | None) -> Finding:
    if disagreements is None:
        return ok("resume.head", "the server does not answer HEAD")
    if disagreements:
        return ok("resume.head", "the responses to HEAD and GET do not agree", ", ".join(disagreements))
    return ok("resume.head", "the responses to HEAD and GET agree")


CHECKS: Final = (
    Check("resume.validator", "how a later response is known to be the same page"),
    Check("resume.range", "whether the rest of the body can be had, and is right"),
    Check("resume.body", "whether a body that is cut would be resumed"),
    Check("resume.head", "whether HEAD and GET agree"),
)

RESUME: Final = Section(
    "resume",
    "Resuming bodies",
    CHECKS,
    measure,
    judge,
    needs=("name", "connect", "proxy", "tls", "server-certificate", "client-certificate"),
    requests=lambda _: 3 * _TRIES,
)
