"""Exceptions and histories without secrets, and without what their tracebacks hold."""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError, LocationParseError, MaxRetryError, RequestError

from ..retry.causes import connect_status, root_of, socks_words, tls_reason


def describe(error: BaseException) -> str:
    """The type of an error and the part of its reason that can hold no secret."""
    inner = root_of(error)
    reason: str | None = tls_reason(inner) if isinstance(inner, ssl.SSLError) else socks_words(inner)
    if not reason and isinstance(inner, OSError):
        status = connect_status(inner)
        reason = inner.strerror if status is None else f"the proxy answered CONNECT with status {status}"
    return f"{type(inner).__name__}: {reason}" if reason else type(inner).__name__


def redact(error: BaseException, proxies: Mapping[str, str] | None = None) -> None:
    """Take the query string, and a proxy's password, out of the messages and addresses of errors in a chain.

    Args:
        error: the last of them.
        proxies: as in `HTTPAdapter.send`.
    """
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
        if isinstance(found, LocationParseError) and _is_part_of(found.location, proxies):
            found.location, found.args = "", (_NO_PROXY_URL,)
        if isinstance(found, (HTTPError, RequestException)):
            # Of anybody else's nothing is changed.
            clean_args = tuple(map(_without_userinfo, found.args))
            found.args = clean_args if clean_args != found.args else found.args
        chain += [*found.args, found.__cause__, found.__context__, getattr(found, "reason", None)]


#: A password with such a character ends the host, for who parses it, and stands in the message then.
_NO_PROXY_URL: Final = (
    "Failed to parse the URL of a proxy: characters like /, ? and # in its user name and password have to be "
    "percent-encoded, and its port is a number up to 65535"
)


def _is_part_of(location: Any, proxies: Mapping[str, str] | None) -> bool:
    """Whether what could not be parsed is a proxy's URL that has credentials, or stands in one."""
    with_credentials = [url for url in (proxies or {}).values() if isinstance(url, str) and "@" in url]
    piece = str(location).partition(" ")[0].strip("'")
    return any(piece in url for url in with_credentials)


def _without_userinfo(argument: Any) -> Any:
    """A message without the credentials of a URL in it, such as that of a proxy that cannot be parsed."""
    if not isinstance(argument, str) or "@" not in argument:
        return argument
    return re.sub(r"//[^\s/]*@", "//...@", argument)


def forget_frames(errors: Iterable[BaseException | None], keep: BaseException | None = None) -> None:
    """Drop the tracebacks of errors that are not raised to the caller: they hold sockets, bodies, responses.

    Args:
        errors: those errors, with all that they came from.
        keep: the error that may be raised. It is left as it is, with all that it came from; so is an
            exception that the caller of the call was handling already.
    """
    seen = {id(error) for kept in (keep, sys.exc_info()[1]) for error in _chain(kept)}
    for first in errors:
        for error in _chain(first):
            if id(error) in seen:
                break
            seen.add(id(error))
            error.__traceback__ = None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it came from; a program may have made a ring of that."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def without_query(url: str) -> str:
    """A URL or a request target up to its query."""
    return url.split("?", 1)[0]
