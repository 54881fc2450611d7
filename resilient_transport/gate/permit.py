"""Leave to make one connection, and then the membership of that connection until it is closed.

Knows nothing of sockets. A permit tells its gate once how the making ended, and once that the connection is
gone; when an exception from nowhere (a signal handler's) loses it, its finaliser does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .window import Window


class PermitIssuer(Protocol):
    """What gives permits, and hears what comes of them: the gate."""

    #: The serial number of the last permit.
    given: int

    def settle(self, serial: int, effect: Callable[[Window], None] | None, made: bool = False) -> None:
        """The making has ended."""

    def fail(self, serial: int, failure: Any, reset: bool, fatal: bool, charges: Any) -> bool:
        """The item could not be made."""

    def refuse(self, failure: Any) -> None:
        """The server has refused an item that was made."""

    def end(self, serial: int) -> None:
        """The item is closed."""

    def lose(self, serial: int) -> None:
        """The permit was lost."""


class Permit:
    """Leave to make one item. There are three states: being made, open, ended."""

    __slots__ = ("_alone", "_gate", "_made", "_serial", "_settled")

    def __init__(self, gate: PermitIssuer, serial: int, alone: bool = True) -> None:
        #: Whether nothing else was being made when it was given.
        self._alone = alone
        self._gate = gate
        self._serial = serial
        #: Set by whoever makes the item, when that has ended.
        self._settled = False
        #: Whether the item was made, and is open.
        self._made = False

    def was_alone(self) -> bool:
        """Whether nothing else was being made beside the item so far."""
        return self._alone and self._gate.given == self._serial

    def succeeded(self, seconds: float = 0.0, proof: bool = True) -> None:
        """The item was made in so many seconds, with proof that the server has accepted it or without."""
        if not self._settled:
            self._made = True
            self._settle(lambda window: window.succeeded(seconds, proof), made=True)

    def failed(
        self, failure: Any = None, *, reset: bool = True, fatal: bool = False, charges: Any = None
    ) -> bool:
        """It could not be made.

        Args:
            failure: what those who wait are told if the pool is cold.
            reset: whether it says that the server bears fewer at once.
            fatal: whether it repeats for as long as nobody changes the set-up.
            charges: of the call that has made it.

        Returns:
            Whether the pool pauses before it connects again, so that the caller need not.
        """
        if self._settled:
            return False
        self._settled = True
        try:
            return self._gate.fail(self._serial, failure, reset, fatal, charges)
        except BaseException:
            # An interrupt: the gate may not have heard.
            self._gate.lose(self._serial)
            raise

    def unused(self) -> None:
        """It came to nothing for a reason of the caller's own."""
        if not self._settled:
            self._settle(None, made=False)

    def proved(self) -> None:
        """A response has come: the server has accepted this item."""
        self._gate.settle(self._serial, lambda window: window.proved(), made=self._made)

    def doubted(self) -> None:
        """The item was reset before it had carried anything: the next ones are looked at more closely."""
        self._gate.settle(self._serial, Window.failed, made=self._made)

    def refused(self, failure: Any) -> None:
        """The server has refused the item after all, and would any other."""
        self._gate.refuse(failure)

    def _settle(self, effect: Callable[[Window], None] | None, made: bool) -> None:
        self._settled = True
        try:
            self._gate.settle(self._serial, effect, made)
        except BaseException:
            # An interrupt: the gate may not have heard.
            self._gate.lose(self._serial)
            raise

    def closed(self) -> None:
        """The item is closed; if it was being made, that has come to nothing."""
        if not self._settled:
            self.unused()
        elif self._made:
            self._made = False
            self._gate.end(self._serial)

    def __del__(self) -> None:
        # Lost on its way. A finaliser takes no lock, and finds one that its own thread may hold.
        if self._made or not self._settled:
            self._gate.lose(self._serial)
