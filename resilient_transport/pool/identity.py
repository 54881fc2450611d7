"""Who a connection is made as: a TLS identity by content, and the one context that belongs to it.

Two settings are the same identity when the same bytes come out of their files, whatever the files are
called. Same identity: one context, and so one pool, for the whole process. Different: never.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from urllib3.exceptions import SSLError
from urllib3.util.ssl_ import resolve_cert_reqs, resolve_ssl_version

from ..connection.tls_context import build_context
from .registry import registry

#: A password is compared by a digest that is worth nothing outside of this process.
_PEPPER: Final = secrets.token_bytes(32)
#: A certificate in a file that may hold anything else besides.
_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN (X509 |)CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END \1CERTIFICATE-----"
)
#: The file names under which OpenSSL looks for certificates in a directory (`openssl rehash`).
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
#: Reads that may differ, because the files are being replaced, before the change counts as an error.
_READS: Final = 3

#: Seconds after which a file's time stamp tells two contents apart on every file system (FAT: 2 s).
_SETTLED: Final = 2.5
#: Digests that are remembered, at the most.
_DIGESTS: Final = 256
_digests: dict[str, tuple[Any, str]] = {}

#: What urllib3's pools call the settings that an identity replaces.
TLS_SETTINGS: Final = (
    "cert_reqs", "cert_file", "key_file", "key_password", "ca_certs", "ca_cert_dir", "ca_cert_data",
    "ssl_version", "ssl_minimum_version", "ssl_maximum_version",
)  # fmt: skip

#: Those that are paths.
FILES: Final = ("cert_file", "key_file", "ca_certs", "ca_cert_dir")


@dataclass(frozen=True, slots=True)
class TLSIdentity:
    """Everything that makes one TLS client differ from another; all fields are compared."""

    #: Digests of the client certificate and its key; None without one.
    cert: str | None
    key: str | None
    #: A digest of the key's password, so that nobody uses a key that another one unlocked.
    password: str | None = field(repr=False)
    #: A digest of the trusted certificates; "system" for OpenSSL's own.
    ca: str
    #: Whether the server's certificate is checked.
    verify_mode: ssl.VerifyMode
    #: Whether `ssl` compares the host name itself; not when a name or a fingerprint is pinned.
    check_hostname: bool
    ssl_version: int | None
    minimum: ssl.TLSVersion | None
    maximum: ssl.TLSVersion | None
    #: The context class that is in force; truststore replaces it.
    kind: type


@dataclass(frozen=True, slots=True)
class Sources:
    """Where an identity's certificates and keys come from; as urllib3's pools name them."""

    cert_file: str | None = None
    key_file: str | None = None
    key_password: Any = field(default=None, repr=False)
    ca_certs: str | None = None
    ca_cert_dir: str | None = None
    ca_cert_data: str | bytes | None = field(default=None, repr=False)


def context_for(settings: Mapping[str, Any]) -> ssl.SSLContext:
    """The shared context for the TLS settings of a pool.

    Args:
        settings: keyword arguments of urllib3's `HTTPSConnectionPool`.

    Raises:
        OSError: a file cannot be read.
        ssl.SSLError, urllib3.exceptions.SSLError: a file is not what it should be, a key does not belong
            to its certificate, or it is encrypted and there is no password.
    """
    sources = _sources(settings)
    error: Exception | None = None
    for _ in range(_READS):
        identity = _identify(settings, sources)
        try:
            context = registry.context(identity, _builder(identity, sources))
        except (OSError, SSLError) as failed:
            # A pair that is being replaced may not match for a moment: only a pair at rest is at fault.
            error = failed
            context = None
        if _identify(settings, sources) == identity:
            if context is None:
                raise error or AssertionError
            return context
    raise error or SSLError("the certificate files keep changing while they are read")


def name_of(path: Any) -> Any:
    """A path for a message; not if it is the text of a certificate or key, which some give in its place."""
    text = os.fsdecode(path) if isinstance(path, bytes) else path
    if not isinstance(text, str):
        return path
    return "the text that was given in the place of a path" if "\n" in text or "-----" in text else path


def fault(error: BaseException, settings: Mapping[str, Any]) -> str:
    """What is wrong with the files of an identity, in words that hold nothing of what is in them.

    Args:
        error: what `context_for` has raised.
        settings: what it was called with.
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"{name_of(error.filename)} cannot be read: {error.strerror}."
    trusted, cert = settings.get("ca_certs"), settings.get("cert_file")
    if trusted and os.path.isdir(trusted):
        trusted = None
    key = settings.get("key_file") or cert
    text = b""
    for path, what in ((trusted, "CERTIFICATE"), (cert, "CERTIFICATE"), (key, "PRIVATE KEY")):
        if not path:
            continue
        try:
            text = Path(_path(path) or "").read_bytes()
        except (OSError, TypeError, ValueError) as unread:
            return f"{name_of(path)} cannot be read: {getattr(unread, 'strerror', None) or 'no path'}."
        if f"{what}-----".encode() not in text:
            return f"There is no {what.lower()} in PEM form in {path}."
    if "password is required" in str(error):
        return f"The key in {key} is encrypted: give its password in ResilientAdapter(key_password=...)."
    if not isinstance(error, ssl.SSLError):
        return ""
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return f"The key in {key} does not belong to the certificate in {cert}."
    return f"The key_password= does not open the key in {key}." if b"ENCRYPTED" in text else ""


