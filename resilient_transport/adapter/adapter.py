"""The adapter: requests' values in, a `Response` out; and requests' pool hooks, answered by the registry."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import partial
from math import inf
from sys import _getframe
from typing import Any, Final
from urllib.parse import urlparse

from requests import PreparedRequest, Request, Response, Session
from requests.adapters import DEFAULT_POOLBLOCK, DEFAULT_POOLSIZE, HTTPAdapter
from requests.exceptions import ConnectTimeout, InvalidProxyURL, InvalidURL, RequestException, SSLError
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_auth_from_url, prepend_scheme_if_needed, select_proxy
from urllib3 import exceptions as urllib3_errors
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.poolmanager import PoolManager
from urllib3.util import Retry, parse_url

from .. import settings
from ..call.explanation import explain
from ..call.loop import Call
from ..call.plan import plan_call
from ..call.record import never_begun
from ..connection.trace import CURRENT
from ..events import Hook, IdentityRotated
from ..events.attempt import Warmed, attempts_of
from ..exceptions import add_note
from ..pool.contexts import SEARCH, Search
from ..pool.given_identity import Identity, UnusableSettings, is_text
from ..pool.identity_source import Asked, IdentitySource
from ..pool.key import (
    Entry,
    Lookup,
    as_requests_raise,
    beside_context,
    is_usual,
    key_of,
    named_by,
    refuse_beside_context,
    told_by,
    what_is_wrong,
)
from ..pool.lease import PlainPool, TLSPool
from ..pool.manager import (
    LeasingPoolManager,
    LeasingProxyManager,
    beside,
    completed,
    emptied,
    is_complete,
    is_real,
    leased,
)
from ..pool.registry import registry
from ..pool.system_trust import SYSTEM, is_system
from ..retry.policy import RetryPolicy
from ..retry.urllib3_retry import ONE_ATTEMPT
from ..settings.options import UNSET, options_from
from ..telemetry.dispatch import announce
from ..telemetry.log import write_to_stderr
from ..util.origin import origin_at, origin_of
from ..util.url_prefix import Prefix
from .built import built
from .max_retries import RetrySettings, Unsettled
from .overridden import hooks_of, is_plain, socks_manager, warn_of_pools
from .proxy_credentials import withhold
from .session_mount import STOCK_SESSION
from .summary import summary
from .warmup import check, each, in_background, make, settings_for


class ResilientAdapter(HTTPAdapter):
    """A transport adapter that survives connection resets: `session.mount("https://", ResilientAdapter())`.

    The four arguments of `requests.adapters.HTTPAdapter` keep their order and meaning. Without any, the
    settings are the recommended ones. What is not given and has a variable of the environment
    (`RESILIENT_TRANSPORT_IDLE_TIMEOUT` and so on) is taken from there.

    Args:
        pool_connections: how many origins the adapter remembers.
        pool_maxsize: how many idle connections to an origin are kept; the largest of all adapters counts.
        max_retries: how often a call may be repeated, as an int; or a `urllib3.util.Retry`, which brings
            its own rules.
        pool_block: let this adapter use at most `pool_maxsize` connections to an origin at once.
        policy: when a call is repeated, and how often; not together with `max_retries`.
        ssl_context: a TLS context of your own, used as it is; `verify` and `cert` are not applied then.
        key_password: the password of an encrypted client key, as str or bytes, or a callable that returns
            it (which alone can be pickled).
        identity: a callable that returns an `Identity`, for a client certificate that no file holds, and the
            authorities to trust with it. It is asked once a second while calls are made; where `cert=` or
            `verify=` name something else, that holds. Not together with `ssl_context`.
        warm: URLs of servers to connect to at once, in the background; or dicts of the arguments of `warm`,
            for servers that want a certificate.
        connect_timeout: seconds to connect, for calls without a time-out; None: no limit. 10 s.
        read_timeout: seconds between two bytes, sending included, for calls without a time-out; None: no
            limit. 300 s.
        idle_timeout: seconds for which an idle connection is kept; less where the server asks for less.
        max_age: seconds after which a connection is not used again, some a tenth sooner; an hour. Then the
            name is asked anew, and connections to addresses that it has no more end. None: no limit.
        tcp_keepalive: seconds of silence until TCP asks whether the server is there; 0: never.
        dns_order: "ipv4first", "ipv6first", or "system".
        handshakes: how many may run at once for an origin; of several adapters', the smallest number counts.
        disable: URL prefixes, compared by scheme, host, port and path segment, that are refused with
            `EndpointDisabled` before anything is opened.
        on_event: is called with each event, see `resilient_transport.events`.

    Raises:
        TypeError: an argument is of the wrong type, or both `max_retries` and `policy` were given, or both
            `ssl_context` and `identity`.
        ValueError: an argument is out of its range, or the environment says something that is not allowed.
    """

    #: Where a client certificate that no file holds comes from.
    _identity: IdentitySource | None = None

    def __init__(
        self,
        pool_connections: int = DEFAULT_POOLSIZE,
        pool_maxsize: int = DEFAULT_POOLSIZE,
        max_retries: int | Retry | None = UNSET,
        pool_block: bool = DEFAULT_POOLBLOCK,
        *,
        policy: RetryPolicy | None = None,
        ssl_context: ssl.SSLContext | None = None,
        key_password: str | bytes | Callable[[], str | bytes] | None = None,
        identity: Callable[[], Identity] | Identity | None = None,
        warm: Iterable[str | Mapping[str, Any]] = (),
        connect_timeout: float | None = UNSET,
        read_timeout: float | None = UNSET,
        idle_timeout: float = UNSET,
        max_age: float | None = UNSET,
        tcp_keepalive: int = UNSET,
        dns_order: str = UNSET,
        handshakes: int = UNSET,
        disable: Iterable[str | Prefix] = UNSET,
        on_event: Hook | None = None,
    ) -> None:
        if policy is not None and max_retries is not UNSET:
            raise TypeError("give either max_retries= or policy=RetryPolicy(retries=...), not both")
        #: What it is set to, besides its policy.
        self._options = options_from(
            {"connect_timeout": connect_timeout, "read_timeout": read_timeout}
            | {"idle_timeout": idle_timeout, "max_age": max_age, "tcp_keepalive": tcp_keepalive}
            | {"dns_order": dns_order, "handshakes": handshakes, "disable": disable},
            on_event,
        )
        if ssl_context is not None and not hasattr(ssl_context, "wrap_socket"):
            # By what it has: truststore replaces `ssl.SSLContext`, and pyOpenSSL's is of another make.
            raise TypeError(f"ssl_context takes an ssl.SSLContext, not {type(ssl_context).__name__}")
        if not (key_password is None or callable(key_password) or isinstance(key_password, (str, bytes))):
            raise TypeError(f"key_password takes str, bytes or a callable, not {type(key_password).__name__}")
        if isinstance(key_password, str) and not is_text(key_password):
            raise ValueError("key_password is a text that cannot be encoded: give bytes")
        if identity is not None:
            if ssl_context is not None:
                raise TypeError(
                    "give either ssl_context= or identity=, not both: a context of your own shows what its "
                    "load_cert_chain has loaded"
                )
            self._identity = IdentitySource.of(identity)
        #: Whether all of this is off. Then it is an `HTTPAdapter`, for which stock's own methods speak.
        self._bypassed, max_idle, log = _for_all()
        self._ssl_context = ssl_context
        self._key_password = key_password
        #: The pools that were found last, by what a call names.
        self._lookup = Lookup(pool_connections)
        self._retry_settings: RetrySettings = Unsettled()
        super().__init__(pool_connections, pool_maxsize, pool_block=pool_block)
        self._retry_settings = RetrySettings(max_retries, policy)
        registry.idle.most = max_idle
        write_to_stderr(log)
        each(self.warm, warm)

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """Send a request, as often as the policy allows and the replay table permits.

        Args:
            request: the prepared request.
            stream: hand the response out before its body was read. A body that breaks is resumed while it is
                read, and never asked for anew.
            timeout: seconds to connect and between bytes, a (connect, read) tuple, or a urllib3 `Timeout`;
                None: `connect_timeout` and `read_timeout`.
            verify: whether, or against which file or directory, to check the server's certificate; "system":
                the operating system's trust store decides, which needs the package truststore.
            cert: path of the client certificate, or a (certificate, key) pair of paths.
            proxies: proxy URLs by scheme, or by scheme and host.

        Returns:
            The response. `attempts_of(response)` tells how it came about.

        Raises:
            requests.exceptions.RequestException: what stock requests would raise; see `attempts_of`.
            DeadlineExceeded: the call's deadline was over.
            CircuitOpen: the policy has a breaker, and the origin has failed again and again.
            EndpointDisabled: the URL is disabled; nothing was opened.
        """
        if self._bypassed:
            return super().send(request, stream, timeout, verify, cert, proxies)
        if proxies:
            withhold(request, proxies, super().proxy_headers)
        serves_session = _getframe(1).f_code is _SESSION_SEND
        return self._call(request, stream, timeout, verify, cert, proxies, serves_session=serves_session)[0]

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        """Make requests' response of urllib3's, without a search for cookies where there is none."""
        if self._bypassed or HTTPAdapter.build_response is not _BUILD_RESPONSE:
            return super().build_response(req, resp)
        response = built(req, resp)
        if response is None:
            return super().build_response(req, resp)
        response.connection = self  # type: ignore[attr-defined,unused-ignore]
        return response

    def warm(
        self,
        url: str,
        connections: int = 1,
        background: bool = False,
        *,
        session: Session | None = None,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> tuple[Warmed, ...]:
        """Connect to a server and shake hands before the first call needs it; no request is sent.

        Args:
            url: any URL of the server.
            connections: how many connections to have; idle afterwards, as far as `pool_maxsize` goes.
            background: return at once. It never raises then, and a call that comes meanwhile waits for the
                connection under way rather than making its own.
            session: take certificates and proxies as this session's calls to the URL would, its environment
                included, in place of the next arguments.
            timeout, verify, cert, proxies: as in `send`. A connection serves only calls that have the same.

        Returns:
            What was found or made, for each connection; nothing when it runs in the background, or when
            the adapter is bypassed.

        Raises:
            requests.exceptions.RequestException: what a call would raise.
        """
        check(connections, self._pool_maxsize if self._pool_block else None)
        if self._bypassed:
            return ()

        def connect() -> tuple[Response, Warmed]:
            request = Request("HEAD", url).prepare()
            told = settings_for(request, session, verify, cert, proxies)
            response, call = self._call(request, True, timeout, warming=True, **told)
            trace, spent = call.record.carrier, call.plan.deadline.spent()
            return response, Warmed(
                trace.tls_version, trace.tls_resumed, trace.reused, spent, attempts_of(response)
            )

        if not background:
            return make(connect, connections)
        in_background(partial(make, connect, connections), origin_at(url))
        return ()

    def _call(
        self,
        request: PreparedRequest,
        stream: bool,
        timeout: Any,
        verify: Any,
        cert: Any,
        proxies: Any,
        warming: bool = False,
        serves_session: bool = False,
    ) -> tuple[Response, Call]:
        """Make one call; return its response, and the call itself."""
        options, policy = self._options, self._retry_settings.in_force()
        shown = self._certificate_shown
        try:
            plan = plan_call(request, stream, timeout, verify, cert, proxies, options, policy, shown, warming)
            call = Call(plan, self)
        except BaseException as error:
            # It is disabled, or its body was sent before.
            never_begun(request, options.on_event, error)
            raise
        call.serves_session = serves_session
        return call.run(super().send), call

    def _certificate_shown(self, cert: Any) -> tuple[Any, bool]:
        """The client certificate of a call, and whether a TLS context of the caller's own has one."""
        given = self._settings()
        in_memory = None if self._identity is None else self._identity.trusted
        shown = cert or given.get("cert_file") or in_memory
        return shown, "ssl_context" in given or self._ssl_context is not None

    @property
    def policy(self) -> RetryPolicy:
        """When calls are repeated, and how often; may be replaced."""
        return self._retry_settings.policy

    @policy.setter
    def policy(self, value: RetryPolicy) -> None:
        self._retry_settings.policy = value

    @property
    def max_retries(self) -> Retry:
        """What was assigned, as a `Retry`; `HTTPAdapter` reads one that repeats nothing during an attempt."""
        return ONE_ATTEMPT if CURRENT.value is not None else self._retry_settings.max_retries

    @max_retries.setter
    def max_retries(self, value: int | Retry | None) -> None:
        if "_retry_settings" not in vars(self):
            # `HTTPAdapter` assigns its own while it is made or unpickled.
            self._retry_settings = RetrySettings()
        self._retry_settings.max_retries = value

    # The hooks of requests, answered from the process-wide registry. `HTTPAdapter.send` calls them for each
    # attempt; answering them fast is where the speed comes from.

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = DEFAULT_POOLBLOCK, **pool_kwargs: Any
    ) -> None:
        """Make the pool manager; its keyword arguments keep their meaning, `ssl_context` included."""
        self._pool_connections = connections
        self._pool_maxsize = maxsize
        self._pool_block = block
        if self._bypassed:
            super().init_poolmanager(connections, maxsize, block, **pool_kwargs)
            return
        self.poolmanager = LeasingPoolManager(
            num_pools=connections, maxsize=maxsize, block=block, **pool_kwargs
        )

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """The manager for a proxy; one for each proxy URL, as in stock.

        What the adapter's own pool manager is set to holds here, too, where the keyword arguments say nothing
        else; stock drops it.
        """
        if self._bypassed:
            return super().proxy_manager_for(proxy, **proxy_kwargs)
        manager = self.proxy_manager.get(proxy)
        if manager is None:
            kind: Any = LeasingProxyManager
            if proxy.lower().startswith("socks"):
                kind = socks_manager()
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
        if isinstance(manager, LeasingPoolManager):
            manager.inherited = self._settings()
        return manager

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The pool for a request: one dictionary lookup, unless something has changed.

        Raises:
            OSError: a certificate file does not exist, as in stock.
            requests.exceptions.SSLError: a file, or what `identity` gives, is not what it should be.
            requests.exceptions.ConnectTimeout: another thread has been asking `identity` for too long.
            requests.exceptions.InvalidURL, InvalidProxyURL: as in stock.
        """
        if self._bypassed:
            if self._has_own_tls(verify):
                return self._resolve(self._search(request), request, verify, proxies, cert)
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        if self._lookup.generation != registry.generation:
            self._begin_anew()
        lookup = self._lookup
        proxy = select_proxy(request.url or "", proxies) if proxies else None
        key = self._key(request.url, verify, cert, proxy)
        entry = None if key is None else lookup.get(key)
        inherited = self._settings() if proxy else {}
        if entry is not None and entry.is_current(self._manager(proxy), inherited):
            return entry.pool
        return self._find(key, proxy, request, verify, proxies, cert)

    def _find(
        self,
        key: Any,
        proxy: str | None,
        request: PreparedRequest,
        verify: Any,
        proxies: Any,
        cert: Any,
        since: float = -inf,
    ) -> Any:
        """The pool for a request, remembered for the next one.

        Args:
            key: what it is remembered under; None: it cannot be.
            proxy: the proxy's URL.
            request, verify, proxies, cert: as in `send`.
            since: files that nobody has read since this moment are read, whatever `stat` says.
        """
        lookup, search = self._lookup, self._search(request, since)
        entry = None if key is None else lookup.get(key)
        inherited = self._settings() if proxy else {}
        pool = self._resolve(search, request, verify, proxies, cert)
        if self._identity is not None and self._identity.is_asked_here():
            # A call of the callable's own, which may show no certificate: no other call gets this pool.
            return pool
        manager = self._manager(proxy)
        replaced = None if entry is None or entry.pool is pool else entry.pool
        if isinstance(replaced, (PlainPool, TLSPool)):
            # Its identity was rotated away, or its settings have changed.
            replaced.give_back()
        if key is not None and manager is not None and is_real(manager):
            # While files are not usable, each call looks whether they are.
            looked_at = -inf if search.is_makeshift else search.began
            lookup.put(key, Entry(pool, manager, inherited, looked_at))
        if isinstance(pool, HTTPConnectionPool) and not isinstance(pool, (PlainPool, TLSPool)):
            warn_of_pools(type(self).__qualname__)
            if (trace := CURRENT.value) is not None and trace.warming:
                raise TypeError(f"{type(self).__qualname__} makes pools of its own: they cannot be warmed")
        return pool

    def _search(self, request: PreparedRequest, since: float = -inf) -> Search:
        """A search for the pool of a request, which tells of rotations."""

        def tell(why: str | None) -> None:
            rotated = IdentityRotated(origin_at(request.url or ""), usable=why is None, why=why)
            announce(self._options.on_event, rotated)

        return Search(tell, since)

    def pool_read_since(
        self, moment: float, request: PreparedRequest, verify: Any, proxies: Any, cert: Any
    ) -> Any:
        """The pool for a request, by certificate files that were read after a moment, whatever `stat` says.

        Args:
            moment: on the monotonic clock.
            request, verify, proxies, cert: as in `send`.

        Returns:
            The pool; None, if a subclass finds it in a way of its own.
        """
        own: Any = ResilientAdapter.get_connection_with_tls_context
        if self._bypassed or getattr(self.get_connection_with_tls_context, "__func__", None) is not own:
            return None
        proxy = select_proxy(request.url or "", proxies) if proxies else None
        key = self._key(request.url, verify, cert, proxy)
        return self._find(key, proxy, request, verify, proxies, cert, moment)

    def _resolve(self, search: Search, request: PreparedRequest, verify: Any, proxies: Any, cert: Any) -> Any:
        """Stock's way to a pool, with what TLS says about files as requests' exceptions."""
        outside, SEARCH.value = SEARCH.value, search
        try:
            return self._pool_for(request, verify, proxies, cert)
        except RequestException:
            raise
        except UnusableSettings as error:
            raise SSLError(error, request=request) from error.__cause__
        except urllib3_errors.ConnectTimeoutError as error:
            raise ConnectTimeout(error, request=request) from None
        except (OSError, urllib3_errors.SSLError) as error:
            failed = self._as_stock_raises(error, request, verify, cert)
            wrong = what_is_wrong(error, self._settings(), verify, cert)
            if isinstance(failed, RequestException):
                explain(failed, wrong)
            else:
                # Stock's own words name the file, and are kept.
                add_note(failed, wrong)
            if failed is error:
                raise
            raise failed from (error if isinstance(failed, RequestException) else None)
        finally:
            SEARCH.value = outside

    def _as_stock_raises(
        self, error: Exception, request: PreparedRequest, verify: Any, cert: Any
    ) -> Exception:
        """What stock raises in the place of this error; a file that is not there it names first."""
        try:
            told_by(super().cert_verify, {}, request, True if is_system(verify) else verify, cert)
        except OSError as absent:
            return absent
        return as_requests_raise(error, request)

    def _pool_for(self, request: PreparedRequest, verify: Any, proxies: Any, cert: Any) -> Any:
        """What stock's `get_connection_with_tls_context` does; that of requests 2.32.2 has no hooks in it."""
        # What is no URL at all ends here, as in stock.
        proxy = select_proxy(request.url or "", proxies)
        try:
            host_params, pool_kwargs = self.build_connection_pool_key_attributes(request, verify, cert)
        except ValueError as error:
            raise InvalidURL(error, request=request) from error
        if not proxy:
            pool_kwargs = self._for_manager(self.poolmanager, host_params, pool_kwargs)
            return self.poolmanager.connection_from_host(**host_params, pool_kwargs=pool_kwargs)
        proxy = prepend_scheme_if_needed(proxy, "http")  # type: ignore[no-untyped-call,unused-ignore]
        if not parse_url(proxy).host:
            raise InvalidProxyURL("Please check proxy URL. It is malformed and could be missing the host.")
        theirs = self.proxy_manager_for(proxy)
        if self._bypassed:
            pool_kwargs = self._for_manager(theirs, host_params, pool_kwargs)
            return theirs.connection_from_host(**host_params, pool_kwargs=pool_kwargs)
        manager = leased(theirs, self._options)
        if self.proxy_manager.get(proxy) is theirs:
            # That of a subclass may have made urllib3's own.
            self.proxy_manager[proxy] = manager
        if is_real(manager):
            # What a subclass has set for this proxy is stronger than what it has set for all connections.
            set_twice = manager.connection_pool_kw.keys() & {"ssl_context"}
            pool_kwargs = {name: value for name, value in pool_kwargs.items() if name not in set_twice}
            pool_kwargs = {**beside(manager, self._settings(), host_params["scheme"]), **pool_kwargs}
        pool_kwargs = self._for_manager(manager, host_params, pool_kwargs)
        return manager.connection_from_host(**host_params, pool_kwargs=pool_kwargs)

    def _for_manager(
        self, manager: Any, host_params: dict[str, Any], pool_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """What a manager is told of a pool; only ours know of what no file holds."""
        if isinstance(manager, LeasingPoolManager):
            return pool_kwargs
        return completed(manager, host_params, pool_kwargs)

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """What names a pool: host and TLS settings, as `cert_verify` would set them on it.

        Never stock's own `ssl_context`: some versions of requests share one, and urllib3 loads client
        certificates into it (psf/requests#6726).
        """
        if self._bypassed and not self._has_own_tls(verify):
            return super().build_connection_pool_key_attributes(request, verify, cert)
        parsed = urlparse(request.url or "")
        host_params = {"scheme": parsed.scheme.lower(), "host": parsed.hostname, "port": parsed.port}
        secure = host_params["scheme"] == "https"
        own = self._ssl_context
        if own is not None:
            if secure:
                refuse_beside_context(verify, cert)
            hooked = (
                {}
                if is_plain(self, _OWN_HOOKS)
                else told_by(self.cert_verify, host_params, request, verify, cert)
            )
            stock = told_by(super().cert_verify, host_params, request, verify, cert) if hooked else {}
            return host_params, {**beside_context(hooked, stock), "ssl_context": own}
        pool_kwargs = self._told(host_params, request, verify, cert)
        if verify is True and secure:
            # From requests 2.32.0 to 2.32.5 `cert_verify` leaves this to the shared context.
            pool_kwargs.setdefault("ca_certs", DEFAULT_CA_BUNDLE_PATH)
        has_cert = pool_kwargs.get("cert_file") or self._settings().get("cert_file")
        if self._key_password is not None and secure and has_cert:
            ask = self._key_password if self._bypassed and callable(self._key_password) else None
            pool_kwargs["key_password"] = ask() if ask else self._key_password
        if self._identity is not None and secure:
            # What the call itself names is nearer.
            asked = Asked(self._identity, not has_cert, is_usual(verify))
            if asked.is_shown or asked.is_trusted:
                pool_kwargs["identity"] = asked
        return host_params, pool_kwargs

    def _told(self, host: dict[str, Any], request: PreparedRequest, verify: Any, cert: Any) -> dict[str, Any]:
        """What `cert_verify` says; and if it misses a file, what it would say if it were there.

        The file may be being replaced. The registry knows whether it was usable before.
        """
        try:
            return told_by(self.cert_verify, host, request, verify, cert)
        except OSError:
            leased_here = not self._bypassed and isinstance(self.poolmanager, LeasingPoolManager)
            if host["scheme"] != "https" or not leased_here or not is_plain(self, _OWN_HOOKS):
                raise
        mode = "CERT_REQUIRED" if verify else "CERT_NONE"
        return {"cert_reqs": mode, **named_by(verify, cert)}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Do nothing to a lease, which is complete: stock would have urllib3 reload the files each time."""
        if self._bypassed and self._ssl_context is not None:
            # urllib3 would load certifi's certificates into it.
            return
        if isinstance(conn, (PlainPool, TLSPool)) or is_complete(conn):
            return
        is_word = is_system(verify)
        super().cert_verify(conn, url, is_word or verify, cert)  # type: ignore[no-untyped-call,unused-ignore]
        if is_word and url.lower().startswith("https"):
            conn.ca_certs, conn.ca_cert_dir = SYSTEM, None

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        """The request target; without a proxy, it takes no parser to tell."""
        if proxies:
            return super().request_url(request, proxies)
        url = request.path_url
        return super().request_url(request, proxies) if url.startswith("//") else url

    def __setattr__(self, name: str, value: Any) -> None:
        # A subclass's `init_poolmanager` may assign urllib3's own manager, as requests documents it.
        if name == "poolmanager" and not self._bypassed:
            value = leased(value, self._options)
        super().__setattr__(name, value)

    def close(self) -> None:
        """Give the leases back; what others use stays open."""
        self._lookup.clear()
        super().close()

    def _begin_anew(self) -> None:
        """In a forked child: threads that no longer exist may hold the managers' locks.

        Several threads may be here at once: each makes all of it from managers that are whole, and `_lookup`,
        which says that it was done, comes last.
        """
        lookup = Lookup(self._pool_connections)
        proxies = {proxy: emptied(manager) for proxy, manager in list(self.proxy_manager.items())}
        self.poolmanager = emptied(self.poolmanager)
        self.proxy_manager = proxies
        self._lookup = lookup

    def _has_own_tls(self, verify: Any) -> bool:
        """Whether a call of the adapter has TLS settings that stock does not know."""
        own = self._ssl_context, self._key_password, self._identity
        return is_system(verify) or any(one is not None for one in own)

    def _settings(self) -> dict[str, Any]:
        """The pool manager's settings for every pool; none, if a test has put something else in its place."""
        return self.poolmanager.connection_pool_kw if is_real(self.poolmanager) else {}

    def _manager(self, proxy: str | None) -> PoolManager | None:
        managers: dict[str, PoolManager] = self.proxy_manager
        return self.poolmanager if proxy is None else managers.get(proxy)

    def _key(self, url: str | None, verify: Any, cert: Any, proxy: str | None) -> Any:
        origin = origin_of(url or "")
        if origin is None or not is_plain(self, _OWN_HOOKS):
            return None
        return key_of(origin, verify, cert, proxy)

    def __repr__(self) -> str:
        return summary(self)

    def __getstate__(self) -> dict[str, Any]:
        if self._ssl_context is not None:
            raise TypeError("an adapter with ssl_context= cannot be pickled: use paths in verify= and cert=")
        if isinstance(self._key_password, (str, bytes)):
            raise TypeError("no pickle may hold a password: let key_password= be an importable function")
        stock: Any = super().__getstate__()  # type: ignore[misc,unused-ignore]
        own: dict[str, Any] = {"_key_password": self._key_password, "_options": self._options}
        own["_identity"] = None if self._identity is None else self._identity.ask
        # A copy: `copy.copy` makes an adapter of this, too.
        return {**stock, **own, "_retry_settings": copy(self._retry_settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._ssl_context = None
        self._bypassed = settings.value("bypass")
        self._lookup = Lookup(state["_pool_connections"])
        super().__setstate__(state)  # type: ignore[misc,unused-ignore]
        if (ask := state.get("_identity")) is not None:
            self._identity = IdentitySource.of(ask)


def _unwrapped(function: Any) -> Any:
    """As `inspect.unwrap`, whose module takes long to import."""
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        function = inner
    return function


@settings.remembered
def _for_all() -> tuple[bool, int, Any]:
    """What only the environment says: whether all is off; how many idle connections are kept; the log."""
    return settings.value("bypass"), settings.value("max_idle"), settings.value("log")


#: The code of `requests.Session.send`, as it is under what others have wrapped around it. None: there is a
#: test's double, and every body is read.
_SESSION_SEND: Final = getattr(_unwrapped(STOCK_SESSION.send), "__code__", None)
_OWN_HOOKS: Final = hooks_of(ResilientAdapter)
#: What `built` stands in for; not, if somebody else does.
_BUILD_RESPONSE: Final = HTTPAdapter.build_response
