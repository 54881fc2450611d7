"""The proxy: what says that there is one, and whether it connects to the server."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote
from typing import Final
from urllib.parse import urlsplit

from ....retry.causes import UNREADY_STATUSES, Cause
from ....settings.environment import foreign
from ....waterfall.chart import Phase
from ..finding import Finding, fail, ok
from ..line import FAILURES, ConnectRefused, Line, Trouble
from ..proxy_choice import ProxyChoice, proxy_choice_of
from ..root import Root
from ..section import Check, Section
from ..socks_client import SocksRefused
from ..target import proxy_port
from ..visit import Visit

#: How often it is tried until it works: a single reset says little.
TRIALS: Final = 3
#: After so many silences no more.
_SILENT: Final = 2
_IN_ITS_URL: Final = "--proxy 'SCHEME://USER:PASSWORD@HOST:PORT'   # special characters percent-encoded"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a proxy has made of one attempt to reach the server."""

    #: What was met; None: it works.
    trouble: Trouble | None
    #: Seconds that the proxy took.
    seconds: float
    #: With which status it has answered CONNECT, or a request for a plain server; None: with none.
    status: int | None = None
    #: Whether a SOCKS proxy is not content with user name and password.
    wants_password: bool = False

    @property
    def is_silent(self) -> bool:
        """Whether nothing came in time."""
        return self.trouble is not None and self.trouble.cause is Cause.TIMEOUT


@dataclass(frozen=True, slots=True)
class Measured:
    """The proxy that is used."""

    #: Its URL, without credentials.
    shown: str
    #: What says that it is used.
    choice: ProxyChoice
    #: The server, as CONNECT names it.
    server: str
    #: Whether the server speaks TLS, so that it is reached by CONNECT.
    is_tls: bool
    #: Whether there are a user name and a password for it.
    has_credentials: bool
    #: Whether requests can speak with it: SOCKS takes PySocks.
    is_usable: bool
    #: The attempts, until one has worked.
    attempts: tuple[Attempt, ...]

    @property
    def scheme(self) -> str:
        """The scheme of its URL."""
        return urlsplit(self.shown).scheme


def measure(visit: Visit) -> Measured:
    """Have the proxy connect, on a new connection each time, until it works."""
    target = visit.target
    parts = urlsplit(target.proxy or "")
    attempts: list[Attempt] = []
    while len(attempts) < TRIALS and not _is_enough(attempts):
        attempts.append(_attempt(visit, len(attempts) + 1))
    return Measured(
        shown=target.proxy_shown or "",
        choice=_choice(visit),
        server=f"{target.host}:{target.port}",
        is_tls=target.is_tls,
        has_credentials=parts.username is not None,
        is_usable=not parts.scheme.startswith("socks") or importlib.util.find_spec("socks") is not None,
        attempts=tuple(attempts),
    )


def _choice(visit: Visit) -> ProxyChoice:
    with visit.new_session() as session:
        return proxy_choice_of(session, visit.options, visit.target.url, foreign())


def _is_enough(attempts: list[Attempt]) -> bool:
    """Whether it works, or is sure not to, or is silent."""
    if not attempts:
        return False
    last = attempts[-1]
    return (
        last.trouble is None
        or last.status is not None
        or last.wants_password
        or sum(one.is_silent for one in attempts) >= _SILENT
    )


def _attempt(visit: Visit, number: int) -> Attempt:
    status, wants_password = None, False
    with visit.kept(visit.line(), f"by the proxy, attempt {number}") as line:
        try:
            line.dial()
            line.tunnel()
            if not visit.target.is_tls and not line.is_socks:
                # Its first word is its answer to a request.
                status = line.ask("HEAD").status
        except ConnectRefused as error:
            status = error.status
        except SocksRefused as error:
            wants_password = error.wants_password
        except FAILURES:
            pass
    trouble = _refusal(line) if status == 407 and not visit.target.is_tls else line.trouble
    return Attempt(trouble, line.bars[-1].seconds, status, wants_password)


def _refusal(line: Line) -> Trouble:
    """A 407 to a request is what one to CONNECT is."""
    return Trouble(Phase.FIRST_BYTE, Cause.DENIED, "status 407", line.bars[-1].seconds)


def judge(measured: Measured) -> Iterator[Finding]:
    """Say what names the proxy, and whether it does its work."""
    yield ok("proxy.used", f"{measured.choice.source} sets the proxy {measured.shown}")
    if not measured.is_usable:
        yield fail(
            "proxy.usable",
            "requests needs the package PySocks for a proxy of that kind",
            "pip install PySocks",
            measured.scheme,
            Root.SETTING,
        )
    yield _of_last(measured)


