"""Who a connection is made as: a TLS identity by content, read from files, and loaded into a context.

Two settings are the same identity when the same bytes come out of their files, whatever the files are
called, or out of a program's memory. Certificate files are read here and nowhere else.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from stat import S_ISDIR
from typing import Any, Final

from urllib3.exceptions import SSLError
from urllib3.util.ssl_ import resolve_cert_reqs, resolve_ssl_version

from ..connection.tls_context import build_context, context_kind, is_of_ssl
from ..retry.causes import tls_reason
from ..util.clock import monotonic
from ..util.fork import Undivided
from ..util.frozen import dataclass, field, replace
from . import expiry
from .certificate import CERTIFICATE
from .given_identity import Identity, UnusableSettings, as_bytes, is_text
from .identity_source import Answer, Asked
from .system_trust import SystemTrust, is_system, system_trust

#: A password is compared by a digest that is worth nothing outside of this process.
_PEPPER: Final = os.urandom(32)
_TRUSTED: Final = b"-----BEGIN TRUSTED "
#: The file names under which OpenSSL looks for certificates in a directory (`openssl rehash`).
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
#: Seconds after which a file's time stamp tells two contents apart on every file system (FAT: 2 s).
_SETTLED: Final = 2.5
#: Seconds for which a fork waits while a context is loaded. certifi's authorities take 0.03 s of a processor.
LOADING: Final = 1.0

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
    #: What is taken from a program's `identity=`, and what that has given; None: nothing.
    asked: Asked | None = None
    answer: Answer | None = None
    #: Whether the operating system itself decides whom to trust.
    is_left_to_system: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, waits: bool = True, since: float = -inf) -> Sources:
        """The sources that the TLS settings of a pool name; a program's `identity=` is asked.

        Args:
            settings: keyword arguments of urllib3's `HTTPSConnectionPool`, and "identity", an `Asked`.
            waits: whether to wait for another thread that is asking.
            since: what was given before this moment is asked for anew.

        Raises:
            UnusableSettings: there is no identity, or what `verify="system"` needs is not installed.
            urllib3.exceptions.ConnectTimeoutError: another thread has been asking for too long.
        """
        asked, answer = _answered(settings, waits, since)
        trust = None
        if is_system(settings.get("ca_certs")):
            trust = system_trust()
            settings = {**settings, "ca_certs": trust.ca_certs, "ca_cert_dir": trust.ca_cert_dir}
        return cls(
            terms=_terms(settings, trust),
            key_password=settings.get("key_password"),
            ca_cert_data=settings.get("ca_cert_data"),
            asked=asked,
            answer=answer,
            is_left_to_system=trust is not None and trust.kind is not None,
            **{name: _path(settings.get(name)) for name in FILES},
        )

    @property
    def shown(self) -> Identity | None:
        """The identity in memory whose certificate is shown; None: that of a file is, or none."""
        return self.answer.identity if self.asked and self.asked.is_shown and self.answer else None

    @property
    def trusted_data(self) -> bytes | None:
        """The authorities in memory that are trusted in the place of files."""
        given = self.answer.identity if self.asked and self.asked.is_trusted and self.answer else None
        return None if given is None or given.ca is None else as_bytes(given.ca)

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
        asked = None if self.asked is None else self.asked.name
        return (*pair, trusted, self.ca_cert_data, password, self.terms, asked, self.is_left_to_system)

    def without_answer(self) -> Sources:
        """The same without what a program's `identity=` has given, to be remembered."""
        return self if self.asked is None else replace(self, asked=None, answer=None)

    def look(self) -> Look:
        """Ask `stat` about the files; never fails."""
        now, at, found = time.time(), monotonic(), fingerprint(tuple(self.files.values()))
        settled = all(now - max(status[3:]) / 1e9 > _SETTLED for status in found if status)
        if self.answer is not None:
            # An answer that is older than another's says nothing about what came after it.
            found, at = (*found, self._digest_of_answer()), self.answer.at
        return Look(_digest(repr(found).encode()), settled, at)

    def _digest_of_answer(self) -> str:
        parts = [] if self.shown is None else [self.shown.cert, self.shown.key, _secret(self.shown.password)]
        return _digest(repr([as_bytes(part or b"") for part in [*parts, self.trusted_data]]).encode())

    def read(self) -> Contents:
        """Read the files, and what stands in memory in their place.

        Raises:
            OSError: one cannot be read.
        """
        cert, key = self._read_pair()
        if self.trusted_data is not None:
            return Contents(cert, key, self.trusted_data, None)
        directory = tuple(_directory(self.ca_cert_dir)) if self.ca_cert_dir else None
        return Contents(cert, key, _read(self.ca_certs), directory)

    def _read_pair(self) -> tuple[bytes | None, bytes | None]:
        shown = self.shown
        if shown is None:
            return _read(self.cert_file), _read(self.key_file)
        return as_bytes(shown.cert), None if shown.key is None else as_bytes(shown.key)

    def password(self) -> str | bytes | None:
        """The password of the key; a callable is asked.

        Raises:
            UnusableSettings: it cannot be encoded. The error of the codec would hold it.
        """
        if self.shown is not None:
            return self.shown.password
        value: str | bytes | None = self.key_password() if callable(self.key_password) else self.key_password
        if not is_text(value):
            raise UnusableSettings("key_password= is a text that cannot be encoded: give bytes")
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
            if self._trusts_default(contents):
                _load_default(context)
            self.load_trusted(context, contents)
            self.load_pair(context, contents, password)

        with Undivided(LOADING):
            return build_context(
                verify_mode=self.terms.verify_mode,
                check_hostname=self.terms.check_hostname,
                fill=fill,
                ssl_version=self.terms.ssl_version,
                minimum=self.terms.minimum,
                maximum=self.terms.maximum,
                kind=self.terms.kind,
            )

    def _trusts_default(self, contents: Contents) -> bool:
        """Whether nobody says whom to trust: neither a file, nor the operating system."""
        is_checked = self.terms.verify_mode is not ssl.CERT_NONE
        return is_checked and not self.is_left_to_system and self._trusted(contents) == "system"

    def load_pair(self, context: ssl.SSLContext, contents: Contents, password: str | bytes | None) -> None:
        """Load the client certificate and its key, if there are any."""
        if contents.cert is None:
            return
        secret: Any = _no_password if password is None else password
        is_encrypted = b"ENCRYPTED" in (contents.key or contents.cert)
        if password is None and not is_of_ssl(type(context)):
            # pyOpenSSL would ask on the terminal, too, and its context takes no function.
            if is_encrypted:
                _no_password()
            secret = None
        with (
            _blamed_on_identity(self.shown is not None, is_encrypted),
            _as_file(contents.cert, self.cert_file) as cert,
            _as_file(contents.key, self.key_file) as key,
        ):
            context.load_cert_chain(cert, key, secret)
        expiry.note(context, contents.cert)

    def load_trusted(self, context: ssl.SSLContext, contents: Contents) -> None:
        """Load the authorities that are named, if any are."""
        is_given = self.trusted_data is not None
        try:
            with (
                _blamed_on_identity(is_given),
                _as_file(contents.ca, None if is_given else self.ca_certs) as bundle,
            ):
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
    if trusted and (is_system(trusted) or os.path.isdir(trusted)):
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


