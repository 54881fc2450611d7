"""For scripts and plugins: mount the adapter on one session, or on every session a program creates."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter

from .adapter.adapter import ResilientAdapter
from .adapter.arguments import AdapterArguments

if sys.version_info >= (3, 11):
    from typing import Unpack
elif TYPE_CHECKING:
    # Python 3.10 has none, and every type checker knows this one.
    from typing_extensions import Unpack

_stock = requests.sessions.HTTPAdapter
_installed: list[Installation] = []


def mount(session: requests.Session, **settings: Unpack[AdapterArguments]) -> ResilientAdapter:
    """Mount one adapter on a session, for https and http.

    Args:
        session: the session.
        settings: what `ResilientAdapter` takes.

    Returns:
        The adapter.
    """
    adapter = ResilientAdapter(**settings)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return adapter


class _StandIn(type):
    """A class that passes for `HTTPAdapter` in `isinstance`, and whose instances are `ResilientAdapter`s."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, HTTPAdapter)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        settings = vars(cls).get("settings")
        if settings is None:
            # A class that somebody has derived from it is made as any other.
            return super().__call__(*args, **kwargs)
        return ResilientAdapter(*args, **{**settings, **kwargs})


class Installation:
    """The result of `install`; as a context manager, it ends with its block."""

    def __init__(self, settings: AdapterArguments) -> None:
        self.settings = settings
        #: What stands in for `requests.sessions.HTTPAdapter`.
        self.stand_in = _StandIn("HTTPAdapter", (ResilientAdapter,), {"settings": settings})

    def __enter__(self) -> Installation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ValueError):
            # It was ended before, or all were.
            _installed.remove(self)
        _apply()

    def __repr__(self) -> str:
        return f"<Installation of ResilientAdapter, {'active' if self in _installed else 'ended'}>"


def install(**settings: Unpack[AdapterArguments]) -> Installation:
    """Give every `requests.Session` created from now on this transport, `requests.get()` included.

    Sessions that exist keep what they have, and one that mounts an adapter of its own keeps that.
    All share one pool manager, so that connections stay warm from one `requests.get()` to the next.

    Args:
        settings: what `ResilientAdapter` takes; refused here rather than at the first session.

    Returns:
        A context manager that ends the installation with its block. The newest one is in force.
    """
    ResilientAdapter(**settings).close()
    installation = Installation(settings)
    _installed.append(installation)
    _apply()
    return installation


def uninstall() -> None:
    """End every installation: new sessions get the adapter that they had before."""
    _installed.clear()
    _apply()


def _in_force() -> Any:
    newest = _installed[-1:]
    return newest[0].stand_in if newest else _stock


def _apply() -> None:
    """Put what is in force in the place that `Session.__init__` looks at each time it mounts its defaults.

    No lock: whoever has written last looks again afterwards, so that what is newest is there in the end.
    """
    written: Any = None
    while written is not _in_force():
        written = requests.sessions.HTTPAdapter = _in_force()
