"""May a body be resumed, and is what came the rest of it?  Pure: headers in, values out.

The rules (RFC 9110 sections 8.8, 13.1.5 and 14):

1. Only a strong validator says that two answers are the same bytes: an ETag that is not weak, or, where
   there is no ETag at all, a Last-Modified a good while older than the Date beside it (section 8.8.2.2).
2. Offsets count bytes of the representation, which is encoded: what is on the wire without its framing.
3. Every field of an answer has to agree with what was asked for, with the first answer, and with its other
   fields. One that does not makes the answer no rest, and is named.
4. A part may begin earlier than it was asked for, at the border of a block. Its beginning is passed over.
5. What comes whole although a part was asked for is the same body only if its validator is the same. Its
   beginning is passed over, too.
6. A body that is encoded, and whose length nobody told, was compressed on the way. Its strong validator
   should have changed with that (section 8.8.1), but middlewares in wide use keep it. So byte N of another
   answer may be a byte of something else: it is not resumed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from ..util.frozen import dataclass

#: RFC 9110 section 8.8.3. An empty one validates nothing; several fields, joined by commas, are none.
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]+"')
#: RFC 9110 section 14.4. A total of "*" is not known yet.
_CONTENT_RANGE: Final = re.compile(r"bytes +([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)
_LENGTH: Final = re.compile("[0-9]{1,18}")
_UNSATISFIED: Final = re.compile(r"bytes +\*/([0-9]{1,18})", re.IGNORECASE)
#: Seconds by which a Date must be later than a Last-Modified, so that two clocks may differ: what RFC 7232
#: section 2.2.2 asked for. RFC 9110 leaves it to the client.
_CLOCKS_APART: Final = 60

OK: Final = 200
PARTIAL: Final = 206
UNSATISFIABLE: Final = 416


@dataclass(frozen=True, slots=True)
class Part:
    """What a response has of the bytes that are missing."""

    #: Bytes at its beginning that are there already.
    skip: int
    #: Bytes after those that are wanted; None: up to its end, wherever that is.
    length: int | None
    #: How many bytes the representation has; None: it does not say.
    total: int | None
    #: Whether the response ends with them.
    is_end: bool = True


@dataclass(frozen=True, slots=True)
class Representation:
    """What a response has said of its body, by which other responses are known to have the same one."""

    #: The name of the field that validates it, and its value.
    validator: tuple[str, str]
    #: Its Content-Encoding; the same validator with another one is a server's mistake.
    encoding: str
    #: Where in the representation the response's body begins, in bytes.
    first: int = 0
    #: How many bytes the response's body has; None: it ends where it ends.
    length: int | None = None
    #: How many bytes the representation has, if that is known.
    total: int | None = None
    #: Whether the caller has asked for a part of it.
    is_part: bool = False

    def headers(self, at: int) -> dict[str, str]:
        """The fields that ask for the body from its byte `at` on; none for the whole of it."""
        if not at and not self.is_part:
            return {}
        until = self.first + self.length - 1 if self.is_part and self.length is not None else ""
        return {"Range": f"bytes={self.first + at}-{until}", "If-Range": self.validator[1]}

    def part_in(self, status: int, headers: Mapping[str, str], at: int) -> Part | str:
        """The part that a response has of the body from its byte `at` on, or why it has none.

        There are three cases: the rest, all of it once more, and something else.

        Args:
            status, headers: the response's; names are not case-sensitive.
            at: how many bytes of the body are there.
        """
        if status not in (OK, PARTIAL):
            return f"status {status} came for it"
        if is_transformed(headers):
            return "Transfer-Encoding: it came encoded for the transfer"
        length = content_length(headers)
        if isinstance(length, str):
            return length
        if status == PARTIAL:
            return self._rest(headers, length, at)
        return self._again(headers, length, at)

    def is_over(self, status: int, headers: Mapping[str, str], at: int) -> bool:
        """Whether a refusal says that there is nothing after the byte `at`: the body may have been whole."""
        found = _UNSATISFIED.fullmatch((headers.get("content-range") or "").strip())
        if status != UNSATISFIABLE or found is None or int(found[1]) != self.first + at:
            return False
        return self.total in (None, self.first + at)

    def size_with(self, part: Part) -> int | None:
        """How many bytes the response's body has, now that a part is there; None: that is still unknown."""
        if self.length is not None or part.total is None:
            return self.length
        return part.total - self.first

    def _rest(self, headers: Mapping[str, str], length: int | None, at: int) -> Part | str:
        wanted = self.first + at
        if _has_several_parts(headers):
            return "Content-Type: several parts came for it"
        found = span_of(headers)
        if found is None:
            return "Content-Range: a part came for it that does not say which"
        first, last, total = found
        if headers.get(self.validator[0]) != self.validator[1]:
            return f"{_named(self.validator[0])}: another version came for it"
        if refusal := self._coded_otherwise(headers, total):
            return refusal
        if first > wanted or last < wanted:
            return f"Content-Range: bytes {first} to {last} came for it, and {wanted} was to be the first"
        if None not in (total, self.total) and total != self.total:
            return "Content-Range: another length came for it"
        if total is None and self.length is None:
            return "Content-Range: it does not say where the body ends"
        if self.length is not None and last >= self.first + self.length:
            return "Content-Range: more than was asked for came for it"
        if length not in (None, last - first + 1):
            return "Content-Length: it is not that of the Content-Range"
        return Part(wanted - first, last - wanted + 1, total if total is not None else self.total)

    def _again(self, headers: Mapping[str, str], length: int | None, at: int) -> Part | str:
        if "content-range" in headers:
            return "Content-Range: status 200 came with one"
        if validator_of(headers) != self.validator:
            return f"{_named(self.validator[0])}: another version came for it"
        if coding_of(headers) != self.encoding:
            return "Content-Encoding: it came in another encoding"
        if None not in (length, self.total) and length != self.total:
            return "Content-Length: another length came for it"
        ends = self.length if self.length is not None else length
        return Part(self.first + at, None if ends is None else ends - at, length, not self.is_part)

    def _coded_otherwise(self, headers: Mapping[str, str], total: int | None) -> str | None:
        """Why a part is not in the encoding of the first response; None: it is.

        It need not be told again (RFC 9110 section 15.3.7). Where it is not, only the total can show that the
        part is one of the encoded body.
        """
        if "content-encoding" in headers:
            same = coding_of(headers) == self.encoding
            return None if same else "Content-Encoding: it came in another encoding"
        if self.encoding and (total is None or total != self.total):
            return "Content-Encoding: it does not say that it is encoded"
        return None


