"""The switch for an endpoint that nobody should call: one that is polled with no working credentials."""

from __future__ import annotations

from requests import PreparedRequest

from .exceptions import EndpointDisabled
from .options import Options


def refuse_disabled(request: PreparedRequest, options: Options) -> None:
    """Refuse a call to a disabled URL.

    Raises:
        EndpointDisabled: it is one.
    """
    prefix = options.covers(request.url or "")
    if prefix is not None:
        raise EndpointDisabled(
            f"Calls to {prefix} are switched off (RESILIENT_TRANSPORT_DISABLE, or disable= of the adapter).",
            request=request,
        )
