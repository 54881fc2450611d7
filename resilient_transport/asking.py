"""How a request is asked again, and the time-outs of its call.

Below `HTTPAdapter.send`, since that has made its response already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3.exceptions import TimeoutStateError
from urllib3.util import Timeout

from .outcome import ONE_ATTEMPT
from .retry.deadline import Deadline
from .wire.trail import Trail

#: Fields of a caller's own, whose place those of a resumed body take.
_ABOUT_RANGES: Final = frozenset({"range", "if-range"})


def connect_part(timeout: Any) -> float | None:
    """How long the caller grants for getting a connection, in seconds."""
    part = timeout[0] if isinstance(timeout, tuple) and timeout else timeout
    if isinstance(part, Timeout):
        part = part.connect_timeout
    return float(part) if isinstance(part, (int, float)) else None


def read_part(timeout: Any) -> float | None:
    """How long the caller lets pass between two bytes, in seconds; None: for ever; negative: unknown."""
    part = timeout[1] if isinstance(timeout, tuple) and len(timeout) == 2 else timeout
    if isinstance(part, Timeout):
        try:
            part = part.read_timeout
        except TimeoutStateError:
            part = part.total
    return float(part) if isinstance(part, (int, float)) else None if part is None else -1.0


def bounded(timeout: Any, deadline: Deadline) -> Any:
    """The caller's time-out as it is, or within what the deadline leaves."""
    most = deadline.for_socket(None)
    if most is None:
        return timeout
    if isinstance(timeout, tuple) and len(timeout) != 2:
        # requests says what is wrong with it.
        return timeout
    within = _as_urllib3s(timeout)
    within.total = min(within.total, most) if isinstance(within.total, (int, float)) else most
    return within


def _as_urllib3s(timeout: Any) -> Timeout:
    """A time-out of requests', or a copy of one of urllib3's."""
    if isinstance(timeout, Timeout):
        return timeout.clone()
    connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    return Timeout(connect=connect, read=read)


def ask_again(adapter: HTTPAdapter, call: tuple[Any, ...], trail: Trail, fields: Mapping[str, str]) -> Any:
    """Ask for the rest of a body: below `HTTPAdapter.send`, since that has made its response already.

    Args:
        adapter: whose hooks find the pool and name the target.
        call: the request, and the time-out, `verify`, `cert` and `proxies` of its call.
        trail: the attempt's.
        fields: those about ranges, in the place of the caller's own.

    Returns:
        urllib3's response.
    """
    request, timeout, verify, cert, proxies = call
    trail.connect_timeout, trail.send_timeout = connect_part(timeout), read_part(timeout)
    pool: Any = adapter.get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
    kept = {name: value for name, value in request.headers.items() if name.lower() not in _ABOUT_RANGES}
    return pool.urlopen(
        "GET",
        adapter.request_url(request, proxies),
        headers={**kept, **fields},
        redirect=False,
        assert_same_host=False,
        preload_content=False,
        decode_content=False,
        retries=ONE_ATTEMPT,
        timeout=_as_urllib3s(bounded(timeout, trail.deadline) if trail.deadline else timeout),
    )
