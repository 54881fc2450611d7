"""What a forked child makes anew, in one list and in one order.

Of all threads only the one that forked goes on in the child. A lock that another thread held stays held for
ever there, and what another thread was about to finish is never finished. Every module that has such state
says here how it is made anew; nobody else asks the operating system to be told of forks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import IntEnum
from typing import Final


class Turn(IntEnum):
    """When something is made anew, besides what has the same turn."""

    #: Locks come first, so that all that follows may take them.
    LOCKS = 0
    #: Then what is remembered.
    MEMORY = 1
    #: Then what was inherited is closed, which may run anybody's finalisers.
    CONNECTIONS = 2


Renewal = Callable[[], object]

_preparations: Final[list[Renewal]] = []
_resumptions: Final[list[Renewal]] = []
_renewals: Final[list[tuple[Turn, str, Renewal]]] = []


def before_fork(preparation: Renewal) -> Renewal:
    """Register a function that is called before a fork. It waits for no lock."""
    _preparations.append(preparation)
    return preparation


def in_parent(resumption: Renewal) -> Renewal:
    """Register a function that is called after a fork, in the parent."""
    _resumptions.append(resumption)
    return resumption


def in_child(turn: Turn) -> Callable[[Renewal], Renewal]:
    """Register a function that makes state anew in a forked child. It takes no lock that it has not renewed.

    Args:
        turn: when it is called. Of one turn, that of the module whose name sorts first comes first.
    """

    def register(renewal: Renewal) -> Renewal:
        _renewals.append((turn, renewal.__module__, renewal))
        _renewals.sort(key=lambda registered: registered[:2])
        return renewal

    return register


def _begin_anew() -> None:
    """In the child: call them all. What one raises keeps none of the others from its turn."""
    failed: list[Exception] = []
    for _, _, renewal in list(_renewals):
        try:
            renewal()
        except Exception as error:
            failed.append(error)
    if failed:
        # Python writes it to standard error, and the child goes on.
        raise failed[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: [prepare() for prepare in _preparations],
        after_in_parent=lambda: [resume() for resume in _resumptions],
        after_in_child=_begin_anew,
    )
