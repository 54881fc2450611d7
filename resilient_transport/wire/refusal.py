"""A failure to connect, as others are told of it."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPException
from typing import Final

from urllib3.exceptions import HTTPError
from urllib3.util.ssl_match_hostname import CertificateError

from ..retry.stages import Stage

#: What can go wrong on the wire; anything else is a mistake in a program.
WIRE_ERRORS: Final = (OSError, HTTPException, HTTPError, CertificateError)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What went wrong, and how far it had got."""

    error: BaseException
    stage: Stage
    #: Whether a proxy had been reached: then urllib3 does not blame it.
    reached_proxy: bool

    @classmethod
    def of(cls, error: BaseException, stage: Stage, reached_proxy: bool) -> Refusal:
        """Keep an error without the frames, sockets and requests that its traceback holds."""
        return cls(_twin(error), stage, reached_proxy)

    def again(self) -> BaseException:
        """An exception of the same kind, words and causes: each thread raises one of its own."""
        return _twin(self.error)


def _twin(error: BaseException) -> BaseException:
    """A copy without traceback, and with copies of what it came from."""
    kind = type(error)
    twin = kind.__new__(kind, *error.args)
    twin.args = error.args
    vars(twin).update(vars(error))
    if error.__context__ is not None:
        twin.__context__ = _twin(error.__context__)
    if error.__cause__ is not None:
        is_context = error.__cause__ is error.__context__
        twin.__cause__ = twin.__context__ if is_context else _twin(error.__cause__)
    twin.__suppress_context__ = error.__suppress_context__
    return twin
