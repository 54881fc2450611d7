"""A TLS context that is complete when it is made, and frozen from then on.

A context that is changed while connections are made with it puts the wrong client certificate on the wire
(psf/requests#6726) or crashes (psf/requests#6872). What urllib3 sets again before every handshake, to the
same value, is accepted as the no-op that it is.

Leans on `_ssl._SSLContext`, the class under every context of `ssl`, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import ssl
from _ssl import _SSLContext
from collections.abc import Callable
from typing import Any

from urllib3.util import ssl_
from urllib3.util.ssl_ import ALPN_PROTOCOLS, create_urllib3_context

from .eof import WatchedSSLSocket
from .tls_sessions import offered

#: What urllib3 decides about a context, in an order in which `ssl` accepts it. pyOpenSSL's lacks some of it.
_SETTINGS = (
    "verify_flags", "minimum_version", "maximum_version", "post_handshake_auth",
    "hostname_checks_common_name", "keylog_filename",
)  # fmt: skip
#: What is set and not wanted: with the one of Debian's Python a cut stream ends as if it were whole; urllib3
#: asks for no tickets in TLS 1.2, since it never resumes.
_WANTED = ~(getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0) | ssl.OP_NO_TICKET)
_MISSING = object()


class _Frozen:
    """Put before an SSLContext class: refuses changes once `_frozen` is set."""

    _frozen = False
    #: Whether what it freezes is a program's own.
    _is_view = False

    def __setattr__(self, name: str, value: Any) -> None:
        if not self._frozen:
            super().__setattr__(name, value)
        elif getattr(self, name, _MISSING) != value:
            raise _refusal(name)

    def set_alpn_protocols(self, protocols: Any) -> None:
        if not self._frozen:
            super().set_alpn_protocols(protocols)  # type: ignore[misc]
        elif list(protocols) != list(ALPN_PROTOCOLS):
            raise _refusal("ALPN protocols")


class _Resuming:
    """Put before `ssl.SSLContext`: offers the session that the connection has named, if any."""

    def wrap_socket(self, *args: Any, server_hostname: Any = None, session: Any = None, **kwargs: Any) -> Any:
        if session is None:
            session = offered(server_hostname)
        return super().wrap_socket(  # type: ignore[misc]
            *args, server_hostname=server_hostname, session=session, **kwargs
        )


def is_shared(context: Any) -> bool:
    """Whether a TLS context is one of the process's, and not a caller's own."""
    return isinstance(context, _Frozen) and not context._is_view


def _refusal(what: str) -> AttributeError:
    return AttributeError(
        f"this TLS context is shared by the process and frozen; {what} cannot be changed. "
        "Pass ssl_context= to ResilientAdapter to use a context of your own"
    )


def _refusing(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._frozen:
            raise _refusal(f"{name}()")
        return getattr(super(_Frozen, self), name)(*args, **kwargs)

    method.__name__ = name
    return method


for _name in (
    "load_verify_locations", "load_cert_chain", "load_default_certs", "set_default_verify_paths",
    "set_ciphers", "load_dh_params", "set_ecdh_curve", "set_npn_protocols", "set_servername_callback",
    "set_psk_client_callback",
    # From Python 3.15 on.
    "set_ciphersuites", "set_groups", "set_client_sigalgs", "set_server_sigalgs",
):  # fmt: skip
    setattr(_Frozen, _name, _refusing(_name))

_classes: dict[type, type[ssl.SSLContext]] = {}


def is_of_ssl(kind: type) -> bool:
    """Whether a class of contexts is `ssl`'s or derived from it; pyOpenSSL's is neither."""
    return issubclass(kind, _SSLContext)


def context_kind() -> type[ssl.SSLContext]:
    """The class of contexts that is in force: truststore replaces `ssl`'s, pyOpenSSL the one in urllib3."""
    theirs: Any = ssl_.SSLContext
    return ssl.SSLContext if is_of_ssl(theirs) else theirs


def _is_stock(kind: type) -> bool:
    """Whether a class of contexts is the one of `ssl` itself."""
    return kind.__module__ == "ssl"


def frozen_class(base: type[ssl.SSLContext] | None = None) -> type[ssl.SSLContext]:
    """The frozen kind of a class of contexts; None: of the one that is in force."""
    base = base or context_kind()
    if base not in _classes:
        # A context that somebody has put in its place makes sockets of its own kind.
        if _is_stock(base):
            bases: tuple[type, ...] = (_Frozen, _Resuming, base)
            members = {"sslsocket_class": WatchedSSLSocket}
        else:
            bases, members = (_Frozen, base), {}
        _classes[base] = type("FrozenSSLContext", bases, members)
    return _classes[base]


def frozen_view(context: Any) -> Any:
    """A pyOpenSSL context of a program's own on which nothing is set any more; None for one of another make.

    Once it was used, pyOpenSSL refuses what urllib3 sets before each handshake, even to the same value.
    """
    if is_of_ssl(type(context)) or not hasattr(context, "_ctx"):
        return None
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    view: Any = object.__new__(type("FrozenView", (_Frozen, type(context)), {"_is_view": True}))
    vars(view).update(vars(context), _frozen=True)
    return view


def _unfilled(model: ssl.SSLContext, base: type[ssl.SSLContext]) -> ssl.SSLContext:
    """The context that urllib3 has made, as one that can be frozen. There are two cases."""
    kind = frozen_class(base)
    if type(model) is base and _is_stock(base):
        # It becomes one: to make another takes a sixth of a first call.
        model.__class__ = kind
        model.options &= _WANTED
        return model
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    context.options = model.options & _WANTED
    for name in _SETTINGS:
        value = getattr(model, name, None)
        if value is not None:
            setattr(context, name, value)
    return context


def build_context(
    *,
    verify_mode: ssl.VerifyMode,
    check_hostname: bool,
    fill: Callable[[ssl.SSLContext], None],
    ssl_version: int | None = None,
    minimum: ssl.TLSVersion | None = None,
    maximum: ssl.TLSVersion | None = None,
    kind: type[ssl.SSLContext] | None = None,
) -> ssl.SSLContext:
    """Make a client context with urllib3's settings, have it filled, and freeze it.

    Args:
        verify_mode: whether the server's certificate is checked.
        check_hostname: whether `ssl` compares the host name; urllib3 does it when a name is pinned.
        fill: loads certificates and keys.
        ssl_version: urllib3's deprecated setting of one version.
        minimum: the lowest TLS version; None: urllib3's default.
        maximum: the highest.
        kind: the class of contexts that it is of; None: the one that is in force.

    Raises:
        OSError: `fill` could not read a file.
        ssl.SSLError: a file is not what it should be.
    """
    context = _unfilled(
        create_urllib3_context(
            ssl_version, verify_mode, ssl_minimum_version=minimum, ssl_maximum_version=maximum
        ),
        kind or context_kind(),
    )
    context.check_hostname = False
    context.verify_mode = verify_mode
    context.check_hostname = check_hostname
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    fill(context)
    context._frozen = True  # type: ignore[attr-defined]
    return context
