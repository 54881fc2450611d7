"""The switch that turns calls off, as for an endpoint that is polled without working credentials."""

from __future__ import annotations

from requests import PreparedRequest

from ..exceptions import EndpointDisabled
from ..settings.options import AdapterOptions
from ..util.origin import origin_at
from .origin_state import state_of


def refuse_disabled(request: PreparedRequest, options: AdapterOptions) -> None:
    """Refuse a call to a disabled URL.

    Raises:
        EndpointDisabled: it is one.
    """
    prefix = options.covers(request.url or "")
    if prefix is not None:
        state_of(origin_at(request.url or "")).counters.refused("disabled")
        raise EndpointDisabled(
            f"Calls to {prefix} are switched off (RESILIENT_TRANSPORT_DISABLE, or disable= of the adapter).",
            request=request,
        )
