"""Response bodies that are read before they are handed out.

Leans on `_content` and `_content_consumed` of requests' response and on `_fp`, `_fp_bytes_read` and
`_original_response` of urllib3's, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import io
from typing import Any, Final, Protocol

import urllib3
from requests import Response
from requests import exceptions as requests_errors
from urllib3 import exceptions as urllib3_errors

from .unread import put_in_place

#: How much of a response's body is read at a time, in bytes.
_CHUNK: Final = 65536

#: What `requests.Response.iter_content` makes of urllib3's exceptions, in its order.
_RAISED: Final[tuple[tuple[type[Exception], type[Exception]], ...]] = (
    (urllib3_errors.ProtocolError, requests_errors.ChunkedEncodingError),
    (urllib3_errors.DecodeError, requests_errors.ContentDecodingError),
    (urllib3_errors.ReadTimeoutError, requests_errors.ConnectionError),
    (urllib3_errors.SSLError, requests_errors.SSLError),
)


class Reader(Protocol):
    """The call whose response's body is read."""

    #: Resumes the body; None: nothing does.
    resumer: Any
    #: Not None: the body is for urllib3's response of an earlier attempt.
    known_status: int | None
    #: Whether it was made by requests' own session, which reads the body at once.
    serves_session: bool

    def body_read(self, received: int, error: BaseException | None = None) -> None:
        """Note how many bytes of it came, and the error that ended it, if one did."""


def buffer(response: Response, call: Reader) -> None:
    """Read a response's body, still encoded, so that a reset in it is a failure of the attempt.

    Decoding, and its errors, stay where requests has them: when the caller reads. The response and its
    `raw` stay the same objects.

    Args:
        response: requests' response.
        call: whose response it is; notes what came.

    Raises:
        requests.exceptions.RequestException: what requests raises when it reads the same body.
    """
    raw: Any = response.raw
    if not isinstance(response.raw, urllib3.HTTPResponse):
        # A subclass's `build_response` has put something of its own there.
        return
    encoded = read_whole(raw, call)
    put_in_place(raw, encoded)
    if "content-encoding" not in raw.headers and call.known_status is None:
        # Nothing to decode: spare requests a second pass.
        response._content = encoded.getvalue()
        response._content_consumed = True  # type: ignore[attr-defined]
        if call.serves_session:
            # It reads the body next, so that nothing is left of `raw`.
            raw._fp_bytes_read = 0 if raw.chunked else len(response._content)
            raw.length_remaining = None if raw.length_remaining is None else 0
            encoded.close()


def _be_done_with(raw: Any) -> None:
    # Not by a method of its own, which would say that the caller has closed it.
    urllib3.HTTPResponse.close(raw)
    raw.release_conn()


def is_here(raw: Any) -> bool:
    """Whether a response's body came with its head, so that to read it is to wait for nothing."""
    length = raw.length_remaining
    answer = raw._original_response
    return length is not None and not raw.chunked and length <= getattr(answer, "ahead", 0)


def _read_ahead(raw: Any, length: int) -> bytes:
    """Read a body that is here, past urllib3; nothing if it is not."""
    if type(raw) is not urllib3.HTTPResponse or not length or not is_here(raw):
        return b""
    answer: Any = raw._fp
    if answer.length != length:
        return b""
    data: bytes = answer.read(length)
    raw._fp_bytes_read, raw.length_remaining = length, 0
    raw.release_conn()
    return data


def read_whole(raw: Any, call: Reader) -> io.BytesIO:
    """Read the body of urllib3's response, still encoded; arguments and exceptions are as for `buffer`."""
    length = raw.length_remaining
    received, encoded = 0, io.BytesIO()
    try:
        if length is not None and length <= _CHUNK:
            # A short one comes in one piece; if it is cut, the next read says how.
            data = _read_ahead(raw, length) or raw.read(length or None, decode_content=False)
            encoded, received = io.BytesIO(data), len(data)
        if received != length:
            encoded.seek(received)
            encoded.writelines(raw.stream(_CHUNK, decode_content=False))
            received = encoded.tell()
        if call.resumer is not None and getattr(raw, "is_resumed", False):
            call.resumer.check(encoded.getvalue())
    except OSError as error:
        call.body_read(received, error)
        _be_done_with(raw)
        broken = urllib3_errors.ProtocolError(f"Connection broken: {error!r}", error)
        raise requests_errors.ChunkedEncodingError(broken) from None
    except urllib3_errors.HTTPError as error:
        call.body_read(encoded.tell(), error)
        _be_done_with(raw)
        wrapped = next((wrap for kind, wrap in _RAISED if isinstance(error, kind)), None)
        if wrapped is None:
            raise
        raise wrapped(error)  # noqa: B904 - without a cause, as in requests
    call.body_read(received)
    encoded.seek(0)
    return encoded
