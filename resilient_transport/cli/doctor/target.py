"""What is examined: a page of a server, and with which certificates and through which proxy it is asked."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.utils import prepend_scheme_if_needed, select_proxy
from urllib3.util import parse_url

from ...util.origin import origin_at, path_at
from .doctor_options import Options
from .socks_client import PORT as SOCKS_PORT

_PORTS: Final = {"http": 80, "https": 443}
#: What requests and urllib3 know.
_PROXY_SCHEMES: Final = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


class UnusableTarget(Exception):
    """The arguments name nothing that can be examined; its text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A page, and how it is asked for. Nothing that may be secret is in its repr."""

    #: "http" or "https".
    scheme: str
    #: The name or the address, without brackets.
    host: str
    #: The port.
    port: int
    #: What a request names: path and query.
    resource: str = field(repr=False)
    #: The whole URL as requests prepares it, without userinfo.
    url: str = field(repr=False)
    #: As `requests` takes them: True, False or a path; a path, two paths, or None.
    verify: bool | str
    cert: str | tuple[str, str] | None
    #: The proxy's URL; None: there is none.
    proxy: str | None = field(repr=False)

    @property
    def is_tls(self) -> bool:
        """Whether the server is to speak TLS."""
        return self.scheme == "https"

    @property
    def origin(self) -> str:
        """`scheme://host:port`, without the usual port."""
        return origin_at(self.url)

    @property
    def shown(self) -> str:
        """The URL without its query."""
        return self.origin + path_at(self.url)

    @property
    def proxy_shown(self) -> str | None:
        """The proxy's URL without its credentials; None: there is none."""
        return None if self.proxy is None else origin_at(self.proxy)

    @property
    def dialled(self) -> tuple[str, int]:
        """Host and port of who is connected to: the server, or the proxy."""
        if self.proxy is None:
            return self.host, self.port
        parts = urlsplit(self.proxy)
        return parts.hostname or "", parts.port or proxy_port(parts.scheme)

    @property
    def proxies(self) -> dict[str, str]:
        """What a call is told, so that it takes this proxy or none, whatever session and environment say."""
        return {f"{self.scheme}://{self.host}": self.proxy or ""}

    @property
    def host_field(self) -> str:
        """The value of the Host field."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"


def proxy_port(scheme: str) -> int:
    """The port of a proxy whose URL names none."""
    return SOCKS_PORT if scheme.startswith("socks") else _PORTS[scheme]


def session_from(options: Options) -> requests.Session:
    """The program's session, or a plain one, with what the options say.

    Raises:
        UnusableTarget: there is no such factory, or it makes no session.
    """
    session = requests.Session() if options.session is None else _made(options.session)
    if options.cert is not None:
        session.cert = options.cert if options.key is None else (options.cert, options.key)
    return session


def target_for(session: requests.Session, options: Options) -> Target:
    """What the session would do for the URL.

    Raises:
        UnusableTarget: the URL cannot be asked.
    """
    try:
        prepared = session.prepare_request(requests.Request("GET", options.url))
    except (requests.RequestException, ValueError) as error:
        raise UnusableTarget(
            f"the URL cannot be used ({type(error).__name__}); it looks like https://host/path"
        ) from None
    parts = parse_url(prepared.url or "")
    if parts.scheme not in _PORTS or not parts.host:
        raise UnusableTarget("the URL begins with https:// or http:// and names a host")
    merged = session.merge_environment_settings(prepared.url, {}, None, options.ca, None)
    proxy = options.proxy
    if proxy is None:
        proxy = select_proxy(prepared.url or "", merged["proxies"])
    return Target(
        scheme=parts.scheme,
        host=parts.host.strip("[]"),
        port=parts.port or _PORTS[parts.scheme],
        resource=parts.request_uri,
        url=parts._replace(auth=None, fragment=None).url,
        verify=True if merged["verify"] is None else merged["verify"],
        cert=merged["cert"],
        proxy=_usable(proxy) if proxy else None,
    )


def _usable(proxy: str) -> str:
    """A proxy's URL as requests reads it: without a scheme it is of http."""
    try:
        url = str(prepend_scheme_if_needed(proxy, "http"))  # type: ignore[no-untyped-call,unused-ignore]
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0 and parts.scheme in _PROXY_SCHEMES:
            return url
    except ValueError:
        pass
    # Without the URL, which may have a password.
    raise UnusableTarget(
        "the proxy's URL cannot be used: write http://host:port, or another of "
        f"{', '.join(_PROXY_SCHEMES)} (--proxy, the session, or a variable such as HTTPS_PROXY says it)"
    )


def pages_for(session: requests.Session, options: Options, target: Target) -> tuple[str, ...]:
    """The pages of `--sizes` as requests prepares them; one may be a path.

    Raises:
        UnusableTarget: one cannot be asked for, or is another server's.
    """
    found = []
    for number, page in enumerate(options.sizes, 1):
        try:
            url = session.prepare_request(requests.Request("GET", urljoin(target.url, page))).url or ""
            parts = parse_url(url)
        except (requests.RequestException, ValueError) as error:
            raise UnusableTarget(f"--sizes: page {number} cannot be used ({type(error).__name__})") from None
        if origin_at(url) != target.origin:
            raise UnusableTarget(f"--sizes: page {number} is at {origin_at(url)}, and not at {target.origin}")
        found.append(parts._replace(auth=None, fragment=None).url)
    return tuple(found)


def _made(named: str) -> requests.Session:
    module, _, factory = named.partition(":")
    if not module or not factory:
        raise UnusableTarget("--session names a module and a callable in it, such as myapp.http:make_session")
    # As Python has it for a program in this folder; the console script does not.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for name in factory.split("."):
            found = getattr(found, name)
        made = found() if callable(found) else found
    except Exception as error:
        raise UnusableTarget(f"--session {named}: {type(error).__name__}: {error}") from error
    if not isinstance(made, requests.Session):
        raise UnusableTarget(f"--session {named} gives a {type(made).__name__}, not a requests.Session")
    return made
