"""Cookies of responses that are repeated: sent with the repetition, and kept for the session (RFC 6265).

requests takes cookies from the head of the response that it is given. Those of the responses before it are
written there, too.

Leans on `_cookies` of requests' `PreparedRequest` and on `_original_response` of urllib3's response, pinned
in `tests/test_upstream.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.message import Message
from types import SimpleNamespace
from typing import Any, Final

from requests import PreparedRequest, Response
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar, get_cookie_header

#: Functions of requests that have no types.
_extract: Any = extract_cookies_to_jar
_header: Any = get_cookie_header


def cookies_set_by(raw: Any) -> tuple[str, ...]:
    """The Set-Cookie fields of urllib3's response."""
    message = _message_of(raw)
    return () if message is None else tuple(message.get_all("Set-Cookie") or ())


def with_cookies_of(request: PreparedRequest, raw: Any) -> PreparedRequest:
    """A copy of a request that sends the cookies that a response to it, urllib3's, has set."""
    copy = request.copy()
    _update(copy, raw)
    return copy


def _update(copy: Any, raw: Any) -> None:
    given = copy.headers.pop("Cookie", None)
    if isinstance(given, bytes):
        given = given.decode("latin-1")
    jar = copy._cookies = RequestsCookieJar() if copy._cookies is None else copy._cookies
    if given is None or given == _header(jar, copy):
        _extract(jar, copy, raw)
        sent = _header(jar, copy)
    else:
        sent = _added(given, copy, raw)
    if sent:
        copy.headers["Cookie"] = sent


def _added(given: str, request: PreparedRequest, raw: Any) -> str:
    """A field that the caller has written by hand, with the cookies of a response in place of its own."""
    new = RequestsCookieJar()
    _extract(new, request, raw)
    names = {cookie.name for cookie in new}
    kept = [pair.strip() for pair in given.split(";") if pair.strip().partition("=")[0] not in names]
    return "; ".join([*kept, *filter(None, [_header(new, request)])])


def carry_cookies(response: Response, earlier: Sequence[Sequence[str]], request: PreparedRequest) -> None:
    """Let requests find the cookies of earlier responses in the head of this one.

    Those that a later response sets again, or deletes, are left out: it would be too late, or too early.

    Args:
        response: the last one.
        earlier: the Set-Cookie fields of each response before it, in their order.
        request: what they answer.
    """
    message = _message_of(response.raw)
    if message is None:
        return
    own = tuple(message.get_all("Set-Cookie") or ())
    later = {named for field in own for named in _named(field, request)}
    kept: list[str] = []
    for fields in reversed(earlier):
        found = [(field, _named(field, request)) for field in fields]
        kept[:0] = [field for field, named in found if named and not named & later]
        later.update(*(named for _, named in found))
    del message["Set-Cookie"]
    for field in (*kept, *own):
        message["Set-Cookie"] = field


def _named(field: str, request: PreparedRequest) -> set[tuple[str, str, str]]:
    """Domain, path and name of the cookie that a field sets or deletes; nothing if it is refused."""
    message, jar = Message(), RequestsCookieJar()
    message["Set-Cookie"] = _LIFETIME.sub("", field)
    _extract(jar, request, SimpleNamespace(_original_response=SimpleNamespace(msg=message)))
    return {(cookie.domain, cookie.path, cookie.name) for cookie in jar}


#: What makes a cookie one that is deleted.
_LIFETIME: Final = re.compile(r";\s*(max-age|expires)\s*=[^;]*", re.IGNORECASE)


def _message_of(raw: Any) -> Any:
    return getattr(getattr(raw, "_original_response", None), "msg", None)
