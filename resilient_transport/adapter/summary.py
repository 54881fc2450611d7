"""An adapter in one line: what it is set to and how many pools it leases. Nothing secret is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from requests.adapters import DEFAULT_POOLBLOCK, DEFAULT_POOLSIZE

from .. import settings
from ..pool.manager import is_real
from ..retry.policy import DEFAULTS, RetryPolicy
from ..settings.options import AdapterOptions
from ..util.frozen import names_of

#: The arguments of `HTTPAdapter` besides `max_retries`, and what they are without a word.
_OF_STOCK = {
    "pool_connections": DEFAULT_POOLSIZE,
    "pool_maxsize": DEFAULT_POOLSIZE,
    "pool_block": DEFAULT_POOLBLOCK,
}
#: Settings of connections that are told where they are not the default.
_OF_CONNECTIONS = ("idle_timeout", "max_age", "dns_order", "handshakes")


def summary(adapter: Any) -> str:
    """The `repr` of a `ResilientAdapter`."""
    retries = ", ".join(_of_policy(adapter._retry_settings.in_force()))
    told = [
        "bypassed" if adapter._bypassed else f"policy: {retries}" if retries else "policy: default",
        ", ".join(_of_options(adapter, adapter._options)),
        _count(adapter),
    ]
    return f"<{type(adapter).__name__}, {'; '.join(told)}>"


def _of_policy(policy: RetryPolicy) -> Iterator[str]:
    """Each field that is not the default."""
    usual = RetryPolicy(**DEFAULTS)
    for name in names_of(policy):
        value = getattr(policy, name)
        if value != getattr(usual, name):
            yield f"{name}={_plain(name, value)}"


def _plain(name: str, value: Any) -> str:
    """A value of a policy, in short and always the same."""
    if name == "limits":
        return "{" + ", ".join(f"{limit.name}: {limit.most}" for limit in value) + "}"
    return str(sorted(value)) if isinstance(value, frozenset) else repr(value)


def _of_options(adapter: Any, options: AdapterOptions) -> Iterator[str]:
    """The time-outs, and whatever else is not the default. Of what may hold secrets only that it is there."""
    connect, read = options.timeout
    yield f"connect_timeout={connect}"
    yield f"read_timeout={read}"
    told = {name: getattr(options.connection_options, name) for name in _OF_CONNECTIONS}
    told["tcp_keepalive"] = options.tcp_keepalive
    for name, value in told.items():
        if value != settings.default(name):
            yield f"{name}={value!r}"
    for name, usual in _OF_STOCK.items():
        if (value := getattr(adapter, f"_{name}")) != usual:
            yield f"{name}={value!r}"
    given = {"ssl_context": adapter._ssl_context, "key_password": adapter._key_password}
    given |= {"identity": adapter._identity, "disable": options.disable or None, "on_event": options.on_event}
    yield from (f"{name}=..." for name, value in given.items() if value is not None)


def _count(adapter: Any) -> str:
    """How many pools its managers have; without a lock, since anybody may ask for a `repr`."""
    managers = [adapter.poolmanager, *list(adapter.proxy_manager.values())]
    pools = sum(len(manager.pools._container) for manager in managers if is_real(manager))
    return f"leased pools: {pools}" + (f", proxies: {len(managers) - 1}" if managers[1:] else "")
