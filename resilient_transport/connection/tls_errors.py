"""What an error of TLS says, whoever has raised it.

Only `ssl` itself gives its errors a `reason`. What Python code raises in its place (urllib3's pyOpenSSL,
truststore on macOS and Windows) has none, and asking for it raises an AttributeError.
"""

from __future__ import annotations

import ssl
from typing import Any


def give_reason(error: BaseException) -> None:
    """Give an error of TLS that has no `reason` the one that OpenSSL has told, or None.

    Args:
        error: the error, or what urllib3 has wrapped it in.
    """
    for each in (error, *error.args[:1]):
        if isinstance(each, ssl.SSLError) and not hasattr(each, "reason"):
            each.reason = _told_by_openssl(each.__cause__)  # type: ignore[assignment]


def _told_by_openssl(cause: Any) -> str | None:
    """The reason in a pyOpenSSL error, spelled as `ssl` spells it.

    Its argument is OpenSSL's queue of errors: ("SSL routines", "", "tlsv1 alert unknown ca") and the like.
    """
    queue = getattr(cause, "args", None) or [None]
    last = queue[0][-1] if isinstance(queue[0], list) and queue[0] else None
    reason = last[-1] if isinstance(last, tuple) and last else None
    return reason.upper().replace(" ", "_") if isinstance(reason, str) else None
