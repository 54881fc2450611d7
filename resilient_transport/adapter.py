"""The adapter: requests' values in, a `Response` out."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import requests.adapters
from requests import PreparedRequest, Request, Response, Session
from requests.adapters import DEFAULT_POOLBLOCK, DEFAULT_POOLSIZE
from urllib3.response import HTTPResponse
from urllib3.util import Retry

from .asking import bounded, connect_part, read_part
from .attempts import Call
from .body import buffer
from .events import Warmed, attempts_of
from .leasing import LeasingAdapter
from .outcome import ONE_ATTEMPT
from .retry.budget import quota_for
from .retry.deadline import Deadline
from .retry.policy import RetryPolicy
from .retry.stages import Stage
from .retry.translate import policy_from
from .settings import overrides
from .terms import column_of, with_key
from .upload import spooled
from .warming import check, each, in_background, make, settings_for
from .wire.lookup import origin_of
from .wire.trail import CURRENT, Trail

#: Seconds to connect, and between two bytes, when the caller names no time-out.
DEFAULT_TIMEOUT: Final = (10.0, 300.0)
_UNSET: Final[Any] = object()


class ResilientAdapter(LeasingAdapter):
    """A transport adapter that survives connection resets: `session.mount("https://", ResilientAdapter())`.

    The four arguments of `requests.adapters.HTTPAdapter` keep their order and meaning. Without any, the
    settings are the recommended ones.

    Args:
        pool_connections: how many origins the adapter remembers.
        pool_maxsize: how many idle connections to an origin are kept; the largest of all adapters counts.
        max_retries: how often a call may be repeated, as an int; or a `urllib3.util.Retry`, which brings
            its own rules (see `resilient_transport.retry.translate`).
        pool_block: let this adapter use at most `pool_maxsize` connections to an origin at once.
        policy: when a call is repeated, and how often; not together with `max_retries`.
        ssl_context: a TLS context of your own, used as it is: `verify` and `cert` have no say then.
        key_password: the password of an encrypted client key, as str or bytes, or a callable that returns
            it (which alone can be pickled).
        warm: URLs of servers to connect to at once, in the background; or dicts of the arguments of `warm`,
            for servers that want a certificate.

    Raises:
        TypeError: an argument is of the wrong type, or both `max_retries` and `policy` were given.
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        pool_connections: int = DEFAULT_POOLSIZE,
        pool_maxsize: int = DEFAULT_POOLSIZE,
        max_retries: int | Retry | None = _UNSET,
        pool_block: bool = DEFAULT_POOLBLOCK,
        *,
        policy: RetryPolicy | None = None,
        ssl_context: ssl.SSLContext | None = None,
        key_password: str | bytes | Callable[[], str | bytes] | None = None,
        warm: Iterable[str | Mapping[str, Any]] = (),
    ) -> None:
        if policy is not None and max_retries is not _UNSET:
            raise TypeError("give either max_retries= or policy=RetryPolicy(retries=...), not both")
        super().__init__(
            pool_connections, pool_maxsize, pool_block, ssl_context=ssl_context, key_password=key_password
        )
        self.policy = RetryPolicy() if policy is None else policy
        #: What was assigned to `max_retries`, if anything.
        self._given: tuple[int | Retry | None, ...] = ()
        #: The `Retry` that others may hold, and change in place; and what it held when it was translated.
        self._retry: Retry | None = None
        self._translated: dict[str, Any] = {}
        if max_retries is _UNSET and policy is None and requests.adapters.DEFAULT_RETRIES != 0:
            # A program that has set requests' default for everybody means this adapter, too.
            max_retries = requests.adapters.DEFAULT_RETRIES
        if max_retries is not _UNSET:
            self.max_retries = max_retries
        each(self.warm, warm)

    @property
    def policy(self) -> RetryPolicy:
        """When calls are repeated, and how often; may be replaced."""
        return self._policy

    @policy.setter
    def policy(self, value: RetryPolicy) -> None:
        if not isinstance(value, RetryPolicy):
            raise TypeError(f"policy takes a RetryPolicy, not {value!r}; max_retries takes an int or a Retry")
        #: What is in force, and what an int that is assigned to `max_retries` is applied to.
        self._policy = self._base = value

    @property
    def max_retries(self) -> Retry:
        """What was assigned, as a `Retry`; during an attempt one that repeats nothing, for `HTTPAdapter`."""
        if CURRENT.get() is not None:
            return ONE_ATTEMPT
        if self._retry is None:
            self._retry = Retry.from_int(self._given[0]) if self._given else Retry(0, read=False)
            self._translated = dict(vars(self._retry))
        return self._retry

    @max_retries.setter
    def max_retries(self, value: int | Retry | None) -> None:
        base = getattr(self, "_base", None)
        self._policy = policy_from(Retry.DEFAULT if value is None else value, base)
        self._given = (value,)
        self._retry = value if isinstance(value, Retry) else None
        self._translated = dict(vars(value)) if isinstance(value, Retry) else {}

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
                None: 10 s and 300 s.
            verify: whether, or against which file or directory, to check the server's certificate.
            cert: path of the client certificate, or a (certificate, key) pair of paths.
            proxies: proxy URLs by scheme, or by scheme and host.

        Returns:
            The response. `attempts_of(response)` tells how it came about.

        Raises:
            requests.exceptions.RequestException: what stock requests would raise; see `attempts_of`.
            DeadlineExceeded: the call's deadline was over.
        """
        return self._call(request, stream, timeout, verify, cert, proxies)[0]

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        """Make requests' response of urllib3's, without a search for cookies where there is none.

        Leans on `_original_response`, without which requests does not look; pinned in `test_upstream.py`.
        """
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
            What was found or made, for each connection; nothing when it runs in the background.

        Raises:
            requests.exceptions.RequestException: what a call would raise.
        """
        check(connections, self._pool_maxsize if self._pool_block else None)

        def connect() -> tuple[Response, Warmed]:
            request = Request("HEAD", url).prepare()
            settings = settings_for(request, session, verify, cert, proxies)
            response, trail, spent = self._call(request, True, timeout, warming=True, **settings)
            return response, Warmed(
                trail.tls_version, trail.resumed, trail.reused, spent, attempts_of(response)
            )

        if not background:
            return make(connect, connections)
        in_background(partial(make, connect, connections), origin_of(f"{url}/") or "a server")
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
    ) -> tuple[Response, Trail, float]:
        """One call; returns the response, the record of its last attempt, and the seconds it took."""
        here = overrides()
        if self._retry is not None and vars(self._retry) != self._translated:
            # It was changed in place, as stock allows.
            self.max_retries = self._retry
        policy = self._policy if here.retries is None else policy_from(here.retries, self._policy)
        if policy.idempotency_key:
            request = with_key(request)
        if policy.spool_bytes:
            request = spooled(request, policy.spool_bytes)
        deadline = Deadline(policy.deadline).until(here.expires)
        granted = DEFAULT_TIMEOUT if timeout is None else timeout

        send = super().send
        connect, between = DEFAULT_TIMEOUT if timeout is None else (connect_part(timeout), read_part(timeout))
        last: Trail

        def send_once(trail: Trail) -> Response:
            nonlocal last
            last = trail
            trail.connect_timeout, trail.send_timeout = connect, between
            response = send(request, stream, bounded(granted, deadline), verify, cert, proxies)
            if stream:
                call.read_later(response)
            elif trail.stage is Stage.BODY:
                buffer(response, call)
            return response

        origin = origin_of(request.url or "")
        quota = quota_for(origin or request.url)
        call = Call(request, policy, column_of(request, policy, here), deadline, quota, warming)
        call.origin = origin or call.origin
        if request.method == "GET" and not request.body and not warming:
            # Of another request's response nobody knows what a part of it is. Who reads a stream later may
            # have changed this one meanwhile.
            asked, via = (request.copy(), dict(proxies or {})) if stream else (request, proxies)
            call.again = (self, (asked, granted, verify, cert, via))
        call.certificate = lambda: (
            cert or self._settings().get("cert_file"),
            "ssl_context" in self._settings() or self._ssl_context is not None,
        )
        response = call.run(send_once, stream)
        return response, last, deadline.spent()

    def __getstate__(self) -> dict[str, Any]:
        own = {"_base": self._base, "_policy": self._policy, "_given": self._given}
        return {**super().__getstate__(), "_own": own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = state.pop("_own")
        super().__setstate__(state)
        # After stock has assigned its `max_retries`, which makes a policy of it.
        vars(self).update(own, _retry=None, _translated={})
