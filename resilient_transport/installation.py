"""For scripts and plugins: mount the adapter on one session, or on every session a program creates."""

from __future__ import annotations

import sys
import warnings
from abc import ABCMeta
from collections.abc import Sequence
from contextlib import suppress
from functools import wraps
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final

import requests
from requests import sessions
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from .adapter.adapter import ResilientAdapter
from .adapter.arguments import AdapterArguments
from .adapter.session_mount import show_adapters_to, show_adapters_to_nobody
from .adapter.takeover import take_over
from .settings.environment import unknown
from .telemetry.left_alone import note

if sys.version_info >= (3, 11):
    from typing import Unpack
elif TYPE_CHECKING:
    # Python 3.10 has none, and every type checker knows this one.
    from typing_extensions import Unpack

_stock = sessions.HTTPAdapter
_installed: list[Installation] = []
#: The place of an installation that no file and line has made.
_COMMAND_LINE: Final = "the command line"
#: What `HTTPAdapter` takes by position.
_BY_POSITION: Final = ("pool_connections", "pool_maxsize", "max_retries", "pool_block")


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


class _StandIn(ABCMeta):
    """The kind of class that passes for `HTTPAdapter`, and whose instances are `ResilientAdapter`s.

    One that somebody has derived from such a class, perhaps an abstract one, is a class as any other.
    """

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, HTTPAdapter) if _stands_in(cls) else super().__instancecheck__(instance)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, HTTPAdapter) if _stands_in(cls) else super().__subclasscheck__(kind)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if not _stands_in(cls):
            return super().__call__(*args, **kwargs)
        settings = vars(cls)["_installed_settings"]
        if not (args or kwargs):
            return ResilientAdapter(**settings)
        # What is said here is nearer to the call than the settings are, as with one that is mounted.
        adapter = HTTPAdapter(*args, **kwargs)
        if kwargs.get("max_retries", args[2] if len(args) > 2 else None) == 0:
            # Of its own, `HTTPAdapter` would not tell that from nothing.
            adapter.max_retries = Retry(0)
        take_over(adapter, settings)
        return adapter


def _stands_in(kind: type) -> bool:
    return "_installed_settings" in vars(kind)


def _stand_in_with(settings: AdapterArguments) -> Any:
    """A class for the place of `HTTPAdapter`; those that are derived from it have these settings, too."""

    class StandIn(ResilientAdapter, metaclass=_StandIn):
        # Where it is found, so that it can be pickled.
        __module__, __qualname__ = "requests.sessions", "HTTPAdapter"
        _installed_settings = settings

        @wraps(ResilientAdapter.__init__)  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **_besides(args, kwargs, settings))

    StandIn.__name__ = "HTTPAdapter"
    return StandIn


def _besides(args: Sequence[Any], kwargs: dict[str, Any], settings: AdapterArguments) -> dict[str, Any]:
    """Keyword arguments, and settings for what neither they nor those by position say."""
    said = {*kwargs, *_BY_POSITION[: len(args)]}
    if said & {"max_retries", "policy"}:
        said |= {"max_retries", "policy"}
    return {**{name: value for name, value in settings.items() if name not in said}, **kwargs}


class Installation:
    """The result of `install`: `end` ends it and no other. As a context manager, it ends with its block."""

    def __init__(self, settings: AdapterArguments, mounted: bool, place: str) -> None:
        self.settings = settings
        #: Whether adapters that are mounted are taken over.
        self.mounted = mounted
        #: The file and line of the call of `install`, or the plugin that has called it.
        self.place = place
        #: What stands in for `requests.sessions.HTTPAdapter`.
        self.stand_in = _stand_in_with(settings)

    def end(self) -> None:
        """End this one. The newest of those that have not ended is in force then; without any, stock is."""
        with suppress(ValueError):
            # It was ended before, or all were.
            _installed.remove(self)
        _apply()

    def differs_in(self, settings: AdapterArguments, mounted: bool) -> list[str]:
        """The names of the arguments of `install` that are others here."""
        ours = {"mounted": self.mounted, **self.settings}
        theirs = {"mounted": mounted, **settings}
        return sorted(name for name in ours.keys() | theirs.keys() if not _is_same(name, ours, theirs))

    def __enter__(self) -> Installation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def __repr__(self) -> str:
        state = "active" if self in _installed else "ended"
        return f"<Installation of ResilientAdapter at {self.place}, {state}>"


