"""A HAR of charts: what the developer tools of a browser open.

HAR 1.2, http://www.softwareishard.com/blog/har-12-spec/. It has no place for what went before an attempt's
response or came after it, so comments have that: the attempt, what was decided, the pause. Headers, cookies,
queries and bodies are left empty, since a chart has none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from .chart import Chart, Phase, Row
from .scale import span

#: What the time of each phase counts as. A pause is nobody's: it follows the attempt.
_TIMINGS: Final = {
    Phase.WAIT: "blocked",
    Phase.NAME: "dns",
    Phase.DIAL: "connect",
    Phase.TUNNEL: "connect",
    Phase.HANDSHAKE: "connect",
    Phase.CONFIRM: "connect",
    Phase.FIRST_BYTE: "wait",
    Phase.BODY: "receive",
    Phase.CALL: "wait",
}
_OF_TLS: Final = (Phase.HANDSHAKE, Phase.CONFIRM)
#: What there is for certain: the specification asks for these three, and for no more.
_NEVER_UNKNOWN: Final = {"send": 0.0, "wait": 0.0, "receive": 0.0}
#: The package is in a layer above, and there before all that is in it.
_VERSION: Final[str] = sys.modules[__name__.partition(".")[0]].__version__
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def har(charts: Sequence[Chart]) -> dict[str, Any]:
    """A HAR, in types that JSON has: a page for each chart, and an entry for each row with a request.

    Args:
        charts: in their order.
    """
    pages = [(f"page_{number}", chart) for number, chart in enumerate(charts, 1)]
    log = {
        "version": "1.2",
        "creator": {"name": "resilient_transport", "version": _VERSION},
        "pages": [_page(name, chart) for name, chart in pages],
        "entries": [_entry(name, chart, row) for name, chart in pages for row in chart.rows if row.method],
    }
    return {"log": log}


def _page(name: str, chart: Chart) -> dict[str, Any]:
    made = {
        "startedDateTime": _date(chart.began_at),
        "id": name,
        "title": chart.title,
        "pageTimings": {"onContentLoad": -1, "onLoad": _milliseconds(chart.seconds)},
    }
    return made | ({"comment": chart.caption} if chart.caption else {})


def _entry(name: str, chart: Chart, row: Row) -> dict[str, Any]:
    timings = _timings(row)
    # That of TLS is a part of `connect`.
    total = sum(taken for what, taken in timings.items() if what != "ssl" and taken >= 0)
    host, _, port = (row.address or "").rpartition(":")
    made = {
        "pageref": name,
        "startedDateTime": _date(chart.began_at + min((bar.began for bar in row.bars), default=0.0)),
        "time": round(total, 3),
        "request": _request(row),
        "response": _response(row),
        "cache": {},
        "timings": timings,
        "comment": "; ".join(_comments(row)),
    }
    if host:
        made |= {"serverIPAddress": host.strip("[]"), "connection": port}
    return made


def _timings(row: Row) -> dict[str, float]:
    """The milliseconds of each timing; -1 where there is none."""
    taken = {"blocked": -1.0, "dns": -1.0, "connect": -1.0, **_NEVER_UNKNOWN, "ssl": -1.0}
    for bar in row.bars:
        for what in (_TIMINGS.get(bar.phase), "ssl" if bar.phase in _OF_TLS else None):
            if what is not None:
                taken[what] = max(taken[what], 0.0) + 1000 * bar.seconds
    return {what: round(value, 3) for what, value in taken.items()}


def _request(row: Row) -> dict[str, Any]:
    return {
        "method": row.method,
        "url": _without_secrets(row.url),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [],
        "queryString": [],
        "headersSize": -1,
        "bodySize": -1,
        "comment": f"{row.bytes_out} bytes were sent, headers included",
    }


def _response(row: Row) -> dict[str, Any]:
    """The response; where there was none its status is 0, as browsers have it."""
    status = row.status or 0
    return {
        "status": status,
        "statusText": _phrase(status),
        "httpVersion": "HTTP/1.1" if status else "",
        "cookies": [],
        "headers": [],
        "content": {"size": row.bytes_in, "mimeType": "", "comment": "as encoded on the wire"},
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": row.bytes_in,
    }


def _comments(row: Row) -> Iterator[str]:
    yield row.title
    if row.label:
        yield row.label
    if row.outcome:
        yield row.outcome
    yield from row.details
    if row.reused:
        yield "reused connection"
    if row.tls_version:
        yield row.tls_version
    for bar in row.bars:
        if bar.phase is Phase.PAUSE:
            yield f"then a pause of {span(bar.seconds)}"
        if bar.failed:
            yield f"failed in the phase {bar.phase.value}"


def _without_secrets(url: str) -> str:
    """A URL without query, fragment and userinfo: a row has none, and this is the last door."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _date(moment: float) -> str:
    """A time of day as ISO 8601 has it, to the millisecond."""
    return (_EPOCH + timedelta(seconds=moment)).isoformat(timespec="milliseconds")
