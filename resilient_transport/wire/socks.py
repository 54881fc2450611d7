"""Leases for connections through a SOCKS proxy. Imported only when one is used: it takes PySocks."""

from __future__ import annotations

from typing import ClassVar

from urllib3.connectionpool import HTTPConnectionPool
from urllib3.contrib.socks import (
    SOCKSConnection,
    SOCKSHTTPConnectionPool,
    SOCKSHTTPSConnection,
    SOCKSHTTPSConnectionPool,
    SOCKSProxyManager,
)

from .connection import PlainConnection
from .manager import Leasing
from .pool import PlainPool, TLSPool
from .tls import TLSConnection


class SOCKSPlainConnection(PlainConnection, SOCKSConnection):
    """A plain connection through a SOCKS proxy."""

    stock_name = "SOCKSConnection"
    dials_itself = False


class SOCKSTLSConnection(TLSConnection, SOCKSHTTPSConnection):
    """A TLS connection through a SOCKS proxy."""

    stock_name = "SOCKSHTTPSConnection"
    dials_itself = False


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


class LeasingSOCKSManager(Leasing, SOCKSProxyManager):
    """A pool manager for one SOCKS proxy and one pair of credentials."""

    leases: ClassVar[dict[str, type[HTTPConnectionPool]]] = {"http": SOCKSPlainPool, "https": SOCKSTLSPool}
