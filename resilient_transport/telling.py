"""Who is told what happens: the log, the hook of an adapter, and the hooks of the process.

A hook is called in the thread in which it happens, under no lock, and may take its time at the expense of the
call. What it raises breaks nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from typing import Any, Final

from .events import CallEvent, Event, Hook, subscribers
from .logs import log

#: The numbers of calls that somebody is told of.
_numbers: Final = count(1)
#: Whether a hook runs here: the calls that it makes are told to nobody, or that would never end.
_in_hook: Final[ContextVar[bool]] = ContextVar("resilient_transport_in_hook", default=False)


#: Whether the log is being written to here: what a handler of it sends is not written, for the same reason.
_in_log: Final[ContextVar[bool]] = ContextVar("resilient_transport_in_log", default=False)


def write(event: Event) -> None:
    """Write an event to the log, if it is worth a line."""
    if event.level is None or _in_log.get():
        return
    token = _in_log.set(True)
    try:
        log.log(event.level, "%s", event)
    finally:
        _in_log.reset(token)


def hooks_for(own: Hook | None) -> tuple[Hook, ...]:
    """Who is told of what happens here and now, besides the log.

    Args:
        own: the hook of the adapter.
    """
    everywhere = subscribers()
    if own is None and not everywhere:
        return ()
    if _in_hook.get():
        return ()
    return everywhere if own is None else (own, *everywhere)


def announce(own: Hook | None, event: Event) -> None:
    """Tell of an event that is worth a line in every log.

    Args:
        own: the hook of the adapter.
        event: what has happened.
    """
    write(event)
    tell(hooks_for(own), event)


def tell(hooks: tuple[Hook, ...], event: Event) -> None:
    """Call each hook with an event."""
    for hook in hooks:
        token = _in_hook.set(True)
        try:
            hook(event)
        except Exception as error:
            # Its message may hold anything.
            name = getattr(hook, "__qualname__", type(hook).__qualname__)
            log.warning("the hook %s has raised %s", name, type(error).__name__)
        finally:
            _in_hook.reset(token)


class Teller:
    """Tells of one call.

    Args:
        hooks: who is told.
        origin: scheme, host and port.
        method: the request's.
    """

    __slots__ = ("_hooks", "_method", "_number", "_origin")

    def __init__(self, hooks: tuple[Hook, ...], origin: str, method: str) -> None:
        self._hooks = hooks
        self._origin = origin
        self._method = method
        self._number = next(_numbers)

    def __call__(self, kind: Callable[..., CallEvent], *values: Any) -> None:
        """Tell of an event of the call.

        Args:
            kind: its class.
            values: its own fields, in their order.
        """
        tell(self._hooks, kind(self._origin, self._number, self._method, *values))

    def announce(self, kind: Callable[..., CallEvent], *values: Any) -> None:
        """The same, for what is worth a line in every log."""
        event = kind(self._origin, self._number, self._method, *values)
        write(event)
        tell(tuple(hook for hook in self._hooks if hook is not write), event)


def teller_for(own: Hook | None, origin: str, method: str) -> Teller | None:
    """Who tells of a call that begins here and now; None: nobody wants to hear.

    Args:
        own: the hook of the adapter.
        origin: scheme, host and port.
        method: the request's.
    """
    hooks = hooks_for(own)
    if log.isEnabledFor(logging.DEBUG) and not _in_log.get():
        hooks = (write, *hooks)
    return Teller(hooks, origin, method) if hooks else None
