"""Credentials of a proxy, kept from whoever is not that proxy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlparse

from requests import PreparedRequest
from requests.utils import select_proxy

_FIELD: Final = "Proxy-Authorization"


def withhold(
    request: PreparedRequest, proxies: Mapping[str, Any], fields_for: Callable[[str], Mapping[str, str]]
) -> None:
    """Take credentials that requests has put into a request out of it, if it does not go to their proxy.

    After a redirect requests puts there what the proxy of the URL's scheme has. But the request may go
    through a SOCKS proxy, which passes the field on to the server, or through another proxy, or directly.

    Args:
        request: the request.
        proxies: proxy URLs by scheme, or by scheme and host.
        fields_for: what requests sends to a proxy, by its URL.
    """
    given = request.headers.get(_FIELD)
    if given is None:
        return
    url = request.url or ""
    try:
        named: Any = proxies.get(urlparse(url).scheme)
        is_named = bool(named) and fields_for(named).get(_FIELD) == given
    except (AttributeError, TypeError, ValueError):
        # The call says what is wrong with them.
        return
    if is_named and (select_proxy(url, proxies) != named or named.lower().startswith("socks")):
        del request.headers[_FIELD]
