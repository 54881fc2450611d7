"""For how long a certificate is valid. Pure."""

from __future__ import annotations

from typing import Final

from ...pool.certificate import Certificate
from ...util.clock import date_of

_DAY: Final = 86400.0
#: The share of its life that a short-lived certificate has left when that is told. Programs renew one when it
#: has a third left.
_SHARE: Final = 0.2


def lifetime(certificate: Certificate) -> str:
    """Its first and its last second."""
    return f"{date_of(certificate.not_before)} to {date_of(certificate.not_after)}"


def left_of(certificate: Certificate, now: float) -> str:
    """For how long it is still valid, in a unit that people use.

    Args:
        certificate: has not expired.
        now: the time, as POSIX has it.
    """
    days = (certificate.not_after - now) / _DAY
    for unit, length in (("years", 365.25), ("days", 1.0)):
        if days >= 2 * length:
            return f"{int(days / length)} {unit}"
    return f"{days * 24:.1f} hours"


def ends_soon(certificate: Certificate, now: float, days: float) -> bool:
    """Whether so many days are left, or a fifth of its life, if that is less.

    Args:
        certificate: has not expired.
        now: the time, as POSIX has it.
        days: how many are few.
    """
    life = certificate.not_after - certificate.not_before
    return certificate.not_after - now < min(days * _DAY, _SHARE * life)
