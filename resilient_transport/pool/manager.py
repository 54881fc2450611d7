"""urllib3's pool managers, as leases: what they show and close is one adapter's own.

Leans on these names of urllib3, pinned in `tests/test_upstream.py`: `_new_pool` (meant to be overridden),
`connection_from_context`, `pools`, `pool_classes_by_scheme`, `key_fn_by_scheme`, `PoolKey`, `SSL_KEYWORDS`,
and `_maxsize` and `_container` of the container of pools.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from urllib3 import poolmanager as stock
from urllib3._collections import RecentlyUsedContainer
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.poolmanager import SSL_KEYWORDS, PoolManager, ProxyManager

from ..connection.socket_options import with_keepalive
from ..connection.tls_context import is_shared
from ..events import CertificateExpiring
from ..settings.options import AdapterOptions
from ..telemetry.dispatch import announce
from ..util.clock import realtime
from ..util.frozen import replace
from ..util.inbox import Inbox
from ..util.origin import origin_name
from .identity import TLS_SETTINGS, name_of
from .lease import PlainPool, TLSPool
from .own_contexts import complete
from .registry import registry
from .system_trust import is_system

#: Parts of urllib3's key that say how a lease is used and nothing about its connections.
_OWN_TO_THE_LEASE = ("timeout", "retries", "block", "maxsize", "headers")
#: Settings that are about the server, or for it alone. For TLS with a proxy there are others
#: (`proxy_assert_hostname` and its kin).
_OF_THE_SERVER: Final = frozenset(
    {"assert_hostname", "assert_fingerprint", "server_hostname", "cert_file", "key_file", "key_password"}
)
#: Those by which the client shows who it is.
_SHOWN: Final = frozenset({"cert_file", "key_file", "key_password", "identity"})


#: What a complete context is in the place of.
_REPLACED: Final = (*TLS_SETTINGS, "identity")
#: Where it is then, and one for TLS with a proxy.
_COMPLETE: Final = ("ssl_context", "cert_reqs", "_proxy_config")


class LeasingPoolManager(PoolManager):
    """A pool manager whose pools take their connections from the process-wide registry."""

    #: The kinds of its pools.
    leases: ClassVar[dict[str, type[HTTPConnectionPool]]] = {"http": PlainPool, "https": TLSPool}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pool_classes_by_scheme = self.leases

    #: The settings of its adapter, for sockets; None: it has none yet.
    options: AdapterOptions | None = None
    #: For a proxy's manager: the settings of its adapter's pool manager, which hold where it has none itself.
    inherited: Mapping[str, Any] = {}

    def connection_from_host(
        self,
        host: str | None,
        port: int | None = None,
        scheme: str | None = "http",
        pool_kwargs: dict[str, Any] | None = None,
    ) -> HTTPConnectionPool:
        """Take what is set for direct connections, too: stock forgets it at a proxy, pins included."""
        if self.inherited:
            pool_kwargs = {**beside(self, self.inherited, scheme), **(pool_kwargs or {})}
        return super().connection_from_host(host, port, scheme, pool_kwargs)

    def connection_from_context(self, request_context: dict[str, Any]) -> HTTPConnectionPool:
        """Put the shared context of the TLS identity in the place of files, passwords and versions."""
        if self.options is not None and request_context.get("socket_options") is None:
            on_sockets = with_keepalive(self.options.tcp_keepalive, self.options.is_keepalive_said)
            request_context = {**request_context, "socket_options": on_sockets}
        scheme = request_context["scheme"].lower()
        if scheme == "https":
            settings = request_context
            request_context = _identified(settings, self.connection_pool_kw.get("ssl_context"))
            if not Inbox.is_mine():
                self._tell_of_expiry(request_context, _place_of_certificate(settings))
        if Inbox.is_mine():
            # A handler's call, in the middle of this thread's own bookkeeping: the holder of urllib3's lock
            # may wait for ours. The pool is the handler's alone.
            return self._new_pool(scheme, request_context["host"], request_context["port"], request_context)
        return super().connection_from_context(request_context)

    def _tell_of_expiry(self, context: Mapping[str, Any], file: Any) -> None:
        """Tell which client certificates are about to expire, unless that was told before.

        Args:
            context: what urllib3 makes a pool from, with its complete TLS context.
            file: the file of the certificate, or what else gives it; anything but a text: it comes from none.
        """
        is_path = isinstance(file, (str, bytes, os.PathLike))
        # What is no text in UTF-8 no log and no label takes.
        path = os.fsencode(name_of(file)).decode("utf-8", "replace") if is_path else ""
        for shown in registry.certificates.use(context["ssl_context"], path):
            not_after = shown.certificate.not_after
            event = CertificateExpiring(
                origin_name("https", context["host"], context["port"]),
                shown.certificate.subject,
                path,
                not_after,
                not_after - realtime(),
                shown.is_intermediate,
            )
            announce(None if self.options is None else self.options.on_event, event)

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> HTTPConnectionPool:
        context = dict(self.connection_pool_kw if request_context is None else request_context)
        context.update(scheme=scheme, host=host, port=port)
        if scheme == "http":
            # What else belongs to TLS every urllib3 drops; 2.0 leaves these, which no plain connection takes.
            context = {name: value for name, value in context.items() if not name.startswith("assert_")}
        dropped = _OWN_TO_THE_LEASE if scheme == "https" else (*_OWN_TO_THE_LEASE, *SSL_KEYWORDS)
        shared = {name: value for name, value in context.items() if name not in dropped}
        context["shared_key"] = self.key_fn_by_scheme[scheme](shared)
        context["is_private"] = _is_private(context)
        return super()._new_pool(scheme, host, port, context)

    def clear(self) -> None:
        """Give the leases back. Connections stay in the registry for whoever else uses them.

        Takes no lock, since a finaliser may close a session. What is leased meanwhile is in another
        container.
        """
        pools, self.pools = self.pools, RecentlyUsedContainer(self.pools._maxsize)
        # Of an OrderedDict's own view, others must not change it meanwhile, where there is no GIL.
        for pool in list(dict.values(pools._container)):
            if isinstance(pool, (PlainPool, TLSPool)):
                pool.give_back()


class LeasingProxyManager(LeasingPoolManager, ProxyManager):
    """The same for connections through an HTTP or HTTPS proxy."""


def _place_of_certificate(settings: Mapping[str, Any]) -> Any:
    """The file of the client certificate, or the `identity=` that gives it."""
    asked = settings.get("identity")
    return settings.get("cert_file") or (repr(asked.source) if asked and asked.is_shown else None)


class _Empty:
    """Shows what a class has that has nothing of its own."""


_LEASING: Final[dict[type, type[LeasingPoolManager]]] = {
    PoolManager: LeasingPoolManager,
    ProxyManager: LeasingProxyManager,
}
_NOTHING: Final = frozenset(vars(_Empty))


def leased(manager: Any, options: AdapterOptions) -> Any:
    """A manager of urllib3's own make as one whose pools are leases; anything else as it is.

    It keeps the settings, in the same dictionary. A manager with methods or pools of its own would lose them,
    and one that is no `PoolManager` is some test's.

    Args:
        manager: the manager.
        options: the settings of its adapter.
    """
    manager = _leasing(manager)
    if issubclass(type(manager), LeasingPoolManager) and manager.options is None:
        manager.options = options
    return manager


def beside(manager: PoolManager, settings: Mapping[str, Any], scheme: str | None) -> dict[str, Any]:
    """What a proxy's manager takes from settings for direct connections; its own, and the proxy's, win.

    Args:
        manager: the proxy's.
        settings: the keyword arguments of the adapter's own pool manager.
        scheme: of the URL. For "http" there is TLS with the proxy at the most.
    """
    own = manager.connection_pool_kw
    dropped = frozenset() if scheme == "https" else _OF_THE_SERVER
    return {
        name: value
        for name, value in settings.items()
        # With an underscore they say which proxy it is.
        if name not in own and name not in dropped and not name.startswith("_")
    }


def completed(manager: Any, host: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The TLS settings of a pool for a manager of somebody else's make, which knows of files alone.

    Args:
        manager: whose pool it is.
        host: "scheme", "host" and "port" of the server.
        settings: of the pool; without an identity in memory and `verify="system"` they are what they were.
    """
    if "identity" not in settings and not is_system(settings.get("ca_certs")):
        return dict(settings)
    own = manager.connection_pool_kw if is_real(manager) else {}
    found = _identified({**own, **settings, **host}, own.get("ssl_context"))
    kept = {name: value for name, value in settings.items() if name not in _REPLACED}
    return {**kept, **{name: found[name] for name in _COMPLETE if name in found}}


