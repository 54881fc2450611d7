"""Connections made before the first call needs them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Final

from requests import PreparedRequest, Response, Session

from ..events.attempt import Warmed
from ..telemetry.log import say

#: How many connections are made at once, at the most; the gate lets no more through.
_AT_ONCE: Final = 16
_NAME: Final = "resilient_transport-warm"

#: Makes one connection, and keeps it until the response is released.
Connect = Callable[[], tuple[Response, Warmed]]
#: What becomes of one.
Task = Future[tuple[Response, Warmed]]


def check(connections: object, most: int | None) -> None:
    """Refuse what is no number of connections, and more than a pool that blocks has."""
    if isinstance(connections, bool) or not isinstance(connections, int):
        raise TypeError(f"connections is a number of connections, not {connections!r}")
    if connections < 1:
        raise ValueError(f"connections is a number of connections, 1 or more, not {connections!r}")
    if most is not None and connections > most:
        raise ValueError(f"with pool_block=True there are at most pool_maxsize={most} connections")


def make(connect: Connect, connections: int) -> tuple[Warmed, ...]:
    """Make connections: one alone, then the others at once. They are idle afterwards.

    Raises:
        BaseException: what one of them has met, wherever it ran; what ends a program comes first.
    """
    first = _done(connect())
    others: list[Task] = [Future() for _ in range(connections - 1)]
    try:
        _make_at_once(connect, others)
    finally:
        # After an interrupt some are still being made, and others are not begun.
        for task in (first, *others):
            task.cancel()
            task.add_done_callback(_release)
    errors = [error for task in others if not task.cancelled() and (error := task.exception()) is not None]
    errors.sort(key=lambda error: isinstance(error, Exception))
    if not errors:
        return tuple(task.result()[1] for task in (first, *others))
    try:
        raise errors[0]
    finally:
        # Its traceback holds this frame: what the frame holds must not be the exception.
        del errors, others, task


def _done(result: tuple[Response, Warmed]) -> Task:
    task: Task = Future()
    task.set_result(result)
    return task


def _make_at_once(connect: Connect, tasks: list[Task]) -> None:
    """Work in threads that no exit of the interpreter waits for, unlike those of an executor.

    Where no more threads can be had, this one works with those that there are.
    """
    left = iter(tasks)
    threads: list[threading.Thread] = []
    try:
        for _ in range(min(len(tasks), _AT_ONCE)):
            thread = threading.Thread(
                target=copy_context().run, args=(_work, connect, left), name=_NAME, daemon=True
            )
            thread.start()
            threads.append(thread)
    except RuntimeError:
        _work(connect, left)
    for thread in threads:
        thread.join()


def _work(connect: Connect, left: Iterator[Task]) -> None:
    """Make one connection after the other; what is raised is the task's, and an interrupt ends the work."""
    for task in left:
        if task.set_running_or_notify_cancel() and not _do(connect, task):
            return


def _do(connect: Connect, task: Task) -> bool:
    """Make one connection; False: a hook's SystemExit, or an interrupt, ends the work."""
    try:
        task.set_result(connect())
    except BaseException as error:
        task.set_exception(error)
        # Tasks that are left over are cancelled.
        return isinstance(error, Exception)
    finally:
        # The traceback holds this frame: what the frame holds must not be what holds the exception.
        del task
    return True


def _release(task: Task) -> None:
    """Let a connection be idle, if one was made."""
    if not task.cancelled() and task.exception() is None:
        task.result()[0].raw.release_conn()


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
    """Run something in a thread that ends with it; what goes wrong is told to the log alone."""

    def run() -> None:
        try:
            what()
        except BaseException as error:
            # A hook may raise SystemExit, which ends no program in a thread.
            _tell(error)

    def _tell(error: BaseException) -> None:
        say(logging.DEBUG, "warming %s failed: %s", origin, type(error).__name__, extra={"rt_origin": origin})

    try:
        threading.Thread(target=copy_context().run, args=(run,), name=_NAME, daemon=True).start()
    except RuntimeError as error:
        # There may be no more threads; the first call makes the connection then.
        _tell(error)


def each(warm: Callable[..., object], wanted: Iterable[str | Mapping[str, Any]]) -> None:
    """Warm in the background what a constructor was given: URLs, or mappings of the arguments of `warm`."""
    if isinstance(wanted, (str, bytes, Mapping)):
        raise TypeError("warm takes a list of URLs, or of dicts with the arguments of ResilientAdapter.warm")
    for one in wanted:
        arguments = {"url": one} if isinstance(one, str) else dict(one)
        warm(**{**arguments, "background": True})
