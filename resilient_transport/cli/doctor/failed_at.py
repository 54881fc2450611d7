"""What a call has met, and at which step: from an exception of requests', or from the adapter's attempts.

Stock requests wraps what the wire has met two or three times, and tells no step. The functions that its
traceback has gone through tell what it was doing.

Leans on names of functions of `socket`, `ssl`, `http.client`, urllib3 and requests, for words only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import requests
from urllib3.exceptions import MaxRetryError
from urllib3.exceptions import TimeoutError as UpstreamTimeoutError

from ...events.attempt import Attempts
from ...retry.causes import root_of
from ...retry.stages import Stage
from ...waterfall.chart import Phase
from ...waterfall.rows import PHASES

#: What a function does, by its name; the first that was gone through counts.
_BY_FUNCTION: Final = {
    "generate": Phase.BODY,
    "getaddrinfo": Phase.NAME,
    "create_connection": Phase.DIAL,
    "_tunnel": Phase.TUNNEL,
    "ssl_wrap_socket": Phase.HANDSHAKE,
}
_DEEPEST: Final = 8


def innermost(error: BaseException) -> BaseException:
    """What was met first, under the wrappers of requests and urllib3."""
    for _ in range(_DEEPEST):
        held = _held_by(error)
        if held is None:
            break
        error = held
    return root_of(error)


def _held_by(error: BaseException) -> BaseException | None:
    if isinstance(error, MaxRetryError):
        return error.reason
    if isinstance(error, requests.RequestException):
        first = error.args[0] if error.args else None
        return first if isinstance(first, BaseException) else error.__cause__ or error.__context__
    if isinstance(error, UpstreamTimeoutError) and isinstance(error.__cause__, TimeoutError):
        return error.__cause__
    return None


def phase_by_attempts(attempts: Attempts) -> Phase | None:
    """The step at which the last attempt that has failed did so; None: nobody tells."""
    stage = next((one.stage for one in reversed(attempts) if one.error), None)
    return None if stage is None else PHASES.get(Stage(stage))


def phase_by_traceback(error: BaseException) -> Phase:
    """The step at which a call by stock has failed."""
    through = set(_functions(error)) | set(_functions(innermost(error)))
    return next((phase for name, phase in _BY_FUNCTION.items() if name in through), Phase.FIRST_BYTE)


def _functions(error: BaseException) -> Iterator[str]:
    """The functions that an error has gone through, the first caller first."""
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame.f_code.co_name
        at = at.tb_next
