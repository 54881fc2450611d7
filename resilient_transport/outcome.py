"""What a call leaves behind: exceptions and responses that carry their attempts, without secrets."""

from __future__ import annotations

import re
import ssl
import time
from calendar import timegm
from collections.abc import Callable, Sequence
from email.utils import parsedate_tz
from typing import Any, Final, TypeVar

from requests import PreparedRequest, Response
from requests.exceptions import RequestException, RetryError
from urllib3.exceptions import HTTPError, MaxRetryError, RequestError, ResponseError
from urllib3.util import Retry
from urllib3.util.retry import RequestHistory

from .exceptions import DeadlineExceeded, add_note, leave_request_behind
from .history import Attempt, Attempts
from .streamed import Streamed
from .wire.timed import hasten

E = TypeVar("E", bound=BaseException)

#: What urllib3 is given for each attempt: what stock has without `max_retries`.
ONE_ATTEMPT: Final = Retry(0, read=False)


def describe(error: BaseException) -> str:
    """The type of an error and the part of its reason that can hold no secret."""
    inner = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(inner, ssl.SSLError):
        reason = inner.reason or inner.strerror
    else:
        reason = inner.strerror if isinstance(inner, OSError) else None
    return f"{type(inner).__name__}: {reason}" if reason else type(inner).__name__


def redact(error: BaseException) -> None:
    """Take the query string out of the messages and addresses of urllib3's errors in a chain."""
    chain: list[Any] = [error]
    seen: set[int] = set()
    while chain:
        found = chain.pop()
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, RequestError) and found.url and "?" in found.url:
            found.url = without_query(found.url)
            if isinstance(found, MaxRetryError):
                clean = MaxRetryError(found.pool, found.url, found.reason)
                # As much of it as this urllib3 keeps besides.
                found.args = clean.args
                vars(found).update({name: vars(clean)[name] for name in ("_message",) if name in vars(clean)})
        if isinstance(found, (HTTPError, RequestException)):
            # Of anybody else's nothing is changed.
            clean_args = tuple(map(_without_userinfo, found.args))
            found.args = clean_args if clean_args != found.args else found.args
        chain += [*found.args, found.__cause__, found.__context__, getattr(found, "reason", None)]


def _without_userinfo(argument: Any) -> Any:
    """A message without the credentials of a URL in it, such as that of a proxy that cannot be parsed."""
    if not isinstance(argument, str) or "@" not in argument:
        return argument
    return re.sub(r"//[^\s/]*@", "//...@", argument)


def forget_frames(entries: Sequence[RequestHistory]) -> None:
    """Let go of what the tracebacks of errors in a history hold: sockets, bodies, responses."""
    for entry in entries:
        error: BaseException | None = entry.error
        while error is not None:
            error.__traceback__ = None
            error = error.__cause__ or error.__context__


def without_query(url: str) -> str:
    """A URL or a request target up to its query."""
    return url.split("?", 1)[0]


def with_attempts(error: E, attempts: Sequence[Attempt]) -> E:
    """Give an exception its attempts, and a note (PEP 678) that tells them."""
    told = Attempts(attempts)
    error.attempts = told  # type: ignore[attr-defined]
    leave_request_behind(error)
    if told:
        add_note(error, f"{len(told)} attempt{'s' if len(told) > 1 else ''}:\n{told}")
    return error


def deadline_exceeded(
    request: PreparedRequest, seconds: float, furthest: BaseException | None
) -> DeadlineExceeded:
    """The exception for a call whose time is over."""
    when = f"{seconds:.3f} s after" if seconds > 0 else "before"
    error = DeadlineExceeded(f"The deadline was over {when} the call had begun.", request=request)
    error.__cause__ = furthest
    return error


def retry_after(
    value: str | None, date: str | None = None, clock: Callable[[], float] = time.time
) -> float | None:
    """What Retry-After asks for, in seconds (RFC 9110 section 10.2.3); None when it says nothing.

    Args:
        value: the field: a number of seconds, or a moment.
        date: the response's Date: a moment is told by the server's clock, which may not agree with ours.
        clock: our own, for a server that has none.
    """
    if value is None:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return float(value)
    moment = _moment(value)
    if moment is None:
        return None
    now = _moment(date)
    return max(0.0, moment - (clock() if now is None else now))


_SECONDS: Final = re.compile(r"\d{1,15}", re.ASCII)


def _moment(value: str | None) -> float | None:
    """A date of HTTP in any of its forms (RFC 9110 section 5.6.7), as seconds since 1970."""
    parts = None if value is None else parsedate_tz(value)
    try:
        # Without a zone, as asctime has it, GMT is meant.
        return None if parts is None else float(timegm((*parts[:6], 0, 0, 0)) - (parts[9] or 0))
    except (ValueError, OverflowError):
        return None


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
    """Be done with a response that nobody will see; reading a small body keeps its connection."""
    raw: Any = response.raw
    length = getattr(raw, "length_remaining", None)
    if length is not None and length <= _DRAINED_AT_MOST:
        if isinstance(raw, Streamed):
            # Nobody reads it, so nobody is told how it ends.
            raw.broke_off = None
        hasten(getattr(getattr(raw, "_original_response", None), "fp", None), _DRAINED_WITHIN)
        raw.drain_conn()
    response.close()


#: Bytes of an unread body up to which reading it is cheaper than a new connection.
_DRAINED_AT_MOST: Final = 65536
#: And how long that may take, in seconds.
_DRAINED_WITHIN: Final = 0.1
