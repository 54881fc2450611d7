"""Digests of bodies: RFC 9530 and Content-MD5."""

import base64
import hashlib

import pytest

from resilient_transport.body.digests import Digests, may_have_digests

BODY = b"a body"


def of(algorithm, body=BODY):
    """Return a digest in base64."""
    return base64.b64encode(hashlib.new(algorithm, body).digest()).decode()


@pytest.mark.parametrize(
    "told",
    [
        {"Repr-Digest": f"sha-256=:{of('sha256')}:"},
        {"Content-Digest": f"sha-512=:{of('sha512')}:"},
        {"Repr-Digest": f"unixsum=:AAA=:, sha-256=:{of('sha256')}:;a=1"},
        {"Content-MD5": of("md5")},
    ],
)
def test_a_digest_is_compared(told):
    """With what came, piece by piece."""
    same, other = Digests.of(told, whole=True), Digests.of(told, whole=True)
    same.update(BODY[:2])
    same.update(memoryview(BODY)[2:])
    other.update(BODY[1:])

    assert same.mismatch() is None
    assert other.mismatch() == next(iter(told))
    assert may_have_digests({name.lower(): value for name, value in told.items()})


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"Repr-Digest": f"sha=:{of('sha1')}:"},
        {"Repr-Digest": "sha-256=?1"},
        {"Repr-Digest": "sha-256=:!:"},
        {"Content-MD5": "nonsense"},
    ],
)
def test_what_cannot_be_compared_is_passed_over(told):
    """An algorithm that RFC 9530 warns of, or no digest at all."""
    assert Digests.of(told, whole=True) is None


def test_a_part_is_not_compared_with_the_whole():
    """Repr-Digest and Content-MD5 speak of all of it, Content-Digest of what is in the message."""
    told = {"Repr-Digest": f"sha-256=:{of('sha256')}:", "Content-MD5": of("md5")}

    assert Digests.of(told, whole=False) is None
    assert Digests.of({"Content-Digest": f"sha-256=:{of('sha256')}:"}, whole=False) is not None


def test_a_digest_of_the_wrong_length_is_a_mismatch():
    """No body has it."""
    told = Digests.of({"Repr-Digest": "sha-256=:QUJD:"}, whole=True)

    assert told.mismatch() == "Repr-Digest"
