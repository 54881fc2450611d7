"""The outcome of a call: exceptions and responses that carry their attempts, without secrets."""

from __future__ import annotations

import copyreg
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from requests import PreparedRequest, Response
from requests import exceptions as requests_errors
from requests.exceptions import (
    ChunkedEncodingError,
    ConnectionError,  # noqa: A004 - it is what requests calls it
    RequestException,
    RetryError,
    SSLError,
)
from urllib3 import exceptions as urllib3_errors
from urllib3.exceptions import MaxRetryError, ProtocolError, ResponseError
from urllib3.util.retry import RequestHistory

from ..body.streamed import Streamed
from ..body.unread import abandon
from ..connection.timed_stream import hasten
from ..events.attempt import Attempt, Attempts
from ..exceptions import ReadTimeout, add_note, leave_request_behind
from .redaction import without_query

E = TypeVar("E", bound=BaseException)

#: What requests makes of urllib3's errors while it reads a body (`requests.Response.iter_content`).
_AS_READ: Final = (
    (ProtocolError, ChunkedEncodingError),
    (urllib3_errors.ReadTimeoutError, ConnectionError),
    (urllib3_errors.SSLError, SSLError),
)


def name_of(error: BaseException) -> str:
    """The name of an error as the caller catches it; who reads `raw` catches urllib3's own instead."""
    for met, caught in _AS_READ:
        if isinstance(error, met):
            return caught.__name__
    return type(error).__name__


def with_attempts(error: E, attempts: Sequence[Attempt]) -> E:
    """Give an exception its attempts, and a note (PEP 678) that lists them."""
    made = Attempts(attempts)
    error.attempts = made  # type: ignore[attr-defined]
    leave_request_behind(error)
    if error.__cause__ is not None:
        # tblib pickles that, too.
        leave_request_behind(error.__cause__)
    if made:
        add_note(error, str(made))
    return error


def _reduced(response: Response) -> tuple[Any, ...]:
    """What is pickled of a response: what requests says, and the attempts, which requests does not know.

    By pickle's table of types and not by an attribute of each response, which every call would pay for.
    """
    # The one of `object`; requests' `__getstate__` reads the body, if nobody has.
    stock: Any = response.__reduce_ex__(2)
    told = vars(response).get("attempts")
    if not isinstance(told, Attempts) or stock[0] is not _MADE_ANEW:
        # Or a program has put a way of its own into the class.
        return tuple(stock)
    return empty_response, (), {**stock[2], "attempts": told}


def empty_response() -> Response:
    """What a response out of a pickle begins as. It is ours, so that it can be pickled again there."""
    return Response()


#: How pickle makes an object of whose class nobody has said otherwise.
_MADE_ANEW: Final = object().__reduce_ex__(2)[0]

copyreg.pickle(Response, _reduced)


def as_cut_body(raised: Exception, met: BaseException | None) -> Exception:
    """What stock raises for a response whose head was cut: it takes that for whole, and misses the body.

    Args:
        raised: what requests has raised.
        met: what the wire has met.
    """
    if getattr(met, "announces_body", False) and isinstance(raised, RequestException):
        return _as(ChunkedEncodingError, raised)
    return raised


def as_with_retry(raised: Exception | None) -> Exception | None:
    """What is raised where somebody says how often to repeat: a read time-out is what stock makes of it, too.

    Args:
        raised: what requests has raised, to whom each attempt is a call without one.
    """
    return _as(ReadTimeout, raised) if type(raised) is requests_errors.ReadTimeout else raised


def _as(kind: type[RequestException], raised: RequestException) -> RequestException:
    """An error of another kind in the place of one that requests has raised."""
    error = kind(*raised.args, request=raised.request)
    # It has no cause. To set one, even None, would hide the context in tracebacks.
    error.__context__ = raised.__context__
    return error.with_traceback(raised.__traceback__)


def with_reason(error: BaseException, why: str) -> BaseException:
    """An error of urllib3's that ends a body, and says why another response was not the rest of it."""
    if not why or type(error) is not ProtocolError or not error.args:
        return error
    return ProtocolError(f"{error.args[0]}; not resumed: {why}", *error.args[1:])


def too_many(request: PreparedRequest, response: Response) -> RetryError:
    """What stock raises when attempts end on a status and `raise_on_status` is set."""
    reason = ResponseError(ResponseError.SPECIFIC_ERROR.format(status_code=response.status_code))
    pool: Any = getattr(response.raw, "_pool", None)
    return RetryError(MaxRetryError(pool, without_query(request.path_url), reason), request=request)


def history(request: PreparedRequest, response: Response | None, error: Exception | None) -> RequestHistory:
    """An entry of `response.raw.retries.history`, as urllib3's own retries write it."""
    status = None if response is None else response.status_code
    cause = error.args[0] if isinstance(error, RequestException) and error.args else error
    cause = getattr(cause, "reason", None) or cause
    found = cause if isinstance(cause, Exception) else error
    return RequestHistory(request.method, without_query(request.path_url), found, status, None)


def discard(response: Response) -> None:
    """Close a response that is not handed out; if its body is small, read it, to keep the connection."""
    raw: Any = response.raw
    length = getattr(raw, "length_remaining", None)
    if length is not None and length <= _DRAINED_AT_MOST:
        # How it ends is no event, and it is not resumed: it is not handed out.
        abandon(raw)
        if isinstance(raw, Streamed):
            raw.broke_off = None
        hasten(getattr(getattr(raw, "_original_response", None), "fp", None), _DRAINED_WITHIN)
        raw.drain_conn()
    response.close()


#: Bytes of an unread body up to which reading it is cheaper than a new connection.
_DRAINED_AT_MOST: Final = 65536
#: And how long that may take, in seconds.
_DRAINED_WITHIN: Final = 0.1
