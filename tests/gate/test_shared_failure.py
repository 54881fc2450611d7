"""A failure that several callers share: each has an exception of its own, alike in all that can be seen."""

import socket
import ssl
import traceback
from http.client import RemoteDisconnected

import pytest
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

from resilient_transport.gate.shared_failure import SharedFailure
from resilient_transport.retry.stages import Stage


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
    refusal = SharedFailure.of(error, Stage.HANDSHAKE, False)
    others = [HTTPSConnection("localhost") for _ in range(2)]
    first, second = map(refusal.again, others)

    assert len({id(one) for one in (error, refusal.error, first, second)}) == 4
    assert {type(one) for one in (first, second)} == {type(error)}
    assert (str(first), repr(first), first.args) == (str(error), repr(error), error.args)
    assert getattr(first, "errno", None) == getattr(error, "errno", None)
    assert {name: value for name, value in vars(first).items() if value is not others[0]} == {
        name: value for name, value in vars(error).items() if not isinstance(value, HTTPSConnection)
    }
    assert repr(first.__cause__) == repr(error.__cause__)
    assert first.__cause__ is first.__context__ is not second.__cause__


@pytest.mark.parametrize("make", ERRORS)
def test_no_frames_are_kept(make):
    """What is told is kept for a while: sockets and requests on the stack must not be."""
    error = raised(make)
    kept = SharedFailure.of(error, Stage.HANDSHAKE, False).error

    assert error.__traceback__ is not None is not error.__cause__.__traceback__
    assert (kept.__traceback__, kept.__cause__.__traceback__) == (None, None)


@pytest.mark.parametrize("make", ERRORS)
def test_no_connection_is_kept(make):
    """It has the record of its attempt, and that its request, headers and body."""
    kept = SharedFailure.of(raised(make), Stage.HANDSHAKE, False).error

    assert not [value for value in vars(kept).values() if isinstance(value, HTTPSConnection)]


class Picky(Exception):
    """An exception of a program's own, which cannot be made anew."""

    def __new__(cls, *, secret):
        """Take what is not in `args`."""
        return super().__new__(cls, secret)

    def __init__(self, *, secret):
        """Take the same."""


@pytest.mark.parametrize("outer", [Picky(secret="hunter2"), OSError(5, "hunter2")], ids=["foreign", "alike"])
def test_what_the_caller_was_handling_is_its_own(outer):
    """A call in an `except` block has that exception as its context; other threads' calls must not."""
    try:
        raise outer
    except Exception as outside:
        error = raised(ERRORS[0])
        refusal = SharedFailure.of(error, Stage.HANDSHAKE, False, outside)
    twin = refusal.again(HTTPSConnection("localhost"))

    assert "hunter2" in "".join(traceback.format_exception(error))
    assert "hunter2" not in "".join(traceback.format_exception(twin))
    assert repr(twin.__cause__) == repr(error.__cause__)
