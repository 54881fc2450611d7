"""The adapter: requests' values in, a `Response` out."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from requests import PreparedRequest, Request, Response, Session
from requests.adapters import DEFAULT_POOLBLOCK, DEFAULT_POOLSIZE
from urllib3.response import HTTPResponse
from urllib3.util import Retry

from .. import settings
from ..call.loop import Call
from ..call.plan import plan_call
from ..events import Hook
from ..events.attempt import Warmed, attempts_of
from ..retry.policy import RetryPolicy
from ..settings.options import UNSET, options_from
from ..telemetry.log import write_to_stderr
from ..util.origin import origin_at
from ..util.url_prefix import Prefix
from .max_retries import RepeatingAdapter
from .warmup import check, each, in_background, make, settings_for


class ResilientAdapter(RepeatingAdapter):
    """A transport adapter that survives connection resets: `session.mount("https://", ResilientAdapter())`.

    The four arguments of `requests.adapters.HTTPAdapter` keep their order and meaning. Without any, the
    settings are the recommended ones. What is not given and has a variable of the environment
    (`RESILIENT_TRANSPORT_IDLE_TIMEOUT` and so on, see `resilient_transport.settings`) is taken from there.

    Args:
        pool_connections: how many origins the adapter remembers.
        pool_maxsize: how many idle connections to an origin are kept; the largest of all adapters counts.
        max_retries: how often a call may be repeated, as an int; or a `urllib3.util.Retry`, which brings
            its own rules (see `resilient_transport.retry.urllib3_retry`).
        pool_block: let this adapter use at most `pool_maxsize` connections to an origin at once.
        policy: when a call is repeated, and how often; not together with `max_retries`.
        ssl_context: a TLS context of your own, used as it is: `verify` and `cert` have no say then.
        key_password: the password of an encrypted client key, as str or bytes, or a callable that returns
            it (which alone can be pickled).
        warm: URLs of servers to connect to at once, in the background; or dicts of the arguments of `warm`,
            for servers that want a certificate.
        connect_timeout, read_timeout: seconds to connect and between two bytes, sending included, for calls
            without a time-out; None: no limit. 10 and 300 s.
        idle_timeout: seconds for which an idle connection is kept; less where the server asks for less.
        max_age: seconds after which a connection is not used again; None: no limit.
        tcp_keepalive: seconds of silence until TCP asks whether the server is there; 0: never.
        dns_order: "ipv4first", "ipv6first", or "system".
        handshakes: how many may run at once for an origin; of several adapters', the smallest number counts.
        disable: URL prefixes, compared by scheme, host, port and path segment, that are refused with
            `EndpointDisabled` before anything is opened.
        on_event: is called with each event, see `resilient_transport.events`.

    Raises:
        TypeError: an argument is of the wrong type, or both `max_retries` and `policy` were given.
        ValueError: an argument is out of its range, or the environment says something that is not allowed.
    """

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
        options = options_from(
            {"connect_timeout": connect_timeout, "read_timeout": read_timeout}
            | {"idle_timeout": idle_timeout, "max_age": max_age, "tcp_keepalive": tcp_keepalive}
            | {"dns_order": dns_order, "handshakes": handshakes, "disable": disable},
            on_event,
        )
        super().__init__(
            pool_connections,
            pool_maxsize,
            pool_block,
            options,
            ssl_context=ssl_context,
            key_password=key_password,
        )
        write_to_stderr(settings.value("log"))
        self._begin_with(max_retries, policy)
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
            stream: hand the response out before its body was read; one that breaks is resumed as it is read,
                and never asked for anew.
            timeout: seconds to connect and between bytes, a (connect, read) tuple, or a urllib3 `Timeout`;
                None: `connect_timeout` and `read_timeout`.
            verify: whether, or against which file or directory, to check the server's certificate.
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
        return self._call(request, stream, timeout, verify, cert, proxies)[0]

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        """Make requests' response of urllib3's, without a search for cookies where there is none.

        Leans on `_original_response`, without which requests does not look; pinned in `test_upstream.py`.
        """
        if self._bypassed:
            return super().build_response(req, resp)
        head = getattr(resp, "_original_response", None)
        plain = type(resp) is HTTPResponse and "set-cookie" not in resp.headers
        if head is None or not plain or "set-cookie2" in resp.headers:
            return super().build_response(req, resp)
        resp._original_response = None
        try:
            return super().build_response(req, resp)
        finally:
            resp._original_response = head

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
            settings = settings_for(request, session, verify, cert, proxies)
            response, call = self._call(request, True, timeout, warming=True, **settings)
            trace, spent = call.record.carrier, call.plan.deadline.spent()
            return response, Warmed(
                trace.tls_version, trace.resumed, trace.reused, spent, attempts_of(response)
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
    ) -> tuple[Response, Call]:
        """Make one call; return its response, and the call itself."""
        plan = plan_call(
            request,
            stream,
            timeout,
            verify,
            cert,
            proxies,
            options=self._options,
            policy=self._policy_in_force(),
            certificate=self._certificate_shown,
            warming=warming,
        )
        call = Call(plan, self)
        return call.run(super().send), call

    def _certificate_shown(self, cert: Any) -> tuple[Any, bool]:
        """The client certificate of a call, and whether a TLS context of the caller's own has one."""
        given = self._settings()
        return cert or given.get("cert_file"), "ssl_context" in given or self._ssl_context is not None
