"""Which of requests' hooks a subclass or a patch has overridden, and the warning about its pools."""

from __future__ import annotations

import logging
from functools import cache
from operator import is_
from typing import Any, Final

from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidSchema

from ..telemetry.log import say

_socks_manager: Any
try:
    # Here, and not by the first call that wants it: requests has loaded PySocks, if it is there.
    from ..pool.socks import LeasingSOCKSManager as _socks_manager
except ImportError:
    _socks_manager = None

#: Hooks of requests that make a pool depend on more than the values that name it, once overridden.
_HOOKS: Final = frozenset(
    {"build_connection_pool_key_attributes", "cert_verify", "proxy_headers", "proxy_manager_for"}
)


def hooks_of(kind: Any) -> tuple[Any, ...]:
    """The hooks of a class, and stock's own that the first of them asks. Asked for every request."""
    own = kind.build_connection_pool_key_attributes, kind.cert_verify, kind.proxy_headers
    return *own, kind.proxy_manager_for, HTTPAdapter.cert_verify


def is_plain(adapter: HTTPAdapter, own: tuple[Any, ...]) -> bool:
    """Whether no hook is overridden or patched; otherwise they are asked for every request."""
    # Not by equality: a wrapper of `wrapt` says that it is equal to what it wraps.
    same = all(map(is_, hooks_of(type(adapter)), own))
    return same and vars(adapter).keys().isdisjoint(_HOOKS)


@cache
def warn_of_pools(adapter: str) -> None:
    """Say once that an adapter's own pools are not leases."""
    say(
        logging.WARNING,
        "%s makes connections in pools of its own, and repeats nothing that fails on them: let its "
        "init_poolmanager assign a plain urllib3.PoolManager, or call that of ResilientAdapter",
        adapter,
    )


def socks_manager() -> Any:
    """The class of managers for SOCKS proxies.

    Raises:
        requests.exceptions.InvalidSchema: PySocks is not installed; stock's exception, and its words.
    """
    if _socks_manager is None:
        raise InvalidSchema("Missing dependencies for SOCKS support.")
    return _socks_manager
