"""Who is told what happens: the log, the hook of an adapter, and the hooks of the process.

A hook is called in the thread in which it happens, under no lock, and may take its time at the expense of the
call. What it raises breaks nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from types import FunctionType, MethodType
from typing import Any, Final

from ..events import CallEvent, Event, Hook, anybody, subscribers
from .log import log

#: The numbers of calls that somebody is told of.
_numbers: Final = count(1)


class _Here(threading.local):
    """What happens in this thread. No context variable: who schedules work in a hook takes those along."""

    #: Whether a hook runs: the calls that it makes are told to nobody, or that would never end.
    in_hook = False
    #: Whether the log is being written to: what a handler of it sends is not written, for the same reason.
    in_log = False


_here: Final = _Here()


def write(event: Event) -> None:
    """Write an event to the log, if it is worth a line."""
    if event.level is None or _here.in_log:
        return
    _here.in_log = True
    try:
        with suppress(Exception):
            # A handler of somebody's own may raise.
            log.log(event.level, "%s", event)
    finally:
        _here.in_log = False


def hooks_for(own: Hook | None) -> tuple[Hook, ...]:
    """Who is told of what happens here and now, besides the log.

    Args:
        own: the hook of the adapter.
    """
    everywhere = subscribers()
    if own is None and not everywhere:
        return ()
    if _here.in_hook:
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
        outside, _here.in_hook = _here.in_hook, True
        try:
            hook(event)
        except Exception as error:
            _complain(hook, error)
        finally:
            _here.in_hook = outside


def _complain(hook: Hook, error: Exception) -> None:
    """Say that a hook has raised. Its message may hold anything, and what it is, too, if one asks it."""
    name = hook.__qualname__ if isinstance(hook, (FunctionType, MethodType)) else type(hook).__qualname__
    with suppress(Exception):
        log.warning("the hook %s has raised %s", name, type(error).__name__)


class Dispatcher:
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


def dispatcher_for(own: Hook | None, origin: str, method: str) -> Dispatcher | None:
    """Who tells of a call that begins here and now; None: nobody wants to hear.

    Args:
        own: the hook of the adapter.
        origin: scheme, host and port.
        method: the request's.
    """
    logs = log.isEnabledFor(logging.DEBUG)
    if own is None and not logs and not anybody():
        # Most calls.
        return None
    hooks = hooks_for(own)
    if logs and not _here.in_log:
        hooks = (write, *hooks)
    return Dispatcher(hooks, origin, method) if hooks else None
