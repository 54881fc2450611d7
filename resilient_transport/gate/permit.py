"""Leave to make one connection, and then the membership of that connection until it is closed.

Knows nothing of sockets.
"""

from __future__ import annotations

from math import inf
from typing import Any, Protocol

from .caller import Caller


class PermitIssuer(Protocol):
    """What gives permits, and learns what comes of them: the gate."""

    def made(self, permit: Permit, proof: bool) -> None:
        """The item was made."""

    def shook_hands(self, permit: Permit, patience: float, is_far: bool) -> None:
        """The item is made but for the server's proof."""

    def failed(self, permit: Permit, failure: Any, reset: bool, fatal: bool, caller: Caller | None) -> bool:
        """The item could not be made."""

    def unused(self, permit: Permit) -> None:
        """Nothing was made, for a reason of the caller's own."""

    def proved(self) -> None:
        """The server has accepted an item that was made."""

    def doubted(self) -> None:
        """The server has reset an item that had carried nothing."""

    def refused(self, failure: Any) -> None:
        """The server has refused an item that was made."""

    def closed(self, permit: Permit) -> None:
        """The item is closed."""

    def is_alone(self, permit: Permit) -> bool:
        """Whether nothing else is being made."""


class Permit:
    """Leave to make one item. There are three states: being made, open, ended.

    The gate refers to it weakly. So one that is lost on its way, when a signal handler raises, is given back
    by being forgotten.
    """

    __slots__ = ("__weakref__", "_gate", "_is_settled", "ahead", "holds_until", "is_on_trial")

    def __init__(self, gate: PermitIssuer | None) -> None:
        #: None: the gate was in the middle of something, and does not count this one.
        self._gate = gate
        #: Set by whoever makes the item, when that has ended.
        self._is_settled = False
        #: Until then it holds others up, on the gate's clock; and how many it lets in meanwhile. Set by the
        #: gate.
        self.holds_until = inf
        self.ahead = 0
        #: Whether its item is made but for the server's proof. Set by the gate.
        self.is_on_trial = False

    def shook_hands(self, patience: float, is_far: bool = False) -> None:
        """The item is made but for the server's proof, which follows.

        Args:
            patience: for so many seconds others wait for it, too.
            is_far: whether the server is far away: then some of them are let in meanwhile.
        """
        if self._gate is not None and not self._is_settled:
            self._gate.shook_hands(self, patience, is_far)

    def succeeded(self, proof: bool = True) -> None:
        """The item was made, with proof that the server has accepted it or without."""
        if self._settle() and self._gate is not None:
            self._gate.made(self, proof)

    def failed(
        self, failure: Any = None, *, reset: bool = True, fatal: bool = False, caller: Caller | None = None
    ) -> bool:
        """The item could not be made.

        Args:
            failure: what those who wait get if the pool is cold.
            reset: whether the server has reset or closed it, so that it bears fewer at once.
            fatal: whether it repeats for as long as nobody changes the set-up.
            caller: the call that has tried.

        Returns:
            Whether the pool pauses before it connects again, so that the caller need not.
        """
        if not self._settle() or self._gate is None:
            return False
        return self._gate.failed(self, failure, reset, fatal, caller)

    def unused(self) -> None:
        """It came to nothing for a reason of the caller's own."""
        if self._settle() and self._gate is not None:
            self._gate.unused(self)

    def proved(self) -> None:
        """A response has come: the server has accepted this item."""
        if self._gate is not None:
            self._gate.proved()

    def doubted(self) -> None:
        """The item was reset before it had carried anything: the next ones are looked at more closely."""
        if self._gate is not None:
            self._gate.doubted()

    def refused(self, failure: Any) -> None:
        """The server has refused the item after all, and would any other."""
        if self._gate is not None:
            self._gate.refused(failure)

    def closed(self) -> None:
        """The item is closed; if it was being made, that has come to nothing. Waits for nobody."""
        self._is_settled = True
        if self._gate is not None:
            self._gate.closed(self)

    def is_alone(self) -> bool:
        """Whether nothing else is being made beside the item."""
        return self._gate is not None and self._gate.is_alone(self)

    def _settle(self) -> bool:
        """Whether this is the first time."""
        first, self._is_settled = not self._is_settled, True
        return first
