"""What is raised besides what `requests` itself would raise."""

from __future__ import annotations

from typing import Any

from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import RequestException, SSLError, Timeout


class _Portable(RequestException):
    """An exception whose pickle leaves the request, with its headers, behind: it holds no secrets."""

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: value for name, value in vars(self).items() if name not in ("request", "response")}
        return type(self), self.args, state


class DeadlineExceeded(_Portable, Timeout):
    """The whole call took longer than its deadline (`RetryPolicy.deadline` or `override(deadline=...)`).

    It is a `requests.exceptions.Timeout`. The failure of the attempt that got furthest, if there was one,
    is its `__cause__`.
    """


class EndpointDisabled(_Portable, RequestsConnectionError):
    """Calls to this URL are switched off (`RESILIENT_TRANSPORT_DISABLE` or `disable=`); nothing was opened.

    It is a `requests.exceptions.ConnectionError`.
    """


class CircuitOpen(_Portable, RequestsConnectionError):
    """The origin has failed again and again and is left alone for now (`RetryPolicy(breaker=...)`).

    It is a `requests.exceptions.ConnectionError`. Nothing was opened.
    """

    #: Seconds until a call may try again; 0: another one is trying now.
    retry_after: float = 0.0


class ClientCertificateRejected(_Portable, SSLError):
    """The server refused the client certificate, or misses one, and said so in a TLS alert (RFC 8446, 6.2).

    It is a `requests.exceptions.SSLError`. Repeating the call would not help, so it was not repeated.
    """

    #: The alert, as the RFC spells it: "certificate_required", "unknown_ca", "certificate_expired" and so on.
    alert: str = ""
    #: The subject of the certificate that was shown, such as "CN=client, O=Example"; None: none was shown,
    #: or it is in a context of the caller's own.
    subject: str | None = None
    #: When it expires, as `ssl` spells it: "Jun  1 12:00:00 2026 GMT"; None where `subject` is.
    not_after: str | None = None


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an exception (PEP 678); on Python 3.10 nobody prints it, and it does no harm."""
    notes = getattr(error, "__notes__", None)
    error.__notes__ = [*(notes or ()), note]  # type: ignore[attr-defined,unused-ignore]
