"""Digests with which a server vouches for a body: RFC 9530, and the Content-MD5 of RFC 1864."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

#: A member of a dictionary whose value is a byte sequence (RFC 8941), of an algorithm that RFC 9530 calls
#: active.
_MEMBER: Final = re.compile(r"(?:^|,)[ \t]*(sha-256|sha-512)=:([A-Za-z0-9+/]+={0,2}):")
_MD5: Final = re.compile(r"[A-Za-z0-9+/]{22}==")
_ALGORITHMS: Final = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}


_FIELDS: Final = ("repr-digest", "content-digest", "content-md5")


def may_have_digests(headers: Mapping[str, str]) -> bool:
    """Whether a response tells any digest of its body."""
    return any(map(headers.__contains__, _FIELDS))


class Digests:
    """What the digests of a body are, beside what they should be.

    Args:
        expected: for each, the field that tells it, its algorithm and its value.
    """

    def __init__(self, expected: list[tuple[str, Any, bytes]]) -> None:
        self._expected = expected

    @classmethod
    def of(cls, headers: Mapping[str, str], whole: bool) -> Digests | None:
        """The digests that a response tells of its body; None if there is none that can be checked.

        Args:
            headers: the response's.
            whole: whether its body is the whole representation, of which alone some of them speak.
        """
        expected = []
        for field in ("Repr-Digest", "Content-Digest") if whole else ("Content-Digest",):
            for name, value in _MEMBER.findall(headers.get(field) or ""):
                expected.append((field, _ALGORITHMS[name](), _decoded(value)))
        value = (headers.get("Content-MD5") or "").strip() if whole else ""
        if _MD5.fullmatch(value):
            expected.append(("Content-MD5", hashlib.md5(usedforsecurity=False), _decoded(value)))
        return cls(expected) if expected else None

    def update(self, data: Any) -> None:
        """Take in some bytes of the body."""
        for _, found, _ in self._expected:
            found.update(data)

    def mismatch(self) -> str | None:
        """The field whose digest is another one; None: all are what they should be."""
        return next((field for field, found, value in self._expected if found.digest() != value), None)


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value)
    except binascii.Error:
        # No digest is empty.
        return b""
