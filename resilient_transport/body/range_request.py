"""How the rest of a body is asked for: below `HTTPAdapter.send`, since that has made its response already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from requests import PreparedRequest
from requests.adapters import HTTPAdapter

from ..connection.timeouts import as_urllib3s
from ..retry.urllib3_retry import ONE_ATTEMPT

#: Fields of a caller's own, whose place those of a resumed body take.
_ABOUT_RANGES: Final = frozenset({"range", "if-range"})


def ask_again(
    adapter: HTTPAdapter,
    request: PreparedRequest,
    timeout: Any,
    verify: Any,
    cert: Any,
    proxies: Any,
    fields: Mapping[str, str],
) -> Any:
    """Send a request once more, as `HTTPAdapter.send` does, with other fields about ranges.

    Args:
        adapter: whose hooks find the pool, name the target and add fields.
        request, timeout, verify, cert, proxies: as in `HTTPAdapter.send`; the hook may change the request.
        fields: those about ranges, in the place of the caller's own.

    Returns:
        urllib3's response.
    """
    pool: Any = adapter.get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
    target = adapter.request_url(request, proxies)
    told = {"stream": True, "timeout": timeout, "verify": verify, "cert": cert, "proxies": proxies}
    adapter.add_headers(request, **told)  # type: ignore[no-untyped-call,unused-ignore]
    kept = {name: value for name, value in request.headers.items() if name.lower() not in _ABOUT_RANGES}
    return pool.urlopen(
        "GET",
        target,
        headers={**kept, **fields},
        redirect=False,
        assert_same_host=False,
        preload_content=False,
        decode_content=False,
        retries=ONE_ATTEMPT,
        timeout=as_urllib3s(timeout),
    )
