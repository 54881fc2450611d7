"""What a call is made of: worked out of a request and an adapter's settings, in one step, before the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from requests import PreparedRequest

from ..body.request_body import spooled
from ..connection.timeouts import connect_part, read_part
from ..retry.breaker import AnyCircuit
from ..retry.budget import AnyQuota
from ..retry.deadline import Deadline
from ..retry.policy import RetryPolicy
from ..retry.stages import Column
from ..retry.urllib3_retry import policy_from
from ..settings.options import AdapterOptions
from ..settings.override import overrides
from ..telemetry.counters import Counters
from ..util.origin import origin_at
from .circuit import CircuitCheck
from .disabled import refuse_disabled
from .idempotency import column_of, with_key
from .origin_state import state_of


def no_certificate(cert: Any) -> tuple[Any, bool]:
    """The client certificate of a call that shows none of its adapter's."""
    return cert, False


class CallPlan(NamedTuple):
    """What holds for a call from its beginning to its end."""

    # A tuple, since every call makes one: a frozen dataclass takes four times as long to make.

    #: What is sent: the caller's own, or a copy with an Idempotency-Key or a spooled body.
    request: PreparedRequest
    #: When it is sent again.
    policy: RetryPolicy
    #: The column of the replay table that it belongs to.
    column: Column
    #: When the call has to be over.
    deadline: Deadline
    #: The retry quota of the origin, of this process or of several.
    quota: AnyQuota
    #: Counts what happens, with the other calls to the origin.
    counters: Counters
    #: The adapter's settings.
    options: AdapterOptions
    #: Whether the response's body is read after it was handed out.
    stream: bool = False
    #: Seconds to connect and between bytes, in any form that requests takes; and the other arguments of
    #: `HTTPAdapter.send`.
    timeout: Any = None
    verify: Any = True
    cert: Any = None
    proxies: Any = None
    #: The two parts of the time-out: to connect, and between two bytes; None: no limit.
    connect_timeout: float | None = None
    read_timeout: float | None = None
    #: Scheme, host and port, without credentials.
    origin: str = "an unnamed origin"
    #: Asks the circuit breaker of the origin; None: there is none.
    circuit_check: CircuitCheck | None = None
    #: Whether a response's body may be resumed.
    is_resumable: bool = False
    #: Returns the client certificate that is shown, and whether the caller's own TLS context has it.
    certificate: Callable[[Any], tuple[Any, bool]] = no_certificate
    #: Connect, and send nothing.
    warming: bool = False


def plan_call(
    request: PreparedRequest,
    stream: bool,
    timeout: Any,
    verify: Any,
    cert: Any,
    proxies: Any,
    options: AdapterOptions,
    policy: RetryPolicy,
    certificate: Callable[[Any], tuple[Any, bool]] = no_certificate,
    warming: bool = False,
) -> CallPlan:
    """Work out all that the loop needs for one call.

    Args:
        request: the caller's; it is not changed.
        stream, timeout, verify, cert, proxies: as in `HTTPAdapter.send`.
        options, policy: the adapter's.
        certificate: returns the client certificate that the adapter shows for a `cert`.
        warming: connect, and send nothing.

    Raises:
        EndpointDisabled: the URL is disabled.
    """
    here = overrides()
    if options.disable:
        refuse_disabled(request, options)
    if here.retries is not None:
        policy = policy_from(here.retries, policy)
    if policy.idempotency_key:
        request = with_key(request)
    if policy.spool_bytes:
        request = spooled(request, policy.spool_bytes)
    deadline = Deadline(policy.deadline) if here.expires is None else Deadline().until(here.expires)
    if timeout is None:
        timeout = connect, read = options.timeout
    else:
        connect, read = connect_part(timeout), read_part(timeout)
    origin = origin_at(request.url or "")
    state = state_of(origin)
    quota: AnyQuota = state.quota
    if (shared := policy.shared) is not None:
        quota = shared.quota(state.quota, origin, deadline, options.on_event)
    check = None
    if policy.breaker is not None and not warming:
        own = state.circuit(policy.breaker)
        circuit: AnyCircuit = own
        if shared is not None:
            circuit = shared.circuit(own, origin, deadline, options.on_event)
        check = CircuitCheck(circuit, origin, options.on_event)
    # By place, in the order of the fields: names would cost twice as much.
    return CallPlan(
        request,
        policy,
        column_of(request, policy, here),
        deadline,
        quota,
        state.counters,
        options,
        stream,
        timeout,
        verify,
        cert,
        proxies,
        connect,
        read,
        origin,
        check,
        # A part of the body would not be defined otherwise.
        request.method == "GET" and not request.body and not warming,
        certificate,
        warming,
    )
