"""Values from outside the code that makes a call: `override` around it, and the environment.

The only module that reads the environment.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: What points `requests` or OpenSSL to other certificates or to a proxy. `REQUESTS_CA_BUNDLE` beats
#: `Session.verify`, so that tests, demo and benchmarks take these out of what they run.
_FOREIGN: Final = frozenset(
    {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What `override` says for the calls of its block."""

    #: The most repetitions of a call.
    retries: int | None = None
    #: The moment of the monotonic clock at which everything in the block has to be over.
    expires: float | None = None
    #: Whether calls that are not idempotent may be repeated.
    retry_non_idempotent: bool | None = None
    #: The block that set this, and what held outside of it.
    block: object = None
    outside: Overrides | None = None


_NOTHING: Final = Overrides()
_current: ContextVar[Overrides] = ContextVar("resilient_transport_overrides", default=_NOTHING)


def overrides() -> Overrides:
    """What holds for a call made here and now."""
    return _current.get()


class override:
    """Settings for the calls of one block, stronger than those of the adapter.

    Blocks nest: the inner one wins, except that an outer deadline is never put off.

    Args:
        retries: the most repetitions of a call; 0 turns them off.
        deadline: seconds from the start of the block until its calls, with all their redirects, have to
            be over.
        retry_non_idempotent: whether POST, PATCH and the like may be repeated.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a negative value.
    """

    def __init__(
        self,
        *,
        retries: int | None = None,
        deadline: float | None = None,
        retry_non_idempotent: bool | None = None,
    ) -> None:
        _check("retries", retries, int, "a number of repetitions")
        _check("deadline", deadline, (int, float), "a number of seconds")
        if retry_non_idempotent is not None and not isinstance(retry_non_idempotent, bool):
            raise TypeError(f"retry_non_idempotent is True, False or None, not {retry_non_idempotent!r}")
        self._own = Overrides(retries=retries, retry_non_idempotent=retry_non_idempotent)
        self._deadline = deadline

    def __enter__(self) -> override:
        _current.set(self._merged())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.set(_current.get().outside or _NOTHING)

    def wrap(self, function: Callable[P, R]) -> Callable[P, R]:
        """Carry these settings into another thread: each call of the result is a block of its own.

        Within a `with override(...)` block, the block's settings and its deadline are carried along.
        """
        here = _current.get()
        around = here if here.block is self else None

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            token = _current.set(around or self._merged())
            try:
                return function(*args, **kwargs)
            finally:
                _current.reset(token)

        return call

    def _merged(self) -> Overrides:
        outer = _current.get()
        given = {
            name: value
            for name in ("retries", "retry_non_idempotent")
            if (value := getattr(self._own, name)) is not None
        }
        expires = outer.expires
        if self._deadline is not None:
            own = time.monotonic() + self._deadline
            expires = own if expires is None else min(expires, own)
        return replace(outer, expires=expires, block=self, outside=outer, **given)


def _check(name: str, value: object, kind: type | tuple[type, ...], what: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{name} is {what} or None, not {value!r}")
    if not value >= 0:  # type: ignore[operator]
        raise ValueError(f"{name} is {what}, 0 or more, not {value!r}")


def clean_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without what points TLS to other certificates or HTTP to a proxy."""
    source = os.environ if environment is None else environment
    return {name: value for name, value in source.items() if name.upper() not in _FOREIGN}