def _answered(settings: Mapping[str, Any], waits: bool, since: float) -> tuple[Asked | None, Answer | None]:
    """What is taken from a program's `identity=`, and what it gives. A certificate in a file is nearer."""
    asked: Asked | None = settings.get("identity")
    if asked is not None and asked.is_shown and settings.get("cert_file"):
        asked = replace(asked, is_shown=False)
    if asked is None or not (asked.is_shown or asked.is_trusted):
        return None, None
    answer = asked.source.answer(waits=waits, since=since, is_shown=asked.is_shown)
    return (None, None) if answer is None else (asked, answer)


def _terms(settings: Mapping[str, Any], trust: SystemTrust | None = None) -> Terms:
    pinned = settings.get("assert_fingerprint") or settings.get("assert_hostname") is not None
    verify_mode = ssl.VerifyMode(resolve_cert_reqs(settings.get("cert_reqs")))
    version, kind = settings.get("ssl_version"), (trust and trust.kind) or context_kind()
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

    Linux has files in memory. Elsewhere, and where /proc is not to be seen, it is the file itself; of bytes
    that come from no file, a private one that is deleted at once.
    """
    try:
        # In one step, so that no interrupt comes between the descriptor and the object that closes it.
        memory = None if data is None else next(map(io.FileIO, map(os.memfd_create, ("pem",)), ("w",)))
    except (AttributeError, OSError):
        memory = None
    if data is None:
        yield path
        return
    if memory is not None:
        with memory:
            copy = f"/proc/self/fd/{memory.fileno()}"
            whole = memory.write(data) == len(data)
            if whole and os.access(copy, os.R_OK):
                yield copy
                return
    with _itself(data, path) as file:
        yield file


@contextmanager
def _itself(data: bytes, path: Any) -> Iterator[Any]:
    """The path of the file that these bytes come from; else that of one that nobody else can read."""
    if path is not None:
        yield path
        return
    descriptor, name = tempfile.mkstemp(suffix=".pem")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        # Closed, since Windows lets nobody else open it before.
        yield name
    finally:
        os.unlink(name)


@contextmanager
def _blamed_on_identity(is_given: bool, is_encrypted: bool = False) -> Iterator[None]:
    """Say what is wrong with what a program's `identity=` has given, in words that hold nothing of it.

    Of a password that is too long `ssl` says so by a `ValueError`, which is what SSL's errors are, here.
    """
    try:
        yield
    except (ssl.SSLError, SSLError, ValueError) as error:
        if is_given:
            # Not with its traceback: error reports show what is in its frames, the key and the password.
            raise UnusableSettings(_wrong_with_given(error, is_encrypted)) from error.with_traceback(None)
        if isinstance(error, (ssl.SSLError, SSLError)):
            raise
        raise SSLError(str(error)) from error


def _wrong_with_given(error: BaseException, is_encrypted: bool) -> str:
    reason = tls_reason(error) if isinstance(error, ssl.SSLError) else None
    if "password is required" in str(error):
        return "The key that identity= gives is encrypted: give its password in Identity(password=...)."
    if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return "The key that identity= gives does not belong to its certificate."
    if is_encrypted:
        return "The password that identity= gives does not open its key."
    return f"What identity= gives cannot be loaded ({reason or type(error).__name__})."


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal. The message is urllib3's.
    raise SSLError("Client private key is encrypted, password is required")
