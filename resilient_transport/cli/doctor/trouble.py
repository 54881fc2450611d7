"""What a trouble at a step comes from, where nothing more is known. Pure."""

from __future__ import annotations

from typing import Final

from ...retry.causes import Cause
from ...waterfall.chart import Phase
from .root import Root

#: What says enough wherever it is met.
_BY_CAUSE: Final = {
    Cause.DAMAGED: Root.DAMAGED,
    Cause.UNPARSABLE: Root.GARBLED,
    Cause.NAME: Root.NAME,
    Cause.REFUSED: Root.REFUSED,
    Cause.UNREACHABLE: Root.UNREACHABLE,
    Cause.UNREADY: Root.PROXY_REFUSES,
    Cause.DENIED: Root.PROXY_REFUSES,
    Cause.NO_COMMON_TLS: Root.NO_COMMON_TLS,
    Cause.CERTIFICATE: Root.SERVER_CERTIFICATE_UNTRUSTED,
    Cause.CLIENT_CERTIFICATE: Root.CLIENT_CERTIFICATE_REFUSED,
}
#: Of everything else: what a silence is at a step, and what any other end.
_BY_PHASE: Final = {
    Phase.NAME: (Root.NAME, Root.NAME),
    Phase.DIAL: (Root.UNREACHABLE, Root.HANDSHAKE_RESET),
    Phase.TUNNEL: (Root.PROXY_REFUSES, Root.PROXY_REFUSES),
    Phase.HANDSHAKE: (Root.HANDSHAKE_SILENT, Root.HANDSHAKE_RESET),
    Phase.CONFIRM: (Root.HANDSHAKE_SILENT, Root.HANDSHAKE_RESET),
    Phase.BODY: (Root.SILENT, Root.CUT_BODY),
}
#: Where a call fails at a step, as the end of a sentence.
_WHERE: Final = {
    Phase.NAME: "while the name is looked up",
    Phase.DIAL: "while they connect",
    Phase.TUNNEL: "at the proxy",
    Phase.HANDSHAKE: "in the TLS handshake",
    Phase.CONFIRM: "right after the TLS handshake",
    Phase.FIRST_BYTE: "before a response comes",
    Phase.BODY: "in the middle of the body",
}


def where(phase: Phase) -> str:
    """Where a call fails at a step: "in the TLS handshake"."""
    return _WHERE.get(phase, f"at {phase.value}")


def root_at(phase: Phase, cause: Cause) -> Root:
    """What a trouble comes from.

    Args:
        phase: the step at which it was met.
        cause: what it was.
    """
    if cause in _BY_CAUSE:
        return _BY_CAUSE[cause]
    silent, ended = _BY_PHASE.get(phase, (Root.SILENT, Root.REQUEST_RESET))
    return silent if cause is Cause.TIMEOUT else ended