def is_complete(pool: Any) -> bool:
    """Whether a pool of somebody else's make has a complete context of ours."""
    return is_shared(getattr(pool, "conn_kw", {}).get("ssl_context"))


def _leasing(manager: Any) -> Any:
    own = next((kind for kind in type(manager).__mro__ if vars(kind).keys() - _NOTHING), object)
    kind = _LEASING.get(own)
    if kind is None or manager.pool_classes_by_scheme is not stock.pool_classes_by_scheme:
        return manager
    return _copied(manager, kind, pool_classes_by_scheme=kind.leases)


def emptied(manager: Any) -> Any:
    """The same manager without a pool, and without a lock that a thread may hold; a test's as it is."""
    return _copied(manager, type(manager)) if is_real(manager) else manager


def is_real(manager: Any) -> bool:
    """Whether it is one of urllib3's kind; a test's double may say so of itself, and is not."""
    return issubclass(type(manager), PoolManager)


def _copied(manager: Any, kind: type[Any], **changes: Any) -> Any:
    copy: Any = object.__new__(kind)
    vars(copy).update(vars(manager), pools=RecentlyUsedContainer(manager.pools._maxsize), **changes)
    return copy


def _is_private(context: dict[str, Any]) -> bool:
    """Whether a TLS context of the caller's own takes part: then nobody else can find the pool."""
    own = context.get("ssl_context"), getattr(context.get("_proxy_config"), "ssl_context", None)
    return any(one is not None and not is_shared(one) for one in own)


