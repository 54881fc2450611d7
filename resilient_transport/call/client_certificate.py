"""Why a server refused a client certificate, in words that say what to do about it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from requests.exceptions import SSLError

from ..exceptions import ClientCertificateRejected
from ..pool.certificate import Certificate, chain_in
from ..pool.given_identity import Identity, as_bytes
from ..retry.causes import certificate_alert
from ..util.clock import date_of, realtime

#: What to do, by alert.
_CURES: Final = {
    "certificate_expired": "Renew it; a replaced file is noticed within a second.",
    "certificate_revoked": "Get a new one from its issuer.",
    "unknown_ca": "The server does not trust its issuer: use one from a CA that the server trusts, with the "
    "intermediate certificates behind it in the file.",
}
#: What takes the place of a cure where the certificate is in no file.
_RENEW_GIVEN: Final = "Let identity= give a newer one; it is asked again within a second."
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
        cert: what the caller gave as `cert`; or the `Identity` that was shown.
        has_context: whether the caller's own TLS context has the certificate.
    """
    alert = next(filter(None, map(certificate_alert, _tls_errors(error))), None)
    if alert is None or type(error) is not SSLError:
        return error
    shown = _read(cert)
    told = ClientCertificateRejected(
        f"{origin} refused the client certificate (TLS alert {alert}): "
        f"{_in_words(alert, cert, shown, has_context)}",
        request=error.request,
    )
    told.alert = alert
    if shown is not None:
        told.subject, told.not_after = shown.subject, date_of(shown.not_after)
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


def _read(cert: Any) -> Certificate | None:
    """The first certificate in a PEM file, or of an `Identity`; None: there is none, or no file."""
    try:
        chain = chain_in(_pem_of(cert))
    except (OSError, ValueError):
        return None
    return chain[0] if chain else None


def _pem_of(cert: Any) -> bytes:
    if isinstance(cert, Identity):
        return as_bytes(cert.cert)
    path = _path_of(cert)
    return b"" if path is None else Path(path).read_bytes()


def _in_words(alert: str, cert: Any, shown: Certificate | None, has_context: bool) -> str:
    """The certificate that was shown, and what to do. There are three cases: none, a context's, another."""
    path = "identity=" if isinstance(cert, Identity) else _path_of(cert)
    if path is None and (not has_context or alert == MISSING):
        return f"none was shown. {_NONE_LOADED if has_context else _NONE_SHOWN}"
    cure = _CURES.get(alert, _OTHERWISE)
    if path is None:
        return f"that of ssl_context=. {cure}"
    if shown is None:
        return f"{path}. {cure}"
    over = shown.not_after < realtime()
    cure = _CURES["certificate_expired"] if over else cure
    if isinstance(cert, Identity) and cure == _CURES["certificate_expired"]:
        cure = _RENEW_GIVEN
    until = f"{'expired' if over else 'valid until'} {date_of(shown.not_after)}"
    return f"{shown.subject}, {until}, from {path}. {cure}"


def shown_and_cure(cert: Any, has_context: bool, alert: str = "") -> str:
    """The certificate that a call has shown, and what to do.

    Args:
        cert, has_context: as for `rejection`.
        alert: as RFC 8446 spells it; `MISSING`, if the server says that it has seen none.
    """
    return _in_words(alert, cert, _read(cert), has_context)


def _path_of(cert: Any) -> str | None:
    shown = cert if isinstance(cert, (str, bytes)) else cert[0] if cert else None
    return os.fsdecode(shown) if shown else None