def representation_of(status: int, headers: Mapping[str, str], length: int | None) -> Representation | str:
    """What is known of the body of a response to GET, or why it cannot be resumed.

    Args:
        status: the response's.
        headers: the response's; names are not case-sensitive.
        length: bytes of its body, None where its framing does not say.
    """
    if status not in (OK, PARTIAL):
        return f"status {status} has no body that could be"
    if is_transformed(headers):
        return "it is encoded for the transfer"
    if "none" in (headers.get("accept-ranges") or "").lower():
        return "the server says that it has no ranges"
    validator = validator_of(headers)
    if validator is None:
        return "its response has no strong validator"
    encoding = coding_of(headers)
    if status == OK:
        if "content-range" in headers:
            return "it has a Content-Range, and its status is 200"
        return Representation(validator, encoding, 0, length, length)
    found = span_of(headers)
    if found is None or _has_several_parts(headers) or length not in (None, found[1] - found[0] + 1):
        return "it is a part without a usable Content-Range"
    first, last, total = found
    return Representation(validator, encoding, first, last - first + 1, total, is_part=True)


def validator_of(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """The strong validator of a response: the name of its field and its value; None: it has none."""
    etag = headers.get("etag")
    if etag is not None:
        # Beside a weak one no date may be used (RFC 9110 section 13.1.5).
        return ("etag", etag) if _STRONG_ETAG.fullmatch(etag) else None
    modified = headers.get("last-modified")
    if modified is None:
        return None
    try:
        apart = parsedate_to_datetime(headers.get("date", "")) - parsedate_to_datetime(modified)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return ("last-modified", modified) if apart.total_seconds() >= _CLOCKS_APART else None


def span_of(headers: Mapping[str, str]) -> tuple[int, int, int | None] | None:
    """First byte, last byte and total of a Content-Range; None if it is missing or makes no sense."""
    found = _CONTENT_RANGE.fullmatch((headers.get("content-range") or "").strip())
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if last < first or (total is not None and last >= total):
        return None
    return first, last, total


def is_compressed_on_the_way(headers: Mapping[str, str], length: int | None) -> bool:
    """Whether a body is encoded and nobody told its length, so that bytes of it have no certain place."""
    return length is None and bool(coding_of(headers))


def coding_of(headers: Mapping[str, str]) -> str:
    """The Content-Encoding, which is not case-sensitive; "identity" is none."""
    coding = headers.get("content-encoding", "").strip().lower()
    return "" if coding == "identity" else coding


def is_transformed(headers: Mapping[str, str]) -> bool:
    """Whether a body comes in a transfer coding other than chunks."""
    # As `http.client` reads it, which has the last word.
    return headers.get("transfer-encoding", "chunked").lower() != "chunked"


def content_length(headers: Mapping[str, str]) -> int | str | None:
    """The Content-Length; None: there is none; or why it is no number (RFC 9110 section 8.6)."""
    field = headers.get("content-length")
    if field is None:
        return None
    values = {value.strip() for value in field.split(",")}
    value = values.pop()
    if values or not _LENGTH.fullmatch(value):
        return "Content-Length: it is not one number"
    return int(value)


def _has_several_parts(headers: Mapping[str, str]) -> bool:
    return "multipart" in headers.get("content-type", "").lower()


def _named(field: str) -> str:
    return {"etag": "ETag", "last-modified": "Last-Modified"}[field]
