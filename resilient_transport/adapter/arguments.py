"""What `ResilientAdapter` takes, for type checkers: who passes its arguments on has them checked by name."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

from urllib3.util import Retry

from ..events import Hook
from ..pool.given_identity import Identity
from ..retry.policy import RetryPolicy
from ..util.url_prefix import Prefix


class AdapterArguments(TypedDict, total=False):
    """The arguments of `ResilientAdapter`, which says what they mean.

    For type checkers, in functions that pass them on: `def wrap(**settings: Unpack[AdapterArguments])`.
    """

    pool_connections: int
    pool_maxsize: int
    max_retries: int | Retry | None
    pool_block: bool
    policy: RetryPolicy | None
    ssl_context: ssl.SSLContext | None
    key_password: str | bytes | Callable[[], str | bytes] | None
    identity: Callable[[], Identity] | Identity | None
    warm: Iterable[str | Mapping[str, Any]]
    connect_timeout: float | None
    read_timeout: float | None
    idle_timeout: float
    max_age: float | None
    tcp_keepalive: int
    dns_order: str
    handshakes: int
    disable: Iterable[str | Prefix]
    on_event: Hook | None
