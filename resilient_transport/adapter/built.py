"""requests' response, made of urllib3's in one pass, where it sets no cookie.

Leans on `_store` of requests' `CaseInsensitiveDict` and on `_container` of urllib3's `HTTPHeaderDict`, pinned
in `tests/test_upstream.py`.
"""

from __future__ import annotations

from typing import Any

from requests import PreparedRequest, Response, adapters
from urllib3 import HTTPHeaderDict
from urllib3.response import HTTPResponse


def built(request: PreparedRequest, raw: Any) -> Response | None:
    """What `HTTPAdapter.build_response` makes of a response; None: it is not a usual one.

    Args:
        request: what it answers.
        raw: urllib3's response.
    """
    headers = raw.headers if type(raw) is HTTPResponse else None
    if type(headers) is not HTTPHeaderDict or type(request.url) is not str:
        return None
    fields = headers._container
    if "set-cookie" in fields or "set-cookie2" in fields:
        return None
    # By the names that stock asks for: a program may have put something of its own there.
    response: Any = adapters.Response()
    store = response.headers._store
    for name, (spelling, *values) in fields.items():
        store[name] = spelling, values[0] if len(values) == 1 else ", ".join(values)
    response.status_code, response.reason = raw.status, raw.reason
    response.encoding = adapters.get_encoding_from_headers(response.headers)
    response.raw, response.url, response.request = raw, request.url, request
    made: Response = response
    return made
