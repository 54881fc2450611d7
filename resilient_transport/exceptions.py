"""What is raised besides what `requests` itself would raise."""

from __future__ import annotations

import weakref
from typing import Any, Final

from requests import PreparedRequest
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import ReadTimeout as RequestsReadTimeout
from requests.exceptions import RequestException, SSLError, Timeout
from urllib3.exceptions import HTTPError

#: What the pickle of an exception has no place for: headers, and what pickles.
_LEFT_BEHIND: Final = ("request", "response", "__reduce_ex__", "__reduce__")


def _reduced(error: BaseException) -> tuple[Any, ...]:
    """What is pickled of an exception."""
    state = {name: value for name, value in vars(error).items() if name not in _LEFT_BEHIND}
    inner = error.args[0] if error.args else None
    words = inner.args if isinstance(inner, HTTPError) else ()
    if words and all(isinstance(word, str) for word in words):
        # The pickle of urllib3's own error would have a pool's name, and what was said of it, no more.
        return _with_words, (type(error), error.args, words), state
    return type(error), error.args, state


def _with_words(kind: type[BaseException], args: tuple[Any, ...], words: tuple[str, ...]) -> BaseException:
    """An exception out of a pickle, around an error of urllib3's that says these words."""
    error = kind(*args)
    error.args[0].args = words
    return error


class _Portable(RequestException):
    """An exception whose pickle leaves the request, with its headers, behind: it holds no secrets."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _reduced(self)


class _Unpickled(PreparedRequest):
    """A request whose pickle is None."""

    @classmethod
    def of(cls, request: Any) -> _Unpickled | None:
        """The same request."""
        if request is None:
            return None
        twin = cls()
        vars(twin).update(vars(request))
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


class _Reducer:
    """Does for one exception of requests' own what `_Portable` does for ours; holds no reference to it."""

    __slots__ = ("_error",)

    def __init__(self, error: BaseException) -> None:
        self._error = weakref.ref(error)

    def __call__(self, protocol: int | None = None) -> tuple[Any, ...]:
        error: Any = self._error()
        if protocol is None:
            # tblib asks so, and then takes all attributes as they are.
            request = _Unpickled.of(error.request)
            for name in _LEFT_BEHIND:
                vars(error).pop(name, None)
            error.request, error.response = request, None
        return _reduced(error)[: 2 if protocol is None else 3]


def leave_request_behind(error: BaseException) -> None:
    """Let the pickle of an exception, or a copy, hold no request; the exception itself has it, as in stock.

    One that says itself how it is pickled is left alone.
    """
    own, stock = ((kind.__reduce__, kind.__reduce_ex__) for kind in (type(error), RequestException))
    if isinstance(error, RequestException) and own == stock:
        # pickle asks the object itself before its class.
        error.__reduce_ex__ = error.__reduce__ = _Reducer(error)  # type: ignore[method-assign,assignment]


class DeadlineExceeded(_Portable, Timeout):
    """The whole call took longer than its deadline (`RetryPolicy.deadline` or `override(deadline=...)`).

    It is a `requests.exceptions.Timeout`. The failure of the attempt that got furthest, if there was one,
    is its `__cause__`.
    """


class ReadTimeout(_Portable, RequestsReadTimeout, RequestsConnectionError):
    """The server was silent for too long, where a `urllib3.util.Retry` or a number says how often to repeat.

    Stock raises `requests.exceptions.ConnectionError` then when the repetitions are used up, and
    `requests.exceptions.ReadTimeout` where nobody has said so. It is both, so that either is caught.
    """


class EndpointDisabled(_Portable, RequestsConnectionError):
    """Calls to this URL are switched off (`RESILIENT_TRANSPORT_DISABLE` or `disable=`); nothing was opened.

    It is a `requests.exceptions.ConnectionError`.
    """


class CircuitOpen(_Portable, RequestsConnectionError):
    """The origin has failed again and again and is left alone for now (`RetryPolicy(breaker=...)`).

    It is a `requests.exceptions.ConnectionError`. Nothing was sent for it, unless its `attempts` tell some.
    """

    #: Seconds until a call may try again; 0: another one is trying now.
    retry_after: float = 0.0


class ClientCertificateRejected(_Portable, SSLError):
    """The server refused the client certificate, or misses one, and said so in a TLS alert (RFC 8446, 6.2).

    It is a `requests.exceptions.SSLError`. Repeating the call would not help, so it was not repeated.
    """

    #: The alert, as the RFC spells it: "certificate_required", "unknown_ca", "certificate_expired" and so on.
    alert: str = ""
    #: The subject of the certificate that was shown, such as "CN=client, O=Example"; None: none was shown,
    #: or it is in a context of the caller's own.
    subject: str | None = None
    #: When it expires, as `ssl` spells it: "Jun  1 12:00:00 2026 GMT"; None where `subject` is.
    not_after: str | None = None


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an exception (PEP 678); on Python 3.10 nobody prints it, and it does no harm."""
    notes = getattr(error, "__notes__", None)
    error.__notes__ = [*(notes or ()), note]  # type: ignore[attr-defined,unused-ignore]