def _sources(settings: Mapping[str, Any]) -> Sources:
    paths = {name: _path(settings.get(name)) for name in FILES}
    password = settings.get("key_password")
    return Sources(
        **paths,
        key_password=password() if callable(password) else password,
        ca_cert_data=settings.get("ca_cert_data"),
    )


def fingerprint(paths: tuple[Any, ...]) -> tuple[Any, ...]:
    """What `stat` says of files and of directories' entries: it differs when one was replaced."""
    found: list[Any] = []
    for path in paths:
        found.append(_stat(path))
        with suppress(OSError, ValueError):
            # Whoever needs the directory says what is wrong with it.
            if os.path.isdir(path):
                found.extend(_stat(entry.path) for entry in os.scandir(path))
    return tuple(found)


def _stat(path: Any) -> tuple[int, int, int, int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _path(value: Any) -> str | None:
    return os.path.expanduser(os.fspath(value)) if value else None


def _identify(settings: Mapping[str, Any], sources: Sources) -> TLSIdentity:
    pinned = settings.get("assert_fingerprint") or settings.get("assert_hostname") is not None
    verify_mode = ssl.VerifyMode(resolve_cert_reqs(settings.get("cert_reqs")))
    cert = _digest_of(sources.cert_file)
    return TLSIdentity(
        cert=cert,
        key=_digest_of(sources.key_file) or cert,
        password=_digest(_PEPPER + _bytes(sources.key_password))
        if sources.key_password is not None
        else None,
        ca=_trusted(sources),
        verify_mode=verify_mode,
        check_hostname=verify_mode is ssl.CERT_REQUIRED and not pinned,
        ssl_version=_version(settings.get("ssl_version")),
        minimum=settings.get("ssl_minimum_version"),
        maximum=settings.get("ssl_maximum_version"),
        kind=ssl.SSLContext,
    )


def _version(value: Any) -> int | None:
    return None if value is None else resolve_ssl_version(value)


def _trusted(sources: Sources) -> str:
    parts = [
        _digest_of(sources.ca_certs),
        _digest(b"\n".join(_directory(sources.ca_cert_dir))) if sources.ca_cert_dir else None,
        _digest(_bytes(sources.ca_cert_data)) if sources.ca_cert_data else None,
    ]
    return "+".join(part for part in parts if part) or "system"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of(path: str | None) -> str | None:
    """The digest of a file, read again only when `stat` says that it may have changed."""
    if not path:
        return None
    seen = _stat(path)
    known = _digests.get(path)
    if known is not None and known[0] == seen:
        return known[1]
    digest = _digest(Path(os.fsdecode(path)).read_bytes())
    # A file written a moment ago may be written again within the same tick of its time stamp.
    if seen is not None and seen == _stat(path) and time.time() - max(seen[3:]) / 1e9 > _SETTLED:
        if len(_digests) >= _DIGESTS:
            _digests.clear()
        _digests[path] = (seen, digest)
    return digest


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _directory(path: str) -> Iterator[bytes]:
    """The certificates that OpenSSL would find in a directory; what cannot be read is passed over."""
    for entry in sorted(Path(path).iterdir()):
        if not _HASHED.fullmatch(entry.name):
            continue
        with suppress(OSError):
            yield from (found[0] for found in _CERTIFICATE.finditer(entry.read_bytes()))


def _builder(identity: TLSIdentity, sources: Sources) -> Callable[[], ssl.SSLContext]:
    def fill(context: ssl.SSLContext) -> None:
        _load_trusted(context, identity, sources)
        if sources.cert_file:
            password = sources.key_password if sources.key_password is not None else _no_password
            context.load_cert_chain(sources.cert_file, sources.key_file, password)

    def build() -> ssl.SSLContext:
        return build_context(
            verify_mode=identity.verify_mode,
            check_hostname=identity.check_hostname,
            fill=fill,
            ssl_version=identity.ssl_version,
            minimum=identity.minimum,
            maximum=identity.maximum,
        )

    return build


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal. The message is urllib3's.
    raise SSLError("Client private key is encrypted, password is required")


def _load_trusted(context: ssl.SSLContext, identity: TLSIdentity, sources: Sources) -> None:
    if identity.ca == "system":
        if identity.verify_mode is not ssl.CERT_NONE:
            context.load_default_certs()
        return
    try:
        if sources.ca_certs:
            context.load_verify_locations(sources.ca_certs)
        for certificate in _directory(sources.ca_cert_dir) if sources.ca_cert_dir else ():
            with suppress(ssl.SSLError):
                context.load_verify_locations(cadata=certificate.decode("ascii"))
        if sources.ca_cert_data:
            context.load_verify_locations(cadata=sources.ca_cert_data)
    except OSError as error:
        raise SSLError(error) from error
