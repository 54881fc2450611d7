"""A TCP connection to a host: to whichever of its addresses answers first, within a deadline.

urllib3 tries one address after the other, each to the end of its time-out. Its exceptions and their words are
kept. Leans on `_dns_host` of its connection, and on `create_connection` in `urllib3.util`, pinned in
`tests/test_upstream.py`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final

from urllib3 import connection as connection_module
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import connection as urllib3_connection
from urllib3.util.timeout import Timeout

from ..retry.causes import Cause, classify
from ..retry.deadline import Deadline
from ..retry.stages import Stage
from .failed_addresses import FAILED
from .happy_eyeballs import Race
from .preconnect import Begun, made
from .resolver import Address, addresses, error_within, in_thread

#: Where urllib3's own functions have their globals; those of somebody else, wrappers included, do not.
_HOME_OF_METHODS: Final = vars(connection_module)
_HOME_OF_FUNCTIONS: Final = vars(urllib3_connection)

#: This process, or the system, has no descriptor left.
_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)


def peer_of(sock: Any) -> Any:
    """The address that a socket is connected to; None: it is reset already, or nobody can say."""
    with suppress(Exception):
        return sock.getpeername()
    return None


def spelled(address: Any) -> str | None:
    """An internet address as people write it; None for any other."""
    if not isinstance(address, tuple) or len(address) not in (2, 4):
        return None
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_urllib3s(new_conn: Any) -> bool:
    """Whether this is how urllib3 connects; a program may have replaced it, or what it calls, at any time."""
    # By their types: a wrapper of `wrapt` answers as what it wraps does.
    if type(new_conn) is not MethodType or type(new_conn.__func__) is not FunctionType:
        return False
    create: Any = urllib3_connection.create_connection
    if type(create) is not FunctionType or create.__globals__ is not _HOME_OF_FUNCTIONS:
        return False
    return new_conn.__func__.__globals__ is _HOME_OF_METHODS


def reach(connection: Any, deadline: Deadline, order: str, begun: Begun | None) -> socket.socket:
    """Connect to the host of a connection.

    Args:
        connection: ours; its trace is told whether it resolves or connects.
        deadline: when it has to be there.
        order: of the addresses, as in `resolver.addresses`.
        begun: a connect that was begun ahead; None: there is none.

    Raises:
        urllib3.exceptions.NameResolutionError, ConnectTimeoutError, NewConnectionError: as urllib3 does.
    """
    trace, name = connection.trace, connection._dns_host
    patience = Timeout.resolve_default_timeout(connection.timeout)
    race = Race(partial(_made_for, connection, patience), patience, deadline, partial(_failed, connection))
    sock = None
    try:
        if begun is not None:
            trace.mark(Stage.CONNECT)
            sock = race.finish(begun.sock, begun.address)
        if sock is None:
            trace.mark(Stage.RESOLVE)
            found = addresses(name, connection.port, order, deadline)
            connection.has_others = len(found) > 1
            if connection.plan.home is not None:
                connection.plan.home.learn_addresses(found)
            found = FAILED.in_order(name, found)
            trace.mark(Stage.CONNECT)
            sock = race.run(found)
        connection.address = race.won
        return sock
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(
            connection, f"Connection to {connection.host} timed out. (connect timeout={connection.timeout})"
        ) from error
    except OSError as error:
        raise NewConnectionError(connection, f"Failed to establish a new connection: {error}") from error
    finally:
        race.close()


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


def _made_for(connection: Any, patience: float | None, address: Address) -> socket.socket:
    """The socket of a connection for an address, with its time-out."""
    family, kind, protocol, _, _ = address
    sock = made(family, connection.socket_options, connection.source_address, kind, protocol)
    sock.settimeout(patience)
    return sock


def _failed(connection: Any, address: Any, error: OSError) -> None:
    """Try an address last for a while, unless this machine is at fault."""
    connection.trace.address = spelled(address)
    if connection.has_others and classify(error) is not Cause.LOCAL:
        FAILED.add(connection._dns_host, address)


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
