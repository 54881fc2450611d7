"""Whether the adapter would serve a session's calls, if it was mounted or installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from ...adapter.adapter import ResilientAdapter
from ...adapter.takeover import obstacle
from ...telemetry.left_alone import left_alone


@dataclass(frozen=True, slots=True)
class Reach:
    """A session, and who serves its calls to a page."""

    #: The session's class.
    session: str
    #: The class of the adapter that serves the page, and where that is mounted.
    adapter: str
    prefix: str
    #: Whether it is a `ResilientAdapter`.
    is_ours: bool
    #: Whether it is an `HTTPAdapter`, and of no class that is derived from it.
    is_plain: bool
    #: Whether an adapter that is mounted at https:// and http:// would serve the page.
    is_mountable: bool
    #: Why an installation leaves an `HTTPAdapter` as it is; empty: it does not.
    obstacle: str = ""
    #: Whether the session's class has its own way to choose an adapter, or to send.
    chooses: bool = False
    sends: bool = False
    #: Other prefixes with adapters of other classes: "https://x/ (module.Class)".
    others: tuple[str, ...] = ()
    #: Adapters that an installation has left alone so far: "2 x module.Class".
    left_alone: tuple[str, ...] = ()


def reach_of(session: requests.Session, other: requests.Session, url: str) -> Reach:
    """See who serves a page.

    Args:
        session: as the program makes it.
        other: made in the same way; it is changed.
        url: the page.
    """
    adapter: Any = session.get_adapter(url)
    mounted = {
        prefix: one for prefix, one in session.adapters.items() if url.lower().startswith(prefix.lower())
    }
    prefix = next((prefix for prefix, one in mounted.items() if one is adapter), "")
    plain = type(adapter) is HTTPAdapter
    probe = HTTPAdapter()
    other.mount("https://", probe)
    other.mount("http://", probe)
    kind = type(session)
    return Reach(
        session=_full(kind),
        adapter=_full(type(adapter)),
        prefix=prefix,
        is_ours=isinstance(adapter, ResilientAdapter),
        is_plain=plain,
        is_mountable=other.get_adapter(url) is probe,
        obstacle=(obstacle(adapter) or "") if plain else "",
        chooses=kind.get_adapter is not requests.Session.get_adapter,
        sends=kind.send is not requests.Session.send,
        others=tuple(
            f"{where} ({_full(type(one))})"
            for where, one in session.adapters.items()
            if where != prefix and not isinstance(one, ResilientAdapter) and type(one) is not HTTPAdapter
        ),
        left_alone=tuple(f"{count} x {name}" for name, count in left_alone().items()),
    )


def _full(kind: type) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name if name.isprintable() else repr(name)
