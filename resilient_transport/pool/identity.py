"""Who a connection is made as: a TLS identity by content, read from files, and loaded into a context.

Two settings are the same identity when the same bytes come out of their files, whatever the files are
called. Certificate files are read here and nowhere else.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR
from typing import Any, Final

from urllib3.exceptions import SSLError
from urllib3.util.ssl_ import resolve_cert_reqs, resolve_ssl_version

from ..connection.tls_context import build_context, context_kind, is_of_ssl
from ..retry.causes import tls_reason
from ..util.clock import monotonic
from ..util.frozen import dataclass, field
from . import expiry
from .certificate import CERTIFICATE

#: A password is compared by a digest that is worth nothing outside of this process.
_PEPPER: Final = os.urandom(32)
_TRUSTED: Final = b"-----BEGIN TRUSTED "
#: The file names under which OpenSSL looks for certificates in a directory (`openssl rehash`).
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
#: Seconds after which a file's time stamp tells two contents apart on every file system (FAT: 2 s).
_SETTLED: Final = 2.5

#: What urllib3's pools call the settings that an identity replaces.
TLS_SETTINGS: Final = (
    "cert_reqs", "cert_file", "key_file", "key_password", "ca_certs", "ca_cert_dir", "ca_cert_data",
    "ssl_version", "ssl_minimum_version", "ssl_maximum_version",
)  # fmt: skip

#: Those that are paths.
FILES: Final = ("cert_file", "key_file", "ca_certs", "ca_cert_dir")


class FilesChanged(Exception):
    """The files that a context was built from are not those that were read; its cause: what OpenSSL met."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What makes one TLS client differ from another beside its files."""

    #: Whether the server's certificate is checked.
    verify_mode: ssl.VerifyMode
    #: Whether `ssl` compares the host name itself; not when a name or a fingerprint is pinned.
    check_hostname: bool
    ssl_version: int | None
    minimum: ssl.TLSVersion | None
    maximum: ssl.TLSVersion | None
    #: The context class that is in force; truststore and pyOpenSSL replace it.
    kind: type


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
    #: The rest.
    terms: Terms


