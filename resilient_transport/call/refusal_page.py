"""A response by which a server refuses the client certificate, where others refuse by an alert of TLS.

Knows nothing of the wire. It looks at a body only if that was read anyway. The body of a stream is left
alone, and then only a status that says it by itself is told.

Leans on `_content` of requests' response and `_fp` of urllib3's, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any, Final

from requests import PreparedRequest, Response

from ..events import ClientCertificateRefused
from ..events.attempt import Attempts
from .client_certificate import MISSING, shown_and_cure
from .record import Record

#: What a page begins with. Only what stands in its place right after that was put there by the server.
_HEAD: Final = rb"(?:\xef\xbb\xbf)?\s*(?:<!(?:--(?:(?!-->).)*--|doctype[^>]*)>\s*)*<html[^>]*>\s*<head>\s*"
#: What the pages say, by status. HAProxy has none of its own: it sends an alert, or, with `crt-ignore-err`,
#: whatever its operator has written.
_PAGES: Final = {
    # nginx, src/http/ngx_http_special_response.c: the pages of its errors 495 and 496, sent with status 400.
    # So do those that are made of nginx, such as Azure's Application Gateway.
    400: rb"<title>(400 The SSL certificate error|400 No required SSL certificate was sent)</title>",
    # Apache, modules/ssl/ssl_engine_kernel.c: a location wants a certificate, and could not ask for it. Where
    # it stands: modules/http/http_protocol.c, whose sentence before it ended in a path until 2.4.41.
    403: (
        rb"<title>403 Forbidden</title>\s*</head>\s*<body>\s*<h1>Forbidden</h1>\s*"
        rb"<p>You don't have permission to access (?:this resource\.|[^<]*on this server\.<br />)\s*"
        rb"Reason: (Cannot perform Post-Handshake Authentication)\."
    ),
}
_COMPILED: Final[Mapping[int, re.Pattern[bytes]]] = {
    status: re.compile(_HEAD + words, re.IGNORECASE | re.DOTALL) for status, words in _PAGES.items()
}
#: Statuses that say it by themselves. nginx, ngx_http_ssl_module, "Error Processing": where its configuration
#: says so (`error_page 495 =495 ...`), they are sent as they are.
_STATUSES: Final = {495: "SSL certificate error", 496: "SSL certificate required"}
#: The statuses of all of these.
STATUSES: Final = frozenset({*_PAGES, *_STATUSES})
#: A page has its title, or its reason, within so many bytes.
_BEGINNING: Final = 1024


def tell_of_refusal(record: Record, response: Response) -> None:
    """If a response says that the client certificate was refused, tell, count and write that down.

    Args:
        record: of the call that hands the response out.
        response: its status is one of `STATUSES`. It stays as it is.
    """
    plan = record.plan
    page = says(response, plan.request)
    if page is None or not record.attempts:
        return
    last = record.attempts[-1]
    why = f"{last.decision}: it says that the client certificate was refused ({page})"
    record.attempts[-1] = attempt = last._replace(decision=why)
    response.attempts = Attempts(record.attempts)  # type: ignore[attr-defined]
    plan.counters.certificate_refused()
    alert = MISSING if "required" in page.lower() else ""
    cure = shown_and_cure(*plan.certificate(plan.cert), alert)
    record.announce(ClientCertificateRefused, attempt, page, cure)


def says(response: Response, request: PreparedRequest) -> str | None:
    """What a response to a request says of the client certificate; None: nothing, or nobody has read it."""
    if not (request.url or "").startswith("https:"):
        return None
    kind = response.headers.get("content-type", "html")
    return said_by(response.status_code, kind, _beginning(response))


def said_by(status: int, kind: str, beginning: bytes) -> str | None:
    """What a response over TLS says of the client certificate; None: nothing.

    Args:
        status: its status.
        kind: its media type.
        beginning: the first bytes of its body, decoded; none, if nobody has read it.
    """
    if status in _STATUSES:
        return None if _is_data(kind, beginning) else f"{status} {_STATUSES[status]}"
    page = _COMPILED.get(status)
    found = None if page is None else page.match(beginning)
    return found[1].decode() if found else None


def _is_data(kind: str, beginning: bytes) -> bool:
    """Whether a response is no page, but an API's own answer, whose statuses may mean anything."""
    return "html" not in kind.lower() or beginning.lstrip().startswith((b"{", b"["))


def _beginning(response: Response) -> bytes:
    """The first bytes of a body that was read; none of one that was not, or that is encoded."""
    raw: Any = response.raw
    if "content-encoding" in response.headers:
        return b""
    content, inner = response._content, getattr(raw, "_fp", None)
    if isinstance(content, bytes):
        return content[:_BEGINNING]
    return bytes(inner.getbuffer()[:_BEGINNING]) if isinstance(inner, io.BytesIO) else b""
