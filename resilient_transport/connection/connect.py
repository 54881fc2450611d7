"""A TCP connection to a host, within a deadline and in an order of addresses.

urllib3 does the same without either, and so is asked where neither is wanted, and no address has failed. Its
exceptions and their words are kept. Leans on `_dns_host` of its connection, and on `create_connection` and
`_DEFAULT_TIMEOUT` in `urllib3.util`, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from types import FunctionType, MethodType
from typing import Any, Final

from urllib3 import connection as connection_module
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import connection as urllib3_connection
from urllib3.util.timeout import _DEFAULT_TIMEOUT

from ..retry.causes import Cause, classify
from ..retry.deadline import Deadline
from ..retry.stages import Stage
from ..util.clock import monotonic
from .preconnect import made
from .resolver import Address, addresses, error_within, in_thread

#: Where urllib3's own functions have their globals; those of somebody else, wrappers included, do not.
_AT_HOME: Final = (vars(connection_module), vars(urllib3_connection))


#: How many addresses of a name are remembered, at the most, and for how many seconds.
_MOST: Final = 16
_REMEMBERED_FOR: Final = 30.0

#: This process, or the system, has no descriptor left.
_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)


class FailedAddresses:
    """The addresses at which connections of a shared pool have failed a moment ago, the latest last.

    As in OkHttp's `RouteDatabase`: one that has failed is tried after all others, until a connection to it
    succeeds, and no longer than for half a minute. Where all of a name's have failed they are equals again:
    then, as ever where none has, the system's order holds, which may be the server's way to balance its load.
    Takes no lock: what is kept is replaced as a whole.
    """

    __slots__ = ("_failed",)

    def __init__(self) -> None:
        #: Each with the moment of its failure, on the monotonic clock.
        self._failed: tuple[tuple[Any, float], ...] = ()

    def add(self, address: Any) -> None:
        """A connection to this one has failed."""
        others = tuple(one for one in self._failed if one[0] != address)
        self._failed = (*others, (address, monotonic()))[-_MOST:]

    def forgive(self, *addresses: Any) -> None:
        """Connections to these have succeeded, or they are no worse than all others."""
        if self._failed:
            self._failed = tuple(one for one in self._failed if one[0] not in addresses)

    def in_order(self, found: Sequence[Address]) -> Sequence[Address]:
        """The addresses of a name in their order; those that have failed come last, the latest at the end."""
        failed, wanted = self._recent(), [one[4] for one in found]
        if failed and all(where in failed for where in wanted):
            self.forgive(*wanted)
            return found
        return sorted(found, key=lambda one: failed.index(one[4]) if one[4] in failed else -1)

    def clear(self) -> None:
        """Forget all."""
        self._failed = ()

    def _recent(self) -> list[Any]:
        if not self._failed:
            return []
        now = monotonic()
        return [address for address, at in self._failed if now - at < _REMEMBERED_FOR]

    def __contains__(self, address: Any) -> bool:
        return address in self._recent()

    def __len__(self) -> int:
        return len(self._recent())


def peer_of(sock: Any) -> Any:
    """The address that a socket is connected to; None: it is reset already, or nobody can say."""
    with suppress(Exception):
        return sock.getpeername()
    return None


def is_urllib3s(new_conn: Any) -> bool:
    """Whether this is how urllib3 connects; a program may have replaced it, or what it calls, at any time."""
    if type(new_conn) is not MethodType:
        return False
    # By their types: a wrapper of `wrapt` answers as what it wraps does.
    functions: tuple[Any, ...] = new_conn.__func__, urllib3_connection.create_connection
    return all(
        type(function) is FunctionType and function.__globals__ is home
        for function, home in zip(functions, _AT_HOME, strict=True)
    )


def reach(connection: Any, deadline: Deadline, order: str) -> socket.socket:
    """Connect to the host of a connection.

    Args:
        connection: ours; its trace is told whether it resolves or connects.
        deadline: when it has to be there.
        order: of the addresses, as in `resolve.addresses`.

    Raises:
        urllib3.exceptions.NameResolutionError, ConnectTimeoutError, NewConnectionError: as urllib3 does.
    """
    trace = connection.trace
    try:
        trace.mark(Stage.RESOLVE)
        found = addresses(connection._dns_host, connection.port, order, deadline)
        failed: FailedAddresses | None = connection.plan.failed_addresses
        if failed:
            found = failed.in_order(found)
        trace.mark(Stage.CONNECT)
        return _first_that_answers(connection, found, deadline)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(
            connection, f"Connection to {connection.host} timed out. (connect timeout={connection.timeout})"
        ) from error
    except OSError as error:
        raise NewConnectionError(connection, f"Failed to establish a new connection: {error}") from error


def lacks_descriptors(error: BaseException) -> bool:
    """Whether a connect has failed because no descriptor is left. The resolver does not say so: try one."""
    met = error.__cause__ if isinstance(error, NewConnectionError) else error
    if not isinstance(error, NameResolutionError):
        return isinstance(met, OSError) and met.errno in _NO_DESCRIPTOR
    try:
        os.close(os.dup(0))
    except OSError as refused:
        return refused.errno in _NO_DESCRIPTOR
    return False


def _first_that_answers(connection: Any, found: Any, deadline: Deadline) -> socket.socket:
    """A socket that is connected to one of some addresses; the time-out holds for each of them."""
    failed: OSError = OSError("getaddrinfo returns an empty list")
    try:
        for address in found:
            if deadline.is_over():
                raise TimeoutError("the deadline was over before all addresses were tried")
            try:
                return _connect(connection, address, deadline)
            except OSError as error:
                failed = error
                _count_against(connection.plan.failed_addresses, address, error)
        raise failed
    finally:
        # Its traceback holds this frame: what the frame holds must not be the exception.
        del failed


def _count_against(memory: FailedAddresses | None, address: Address, error: OSError) -> None:
    """Whom the memory has put before others, or left there, must not fail for longer than once.

    So a deadline that has ended here counts, too.
    """
    if memory and classify(error) is not Cause.LOCAL:
        memory.add(address[4])


def _connect(connection: Any, address: Address, deadline: Deadline) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = made(family, connection.socket_options, connection.source_address, kind, protocol)
    try:
        if connection.timeout is not _DEFAULT_TIMEOUT:
            sock.settimeout(connection.timeout)
        sock.settimeout(deadline.for_socket(sock.gettimeout()))
        sock.connect(where)
    except BaseException:
        sock.close()
        raise
    return sock


def in_time(dial: Callable[[], socket.socket], connection: Any, deadline: Deadline | None) -> socket.socket:
    """Connect in somebody else's way, which knows no deadline, in a thread; what comes too late is closed.

    Raises:
        urllib3.exceptions.ConnectTimeoutError: there was nothing in time.
    """
    future: Future[socket.socket] = Future()
    in_thread(dial, future, "resilient_transport-dial")
    try:
        error = error_within(future, None if deadline is None else deadline.left())
    except TimeoutError:
        future.add_done_callback(_close)
        raise ConnectTimeoutError(
            connection, f"Connection to {connection.host} timed out at the deadline"
        ) from None
    try:
        if error is not None:
            raise error
    finally:
        # Its traceback holds this frame: what the frame holds must not be the exception.
        del error
    return future.result()


def _close(future: Future[socket.socket]) -> None:
    if future.exception() is None:
        future.result().close()