@dataclass(frozen=True, slots=True)
class Contents:
    """What was read from the files of an identity."""

    cert: bytes | None = field(repr=False)
    key: bytes | None = field(repr=False)
    ca: bytes | None = field(repr=False)
    #: Each certificate of a directory, with the file that it stands in; None without a directory.
    directory: tuple[tuple[str, bytes], ...] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Look:
    """What `stat` says of the files of an identity."""

    #: Differs when a file, or an entry of a directory, was replaced.
    stamp: str
    #: Whether an equal stamp proves that nothing has changed. A file that was written a moment ago may be
    #: written again within the same tick of its time stamp.
    settled: bool
    #: When the look was taken, by the monotonic clock.
    at: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where an identity comes from: paths and settings, as urllib3's pools name them."""

    terms: Terms
    cert_file: str | None = None
    key_file: str | None = None
    #: A password, or a callable that returns it.
    key_password: Any = field(default=None, repr=False)
    ca_certs: str | None = None
    ca_cert_dir: str | None = None
    ca_cert_data: str | bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Sources:
        """The sources that the TLS settings of a pool name.

        Args:
            settings: keyword arguments of urllib3's `HTTPSConnectionPool`.
        """
        return cls(
            terms=_terms(settings),
            key_password=settings.get("key_password"),
            ca_cert_data=settings.get("ca_cert_data"),
            **{name: _path(settings.get(name)) for name in FILES},
        )

    @property
    def files(self) -> dict[str, str]:
        """The files and directories, as urllib3's pools name them."""
        return {name: path for name in FILES if (path := getattr(self, name))}

    @property
    def name(self) -> tuple[Any, ...]:
        """What tells these sources from others, without reading a file.

        A path of authorities has one name, whether a file or a directory is there now.
        """
        # As long as somebody keeps the sources, no other callable has this id.
        password = id(self.key_password) if callable(self.key_password) else _secret(self.key_password)
        trusted = tuple(_absolute(path) for path in (self.ca_certs, self.ca_cert_dir) if path)
        pair = (_absolute(self.cert_file), _absolute(self.key_file))
        return (*pair, trusted, self.ca_cert_data, password, self.terms)

    def look(self) -> Look:
        """Ask `stat` about the files; never fails."""
        now, at, found = time.time(), monotonic(), fingerprint(tuple(self.files.values()))
        settled = all(now - max(status[3:]) / 1e9 > _SETTLED for status in found if status)
        return Look(_digest(repr(found).encode()), settled, at)

    def read(self) -> Contents:
        """Read the files.

        Raises:
            OSError: one cannot be read.
        """
        directory = tuple(_directory(self.ca_cert_dir)) if self.ca_cert_dir else None
        return Contents(_read(self.cert_file), _read(self.key_file), _read(self.ca_certs), directory)

    def password(self) -> str | bytes | None:
        """The password of the key; a callable is asked."""
        value: str | bytes | None = self.key_password() if callable(self.key_password) else self.key_password
        return value

    def identify(self, contents: Contents, password: str | bytes | None) -> TLSIdentity:
        """The identity of a client that has read these contents.

        Args:
            contents: what `read` has returned.
            password: of the key.
        """
        cert = _digest_of(contents.cert)
        return TLSIdentity(
            cert, _digest_of(contents.key) or cert, _secret(password), self._trusted(contents), self.terms
        )

    def _trusted(self, contents: Contents) -> str:
        # Labels, since OpenSSL does not make the same of the same bytes wherever they come from.
        parts = []
        if contents.ca is not None:
            parts.append(f"file {_digest(contents.ca)}")
        if contents.directory is not None:
            parts.append(f"directory {_digest(b'|'.join(block for _, block in contents.directory))}")
        if self.ca_cert_data:
            parts.append(f"data {_digest(_bytes(self.ca_cert_data))}")
        return " + ".join(parts) or "system"

    def build(self, contents: Contents, password: str | bytes | None) -> ssl.SSLContext:
        """Build the context of these contents, and read the files once more: it belongs to what was read.

        Args:
            contents: what `read` has returned.
            password: of the key.

        Raises:
            FilesChanged: something else is in the files now. On systems where OpenSSL can read files only by
                their names, nobody knows what it has read.
            OSError, ssl.SSLError, urllib3.exceptions.SSLError: they are not what they should be.
        """
        try:
            context = self._load(contents, password)
        except (OSError, SSLError) as error:
            # A pair that is being replaced may not match for a moment: only a pair at rest is at fault.
            if self.read() != contents:
                raise FilesChanged from error
            raise
        if self.read() != contents:
            raise FilesChanged
        return context

    def _load(self, contents: Contents, password: str | bytes | None) -> ssl.SSLContext:
        def fill(context: ssl.SSLContext) -> None:
            if self._trusted(contents) == "system" and self.terms.verify_mode is not ssl.CERT_NONE:
                _load_default(context)
            self.load_trusted(context, contents)
            self.load_pair(context, contents, password)

        return build_context(
            verify_mode=self.terms.verify_mode,
            check_hostname=self.terms.check_hostname,
            fill=fill,
            ssl_version=self.terms.ssl_version,
            minimum=self.terms.minimum,
            maximum=self.terms.maximum,
        )

    def load_pair(self, context: ssl.SSLContext, contents: Contents, password: str | bytes | None) -> None:
        """Load the client certificate and its key, if there are any."""
        if contents.cert is None:
            return
        given: Any = _no_password if password is None else password
        if password is None and not is_of_ssl(type(context)):
            # pyOpenSSL would ask on the terminal, too, and its context takes no function.
            if b"ENCRYPTED" in (contents.key or contents.cert or b""):
                _no_password()
            given = None
        with _as_file(contents.cert, self.cert_file) as cert, _as_file(contents.key, self.key_file) as key:
            context.load_cert_chain(cert, key, given)
        expiry.note(context, contents.cert)

    def load_trusted(self, context: ssl.SSLContext, contents: Contents) -> None:
        """Load the authorities that are named, if any are."""
        try:
            with _as_file(contents.ca, self.ca_certs) as bundle:
                if bundle:
                    context.load_verify_locations(bundle)
            for path, block in contents.directory or ():
                with suppress(ssl.SSLError):
                    _load_block(context, path, block)
            if self.ca_cert_data:
                _load_data(context, self.ca_cert_data)
        except OSError as error:
            raise SSLError(error) from error


def name_of(path: Any) -> Any:
    """A path for a message; not if it is the text of a certificate or key, which some give in its place."""
    text = os.fsdecode(path) if isinstance(path, bytes) else path
    if not isinstance(text, str):
        return path
    return "the text that was given in the place of a path" if "\n" in text or "-----" in text else path


