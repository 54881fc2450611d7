"""Connections made before the first call needs them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final

from requests import Response

from .events import Warmed

log = logging.getLogger("resilient_transport")

#: How many connections are made at once, at the most; the gate lets no more through.
_AT_ONCE: Final = 16

#: Makes one connection, and keeps it until the response is released.
Connect = Callable[[], tuple[Response, Warmed]]


def check(connections: object) -> None:
    """Refuse what is no number of connections."""
    if isinstance(connections, bool) or not isinstance(connections, int):
        raise TypeError(f"connections is a number of connections, not {connections!r}")
    if connections < 1:
        raise ValueError(f"connections is a number of connections, 1 or more, not {connections!r}")


def make(connect: Connect, connections: int) -> tuple[Warmed, ...]:
    """Make connections: one alone, then the others at once. They are idle afterwards."""
    held = [connect()]
    try:
        others = _at_once(connect, connections - 1)
        held += [task.result() for task in others if task.exception() is None]
    finally:
        for response, _ in held:
            response.raw.release_conn()
    # Raises what one of them has met.
    return (held[0][1], *(task.result()[1] for task in others))


def _at_once(connect: Connect, connections: int) -> list[Future[tuple[Response, Warmed]]]:
    if not connections:
        return []
    with ThreadPoolExecutor(min(connections, _AT_ONCE)) as threads:
        return [threads.submit(copy_context().run, connect) for _ in range(connections)]


def in_background(what: Callable[[], object], origin: str) -> None:
    """Run something in a thread that ends with it; what goes wrong there is told to the log alone."""

    def run() -> None:
        try:
            what()
        except Exception as error:
            log.debug("warming %s failed: %s", origin, type(error).__name__)

    threading.Thread(
        target=copy_context().run, args=(run,), name="resilient_transport-warm", daemon=True
    ).start()


def each(warm: Callable[..., object], wanted: Iterable[str | Mapping[str, Any]]) -> None:
    """Warm in the background what a constructor was given: URLs, or mappings of the arguments of `warm`."""
    if isinstance(wanted, (str, bytes, Mapping)):
        raise TypeError("warm takes a list of URLs, or of dicts with the arguments of ResilientAdapter.warm")
    for one in wanted:
        arguments = {"url": one} if isinstance(one, str) else dict(one)
        warm(**{**arguments, "background": True})
