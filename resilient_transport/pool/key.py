"""From what a call names (origin, certificates, proxy) to its pool, without parsing anything twice.

An entry is used as it is for a second. Then the registry is asked again; it asks `stat` whether a file of the
identity was replaced. While files are not usable, it is asked by each call.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Hashable, Mapping
from types import SimpleNamespace
from typing import Any, Final

from requests import PreparedRequest, adapters, exceptions
from urllib3 import exceptions as urllib3_errors
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.poolmanager import PoolKey, PoolManager
from urllib3.util import ssl_

from ..settings.environment import about_bundle, bundle_variable
from ..util.bounded_dict import keep_used
from ..util.clock import monotonic
from .identity import FILES, TLS_SETTINGS, fault, name_of
from .registry import registry
from .system_trust import is_system

#: Seconds between two looks at the files of an identity that a session uses.
_LOOK_EVERY: Final = 1.0

_NOTHING: Final[Mapping[str, Any]] = {}
_CURE: Final = "cert= and verify= take paths of PEM files that exist (verify= also of a directory)"


class Entry:
    """A pool, and what must not have changed for it to be the right one still."""

    __slots__ = ("_contexts", "_inherited", "_looked_at", "_manager", "_settings", "pool", "used_at")

    def __init__(
        self,
        pool: HTTPConnectionPool,
        manager: PoolManager,
        inherited: Mapping[str, Any] = _NOTHING,
        looked_at: float | None = None,
    ) -> None:
        self.pool = pool
        self._manager = manager
        self._settings = dict(manager.connection_pool_kw)
        self._inherited = dict(inherited)
        #: The class of TLS contexts at that time: pyOpenSSL and truststore put theirs in its place.
        self._contexts = ssl_.SSLContext
        self.used_at = monotonic()
        #: When its files were looked at, at the earliest.
        self._looked_at = self.used_at if looked_at is None else looked_at

    def is_current(self, manager: PoolManager | None, inherited: Mapping[str, Any] = _NOTHING) -> bool:
        """Whether the manager is the same, with the same settings, and its files were looked at just now.

        Args:
            manager: the adapter's, or a proxy's.
            inherited: what a proxy's takes from the adapter's.
        """
        if manager is not self._manager or self._contexts is not ssl_.SSLContext:
            return False
        if manager.connection_pool_kw != self._settings:
            return False
        if inherited != self._inherited:
            return False
        self.used_at = now = monotonic()
        return now - self._looked_at <= _LOOK_EVERY

    def is_needed(self) -> bool:
        """Whether it must not be forgotten: it can always be found again."""
        return False


class Lookup:
    """The entries that were used last. No lock: each step is one operation of a dictionary.

    Args:
        size: how many are remembered.
    """

    def __init__(self, size: int) -> None:
        self._size = max(1, size)
        self._entries: dict[Hashable, Entry] = {}
        #: The registry's; entries from before a fork are not used after it.
        self.generation = registry.generation

    def get(self, key: Hashable) -> Entry | None:
        """The entry of a key, current or not."""
        return self._entries.get(key)

    def put(self, key: Hashable, entry: Entry) -> None:
        """Remember an entry; the one that was not used for longest makes room for it."""
        self._entries[key] = entry
        keep_used(self._entries, self._size, key)

    def clear(self) -> None:
        """Forget every entry."""
        self._entries.clear()


def key_of(origin: str, verify: Any, cert: Any, proxy: str | None) -> Hashable | None:
    """What tells the entry of a call from others; None: it holds something that cannot."""
    cert = tuple(cert) if isinstance(cert, list) else cert
    # 1 == True: a path that equals a switch must not be taken for it.
    key = (origin, type(verify), verify, cert, proxy)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def told_by(
    cert_verify: Callable[[Any, str, Any, Any], None],
    host: Mapping[str, Any],
    request: PreparedRequest,
    verify: Any,
    cert: Any,
) -> dict[str, Any]:
    """What a `cert_verify` would set on a pool, as settings that name one.

    It is shown an object that is no pool, so that what a subclass sets becomes part of the key.
    """
    told = SimpleNamespace(**host)
    cert_verify(told, request.url or "", verify, cert)
    return {
        name: value
        for name, value in vars(told).items()
        if name not in host and f"key_{name}" in PoolKey._fields
    }


def named_by(verify: Any, cert: Any) -> dict[str, Any]:
    """What urllib3's pools call the `verify` and `cert` of a call, whether their files are there or not."""
    trusted = adapters.DEFAULT_CA_BUNDLE_PATH if verify is True else verify
    told = {"ca_certs": trusted} if trusted else {}
    # Two at the most: who takes it for a place for the password finds that in no message.
    pair = (cert, None) if isinstance(cert, (str, bytes)) else (cert or ())[:2]
    return {**told, **dict(zip(("cert_file", "key_file"), pair, strict=False))}


