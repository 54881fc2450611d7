"""A failure to connect, as others are told of it."""

from __future__ import annotations

from http.client import HTTPException
from typing import Final

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_match_hostname import CertificateError

from ..retry.stages import Stage
from ..util.frozen import dataclass

#: What can go wrong on the wire; anything else is a mistake in a program.
WIRE_ERRORS: Final = (OSError, HTTPException, HTTPError, CertificateError)
#: What urllib3's exceptions call the connection that they are about.
_ABOUT: Final = ("conn", "_conn")


@dataclass(frozen=True, slots=True)
class SharedFailure:
    """What went wrong, and how far it had got."""

    error: BaseException
    stage: Stage
    #: Whether a proxy had been reached: then urllib3 does not blame it.
    reached_proxy: bool

    @classmethod
    def of(
        cls, error: BaseException, stage: Stage, reached_proxy: bool, outside: BaseException | None = None
    ) -> SharedFailure:
        """Keep an error without what its traceback and its connection hold.

        Args:
            error: the error.
            stage: how far it got.
            reached_proxy: whether a proxy had been reached.
            outside: what the caller was handling when it connected; that is its own affair.
        """
        return cls(_twin(error, None, outside), stage, reached_proxy)

    def again(self, connection: HTTPConnection) -> BaseException:
        """An exception of the same kind and words, about another connection: each thread raises its own."""
        return _twin(self.error, connection, None)


def _twin(
    error: BaseException, connection: HTTPConnection | None, outside: BaseException | None
) -> BaseException:
    """A copy without traceback, about this connection, and with copies of what it came from."""
    kind = type(error)
    twin = kind.__new__(kind, *error.args)
    twin.args = error.args
    for name, value in vars(error).items():
        vars(twin)[name] = connection if isinstance(value, HTTPConnection) or name in _ABOUT else value
    context, cause = error.__context__, error.__cause__
    if isinstance(context, WIRE_ERRORS) and context is not outside:
        twin.__context__ = _twin(context, connection, outside)
    if isinstance(cause, WIRE_ERRORS) and cause is not outside:
        twin.__cause__ = twin.__context__ if cause is context else _twin(cause, connection, outside)
    twin.__suppress_context__ = error.__suppress_context__
    return twin
