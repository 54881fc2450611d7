"""Validators and ranges (RFC 9110 §13, §14), one range at a time."""

from __future__ import annotations

import re
from typing import Protocol

from .messages import Reply, Request

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


class Counting(Protocol):
    """What can tell how often something was asked for."""

    def nth(self, key: str) -> int:
        """Count one more and return how many there were."""


def ranged(request: Request, body: bytes, tag: str, memory: Counting) -> Reply:
    """Return the body, or the part that `Range` and `If-Range` ask for: 200, 206 or 416.

    The query may weaken it: `etag=weak`, `etag=none`, `etag=changing` (another one each time), `ranges=none`.
    """
    headers = {"Content-Type": "application/octet-stream"}
    etag = _etag(request, tag, memory)
    if etag:
        headers["ETag"] = etag
    if request.query.get("ranges") == "none":
        return Reply(200, body, headers)
    headers["Accept-Ranges"] = "bytes"
    wanted = _RANGE.match(request.headers.get("range", ""))
    # RFC 9110 §13.1.5: If-Range compares strongly, and a weak validator never matches.
    if wanted is None or request.headers.get("if-range", etag) != etag or etag.startswith("W/"):
        return Reply(200, body, headers)
    return _part(body, wanted, headers)


def _part(body: bytes, wanted: re.Match[str], headers: dict[str, str]) -> Reply:
    first = int(wanted[1])
    last = min(int(wanted[2] or len(body)), len(body) - 1)
    if first >= len(body):
        return Reply(416, b"", {**headers, "Content-Range": f"bytes */{len(body)}"})
    if last < first:
        return Reply(200, body, headers)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
    return Reply(206, body[first : last + 1], headers)


def _etag(request: Request, tag: str, memory: Counting) -> str:
    kind = request.query.get("etag", "strong")
    if kind == "none":
        return ""
    if kind == "changing":
        return f'"{tag}-{memory.nth(request.origin_form)}"'
    return f'W/"{tag}"' if kind == "weak" else f'"{tag}"'
