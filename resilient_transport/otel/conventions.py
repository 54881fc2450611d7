"""What an event says of a call, an attempt and a server, in the words of OpenTelemetry's conventions.

Attributes of HTTP: https://opentelemetry.io/docs/specs/semconv/registry/attributes/http/. It takes nothing of
OpenTelemetry's, and no value holds a header, a path or a query.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from ..events import CallEvent
from ..events.attempt import Attempt
from ..util.origin import PORTS

#: The version that the names are of.
SCHEMA: Final = "https://opentelemetry.io/schemas/1.34.0"
#: The event of a span that tells an attempt; our own attributes begin so.
ATTEMPT: Final = "resilient_transport.attempt"
#: How many requests of a span followed its first.
RESENDS: Final = "http.request.resend_count"
#: The bounds of a histogram of seconds, as advised.
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

#: Methods that may stand in an attribute: whoever makes up names would make up metrics.
_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
_OTHER: Final = "_OTHER"

Values = dict[str, Any]


@lru_cache(maxsize=1024)
def of_server(origin: str) -> Mapping[str, Any]:
    """What an origin says of a server; nothing when it names none."""
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return {}
    if host is None or port is None:
        return {}
    return {"url.scheme": parts.scheme, "server.address": host, "server.port": port}


def of_request(event: CallEvent) -> Values:
    """What an event says of the request of its call."""
    method = event.method if event.method in _METHODS else _OTHER
    return {"http.request.method": method, **of_server(event.origin)}


def of_outcome(status: int | None, error: str | None) -> Values:
    """How a request has ended.

    Args:
        status: the response's; None: there is none.
        error: the type of what went wrong, and maybe its reason; None: nothing, unless the status says so.
    """
    values: Values = {} if status is None else {"http.response.status_code": status}
    if error is not None:
        values["error.type"] = error.partition(":")[0]
    elif status is not None and status >= HTTPStatus.BAD_REQUEST:
        values["error.type"] = str(status)
    return values


def of_attempt(attempt: Attempt) -> Values:
    """All that is known of an attempt."""
    about = attempt._asdict()
    outcome = of_outcome(about.pop("status"), about.pop("error"))
    # The SDK wants plain text, and no pairs.
    about["stage"] = str(attempt.stage)
    del about["stages"]
    return {f"{ATTEMPT}.{name}": value for name, value in about.items() if value is not None} | outcome


def name_of(event: CallEvent) -> tuple[str, Values]:
    """What the span of a call is called, and what of its method stands in no metric."""
    if event.method in _METHODS:
        return event.method, {}
    return "HTTP", {"http.request.method_original": event.method}
