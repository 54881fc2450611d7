"""Connections made before the first call needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Final

from requests import PreparedRequest, Response, Session

from ..events.attempt import Warmed
from ..telemetry.log import log

#: How many connections are made at once, at the most; the gate lets no more through.
_AT_ONCE: Final = 16
_NAME: Final = "resilient_transport-warm"

#: Makes one connection, and keeps it until the response is released.
Connect = Callable[[], tuple[Response, Warmed]]


def check(connections: object, most: int | None) -> None:
    """Refuse what is no number of connections, and more than a pool that blocks has."""
    if isinstance(connections, bool) or not isinstance(connections, int):
        raise TypeError(f"connections is a number of connections, not {connections!r}")
    if connections < 1:
        raise ValueError(f"connections is a number of connections, 1 or more, not {connections!r}")
    if most is not None and connections > most:
        raise ValueError(f"with pool_block=True there are at most pool_maxsize={most} connections")


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
    """In threads that no exit of the interpreter waits for, unlike those of an executor."""
    futures: list[Future[tuple[Response, Warmed]]] = [Future() for _ in range(connections)]
    left = iter(futures)

    def work() -> None:
        for future in left:
            try:
                future.set_result(connect())
            except Exception as error:
                future.set_exception(error)

    threads = [
        threading.Thread(target=copy_context().run, args=(work,), name=_NAME, daemon=True)
        for _ in range(min(connections, _AT_ONCE))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return futures


def settings_for(
    request: PreparedRequest, session: Session | None, verify: Any, cert: Any, proxies: Any
) -> dict[str, Any]:
    """What a call is made with: as given, or as a session would."""
    settings = {"verify": verify, "cert": cert, "proxies": proxies}
    if session is None:
        return settings
    given = {} if proxies is None else dict(proxies)
    wanted = None if verify is True else verify
    merged: Any = session.merge_environment_settings(request.url, given, None, wanted, cert)
    return {name: merged[name] for name in settings}


def in_background(what: Callable[[], object], origin: str) -> None:
    """Run something in a thread that ends with it; what goes wrong there is told to the log alone."""

    def run() -> None:
        try:
            what()
        except Exception as error:
            log.debug("warming %s failed: %s", origin, type(error).__name__)

    threading.Thread(target=copy_context().run, args=(run,), name=_NAME, daemon=True).start()


def each(warm: Callable[..., object], wanted: Iterable[str | Mapping[str, Any]]) -> None:
    """Warm in the background what a constructor was given: URLs, or mappings of the arguments of `warm`."""
    if isinstance(wanted, (str, bytes, Mapping)):
        raise TypeError("warm takes a list of URLs, or of dicts with the arguments of ResilientAdapter.warm")
    for one in wanted:
        arguments = {"url": one} if isinstance(one, str) else dict(one)
        warm(**{**arguments, "background": True})
