"""A failure that several callers share: each has an exception of its own, alike in all that can be seen."""

import socket
import ssl
from http.client import RemoteDisconnected

import pytest
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

from resilient_transport.retry.stages import Stage
from resilient_transport.wire.refusal import Refusal


def raised(make):
    """An exception as it is caught, with a traceback and a cause that has one."""
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as inner:
            raise make() from inner
    except Exception as error:
        return error


def verification():
    """What OpenSSL reports of an untrusted certificate."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message, error.reason = 20, "no issuer", "CERTIFICATE_VERIFY_FAILED"
    return error


ERRORS = [
    lambda: ConnectionResetError(104, "Connection reset by peer"),
    lambda: ssl.SSLError(1, "[SSL] an alert"),
    verification,
    lambda: RemoteDisconnected("Remote end closed connection without response"),
    lambda: NewConnectionError(HTTPSConnection("localhost"), "Failed to establish a new connection: refused"),
    lambda: NameResolutionError("localhost", HTTPSConnection("localhost"), socket.gaierror(-2, "unknown")),
    lambda: OSError("Tunnel connection failed: 503 Service Unavailable"),
]


@pytest.mark.parametrize("make", ERRORS)
def test_each_gets_a_twin(make):
    """Type, words, number, attributes and causes are the same; the objects are not."""
    error = raised(make)
    refusal = Refusal.of(error, Stage.HANDSHAKE, False)
    first, second = refusal.again(), refusal.again()

    assert len({id(one) for one in (error, refusal.error, first, second)}) == 4
    assert {type(one) for one in (first, second)} == {type(error)}
    assert (str(first), repr(first), first.args) == (str(error), repr(error), error.args)
    assert getattr(first, "errno", None) == getattr(error, "errno", None)
    assert vars(first) == vars(error)
    assert repr(first.__cause__) == repr(error.__cause__)
    assert first.__cause__ is first.__context__ is not second.__cause__


@pytest.mark.parametrize("make", ERRORS)
def test_no_frames_are_kept(make):
    """What is told is kept for a while: sockets and requests on the stack must not be."""
    error = raised(make)
    kept = Refusal.of(error, Stage.HANDSHAKE, False).error

    assert error.__traceback__ is not None is not error.__cause__.__traceback__
    assert (kept.__traceback__, kept.__cause__.__traceback__) == (None, None)