def install(*, mounted: bool = True, **settings: Unpack[AdapterArguments]) -> Installation:
    """Give every `requests.Session` created from now on this transport, `requests.get()` included.

    All share one pool manager, so that connections stay warm from one `requests.get()` to the next. Sessions
    that exist keep what they have, until they mount something.

    An `HTTPAdapter` that any session mounts from now on becomes a `ResilientAdapter`, too, and stays the same
    object. What it was told itself holds: its pool arguments, the keyword arguments of its pool manager, and
    its `max_retries`, which `HTTPAdapter` keeps as a `Retry`; without that, these settings hold, and without
    a `backoff_factor` in it there are pauses all the same. `HTTPAdapter(max_retries=0)` keeps what
    `HTTPAdapter()` keeps, so that these settings hold there, too: `max_retries=Retry(0)` says none.

    An adapter of a class of its own stays as it is; `stats().left_alone` names it. So does an `HTTPAdapter`
    with methods or pools of its own, or a `Retry` that cannot be translated; the log says why, at DEBUG.

    Installations nest: the newest one that has not ended is in force. A plugin keeps what this returns and
    calls its `end`, which ends no other.

    Args:
        mounted: take over each `HTTPAdapter` that is mounted; False: leave it as it is.
        settings: what `ResilientAdapter` takes; refused here rather than at the first session.

    Returns:
        What ends the installation, by its `end` or as a context manager.

    Warns:
        RuntimeWarning: another installation, whose arguments are others, has not ended. The warning names
            both places and those arguments, and says which of both holds.

    Raises:
        TypeError, ValueError: as `ResilientAdapter` does.
    """
    caller = _caller()
    return _installed_at(_place(caller), settings, mounted, caller)


def install_for(owner: str, settings: AdapterArguments, mounted: bool) -> Installation:
    """What the plugin for dask does: `install(...)`, in the place of what the same owner has installed.

    That may end later, and is not warned of.

    Args:
        owner: what a warning names in place of a file and line.
        settings, mounted: as in `install`.
    """
    return _installed_at(owner, settings, mounted, _caller(), replaced=owner)


def _installed_at(
    place: str, settings: AdapterArguments, mounted: bool, caller: FrameType, replaced: str | None = None
) -> Installation:
    first_of(settings, mounted).close()
    # Before anything is installed: a program may have made it an error.
    _warn_of_others(settings, mounted, place, caller, replaced)
    installation = Installation(settings, mounted, place)
    _installed.append(installation)
    _apply()
    return installation


def first_of(settings: AdapterArguments, mounted: bool) -> ResilientAdapter:
    """An adapter as an installation with these arguments would make it, if they are allowed."""
    if not isinstance(mounted, bool):
        raise TypeError(f"mounted takes True or False, not {mounted!r}")
    return ResilientAdapter(**settings)


def install_below_program() -> None:
    """What `run` does: `install()`, of which no installation of the program is said to differ.

    Raises:
        ValueError: the environment says something that is not allowed.
    """
    # What it would warn of was told when the program was started.
    list(unknown())
    ResilientAdapter().close()
    _installed.append(Installation({}, True, _COMMAND_LINE))
    _apply()


def uninstall() -> None:
    """End every installation: new sessions, and what is mounted, get what they had before.

    For a program that owns its process, and for tests. A plugin ends its own, see `install`.
    """
    _installed.clear()
    _apply()


def _is_same(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether an argument is the same twice. A `Retry` has no equality of its own."""
    if (name in ours) != (name in theirs):
        return False
    one, other = ours.get(name), theirs.get(name)
    return bool(one == other) or (type(one) is type(other) is Retry and vars(one) == vars(other))


def _caller() -> FrameType:
    """The frame that called this package; the outermost one, if that is `python -m` itself."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_passed_over(frame.f_globals):
        frame = frame.f_back
    return frame


def _is_passed_over(names: dict[str, Any]) -> bool:
    module = names.get("__package__") or names.get("__name__") or ""
    return module.partition(".")[0] == __package__ or names.get("__name__") == "runpy"


def _place(caller: FrameType) -> str:
    if _is_passed_over(caller.f_globals):
        return _COMMAND_LINE
    return f"{caller.f_code.co_filename}:{caller.f_lineno}"


def _warn_of_others(
    settings: AdapterArguments, mounted: bool, place: str, caller: FrameType, replaced: str | None
) -> None:
    """Say so, if another installation, of another than this owner, would give sessions something else."""
    for older in _installed[-1:]:
        names = older.differs_in(settings, mounted)
        # Who has typed `run` has said nothing that could differ.
        if names and older.place not in (_COMMAND_LINE, replaced):
            warnings.warn_explicit(
                f"install() at {place} differs from install() at {older.place}, which has not ended, in "
                f"{', '.join(names)}: sessions get what {place} says, until that one ends",
                RuntimeWarning,
                caller.f_code.co_filename,
                caller.f_lineno,
                module=caller.f_globals.get("__name__"),
                registry=caller.f_globals.setdefault("__warningregistry__", {}),
            )


def _in_force() -> Any:
    newest = _installed[-1:]
    return newest[0].stand_in if newest else _stock


def _view(prefix: str, adapter: Any) -> None:
    """Take over what a session is about to mount, or note what keeps its own way."""
    kind, newest = type(adapter), _installed[-1:]
    if not newest or issubclass(kind, ResilientAdapter):
        return
    is_taken = newest[0].mounted and kind is HTTPAdapter and take_over(adapter, newest[0].settings)
    if not is_taken and str(prefix).lower().startswith("http"):
        note(adapter)


def _apply() -> None:
    """Put what is in force in the place that `Session.__init__` looks at each time it mounts its defaults.

    While there is an installation, see what else is mounted, too. No lock: whoever has written last looks
    again afterwards, so that what is newest is there in the end.
    """
    written: Any = None
    while written is not _in_force():
        written = sessions.HTTPAdapter = _in_force()
        if written is _stock:
            show_adapters_to_nobody()
        else:
            show_adapters_to(_view)
