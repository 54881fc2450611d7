"""The switch for an endpoint that nobody should call: one that is polled with no working credentials."""

from __future__ import annotations

from requests import PreparedRequest

from .exceptions import EndpointDisabled
from .options import Options
from .tally import tally_for
from .wire.lookup import origin_at


def refuse_disabled(request: PreparedRequest, options: Options) -> None:
    """Refuse a call to a disabled URL.

    Raises:
        EndpointDisabled: it is one.
    """
    prefix = options.covers(request.url or "")
    if prefix is not None:
        tally_for(origin_at(request.url or "")).refused("disabled")
        raise EndpointDisabled(
            f"Calls to {prefix} are switched off (RESILIENT_TRANSPORT_DISABLE, or disable= of the adapter).",
            request=request,
        )
