"""The adapter's side of pools and certificates: stock's hooks, answered from the process-wide registry.

`HTTPAdapter.send` calls `get_connection_with_tls_context`, `cert_verify` and `request_url` for each attempt;
answering them fast is where the speed comes from.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlparse

from requests import PreparedRequest
from requests import exceptions as requests_errors
from requests.adapters import DEFAULT_POOLBLOCK, HTTPAdapter
from requests.exceptions import InvalidProxyURL, InvalidSchema, InvalidURL, RequestException, SSLError
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_auth_from_url, prepend_scheme_if_needed, select_proxy
from urllib3 import exceptions as urllib3_errors
from urllib3.poolmanager import PoolManager
from urllib3.util import parse_url

from .exceptions import add_note
from .wire.identity import fingerprint
from .wire.lookup import Entry, Lookup, origin_of
from .wire.manager import Leasing, LeasingProxyManager
from .wire.pool import PlainPool, TLSPool
from .wire.registry import registry

log = logging.getLogger("resilient_transport")

#: Hooks of requests that make a pool depend on more than the values that name it, once overridden.
_HOOKS: Final = ("build_connection_pool_key_attributes", "cert_verify", "proxy_headers", "proxy_manager_for")
_CURE: Final = "cert= and verify= take paths of PEM files (verify= also of a directory) that exist"


class LeasingAdapter(HTTPAdapter):
    """An `HTTPAdapter` whose pools are leases. It repeats nothing.

    Args:
        pool_connections, pool_maxsize, pool_block: as in `HTTPAdapter`.
        ssl_context: used as it is for every TLS connection to a server.
        key_password: of an encrypted client key; a callable is called when the key is read.
    """

    def __init__(
        self,
        pool_connections: int,
        pool_maxsize: int,
        pool_block: bool,
        *,
        ssl_context: ssl.SSLContext | None = None,
        key_password: str | bytes | Callable[[], str | bytes] | None = None,
    ) -> None:
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise TypeError(f"ssl_context takes an ssl.SSLContext, not {type(ssl_context).__name__}")
        if not (key_password is None or callable(key_password) or isinstance(key_password, (str, bytes))):
            raise TypeError(f"key_password takes str, bytes or a callable, not {type(key_password).__name__}")
        self._ssl_context = ssl_context
        self._key_password = key_password
        self._lookup = Lookup(pool_connections)
        super().__init__(pool_connections, pool_maxsize, pool_block=pool_block)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = DEFAULT_POOLBLOCK, **pool_kwargs: Any
    ) -> None:
        """Make the pool manager; its keyword arguments keep their meaning, `ssl_context` included."""
        self._pool_connections = connections
        self._pool_maxsize = maxsize
        self._pool_block = block
        self.poolmanager = Leasing(num_pools=connections, maxsize=maxsize, block=block, **pool_kwargs)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """The manager for a proxy; one for each proxy URL, as in stock."""
        manager = self.proxy_manager.get(proxy)
        if manager is None:
            kind: Any = LeasingProxyManager
            if proxy.lower().startswith("socks"):
                kind = _socks_manager()
                username, password = get_auth_from_url(proxy)
                proxy_kwargs = {"username": username, "password": password, **proxy_kwargs}
            else:
                proxy_kwargs = {"proxy_headers": self.proxy_headers(proxy), **proxy_kwargs}
            manager = self.proxy_manager[proxy] = kind(
                proxy,
                num_pools=self._pool_connections,
                maxsize=self._pool_maxsize,
                block=self._pool_block,
                **proxy_kwargs,
            )
        return manager

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The pool for a request: one dictionary lookup, unless something has changed.

        Raises:
            OSError: a certificate file does not exist, as in stock.
            requests.exceptions.SSLError: a file is not what it should be.
            requests.exceptions.InvalidURL, InvalidProxyURL: as in stock.
        """
        if self._lookup.generation != registry.generation:
            self._begin_anew()
        proxy = select_proxy(request.url or "", proxies) if proxies else None
        key = self._key(request.url, verify, cert, proxy)
        entry = None if key is None else self._lookup.get(key)
        if entry is not None and entry.is_current(self._manager(proxy)):
            return entry.pool
        paths = _paths(verify, cert)
        files = fingerprint(paths)
        try:
            pool = self._resolve(request, verify, proxies, cert)
        except (OSError, SSLError) as error:
            if entry is None:
                raise
            log.warning("changed certificate files are not usable, the old ones stay in use: %s", error)
            entry.keep()
            return entry.pool
        manager = self._manager(proxy)
        if key is not None and manager is not None:
            self._lookup.put(key, Entry(pool, manager, paths, files))
        return pool

    def _resolve(self, request: PreparedRequest, verify: Any, proxies: Any, cert: Any) -> Any:
        """Stock's way to a pool, with what TLS says about files as requests' exceptions."""
        try:
            return self._pool_for(request, verify, proxies, cert)
        except RequestException:
            raise
        except (ssl.SSLError, urllib3_errors.SSLError) as error:
            wrapped = urllib3_errors.SSLError(error) if isinstance(error, ssl.SSLError) else error
            failed: Exception = SSLError(wrapped, request=request)
            add_note(failed, _CURE + "; an encrypted key needs ResilientAdapter(key_password=...)")
            raise failed from error
        except OSError as error:
            if error.errno is None:
                # Stock's own "Could not find ...", which `cert_verify` has raised.
                add_note(error, _CURE)
                raise
            aborted = urllib3_errors.ProtocolError("Connection aborted.", error)
            failed = requests_errors.ConnectionError(aborted, request=request)
            add_note(failed, _CURE)
            raise failed from error

    def _pool_for(self, request: PreparedRequest, verify: Any, proxies: Any, cert: Any) -> Any:
        """What stock's `get_connection_with_tls_context` does; that of requests 2.32.2 has no hooks in it."""
        url = request.url or ""
        try:
            host_params, pool_kwargs = self.build_connection_pool_key_attributes(request, verify, cert)
        except ValueError as error:
            raise InvalidURL(error, request=request) from error
        proxy = select_proxy(url, proxies)
        if not proxy:
            return self.poolmanager.connection_from_host(**host_params, pool_kwargs=pool_kwargs)
        proxy = prepend_scheme_if_needed(proxy, "http")  # type: ignore[no-untyped-call,unused-ignore]
        if not parse_url(proxy).host:
            raise InvalidProxyURL("Please check proxy URL. It is malformed and could be missing the host.")
        manager = self.proxy_manager_for(proxy)
        return manager.connection_from_host(**host_params, pool_kwargs=pool_kwargs)

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """What names a pool: host and TLS settings, as `cert_verify` would set them on it.

        Never stock's own `ssl_context`: some versions of requests share one, and urllib3 loads client
        certificates into it (psf/requests#6726).
        """
        parsed = urlparse(request.url or "")
        host_params = {"scheme": parsed.scheme.lower(), "host": parsed.hostname, "port": parsed.port}
        own = self._ssl_context or self.poolmanager.connection_pool_kw.get("ssl_context")
        if own is not None:
            _refuse_beside_context(verify, cert)
            return host_params, {"ssl_context": own}
        # An object that is no pool, so that what a subclass's `cert_verify` sets becomes part of the key.
        told = SimpleNamespace()
        self.cert_verify(told, request.url or "", verify, cert)
        pool_kwargs = vars(told)
        if verify is True and host_params["scheme"] == "https":
            # From requests 2.32.0 to 2.32.5 `cert_verify` leaves this to the shared context.
            pool_kwargs.setdefault("ca_certs", DEFAULT_CA_BUNDLE_PATH)
        if self._key_password is not None and host_params["scheme"] == "https" and cert:
            pool_kwargs["key_password"] = self._key_password
        return host_params, pool_kwargs

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Do nothing to a lease, which is complete: stock would have urllib3 reload the files each time."""
        if not isinstance(conn, (PlainPool, TLSPool)):
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call,unused-ignore]

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        """The request target; without a proxy, it takes no parser to tell."""
        if proxies:
            return super().request_url(request, proxies)
        url = request.path_url
        return super().request_url(request, proxies) if url.startswith("//") else url

    def close(self) -> None:
        """Give the leases back; what others use stays open."""
        self._lookup.clear()
        super().close()

    def _begin_anew(self) -> None:
        """In a forked child: the managers' locks may be held by threads that are gone."""
        settings = self.poolmanager.connection_pool_kw
        self.proxy_manager = {}
        self._lookup = Lookup(self._pool_connections)
        self.init_poolmanager(self._pool_connections, self._pool_maxsize, block=self._pool_block)
        self.poolmanager.connection_pool_kw.update(settings)

    def _manager(self, proxy: str | None) -> PoolManager | None:
        managers: dict[str, PoolManager] = self.proxy_manager
        return self.poolmanager if proxy is None else managers.get(proxy)

    def _key(self, url: str | None, verify: Any, cert: Any, proxy: str | None) -> Any:
        origin = origin_of(url or "")
        if origin is None or not _is_plain(type(self)):
            return None
        cert = tuple(cert) if isinstance(cert, list) else cert
        # 1 == True: a path that equals a switch must not be taken for it.
        key = (origin, type(verify), verify, cert, proxy)
        try:
            hash(key)
        except TypeError:
            return None
        return key

    def __getstate__(self) -> dict[str, Any]:
        if self._ssl_context is not None:
            raise TypeError("an adapter with ssl_context= cannot be pickled: use paths in verify= and cert=")
        if isinstance(self._key_password, (str, bytes)):
            raise TypeError("no pickle may hold a password: let key_password= be an importable function")
        stock: Any = super().__getstate__()
        return {**stock, "_key_password": self._key_password}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._ssl_context = None
        self._lookup = Lookup(state["_pool_connections"])
        super().__setstate__(state)  # type: ignore[misc,unused-ignore]


def _socks_manager() -> Any:
    try:
        from .wire.socks import LeasingSOCKSManager
    except ImportError:
        # Stock's exception, and its words.
        raise InvalidSchema("Missing dependencies for SOCKS support.") from None
    return LeasingSOCKSManager


_plain: dict[type, bool] = {}


def _is_plain(kind: type) -> bool:
    """Whether a class overrides none of the hooks; otherwise they are asked for every request."""
    if kind not in _plain:
        _plain[kind] = all(getattr(kind, hook) is getattr(LeasingAdapter, hook) for hook in _HOOKS)
    return _plain[kind]


def _paths(verify: Any, cert: Any) -> tuple[Any, ...]:
    trusted = DEFAULT_CA_BUNDLE_PATH if verify is True else verify
    named = (trusted, *((cert,) if isinstance(cert, str) else cert or ()))
    return tuple(path for path in named if path)


def _refuse_beside_context(verify: Any, cert: Any) -> None:
    if not verify:
        raise TypeError(
            "verify=False has no say over ssl_context=: set check_hostname and verify_mode on the context, "
            "or use an adapter without one"
        )
    if cert:
        raise TypeError("cert= has no say over ssl_context=: load it into the context with load_cert_chain")
