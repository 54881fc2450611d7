"""Who is told what happens: the log, the hook of an adapter, and the hooks of the process.

A hook is called in the thread in which it happens, under no lock, and may take its time at the expense of the
call. What it raises breaks nothing.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from itertools import count
from threading import current_thread
from types import FunctionType, MethodType
from typing import Any, Final

from requests import PreparedRequest

from ..events import CallEvent, Event, Hook, anybody, subscribers
from ..events.attempt import Attempt
from ..util.frozen import maker_of, names_of
from ..util.origin import path_at
from .log import is_heard, say

#: The numbers of calls that somebody is told of.
_numbers: Final = count(1)


class _Here(threading.local):
    """What happens in this thread. No context variable: who schedules work in a hook takes those along."""

    #: Whether a hook runs: the calls that it makes are told to nobody, or that would never end.
    in_hook = False


_here: Final = _Here()


def write(event: Event) -> None:
    """Write an event to the log, if it is worth a line."""
    if event.level is not None and is_heard(event.level):
        say(event.level, "%s", event, extra=values_of(event))


def values_of(event: Event) -> dict[str, object]:
    """The values of an event, as a record of the log has them: `rt_call`, `rt_attempt_stage` and so on."""
    found: dict[str, object] = {"rt_event": type(event).__name__}
    for name in names_of(event):
        value = getattr(event, name)
        if isinstance(value, Attempt):
            about = value.as_dict()
            found["rt_attempt"] = about.pop("number")
            found |= {f"rt_attempt_{name}": plain for name, plain in about.items()}
        else:
            found[f"rt_{name}"] = value
    return found


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
            _complain(hook, error, event)
        finally:
            _here.in_hook = outside


def _complain(hook: Hook, error: Exception, event: Event) -> None:
    """Say that a hook has raised, and where. Its message is not told: it may hold anything, secrets too."""
    with suppress(Exception):
        # It may be no hook at all, and raise whatever it is asked.
        name = hook.__qualname__ if isinstance(hook, (FunctionType, MethodType)) else type(hook).__qualname__
        about = getattr(event, "request", event.origin)
        extra = {"rt_hook": name, "rt_hook_error": type(error).__name__, **values_of(event)}
        say(logging.WARNING, "%s: the hook %s has raised %s", about, name, last_line(error), extra=extra)


def last_line(error: BaseException) -> str:
    """The last line of an exception's traceback: the file, the line, the function, and the type."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    code = trace.tb_frame.f_code
    return f"{type(error).__name__} at {code.co_filename}:{trace.tb_lineno} in {code.co_name}"


class Dispatcher:
    """Tells of one call.

    Args:
        hooks: who is told.
        origin: scheme, host and port.
        request: what is sent; its method and its path are told.
    """

    __slots__ = ("_about", "_hooks", "_origin")

    def __init__(self, hooks: tuple[Hook, ...], origin: str, request: PreparedRequest) -> None:
        self._hooks = hooks
        self._origin = origin
        #: The fields of `CallEvent`, in their order.
        self._about = next(_numbers), request.method or "", path_at(request.url or "")

    def __call__(self, kind: type[CallEvent], *values: Any) -> None:
        """Tell of an event of the call.

        Args:
            kind: its class.
            values: its own fields, in their order.
        """
        # All of an event's fields, in their order.
        tell(self._hooks, maker_of(kind)(self._origin, current_thread().name, *self._about, *values))

    def announce(self, kind: type[CallEvent], *values: Any) -> None:
        """The same, for what is worth a line in every log."""
        event = maker_of(kind)(self._origin, current_thread().name, *self._about, *values)
        write(event)
        tell(tuple(hook for hook in self._hooks if hook is not write), event)


def dispatcher_for(own: Hook | None, origin: str, request: PreparedRequest) -> Dispatcher | None:
    """Who tells of a call that begins here and now; None: nobody wants to hear.

    Args:
        own: the hook of the adapter.
        origin: scheme, host and port.
        request: what is sent.
    """
    logs = is_heard(logging.DEBUG)
    if own is None and not logs and not anybody():
        # Most calls.
        return None
    hooks = hooks_for(own)
    if logs:
        hooks = (write, *hooks)
    return Dispatcher(hooks, origin, request) if hooks else None
