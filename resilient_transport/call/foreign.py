"""Failures over somebody else's connections, such as vcrpy's while it records: no stages are marked.

What has failed is told by the exception. How far it got is not: the request counts as one that has left, so
that it is repeated only if its method allows that.
"""

from __future__ import annotations

from urllib3.exceptions import MaxRetryError

from ..connection.trace import Trace
from ..gate.shared_failure import WIRE_ERRORS


def fail_as_met(trace: Trace, error: Exception) -> None:
    """Record what urllib3 has met and requests has wrapped; nothing, if it was neither of them that failed.

    Args:
        trace: that of the attempt.
        error: what requests has raised.
    """
    inner = error.args[0] if error.args else None
    if isinstance(inner, MaxRetryError):
        inner = inner.reason
    if isinstance(inner, WIRE_ERRORS):
        trace.fail(inner)
