"""Whether urllib3 and the standard library still do what is gone past where that is fast.

Programs patch them: sentry wraps `putrequest` and `getresponse` of `http.client`, OpenTelemetry wraps
`urlopen`. Where somebody has done so, nothing is gone past, and what has been put there is called as ever.
"""

from __future__ import annotations

import http.client
import logging
from operator import attrgetter, is_
from types import FunctionType, ModuleType
from typing import Any, Final

import urllib3.connection
import urllib3.connectionpool
import urllib3.response

#: What is gone past.
_GONE_PAST: Final[dict[ModuleType, tuple[str, ...]]] = {
    http.client: (
        "HTTPConnection.putrequest",
        "HTTPConnection.putheader",
        "HTTPConnection.endheaders",
        "HTTPConnection.getresponse",
        "HTTPConnection._send_output",
        "HTTPResponse.begin",
        "HTTPResponse._read_status",
        "parse_headers",
    ),
    urllib3.connection: (
        "HTTPConnection.request",
        "HTTPConnection.putrequest",
        "HTTPConnection.putheader",
        "HTTPConnection.endheaders",
        "HTTPConnection.getresponse",
        "HTTPSConnection.request",
        "HTTPSConnection.putrequest",
        "HTTPSConnection.putheader",
        "HTTPSConnection.endheaders",
        "HTTPSConnection.getresponse",
    ),
    urllib3.connectionpool: (
        "HTTPConnectionPool.urlopen",
        "HTTPConnectionPool._make_request",
        "HTTPSConnectionPool.urlopen",
        "HTTPSConnectionPool._make_request",
    ),
    urllib3.response: ("HTTPResponse.__init__", "HTTPResponse.read", "HTTPResponse._raw_read"),
}
_of_http: Final = attrgetter(*_GONE_PAST[http.client])
_of_connection: Final = attrgetter(*_GONE_PAST[urllib3.connection])
_of_pool: Final = attrgetter(*_GONE_PAST[urllib3.connectionpool])
_of_response: Final = attrgetter(*_GONE_PAST[urllib3.response])

#: Arguments that urllib3's response takes since 2.4.
_ARGUMENTS: Final = {"sock_shutdown", "version_string"}
#: Who tells of each response at the level DEBUG.
_LOG: Final = logging.getLogger("urllib3.connectionpool")


def _in_force() -> tuple[Any, ...]:
    """What is there now."""
    return (
        *_of_http(http.client),
        *_of_connection(urllib3.connection),
        *_of_pool(urllib3.connectionpool),
        *_of_response(urllib3.response),
    )


def _is_known() -> bool:
    """Whether it was there when this module was imported, and is of the versions that are known."""
    homes = [vars(module) for module in _GONE_PAST]
    for module, names in _GONE_PAST.items():
        for name in names:
            function = attrgetter(name)(module)
            # What is inherited is at home where it was written.
            if type(function) is not FunctionType or not any(function.__globals__ is home for home in homes):
                return False
    code = urllib3.response.HTTPResponse.__init__.__code__
    return set(code.co_varnames) >= _ARGUMENTS


_SHIPPED: Final = _in_force() if _is_known() else None


def is_as_shipped() -> bool:
    """Whether nobody has patched what is gone past, nor reads what urllib3 writes to its log meanwhile."""
    # Not by equality: a wrapper of `wrapt`, as OpenTelemetry's, says that it is equal to what it wraps.
    same = _SHIPPED is not None and all(map(is_, _in_force(), _SHIPPED))
    return same and not _LOG.isEnabledFor(logging.DEBUG)