def fault(error: BaseException, settings: Mapping[str, Any]) -> str:
    """What is wrong with the files of an identity, in words that hold nothing of what is in them.

    Args:
        error: what was met when they were read or loaded.
        settings: keyword arguments of urllib3's `HTTPSConnectionPool`.
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
    if tls_reason(error) in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return f"The key in {key} does not belong to the certificate in {cert}."
    return f"The key_password= does not open the key in {key}." if b"ENCRYPTED" in text else ""


def fingerprint(paths: tuple[Any, ...]) -> tuple[Any, ...]:
    """What `stat` says of files and of directories' entries: it differs when one was replaced."""
    found: list[Any] = []
    for path in paths:
        status = _stat(path)
        found.append(_stamp(status))
        if status is None or not S_ISDIR(status.st_mode):
            continue
        with suppress(OSError):
            # Whoever needs the directory says what is wrong with it.
            found.extend(_stamp(_stat(entry.path)) for entry in os.scandir(path))
    return tuple(found)


def _stat(path: Any) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _stamp(status: os.stat_result | None) -> tuple[int, int, int, int, int] | None:
    if status is None:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _path(value: Any) -> str | None:
    return os.path.expanduser(os.fspath(value)) if value else None


def _absolute(path: str | None) -> str | None:
    with suppress(OSError, ValueError):
        # The working directory may be gone.
        return os.path.abspath(path) if path else None
    return path


def _terms(settings: Mapping[str, Any]) -> Terms:
    pinned = settings.get("assert_fingerprint") or settings.get("assert_hostname") is not None
    verify_mode = ssl.VerifyMode(resolve_cert_reqs(settings.get("cert_reqs")))
    version, kind = settings.get("ssl_version"), context_kind()
    return Terms(
        verify_mode=verify_mode,
        # pyOpenSSL compares no names: urllib3 does it in its place.
        check_hostname=verify_mode is ssl.CERT_REQUIRED and not pinned and is_of_ssl(kind),
        ssl_version=None if version is None else resolve_ssl_version(version),
        minimum=settings.get("ssl_minimum_version"),
        maximum=settings.get("ssl_maximum_version"),
        kind=kind,
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of(data: bytes | None) -> str | None:
    return None if data is None else _digest(data)


def _secret(password: Any) -> str | None:
    return None if password is None else _digest(_PEPPER + _bytes(password))


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _read(path: str | None) -> bytes | None:
    if not path:
        return None
    with open(os.fsdecode(path), "rb", buffering=0) as file:
        return file.readall()


def _directory(path: str) -> Iterator[tuple[str, bytes]]:
    """The certificates that OpenSSL would find in a directory; what cannot be read is passed over."""
    for entry in sorted(Path(os.fsdecode(path)).iterdir()):
        if not _HASHED.fullmatch(entry.name):
            continue
        with suppress(OSError):
            yield from ((str(entry), found[0]) for found in CERTIFICATE.finditer(entry.read_bytes()))


def _load_block(context: ssl.SSLContext, path: str, block: bytes) -> None:
    """Load a certificate of a directory. What a "TRUSTED" one says besides, OpenSSL reads from files only.

    So does pyOpenSSL with all of it.
    """
    if block.startswith(_TRUSTED) or not is_of_ssl(type(context)):
        with _as_file(block, path) as file:
            context.load_verify_locations(file)
    else:
        context.load_verify_locations(cadata=block.decode("ascii"))


def _load_default(context: ssl.SSLContext) -> None:
    """Load what OpenSSL trusts by itself. pyOpenSSL's context has another name for it."""
    if is_of_ssl(type(context)):
        context.load_default_certs()
    else:
        context.set_default_verify_paths()


def _load_data(context: ssl.SSLContext, data: str | bytes) -> None:
    """Load certificates that no file holds."""
    with _as_file(None if is_of_ssl(type(context)) else _bytes(data), None) as file:
        context.load_verify_locations(file, cadata=None if file else data)


@contextmanager
def _as_file(data: bytes | None, path: Any) -> Iterator[Any]:
    """A path under which OpenSSL reads these bytes, whatever becomes of the file that they come from.

    Linux has files in memory. Elsewhere, and where /proc is not to be seen, it is the file itself.
    """
    try:
        # In one step, so that no interrupt comes between the descriptor and the object that closes it.
        memory = None if data is None else next(map(io.FileIO, map(os.memfd_create, ("pem",)), ("w",)))
    except (AttributeError, OSError):
        memory = None
    if data is None or memory is None:
        yield path
        return
    with memory:
        copy = f"/proc/self/fd/{memory.fileno()}"
        whole = memory.write(data) == len(data)
        yield copy if whole and os.access(copy, os.R_OK) else path


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal. The message is urllib3's.
    raise SSLError("Client private key is encrypted, password is required")
