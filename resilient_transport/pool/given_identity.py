"""An identity that no file holds: what the callable of `identity=` returns."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NoReturn

from urllib3.exceptions import SSLError

from ..util.frozen import dataclass, field

#: What is in every certificate, and in every key, in PEM form.
_CERTIFICATE, _KEY = b"CERTIFICATE-----", b"PRIVATE KEY-----"


class UnusableSettings(SSLError):
    """Settings of TLS that cannot be used. Its words say which and what to do, and hold no secrets."""


class NoIdentity(ValueError):
    """What an identity would be made of is none. Its words hold no secrets."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is: certificate, key and trusted authorities in memory, for `ResilientAdapter(identity=)`.

    It does not pickle, since it holds a private key.

    Args:
        cert: the client certificate in PEM form, with the intermediate certificates after it; str or bytes.
        key: its private key in PEM form; None: it stands in `cert`, too.
        password: of the key, if that is encrypted; str or bytes.
        ca: certificates of the trusted authorities in PEM form; None: `verify` decides.

    Raises:
        TypeError: something is neither str nor bytes.
        ValueError: there is no certificate, or no key, in PEM form.
    """

    #: The client certificate in PEM form, with the intermediate certificates after it.
    cert: str | bytes = field(repr=False)
    #: Its private key in PEM form; None: it stands in `cert`, too.
    key: str | bytes | None = field(default=None, repr=False)
    #: The password of the key; None: the key is not encrypted.
    password: str | bytes | None = field(default=None, repr=False)
    #: The certificates of the trusted authorities in PEM form; None: `verify` decides.
    ca: str | bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("cert", "key", "password", "ca"):
            value = getattr(self, name)
            if not (isinstance(value, (str, bytes)) or (value is None and name != "cert")):
                raise TypeError(f"{name}= of an Identity takes str or bytes, not {type(value).__name__}")
            _refuse_what_is_no_text(f"{name}= of an Identity", value)
        if _CERTIFICATE not in as_bytes(self.cert):
            raise NoIdentity(
                "cert= of an Identity takes a certificate in PEM form, and neither a path nor DER"
            )
        if _KEY not in as_bytes(self.cert if self.key is None else self.key):
            where = "cert=, since there is no key=," if self.key is None else "key="
            raise NoIdentity(f"{where} of an Identity has to hold the private key in PEM form")
        if self.ca is not None and _CERTIFICATE not in as_bytes(self.ca):
            raise NoIdentity("ca= of an Identity takes certificates in PEM form, and neither a path nor DER")

    @classmethod
    def from_pkcs12(
        cls, data: bytes, password: str | bytes | None = None, *, ca: str | bytes | None = None
    ) -> Identity:
        """The identity in a PKCS#12 file (RFC 7292): its certificate and key, and the chain behind them.

        Args:
            data: what is in the file.
            password: opens it.
            ca: certificates of the trusted authorities in PEM form; those in the file belong to the chain.

        Raises:
            ImportError: the package cryptography is not installed (the extra `pkcs12`).
            ValueError: the password is wrong, the file is none, or it has no key or no certificate.
        """
        _refuse_what_is_no_text("the password of PKCS#12 data", password)
        key, cert = _opened(data, None if password is None else as_bytes(password))
        return cls(cert, key, ca=ca)

    def __reduce__(self) -> NoReturn:
        raise TypeError("no pickle may hold a private key: let identity= be an importable function")

    def __repr__(self) -> str:
        given = (name for name in ("cert", "key", "password", "ca") if getattr(self, name) is not None)
        return f"Identity({', '.join(f'{name}=...' for name in given)})"


def as_bytes(value: str | bytes) -> bytes:
    """A text in PEM form, or a password, as bytes."""
    return value.encode() if isinstance(value, str) else value


def is_text(value: str | bytes | None) -> bool:
    """Whether a value can be encoded; not what was read with `errors="surrogateescape"`, and is no text.

    The error of the codec holds all of it. So it ends here, and is no other error's context.
    """
    if isinstance(value, str):
        with suppress(UnicodeEncodeError):
            value.encode()
            return True
        return False
    return True


def _refuse_what_is_no_text(what: str, value: str | bytes | None) -> None:
    if not is_text(value):
        raise NoIdentity(f"{what} is a text that cannot be encoded: give bytes")


def _opened(data: bytes, password: bytes | None) -> tuple[bytes, bytes]:
    """The key, and the certificate with its chain, of a PKCS#12 file in PEM form."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.serialization import pkcs12
    except ImportError as error:
        raise ImportError(
            "Identity.from_pkcs12 needs cryptography, the extra [pkcs12]: pip install cryptography"
        ) from error
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"from_pkcs12 takes the bytes of a file, not {type(data).__name__}")
    found: Any
    try:
        found = pkcs12.load_pkcs12(bytes(data), password)
    except UnsupportedAlgorithm as error:
        raise NoIdentity(
            "the PKCS#12 data is encrypted in a way that cryptography does not read, such as RC2: write it "
            "anew with `openssl pkcs12 -legacy -in old.p12 -nodes | openssl pkcs12 -export -out new.p12`"
        ) from error
    except (TypeError, ValueError) as error:
        what = "it wants a password" if password is None else "the password is wrong"
        raise NoIdentity(f"the PKCS#12 data cannot be read: {what}, or it is no PKCS#12") from error
    if found.key is None:
        raise NoIdentity("there is no private key in the PKCS#12 data")
    if found.cert is None:
        raise NoIdentity("no certificate in the PKCS#12 data belongs to its private key")
    key = found.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = [found.cert, *found.additional_certs]
    return key, b"".join(one.certificate.public_bytes(serialization.Encoding.PEM) for one in chain)
