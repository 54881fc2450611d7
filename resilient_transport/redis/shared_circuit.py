"""A circuit that processes share; while the store is away, each process has its own.

A process goes by what it has seen last for up to a second. So a circuit that another process has opened is
noticed within that time, and a healthy origin costs a look a second, and not one a call. A success is
reported only if the process knows of failures, or if it has not looked for a second.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..retry.breaker import Breaker, Circuit
from ..util import atomic
from ..util.clock import monotonic
from .known_origin import KnownCircuit, Look
from .store import LOOK, Asker, Store, View


class Leave(NamedTuple):
    """Leave for an attempt that the shared circuit has given; a process's own circuit gives a number."""

    #: In which epoch it was given.
    epoch: int
    #: Whether it is for a probe.
    is_probe: bool = False


class SharedCircuit:
    """The circuit of an origin, as one call asks it.

    Args:
        own: that of the process, for when the store is away.
        store: keeps the one for all.
        asker: the call.
    """

    __slots__ = ("_asker", "_known", "_own", "_store", "breaker", "is_away")

    def __init__(self, own: Circuit, store: Store, asker: Asker) -> None:
        self.breaker: Breaker = own.breaker
        self._own = own
        self._store = store
        self._asker = asker
        self._known: KnownCircuit = store.origins.used(asker.origin).circuits.used(own.breaker)
        #: Whether the store was away when it was asked last, so that the process's own circuit holds.
        self.is_away = False

    @property
    def where(self) -> str:
        """Where it is kept, as the end of "the circuit of its origin"."""
        return "" if self.is_away else ", shared in Redis,"

    def enter(self) -> Any:
        """Ask leave for an attempt; None: it may not be made."""
        look = self._known.look
        if look is not None and self._store.presence.is_there() and not self._has_to_look(look):
            self.is_away = False
            return Leave(look.epoch) if look.probed_at is None else None
        view = self._step("enter", 0)
        if view is not None:
            return Leave(view.epoch, is_probe=view.is_open) if view.took_effect else None
        if look is not None and look.probed_at is not None and monotonic() < look.probed_at:
            # It was open when the store was lost.
            self.is_away = False
            return None
        return self._own.enter()

    def failed(self, leave: Any) -> bool:
        """An attempt has failed; whether that has opened the circuit."""
        now, breaker, known = monotonic(), self.breaker, self._known
        if not isinstance(leave, Leave):
            return self._own.failed(leave)
        with atomic.lock:
            alone = known.alone = (*known.alone, now)[-breaker.failures :]
        opens = len(alone) == breaker.failures and now - alone[0] <= breaker.window
        view = self._step("failed alone" if opens else "failed", leave.epoch)
        if view is None:
            return self._own.failed(self._own.enter())
        return view.took_effect

    def succeeded(self, leave: Any) -> bool:
        """An attempt has succeeded; whether that has closed the circuit."""
        if not isinstance(leave, Leave):
            return self._own.succeeded(leave)
        known, look = self._known, self._known.look
        if known.alone:
            known.alone = ()
        if look is not None and leave.epoch != look.epoch:
            # It began before what there is now.
            return False
        if look is None or leave.is_probe or look.failures or self._has_to_look(look):
            view = self._step("succeeded", leave.epoch)
            return view is not None and view.took_effect
        return False

    def left(self, leave: Any) -> None:
        """An attempt has come to nothing, for a reason that is not the server's, or was reported before."""
        if not isinstance(leave, Leave):
            self._own.left(leave)
        elif leave.is_probe and (look := self._known.look) is not None and look.epoch == leave.epoch:
            self._step("left", leave.epoch)
            # Nobody probes now: the next call looks.
            self._known.look = look._replace(holds_until=0.0)

    def is_open(self) -> bool:
        """Whether attempts are refused, but for a probe."""
        look = self._known.look
        return self._own.is_open() if self.is_away or look is None else look.probed_at is not None

    def opens_in(self) -> float:
        """Seconds until a probe may be made; 0 when it may, or when nothing is refused."""
        look = self._known.look
        if self.is_away or look is None:
            return self._own.opens_in()
        return max(0.0, (look.probed_at or 0.0) - monotonic())

    def _has_to_look(self, look: Look) -> bool:
        """Whether to look again: one caller does, and the others go by what was seen for another second."""
        now, known = monotonic(), self._known
        if now < look.holds_until:
            return False
        later = look._replace(holds_until=now + LOOK)
        with atomic.lock:
            if known.look is not look:
                return False
            known.look = later
            return True

    def _step(self, step: str, epoch: int) -> View | None:
        """Do a step, and learn what there is now; None: the store is away."""
        asked_at = monotonic()
        view = self._store.step(self._asker, self.breaker, step, epoch)
        self.is_away = view is None
        if view is not None:
            self._learn(view, asked_at)
        return view

    def _learn(self, view: View, asked_at: float) -> None:
        known, now = self._known, monotonic()
        probed_at = now + view.opens_in if view.is_open else None
        # As long as nobody may probe there is nothing new.
        look = Look(asked_at, now + (view.opens_in or LOOK), view.epoch, view.failures, probed_at)
        with atomic.lock:
            before = known.look
            if before is not None and before.asked_at > asked_at:
                # Another thread has looked later.
                return
            known.look = look
            if before is not None and before.epoch != view.epoch:
                known.alone = ()
