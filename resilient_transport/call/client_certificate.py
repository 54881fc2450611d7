"""Why a server refused a client certificate, in words that say what to do about it.

Leans on `ssl._ssl._test_decode_cert`, the standard library's only way to read a certificate that no peer has
sent, pinned in `tests/test_upstream.py`; without it the message names the file alone.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from email.utils import mktime_tz, parsedate_tz
from typing import Any, Final

from requests.exceptions import SSLError

from ..exceptions import ClientCertificateRejected
from ..retry.causes import certificate_alert

#: What to do, by alert.
_CURES: Final = {
    "certificate_expired": "Renew it; a replaced file is noticed within a second.",
    "certificate_revoked": "Get a new one from its issuer.",
    "unknown_ca": "The server does not trust its issuer: use one from a CA that the server trusts, with the "
    "intermediate certificates behind it in the file.",
}
_OTHERWISE: Final = "Ask the server's operator which certificates it accepts."
_NONE_SHOWN: Final = "Give one in cert=(certificate, key)."
_NONE_LOADED: Final = "Load one into the ssl_context= with load_cert_chain."
#: The alert of a server that has seen no certificate.
MISSING: Final = "certificate_required"


def rejection(error: Exception, origin: str, cert: Any, has_context: bool) -> Exception:
    """The error itself; for a server's refusal of the client certificate, a `ClientCertificateRejected`.

    Args:
        error: what is about to be raised.
        origin: the server's.
        cert: what the caller gave as `cert`.
        has_context: whether the caller's own TLS context has the certificate.
    """
    alert = next(filter(None, map(certificate_alert, _tls_errors(error))), None)
    if alert is None or type(error) is not SSLError:
        return error
    path = _path_of(cert)
    subject, not_after = _read(path) if path else (None, None)
    told = ClientCertificateRejected(
        f"{origin} refused the client certificate (TLS alert {alert}): "
        f"{_in_words(alert, path, subject, not_after, has_context)}",
        request=error.request,
    )
    told.alert, told.subject, told.not_after = alert, subject, not_after
    told.__cause__ = error.__cause__ or error.__context__ or error
    return told


def _tls_errors(error: BaseException) -> Iterator[ssl.SSLError]:
    """The errors of `ssl` in an exception's arguments and reasons, where urllib3 keeps what it has met."""
    inner = [*error.args, getattr(error, "reason", None)]
    for each in inner:
        if isinstance(each, ssl.SSLError):
            yield each
        elif isinstance(each, BaseException):
            yield from _tls_errors(each)


def _read(path: str) -> tuple[str | None, str | None]:
    """Subject and expiry of the first certificate in a PEM file."""
    try:
        found: Any = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None, None
    parts = [f"{_SHORT.get(name, name)}={value}" for names in found["subject"] for name, value in names]
    return ", ".join(parts), found.get("notAfter")


_SHORT: Final = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
}


def _in_words(
    alert: str, path: str | None, subject: str | None, not_after: str | None, has_context: bool
) -> str:
    """The certificate that was shown, and what to do. There are three cases: none, a context's, a file's."""
    if path is None and (not has_context or alert == MISSING):
        return f"none was shown. {_NONE_LOADED if has_context else _NONE_SHOWN}"
    cure = _CURES.get(alert, _OTHERWISE)
    if path is None:
        return f"that of ssl_context=. {cure}"
    if subject is None or not_after is None:
        return f"{path}. {cure}"
    # Not by `ssl.cert_time_to_seconds`: it imports something, and no import may follow a failure.
    parts = parsedate_tz(not_after)
    over = parts is not None and mktime_tz(parts) < time.time()
    cure = _CURES["certificate_expired"] if over else cure
    return f"{subject}, {'expired' if over else 'valid until'} {not_after}, from {path}. {cure}"


def shown_and_cure(cert: Any, has_context: bool, alert: str = "") -> str:
    """The certificate that a call has shown, and what to do.

    Args:
        cert, has_context: as for `rejection`.
        alert: as RFC 8446 spells it; `MISSING`, if the server says that it has seen none.
    """
    path = _path_of(cert)
    return _in_words(alert, path, *(_read(path) if path else (None, None)), has_context)


def _path_of(cert: Any) -> str | None:
    shown = cert if isinstance(cert, (str, bytes)) else cert[0] if cert else None
    return os.fsdecode(shown) if shown else None
