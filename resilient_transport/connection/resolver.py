"""From a name to its addresses, in the order that is wanted, in the time that is left.

No resolver takes a time-out. One that must not be waited for longer than the deadline allows is asked in a
thread of its own, which cannot be ended either: those who ask for the same name a moment later share it.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from copy import copy
from functools import partial
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from urllib3.exceptions import LocationParseError
from urllib3.util import connection as urllib3_connection

from ..retry.deadline import Deadline
from ..util.clock import monotonic
from ..util.fork import Turn, in_child

#: For how many seconds others join a question; after that they ask themselves.
SHARED_FOR: Final = 1.0

#: What `socket.getaddrinfo` returns an item of.
Address = tuple[Any, Any, int, str, Any]

_FIRST: Final = {"ipv4first": socket.AF_INET, "ipv6first": socket.AF_INET6}


def in_thread(work: Callable[[], Any], future: Future[Any], name: str) -> None:
    """Do something in a thread that no exit of the interpreter waits for; a future gets what comes of it."""

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError:
        # There may be no more threads: then it takes as long as it takes.
        run()


def error_within(future: Future[Any], left: float | None) -> BaseException | None:
    """What a future ends in within so many seconds (None: whenever it is), if that is an error.

    Raises:
        TimeoutError: it has not ended.
    """
    try:
        return future.exception(None if left is None else min(left, threading.TIMEOUT_MAX))
    except FutureTimeout:
        raise TimeoutError("it was not done before the deadline") from None


class _Question(NamedTuple):
    """A question that is under way."""

    #: When it was asked, and by which thread.
    since: float
    thread: int
    #: What becomes of it.
    answer: Future[Any]

    def waits_for(self, thread: int) -> bool:
        """Whether it is asked only when this thread goes on: who asks meanwhile is its signal handler."""
        return thread == self.thread and not (self.answer.running() or self.answer.done())


class Asking:
    """The questions that are under way. No lock: each step is one operation of a dictionary."""

    def __init__(self) -> None:
        #: Those that have no answer yet.
        self._pending: dict[Any, _Question] = {}

    def ask(self, key: Any, question: Callable[[], Any], left: float | None) -> Any:
        """The answer to a question, which whoever asks the same meanwhile shares.

        Args:
            key: what makes it the same.
            question: asks it.
            left: seconds to wait; None: for ever.

        Raises:
            TimeoutError: there was none in time.
            OSError: what the question has raised.
        """
        mine = _Question(monotonic(), threading.get_ident(), Future())
        found = self._pending.get(key)
        if found is not None and mine.since - found.since > SHARED_FOR:
            # One that hangs must not take everybody with it.
            self._forget(key, found.answer)
        found = self._pending.setdefault(key, mine)
        if found.waits_for(mine.thread):
            found = mine
        future = found.answer
        if found is mine:
            # Nothing that the future holds may hold the future.
            future.add_done_callback(partial(self._forget, key))
            in_thread(question, future, "resilient_transport-resolve")
        error = error_within(future, left)
        if error is not None:
            # A copy: each thread raises an exception of its own.
            raise copy(error) from None
        return future.result()

    def _forget(self, key: Any, answer: Future[Any]) -> None:
        # Another may have come in between: it is not shared then, and answered all the same.
        asked = self._pending.get(key)
        if asked is not None and asked.answer is answer:
            self._pending.pop(key, None)


_asking = Asking()


@in_child(Turn.MEMORY)
def begin_anew() -> None:
    """In a forked child: nobody answers what the parent has asked."""
    global _asking
    _asking = Asking()


def addresses(host: str, port: int, order: str, deadline: Deadline) -> Sequence[Address]:
    """The addresses of a host.

    Args:
        host: a name, or an address, maybe in brackets.
        port: the port.
        order: which family is first: "ipv4first", "ipv6first", or anything else for that of the resolver's
            first address.
        deadline: when the answer has to be there.

    Raises:
        socket.gaierror: there is none.
        TimeoutError: there was none in time.
        urllib3.exceptions.LocationParseError: it cannot be a name.
    """
    host = host.strip("[]") if host.startswith("[") else host
    try:
        host.encode("idna")
    except UnicodeError:
        raise LocationParseError(f"'{host}', label empty or too long") from None
    # Asked there each time: people replace it to have one family only.
    family = urllib3_connection.allowed_gai_family()

    def question() -> list[Address]:
        return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))

    waits = deadline.is_limited() and not _is_address(host)
    found = _asking.ask((host, port, family), question, deadline.left()) if waits else question()
    return interleaved(found, _FIRST.get(order))


def interleaved(found: Sequence[Address], first: int | None) -> Sequence[Address]:
    """Addresses with their families by turns, each in the resolver's order (RFC 8305 section 4).

    Args:
        found: the addresses.
        first: the family to begin with; None, or one of which there is none: that of the first address.
    """
    if len(found) < 2:
        return found
    # In their order, each once: a hosts file may have it twice.
    told = {(one[0], one[4]): one for one in found}.values()
    families: dict[int, list[Address]] = {} if first is None else {first: []}
    for address in told:
        families.setdefault(address[0], []).append(address)
    rounds = zip_longest(*filter(None, families.values()))
    return [address for turn in rounds for address in turn if address is not None]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
