"""What several sections advise: a line that can be typed, or who has to act. Pure."""

from __future__ import annotations

from typing import Final

#: For the program, or for a console of Python; `session` is the program's own.
MOUNT: Final = "from resilient_transport import mount; mount(session)"


def why_it_ends(what: str = "connections", origin: str = "the server") -> str:
    """Whom to ask why something ends.

    Args:
        what: such as "handshakes".
        origin: whose it is.
    """
    return f"ask the operator of {origin}, or of a firewall or load balancer before it, why it ends {what}"
