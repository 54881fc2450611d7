"""Throw-away certificates for tests: an authority, a stranger's authority, and what both have signed."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import trustme

_NAMES = ("localhost", "127.0.0.1", "::1")
_CERTIFICATES = ("good", "expired", "misnamed", "untrusted")
#: The one of this process, once somebody has asked for it.
_shared: dict[str, Authority] = {}


class Authority:
    """A certificate authority in a directory of files, as servers and `requests` want them.

    `directory` is where the files go; without one they go to a temporary directory that vanishes with the
    object, at the latest when the process ends. Raises `ImportError` when trustme is missing.

    >>> session.verify = authority.ca_file
    >>> session.cert = authority.client
    """

    #: Where the files are.
    directory: Path
    #: The bundle with the authority's certificate.
    ca_file: str
    #: The bundle with the stranger's certificate, which trusts nothing of ours.
    other_ca_file: str
    #: Certificate and key of the client "alice".
    client: tuple[str, str]
    #: Certificate and key of a second valid client, "bob".
    other_client: tuple[str, str]
    #: Certificate and key of a client whose certificate has expired.
    expired_client: tuple[str, str]
    #: Certificate and key of a client signed by the stranger.
    stranger_client: tuple[str, str]
    #: The key of `client`, encrypted with `key_password`.
    encrypted_key: str
    #: The password of `encrypted_key`.
    key_password: str = "open sesame"

    def __init__(self, directory: str | Path | None = None) -> None:
        """Make the keys, sign the certificates, write the files."""
        trustme = _import_trustme()
        if directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix="fault-server-"))
            weakref.finalize(self, _remove, self.directory, os.getpid())
        else:
            self.directory = Path(directory).resolve()
        self._ca = ca = trustme.CA()
        stranger = trustme.CA()
        self.ca_file = self._bundle(ca, "ca")
        self.other_ca_file = self._bundle(stranger, "other-ca")
        self._make_clients(ca, stranger)
        self._make_servers(ca, stranger)

    @classmethod
    def shared(cls) -> Authority:
        """Return the one authority of this process, made on first use.

        No lock, which a forked child might find held: of two that are made at once, the first is everybody's.
        """
        return _shared.get("authority") or _shared.setdefault("authority", cls())

    def server(self, kind: str) -> tuple[str, str]:
        """Return certificate chain and key of a server: `good`, `expired`, `misnamed` or `untrusted`."""
        if kind not in _CERTIFICATES:
            raise ValueError(f"kind must be one of {', '.join(_CERTIFICATES)}, got {kind!r}")
        return self._files(f"server-{kind}")

    def issue(self, name: str) -> tuple[str, str]:
        """Sign a client certificate for this common name; return certificate and key, anew with each call."""
        number = len(list(self.directory.glob("issued-*.key"))) + 1
        return self._write(self._ca.issue_cert(common_name=name), f"issued-{number}")

    def __repr__(self) -> str:
        """Say where the files are."""
        return f"<Authority in {str(self.directory)!r}>"

    def _make_clients(self, ca: trustme.CA, stranger: trustme.CA) -> None:
        alice = ca.issue_cert(common_name="alice")
        self.client = self._write(alice, "client")
        self.other_client = self._write(ca.issue_cert(common_name="bob"), "other-client")
        expired = ca.issue_cert(common_name="alice", not_after=_yesterday())
        self.expired_client = self._write(expired, "expired-client")
        self.stranger_client = self._write(stranger.issue_cert(common_name="mallory"), "stranger-client")
        self.encrypted_key = str(self.directory / "client-encrypted.key")
        Path(self.encrypted_key).write_bytes(_encrypted(alice.private_key_pem.bytes(), self.key_password))

    def _make_servers(self, ca: trustme.CA, stranger: trustme.CA) -> None:
        self._write(ca.issue_cert(*_NAMES), "server-good")
        self._write(ca.issue_cert(*_NAMES, not_after=_yesterday()), "server-expired")
        self._write(ca.issue_cert("misnamed.invalid"), "server-misnamed")
        self._write(stranger.issue_cert(*_NAMES), "server-untrusted")

    def _bundle(self, ca: trustme.CA, name: str) -> str:
        path = self.directory / f"{name}.pem"
        ca.cert_pem.write_to_path(path)
        return str(path)

    def _write(self, leaf: trustme.LeafCert, name: str) -> tuple[str, str]:
        certificate, key = self._files(name)
        Path(certificate).write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        Path(key).write_bytes(leaf.private_key_pem.bytes())
        return certificate, key

    def _files(self, name: str) -> tuple[str, str]:
        return str(self.directory / f"{name}.pem"), str(self.directory / f"{name}.key")


def _import_trustme() -> Any:
    try:
        import trustme
    except ImportError as error:
        raise ImportError(
            "the fault server makes its certificates with trustme: pip install trustme"
        ) from error
    return trustme


def _yesterday() -> datetime:
    return datetime.now(timezone.utc) - timedelta(days=1)


def _encrypted(key: bytes, password: str) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )


def _remove(directory: Path, owner: int) -> None:
    # A forked child inherits the finaliser; the files are still its parent's.
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)