def _identified(request_context: dict[str, Any], of_manager: Any) -> dict[str, Any]:
    """What urllib3 makes a pool from, with complete contexts in the place of the settings of TLS.

    Args:
        request_context: as urllib3 has it.
        of_manager: the TLS context that the manager itself was given; None: none.
    """
    context = dict(request_context)
    proxy: Any = context.get("_proxy")
    if proxy is not None and proxy.scheme == "https":
        context = _with_proxys(context, of_manager)
    own: Any = context.get("ssl_context")
    if own is not None and is_shared(own):
        context.pop("identity", None)
        return {**context, "cert_reqs": own.verify_mode}
    if own is None:
        own = registry.contexts.of(context)
        verify_mode = own.verify_mode
    elif "identity" in context:
        raise TypeError(
            "identity= has no say over a TLS context of your own: load the certificate into that with "
            "load_cert_chain, or use one of both"
        )
    else:
        own, verify_mode = complete(own, context)
    for name in _REPLACED:
        context.pop(name, None)
    return {**context, "ssl_context": own, "cert_reqs": verify_mode}


def _with_proxys(context: dict[str, Any], of_manager: Any) -> dict[str, Any]:
    """The same with the context for TLS with the proxy, if the program has given none for that."""
    config: Any = context["_proxy_config"]
    is_forwarded = _is_forwarded(context)
    if config.ssl_context is not None:
        return context
    if is_forwarded and of_manager is not None and not is_shared(of_manager):
        # As in stock it is the proxy's. What the server is shown is not for the proxy.
        context = {name: value for name, value in context.items() if name not in _SHOWN}
        context["ssl_context"] = of_manager
        made, _ = complete(of_manager, context)
    else:
        # Stock checks the proxy's certificate like the server's and shows it no client certificate.
        told = ("ca_", "cert_reqs", "ssl_m", "ssl_v")
        settings = {name: value for name, value in context.items() if name.startswith(told)}
        settings.update(assert_hostname=config.assert_hostname, assert_fingerprint=config.assert_fingerprint)
        if (asked := context.get("identity")) is not None and asked.is_trusted:
            settings["identity"] = replace(asked, is_shown=False)
        made = registry.contexts.of(settings)
    return {**context, "_proxy_config": config._replace(ssl_context=made)}


def _is_forwarded(context: Mapping[str, Any]) -> bool:
    """Whether the proxy passes on what it reads, so that TLS is with the proxy only.

    Raises:
        ValueError: then a pin of the server cannot be checked.
    """
    proxy, config = context["_proxy"], context["_proxy_config"]
    if (context["host"], context["port"]) == (proxy.host, proxy.port):
        # So urllib3 asks for a URL with http.
        return True
    pins = [name for name in ("assert_fingerprint", "assert_hostname") if context.get(name)]
    if config.use_forwarding_for_https and pins:
        raise ValueError(
            f"{' and '.join(pins)} cannot be checked with use_forwarding_for_https=True, since TLS ends at "
            "the proxy: leave out one of both. For the proxy there are proxy_assert_fingerprint and "
            "proxy_assert_hostname"
        )
    return bool(config.use_forwarding_for_https)
