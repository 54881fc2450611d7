"""What a certificate says of itself: whose it is, and for how long it is valid.

`ssl` reads a certificate only if a peer has sent it, or if it is an authority's. So the few fields that are
needed are taken out of the DER here (RFC 5280, sections 4.1 and 4.1.2.5). Nothing is verified: OpenSSL has
loaded it, and whom it convinces is the server's affair.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from ipaddress import ip_address
from typing import Final

from ..util.frozen import dataclass

#: A certificate in a file that may hold anything else besides. OpenSSL knows three labels; a "TRUSTED" one
#: adds what the certificate is trusted for, or is not (`openssl x509 -addtrust`, `-addreject`).
CERTIFICATE: Final = re.compile(
    rb"-----BEGIN (X509 |TRUSTED |)CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END \1CERTIFICATE-----"
)

#: What comes first in a certificate where it says its version.
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
#: What holds the extensions; the kinds of names in one of them.
_EXTENSIONS: Final = 0xA3
_DNS_NAME, _ADDRESS = 0x82, 0x87
#: Object identifiers, as they are encoded: 2.5.29.17 subjectAltName; 1.3.6.1.5.5.7.1.1
#: authorityInfoAccess, and 1.3.6.1.5.5.7.48.2 caIssuers in it.
_NAMES: Final = b"\x55\x1d\x11"
_ACCESS: Final = b"\x2b\x06\x01\x05\x05\x07\x01\x01"
_ISSUER_AT: Final = b"\x2b\x06\x01\x05\x05\x07\x30\x02"
#: By the tag of a text, how it is encoded; all others are read as UTF-8, of which ASCII is a part.
_ENCODINGS: Final = {0x14: "latin-1", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
#: The parts of a name, by their object identifiers: the short ones that all tools print, else OpenSSL's.
_PARTS: Final = {
    "2.5.4.3": "CN",
    "2.5.4.4": "surname",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "streetAddress",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.42": "givenName",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "userId",
    "0.9.2342.19200300.100.1.25": "domainComponent",
    "1.2.840.113549.1.9.1": "emailAddress",
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate, as far as it concerns who shows it."""

    #: Such as "CN=client, O=Example", in the certificate's own order; it may be empty.
    subject: str
    #: The first and the last second in which it is valid, as POSIX has it.
    not_before: float
    not_after: float
    #: SHA-256 of the certificate: no other has the same.
    fingerprint: bytes
    #: Whether it is its own issuer, as that of a root authority is.
    is_self_issued: bool = False
    #: Who has signed it, written as the subject is.
    issuer: str = ""
    #: The names and addresses that a server's is for.
    names: tuple[str, ...] = ()
    #: Whether it says where its issuer's certificate can be had: those of public authorities do.
    tells_issuer: bool = False


def chain_in(pem: bytes) -> list[Certificate]:
    """The certificates in a PEM file, in their order, up to one that cannot be read."""
    chain: list[Certificate] = []
    for block in CERTIFICATE.finditer(pem):
        found = _of_block(block[2])
        if found is None:
            break
        chain.append(found)
    return chain


def from_der(data: bytes) -> Certificate | None:
    """What a certificate in DER says of itself; None: it cannot be read."""
    try:
        return _of_der(data)
    except (ValueError, IndexError, OverflowError):
        return None


def _of_block(text: bytes) -> Certificate | None:
    try:
        return from_der(a2b_base64(text))
    except ValueError:
        return None


def _of_der(data: bytes) -> Certificate:
    # What follows in a "TRUSTED CERTIFICATE" is no part of it.
    _, certificate, end = _element(data, 0)
    _, signed, _ = _element(certificate, 0)
    fields = [field for field in _elements(signed) if field[0] != _VERSION]
    _, _, (_, issuer), (_, validity), (_, subject) = fields[:5]
    not_before, not_after = (_moment(tag, text) for tag, text in list(_elements(validity))[:2])
    names, tells_issuer = _of_extensions(fields)
    return Certificate(
        _name(subject), not_before, not_after, sha256(data[:end]).digest(), issuer == subject, _name(issuer),
        names, tells_issuer,
    )  # fmt: skip


def _of_extensions(fields: list[tuple[int, bytes]]) -> tuple[tuple[str, ...], bool]:
    """The names, and whether the issuer's certificate can be had; nothing, if they cannot be read."""
    try:
        extensions = dict(_extensions(fields))
        names = tuple(_alternative_names(extensions.get(_NAMES, b"")))
    except (ValueError, IndexError):
        return (), False
    return names, _ISSUER_AT in extensions.get(_ACCESS, b"")


def _extensions(fields: list[tuple[int, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """The identifier and the content of each extension."""
    for tag, content in fields[5:]:
        if tag == _EXTENSIONS:
            for _, extension in _elements(_element(content, 0)[1]):
                (_, kind), *_, (_, inner) = _elements(extension)
                yield kind, inner


def _alternative_names(extension: bytes) -> Iterator[str]:
    """Names and addresses (RFC 5280, section 4.2.1.6)."""
    if not extension:
        return
    for tag, text in _elements(_element(extension, 0)[1]):
        if tag == _DNS_NAME:
            yield text.decode("ascii", "replace")
        elif tag == _ADDRESS and len(text) in (4, 16):
            yield str(ip_address(text))


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """The element that begins here: its tag, what is in it, and where it ends.

    Raises:
        ValueError, IndexError: there is none.
    """
    tag, length, begin = data[at], data[at + 1], at + 2
    if length >= 0x80:
        size = length - 0x80
        length, begin = int.from_bytes(data[begin : begin + size], "big"), begin + size
    end = begin + length
    if end > len(data):
        raise ValueError("cut short")
    return tag, data[begin:end], end


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, content, at = _element(data, at)
        yield tag, content


def _moment(tag: int, text: bytes) -> float:
    """A time as RFC 5280 has it: "YYMMDDHHMMSSZ" up to 2049, "YYYYMMDDHHMMSSZ" later."""
    digits = text.decode("ascii")
    if tag == _UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    if len(digits) != 15 or digits[14] != "Z" or not digits[:14].isdigit():
        raise ValueError("no time")
    month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(4, 14, 2))
    moment = datetime(int(digits[:4]), month, day, hour, minute, second)
    return (moment - datetime(1970, 1, 1)).total_seconds()


def _name(name: bytes) -> str:
    """A name as one line."""
    parts = [list(_elements(pair)) for _, several in _elements(name) for _, pair in _elements(several)]
    return ", ".join(f"{_kind(kind)}={_text(tag, value)}" for (_, kind), (tag, value), *_ in parts)


def _text(tag: int, value: bytes) -> str:
    return value.decode(_ENCODINGS.get(tag, "utf-8"), "replace")


def _kind(identifier: bytes) -> str:
    """What a part of a name is called; its object identifier, if it has no name here."""
    numbers, number = [], 0
    for byte in identifier:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    dotted = ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
    return _PARTS.get(dotted, dotted)