def what_is_wrong(error: BaseException, settings: Mapping[str, Any], verify: Any, cert: Any) -> str:
    """What is wrong with certificate files, if it can be told, and which were given.

    Args:
        error: what was met when they were used.
        settings: what the pool manager was told of every pool.
        verify, cert: the call's.
    """
    told = named_by(verify, cert)
    pair = tuple(name_of(told.get(name)) for name in ("cert_file", "key_file"))
    named = {"verify": told.get("ca_certs"), "cert": pair if cert else None}
    named.update((name, settings.get(name)) for name in FILES)
    named = {name: value if name == "cert" else name_of(value) for name, value in named.items() if value}
    given = ", ".join(f"{name}={value!r}" for name, value in named.items() if value)
    wrong = f"{fault(error, {**settings, **told})} {_CURE}; given were {given or 'none'}."
    return f"{wrong} {about_bundle(verify)}".strip()


def as_requests_raise(error: Exception, request: PreparedRequest) -> Exception:
    """What stock raises when certificate files are not what they should be; there are three cases."""
    if isinstance(error, (ssl.SSLError, urllib3_errors.SSLError)):
        wrapped = urllib3_errors.SSLError(error) if isinstance(error, ssl.SSLError) else error
        return exceptions.SSLError(wrapped, request=request)
    if isinstance(error, OSError) and error.errno is not None:
        return exceptions.ConnectionError(
            urllib3_errors.ProtocolError("Connection aborted.", error), request=request
        )
    # Stock's own "Could not find ...", which `cert_verify` has raised.
    return error


def is_usual(verify: Any) -> bool:
    """Whether the call itself names nobody to trust: at the most, the environment does for every program."""
    return verify is True or bundle_variable(verify) is not None


def refuse_beside_context(verify: Any, cert: Any) -> None:
    """Refuse what has no say over a TLS context of the caller's own.

    Raises:
        TypeError: certificates, or their absence, were asked for by the call itself. A bundle that the
            environment names for every program is passed over.
    """
    if not verify:
        raise TypeError(
            "verify=False has no say over ssl_context=: set check_hostname and verify_mode on the context, "
            "or use an adapter without one"
        )
    if is_system(verify):
        raise TypeError('verify="system" has no say over ssl_context=: give a truststore.SSLContext there')
    if not is_usual(verify):
        raise TypeError(
            f"verify={verify!r} has no say over ssl_context=: load it into the context with "
            "load_verify_locations, or use an adapter without one"
        )
    if cert:
        raise TypeError("cert= has no say over ssl_context=: load it into the context with load_cert_chain")


def beside_context(told: Mapping[str, Any], stock: Mapping[str, Any]) -> dict[str, Any]:
    """What a subclass's `cert_verify` sets beside a TLS context of the caller's own.

    Args:
        told: what it sets.
        stock: what it would without the subclass, which has no say.

    Raises:
        TypeError: it sets what belongs into the context.
    """
    for name in told.keys() & TLS_SETTINGS:
        if told[name] != stock.get(name):
            raise TypeError(f"cert_verify sets {name}, which has no say over ssl_context=: set it there")
    return {name: value for name, value in told.items() if name not in TLS_SETTINGS}
