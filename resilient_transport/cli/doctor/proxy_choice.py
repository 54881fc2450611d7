"""Why a call goes by a proxy, or by none: the option, the session, a variable of the environment, NO_PROXY.

It asks requests' own functions what they would do, and finds out whose word that is. Nothing of a proxy's URL
but its origin is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, should_bypass_proxies

from ...util.origin import origin_at
from .doctor_options import Options

#: What a proxy is chosen by, the most special first, as `requests.utils.select_proxy` has it.
_KEYS: Final = ("{scheme}://{host}", "{scheme}", "all://{host}", "all")


@dataclass(frozen=True, slots=True)
class ProxyChoice:
    """Why a call goes by a proxy, or by none."""

    #: The proxy's origin; None: there is none.
    proxy: str | None
    #: What says so: "--proxy", "session.proxies", a variable's name; empty: nobody names one.
    source: str
    #: The proxy that the environment names for this scheme, and its variable; empty: none.
    in_environment: str = ""
    variable: str = ""
    #: The proxy that the session names; empty: none.
    in_session: str = ""
    #: The entries of NO_PROXY that take this host out.
    excluded_by: tuple[str, ...] = ()
    #: Entries of NO_PROXY that look as if they should, and do not; and how they would.
    near: tuple[tuple[str, str], ...] = ()
    #: Entries that take it out although they are for another host, as requests had it before 2.34.
    too_wide: tuple[str, ...] = ()
    #: Whether the environment is looked at.
    trusts_environment: bool = True


def proxy_choice_of(
    session: requests.Session, options: Options, url: str, environment: Mapping[str, str]
) -> ProxyChoice:
    """What decides about the proxy.

    Args:
        session: the program's, or a plain one.
        options: the option beats all.
        url: the page.
        environment: the variables, as `os.environ` has them.
    """
    keys = _keys(url)
    trusts = bool(session.trust_env)
    entries = tuple(_entries(environment)) if trusts else ()
    excluded = tuple(one for one in entries if should_bypass_proxies(url, one))
    named = _named(environment, keys) if trusts else None
    by_environment = _first(get_environ_proxies(url), keys) if trusts else None
    by_session = _first(session.proxies, keys)
    host = urlsplit(url).hostname or ""
    proxy, source = None, ""
    if options.proxy is not None:
        proxy, source = options.proxy or None, "--proxy"
    elif by_environment:
        # What the environment says counts as said with the call, which beats the session.
        proxy, source = by_environment, named[0] if named else "the system"
    elif by_session:
        proxy, source = by_session, "session.proxies"
    return ProxyChoice(
        proxy=origin_at(proxy) if proxy else None,
        source=source,
        in_environment=origin_at(named[1]) if named else "",
        variable=named[0] if named else "",
        in_session=origin_at(by_session) if by_session else "",
        excluded_by=excluded,
        near=tuple(_near(entries, excluded, host)),
        too_wide=tuple(one for one in excluded if _is_too_wide(one, host)),
        trusts_environment=trusts,
    )


def _keys(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    return tuple(key.format(scheme=parts.scheme, host=parts.hostname or "") for key in _KEYS)


def _first(proxies: Any, keys: tuple[str, ...]) -> str | None:
    """The proxy that a dictionary names; an empty one is none."""
    return next((proxies[key] or None for key in keys if key in proxies), None)


def _named(environment: Mapping[str, str], keys: tuple[str, ...]) -> tuple[str, str] | None:
    """The variable that names a proxy, and the proxy. As in `urllib`, small letters beat capitals."""
    for key in keys:
        for name in (f"{key}_proxy", f"{key}_proxy".upper()):
            if environment.get(name):
                return name, environment[name]
    return None


def _entries(environment: Mapping[str, str]) -> Iterator[str]:
    text = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return (one.strip() for one in text.split(",") if one.strip())


def _near(entries: tuple[str, ...], excluded: tuple[str, ...], host: str) -> Iterator[tuple[str, str]]:
    """Entries that were meant for a host and miss it: with a scheme, a port, a star, or without commas."""
    if excluded:
        return
    for entry in entries:
        if "@" in entry:
            # Who has put a whole URL there may have put a password there, too.
            continue
        for piece in re.split(r"[\s;|]+", entry):
            bare = re.sub(r"^\w+://", "", piece.lower()).partition("/")[0]
            bare = re.sub(r":\d*$", "", bare).lstrip("*").strip(".")
            if bare and (host == bare or host.endswith(f".{bare}")):
                yield entry, bare
                break


def _is_too_wide(entry: str, host: str) -> bool:
    """Whether an entry takes a host out of which it is only the end: "example.com" takes "notexample.com"."""
    bare = entry.lower().lstrip("*").lstrip(".").partition(":")[0]
    return bool(bare) and host.endswith(bare) and host != bare and not host.endswith(f".{bare}")
