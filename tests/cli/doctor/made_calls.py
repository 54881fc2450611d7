"""Calls with what came of them, for judges that are given values."""

from resilient_transport.cli.doctor.program_calls import OURS, STOCK, Call
from resilient_transport.events.attempt import Attempts
from resilient_transport.retry.causes import Cause
from resilient_transport.waterfall.chart import Phase


def whole(count: int, transport: str = STOCK, status: int = 200, body: int = 2) -> tuple[Call, ...]:
    """Calls that were answered."""
    return (Call(transport, status, None, None, Attempts(), 0.01, body),) * count


def lost(
    count: int, phase: Phase = Phase.FIRST_BYTE, cause: Cause = Cause.RESET, transport: str = STOCK
) -> tuple[Call, ...]:
    """Calls that have failed."""
    error = "TimeoutError" if cause is Cause.TIMEOUT else "ConnectionResetError: Connection reset by peer"
    return (Call(transport, None, error, cause, Attempts(), 0.01, phase=phase),) * count


def ours(count: int, failed: int = 0, phase: Phase = Phase.FIRST_BYTE) -> tuple[Call, ...]:
    """Calls by the adapter, of which the first ones have failed."""
    return lost(failed, phase, transport=OURS) + whole(count - failed, OURS)
