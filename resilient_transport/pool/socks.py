"""Leases for connections through a SOCKS proxy. It takes PySocks.

Leans on `_socks_options` of urllib3's connection, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from urllib3.connectionpool import HTTPConnectionPool
from urllib3.contrib.socks import (
    SOCKSConnection,
    SOCKSHTTPConnectionPool,
    SOCKSHTTPSConnection,
    SOCKSHTTPSConnectionPool,
    SOCKSProxyManager,
)
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from ..connection.connection import PlainConnection, ResilientConnection
from ..connection.resolver import addresses
from ..connection.tls_connection import TLSConnection
from ..retry.deadline import Deadline
from .lease import PlainPool, TLSPool
from .manager import LeasingPoolManager


class _Ordered(ResilientConnection):
    """A connection that goes to the addresses of its proxy in the order that is wanted."""

    _socks_options: Any

    def _dial_once(self) -> socket.socket:
        order, options = self.trace.connection_options.dns_order, self._socks_options
        if order == "system":
            return super()._dial_once()
        deadline = self.trace.deadline or Deadline()
        try:
            found = addresses(options["proxy_host"], options["proxy_port"], order, deadline)
        except OSError:
            # PySocks finds that out, too, and urllib3 has words for it.
            return super()._dial_once()
        failed: Exception | None = None
        for *_, where in found:
            self._socks_options = {**options, "proxy_host": where[0]}
            try:
                return super()._dial_once()
            except (NewConnectionError, ConnectTimeoutError) as error:
                failed = error
        raise failed or OSError("getaddrinfo returns an empty list")


class SOCKSPlainConnection(_Ordered, PlainConnection, SOCKSConnection):
    """A plain connection through a SOCKS proxy."""

    stock_name = "SOCKSConnection"


class SOCKSTLSConnection(_Ordered, TLSConnection, SOCKSHTTPSConnection):
    """A TLS connection through a SOCKS proxy."""

    stock_name = "SOCKSHTTPSConnection"


class SOCKSPlainPool(PlainPool):
    """Connections without TLS."""

    upstream = SOCKSHTTPConnectionPool
    stock_connection = SOCKSConnection
    own_connection = SOCKSPlainConnection


class SOCKSTLSPool(TLSPool):
    """Connections with TLS."""

    upstream = SOCKSHTTPSConnectionPool
    stock_connection = SOCKSHTTPSConnection
    own_connection = SOCKSTLSConnection
    dials_ahead = False


class LeasingSOCKSManager(LeasingPoolManager, SOCKSProxyManager):
    """A pool manager for one SOCKS proxy and one pair of credentials."""

    leases: ClassVar[dict[str, type[HTTPConnectionPool]]] = {"http": SOCKSPlainPool, "https": SOCKSTLSPool}
