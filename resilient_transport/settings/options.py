"""What an adapter is set to, besides its policy: the constructor's word, else the environment's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..events import Hook
from ..util.frozen import dataclass, names_of
from ..util.url_prefix import Prefix
from . import environment as settings


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """How long connections live, and how new ones are made."""

    #: Seconds for which an idle one is kept.
    idle_timeout: float = settings.default("idle_timeout")
    #: Seconds after which one is not used again; None: no limit.
    max_age: float | None = settings.default("max_age")
    #: The order of a name's addresses: "ipv4first", "ipv6first", or "system" for the resolver's own.
    dns_order: str = settings.default("dns_order")
    #: How many handshakes may run at once; of the leases of a shared pool, the smallest counts.
    handshakes: int = settings.default("handshakes")


#: What holds when nobody says anything.
DEFAULT_OPTIONS: Final = ConnectionOptions()


#: Stands for an argument that was not given.
UNSET: Final[Any] = object()


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """The settings of one adapter."""

    #: Seconds to connect, and between two bytes, for calls without a time-out; None: no limit.
    timeout: tuple[float | None, float | None]
    #: Seconds of silence until TCP asks whether the server is there; 0: never.
    tcp_keepalive: int
    #: Whether the constructor or the environment has said so.
    is_keepalive_said: bool
    #: What is refused.
    disable: tuple[Prefix, ...]
    #: How its connections are used.
    connection_options: ConnectionOptions
    #: Is told what happens.
    on_event: Hook | None

    def covers(self, url: str) -> Prefix | None:
        """The prefix that disables a URL; None: it is not disabled."""
        return next((prefix for prefix in self.disable if prefix.covers(url)), None)


_OF_CONNECTIONS: Final = names_of(ConnectionOptions)


def options_from(given: Mapping[str, Any], on_event: Hook | None) -> AdapterOptions:
    """Put together what was given and what the environment says.

    Args:
        given: the constructor's arguments; `UNSET` where there was none.
        on_event: the hook that it was given.

    Raises:
        TypeError, ValueError: one of them is not allowed; the message names the argument or the variable.
    """
    if on_event is not None and not callable(on_event):
        raise TypeError(f"on_event is a callable or None, not {type(on_event).__name__}")
    settings.warn_of_unknown()
    if on_event is None and all(value is UNSET for value in given.values()):
        # Most adapters, and two for each `requests.get()`.
        return _by_environment()
    return _options(given, on_event)


def _options(given: Mapping[str, Any], on_event: Hook | None) -> AdapterOptions:
    said = {
        name: settings.value(name) if value is UNSET else settings.checked(name, value)
        for name, value in given.items()
    }
    return AdapterOptions(
        timeout=(said["connect_timeout"], said["read_timeout"]),
        tcp_keepalive=said["tcp_keepalive"],
        is_keepalive_said=given["tcp_keepalive"] is not UNSET or settings.told("tcp_keepalive")[1],
        disable=said["disable"],
        connection_options=ConnectionOptions(**{name: said[name] for name in _OF_CONNECTIONS}),
        on_event=on_event,
    )


#: The arguments of an adapter that are options.
ARGUMENTS: Final = ("connect_timeout", "read_timeout", "tcp_keepalive", "disable", *_OF_CONNECTIONS)


@settings.remembered
def _by_environment() -> AdapterOptions:
    """The options of an adapter that was given none."""
    return _options(dict.fromkeys(ARGUMENTS, UNSET), None)
