"""When a client certificate is about to expire, and who has been told.

A certificate that lives for 90 days or longer is told with 30, with 7 and with 1 day left. A shorter life
gives no time for that: such a one is told once, when a fifth of it is left. Each is told once more when it
has expired. What is met late is told once, and not for each threshold that is behind it.

Nothing here waits, or has a thread: each call looks that looks at its files, which is once a second at the
most.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from ..telemetry.stats import ClientCertificate
from ..util.bounded_dict import keep_newest, keep_used
from ..util.clock import monotonic, realtime
from ..util.frozen import dataclass
from ..util.identity_dict import IdentityDict
from .certificate import Certificate, chain_in

DAY: Final = 86400.0
#: Seconds left at which a certificate is told: the days at which certificate authorities remind their users.
_LEFT: Final = (30 * DAY, 7 * DAY, DAY)
#: Seconds of life from which on they hold. The shortest life with which a renewal is due with 30 days left:
#: clients of Let's Encrypt renew such a certificate when a third of it is left.
_LONG: Final = 90 * DAY
#: The share of a shorter life that is left when it is told.
_SHARE: Final = 0.2

#: Seconds after its last use for which a certificate counts as in use.
IN_USE: Final = DAY
#: Files of certificates that are remembered, at the most.
_MOST: Final = 1024
#: Certificates that were told at one threshold and are remembered, at the most.
_MOST_TOLD: Final = 4096


def thresholds(not_before: float, not_after: float) -> tuple[float, ...]:
    """The seconds left at which a certificate is told, the most first; 0: it has expired.

    Args:
        not_before, not_after: the first and the last second of its life.
    """
    life = not_after - not_before + 1
    return (*_LEFT, 0.0) if life >= _LONG else (_SHARE * life, 0.0)


def due(not_before: float, not_after: float, now: float) -> float | None:
    """The threshold at which a certificate has to be told now; None: it has long to live.

    Args:
        not_before, not_after: the first and the last second of its life.
        now: the time, as POSIX has it.
    """
    passed = [left for left in thresholds(not_before, not_after) if not_after - now <= left]
    return passed[-1] if passed else None


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate of the chain that a client shows. Whichever of them expires, the server refuses all."""

    certificate: Certificate
    #: Whether it is one of those behind the client's own.
    is_intermediate: bool


def shown_of(chain: list[Certificate]) -> tuple[Shown, ...]:
    """What a client shows of a chain, the first to expire first; among equals its own certificate.

    A root authority behind it does not count: the server goes by its own copy, or has forgotten it.
    """
    own = [Shown(one, is_intermediate=False) for one in chain[:1]]
    behind = [Shown(one, is_intermediate=True) for one in chain[1:] if not one.is_self_issued]
    return tuple(sorted(own + behind, key=lambda one: one.certificate.not_after))


#: What is shown with a TLS context, for as long as that lives.
_shown: Final[IdentityDict[tuple[Shown, ...]]] = IdentityDict()
#: Which certificates were told, and at which threshold. It outlives a fork: the child repeats nothing.
_told: Final[dict[Hashable, object]] = {}


def note(context: Any, pem: bytes) -> None:
    """Remember the certificates that a context was given to show; what cannot be read is passed over."""
    _shown.put(context, shown_of(chain_in(pem)))


class _Use:
    """The use of a certificate."""

    __slots__ = ("certificate", "used_at")

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        self.used_at = monotonic()

    def is_needed(self) -> bool:
        """Whether it must not be forgotten as long as something else can be."""
        return False


class CertificatesInUse:
    """The client certificates that calls have shown. No lock: each step is one operation of a dictionary."""

    def __init__(self) -> None:
        self._uses: dict[str, _Use] = {}

    def use(self, context: Any, file: str) -> list[Shown]:
        """A call uses a context: the certificates of which it has to tell, each once for the process.

        Args:
            context: as it was given to `note`.
            file: where the certificate comes from. What was there before is not in use any more.
        """
        shown = _shown.get(context, ())
        if not shown:
            self._uses.pop(file, None)
            return []
        self._uses[file] = _Use(shown[0].certificate)
        keep_used(self._uses, _MOST, file)
        return [one for one in shown if _is_news(one.certificate, realtime())]

    def figures(self) -> dict[str, ClientCertificate]:
        """Those that are in use, by the file that they come from."""
        since = monotonic() - IN_USE
        uses = sorted(self._uses.copy().items())
        return {file: _figures(use.certificate) for file, use in uses if use.used_at >= since}

    def clear(self) -> None:
        """Forget them."""
        self._uses.clear()


def _is_news(certificate: Certificate, now: float) -> bool:
    """Whether it has to be told now, and by this thread: the first of those that ask."""
    threshold = due(certificate.not_before, certificate.not_after, now)
    mine = object()
    if threshold is None or _told.setdefault((certificate.fingerprint, threshold), mine) is not mine:
        return False
    keep_newest(_told, _MOST_TOLD)
    return True


def _figures(certificate: Certificate) -> ClientCertificate:
    return ClientCertificate(certificate.subject, certificate.not_before, certificate.not_after)