def _of_last(measured: Measured) -> Finding:
    last, count = measured.attempts[-1], len(measured.attempts)
    value = f"{last.seconds * 1000:.0f} ms"
    if last.trouble is None:
        how = "connects to" if measured.is_tls or measured.scheme.startswith("socks") else "asks"
        text = f"the proxy {how} {measured.server}"
        if (first := measured.attempts[0].trouble) is not None:
            text += f", at attempt {count}: first it {_in_words(first)}"
        if last.status is not None:
            value = f"status {last.status}, {value}"
        return ok("proxy.connect", text, value)
    if last.status is not None:
        return _of_status(measured, last.status)
    if last.wants_password:
        return _of_password(measured, last.trouble.error.partition(": ")[2])
    return _of_trouble(measured, last.trouble, value)


def _of_status(measured: Measured, status: int) -> Finding:
    value = f"status {status}"
    if status == 407:
        return _of_password(measured, value)
    if status in UNREADY_STATUSES:
        text = f"the proxy cannot reach {measured.server} (status {status})"
        hint = f"ask the operator of the proxy why it cannot reach {measured.server}"
    elif status in (400, 405, 501):
        text = f"what listens at {measured.shown} does not know CONNECT (status {status})"
        hint = "check host and port of the proxy: it may be a web server, or a proxy for http only"
    else:
        text = f"the proxy does not allow {measured.server} (status {status})"
        hint = f"ask the operator of the proxy to allow CONNECT to {measured.server}"
    return fail("proxy.connect", text, hint, value, Root.PROXY_REFUSES)


def _of_password(measured: Measured, value: str) -> Finding:
    what = "does not take the user name and password" if measured.has_credentials else (
        "wants a user name and a password, and gets none"
    )  # fmt: skip
    hint = _IN_ITS_URL.replace("SCHEME", measured.scheme)
    return fail("proxy.connect", f"the proxy {what}", hint, value, Root.PROXY_REFUSES)


def _of_trouble(measured: Measured, trouble: Trouble, value: str) -> Finding:
    in_words, place = _in_words(trouble), urlsplit(measured.shown)
    if trouble.phase in (Phase.NAME, Phase.DIAL) and trouble.cause is not Cause.RESET:
        text, root = f"no connection to the proxy can be made: it {in_words}", Root.PROXY_UNREACHABLE
        hint = f"nc -vz {quote(place.hostname or '')} {place.port or proxy_port(place.scheme)}"
    elif trouble.cause in (Cause.CERTIFICATE, Cause.NO_COMMON_TLS, Cause.TLS, Cause.CLIENT_CERTIFICATE):
        text, root = f"TLS with the proxy fails ({trouble.error})", Root.PROXY_UNREACHABLE
        hint = (
            "--ca FILE   # of the authority that has signed the proxy's certificate"
            if trouble.cause is Cause.CERTIFICATE
            else f"--proxy {quote(measured.shown.replace('https:', 'http:', 1))}   # if it speaks no TLS"
        )
    elif trouble.cause is Cause.UNPARSABLE or "does not speak SOCKS" in trouble.error:
        text, root = f"what listens at {measured.shown} is not a proxy of that kind", Root.PROXY_REFUSES
        hint = f"--proxy {quote(_other_scheme(measured))}   # if it is of another kind"
    else:
        text, root = f"the proxy does not connect to {measured.server}: it {in_words}", Root.PROXY_REFUSES
        hint = f"ask the operator of the proxy why it does not connect to {measured.server}"
    return fail("proxy.connect", text, hint, value, root)


def _other_scheme(measured: Measured) -> str:
    place = measured.shown.partition("://")[2]
    return f"http://{place}" if measured.scheme != "http" else f"socks5h://{place}"


def _in_words(trouble: Trouble) -> str:
    if trouble.cause is Cause.TIMEOUT:
        return f"is silent for {trouble.seconds:.1f} s"
    if trouble.cause is Cause.REFUSED and trouble.phase is Phase.DIAL:
        return "has refused the connection"
    if trouble.cause is Cause.RESET:
        return "closes the connection"
    return f"fails ({trouble.error})"


PROXY: Final = Section(
    "proxy",
    "Proxy",
    (
        Check("proxy.used", "what says that a proxy is used"),
        Check("proxy.usable", "whether requests can speak with a proxy of that kind"),
        Check("proxy.connect", "what it answers to CONNECT, or to a request for a plain server"),
    ),
    measure,
    judge,
    needs=("connect",),
    requests=lambda options: TRIALS if options.url.lower().startswith("http:") else 0,
    idle_because=lambda visit: None if visit.target.proxy else "no proxy is used",
)
