"""The settings: what is in force and who says so, and what in the environment stands in their way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote
from typing import Any, Final

import requests

from ....adapter.adapter import ResilientAdapter
from ....settings.environment import SETTINGS as EACH
from ....settings.environment import foreign, misspelt, told
from ...show_settings import shown
from ..finding import Finding, fail, ok, skipped, warn
from ..keepalive_probe import KeepAlive, probe
from ..proxy_choice import ProxyChoice, proxy_choice_of
from ..root import Root
from ..section import Check, Section
from ..session_reach import Reach, reach_of
from ..trust_choice import TrustChoice, trust_choice_of
from ..visit import Visit

_OF_CONNECTIONS: Final = ("idle_timeout", "max_age", "dns_order", "handshakes")
_OF_POLICY: Final = ("retries", "backoff", "backoff_max", "deadline", "retry_non_idempotent")


@dataclass(frozen=True, slots=True)
class Value:
    """A setting that is in force."""

    #: The variable of the environment.
    variable: str
    #: The value, as the environment would spell it.
    shown: str
    #: "session", "environment" or "default".
    source: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What decides about the calls of this program to this page."""

    #: The page, without its query, and its host.
    page: str
    host: str
    #: Whether certificates matter to it.
    is_tls: bool
    #: The settings in force.
    values: tuple[Value, ...]
    #: Variables that cannot be used, and what is wrong with each.
    unusable: tuple[tuple[str, str], ...]
    #: Variables that look like settings and are none, and the nearest setting.
    misspelt: tuple[tuple[str, str], ...]
    #: Who turns the adapter off; empty: nobody.
    bypassed_by: str
    #: Who refuses the page; empty: nobody.
    disabled_by: str
    #: What a socket says of TCP keep-alive; None: that cannot be set.
    keepalive: KeepAlive | None
    #: Whom it trusts.
    trust: TrustChoice
    #: Which way it goes.
    proxy: ProxyChoice
    #: Whether the adapter serves the program's session; None: none was named.
    reach: Reach | None


def measure(visit: Visit) -> Measured:
    """Read the environment, and look at the session; nothing leaves this machine."""
    target, options, environment = visit.target, visit.options, foreign()
    with visit.new_session() as session, visit.new_session() as other:
        adapter = _ours_of(session, target.url)
        values, unusable = _values(adapter)
        return Measured(
            page=target.shown,
            host=target.host,
            is_tls=target.is_tls,
            values=tuple(values),
            unusable=tuple(unusable),
            misspelt=tuple(misspelt()),
            bypassed_by=_source(values, "RESILIENT_TRANSPORT_BYPASS", "on"),
            disabled_by=_refused_by(adapter, values, target.url),
            keepalive=_keepalive(adapter, unusable),
            trust=trust_choice_of(session, options, target, environment),
            proxy=proxy_choice_of(session, options, target.url, environment),
            reach=None if options.session is None else reach_of(session, other, target.url),
        )


def _ours_of(session: requests.Session, url: str) -> ResilientAdapter | None:
    """The adapter that serves the page, if it is ours."""
    adapter = session.get_adapter(url)
    return adapter if isinstance(adapter, ResilientAdapter) else None


def _values(adapter: ResilientAdapter | None) -> tuple[list[Value], list[tuple[str, str]]]:
    values, unusable = [], []
    for setting in EACH:
        try:
            value, is_told = told(setting.name)
        except ValueError as error:
            unusable.append((setting.variable, str(error)))
            continue
        source = "environment" if is_told else "default"
        in_force = value if adapter is None else _of_adapter(adapter, setting.name, value)
        if in_force != value:
            value, source = in_force, "session"
        values.append(Value(setting.variable, shown(value), source))
    return values, unusable


def _of_adapter(adapter: ResilientAdapter, name: str, otherwise: Any) -> Any:
    """A setting as an adapter has it; of the process's own settings it has none."""
    options = adapter._options
    if name in _OF_CONNECTIONS:
        return getattr(options.connection_options, name)
    if name in _OF_POLICY:
        return getattr(adapter._retry_settings.in_force(), name)
    own = {
        "connect_timeout": options.timeout[0],
        "read_timeout": options.timeout[1],
        "tcp_keepalive": options.tcp_keepalive,
        "disable": options.disable,
        "bypass": adapter._bypassed,
    }
    return own.get(name, otherwise)


def _source(values: list[Value], variable: str, text: str) -> str:
    """Who has set a variable to this."""
    return next((one.source for one in values if (one.variable, one.shown) == (variable, text)), "")


def _refused_by(adapter: ResilientAdapter | None, values: list[Value], url: str) -> str:
    """Who disables a page: "session", "environment"; empty: nobody."""
    source = next((one.source for one in values if one.variable == "RESILIENT_TRANSPORT_DISABLE"), "")
    if not source:
        return ""
    prefixes = told("disable")[0] if adapter is None else adapter._options.disable
    return source if any(prefix.covers(url) for prefix in prefixes) else ""


def _keepalive(adapter: ResilientAdapter | None, unusable: list[tuple[str, str]]) -> KeepAlive | None:
    if adapter is not None:
        return probe(adapter._options.tcp_keepalive, adapter._options.is_keepalive_said)
    if any(name == "RESILIENT_TRANSPORT_TCP_KEEPALIVE" for name, _ in unusable):
        return None
    return probe(*told("tcp_keepalive"))


def judge(measured: Measured) -> Iterator[Finding]:
    """Say what is set, and what of it stands in the way."""
    yield _of_values(measured)
    for name, what in measured.unusable:
        yield fail("settings.usable", what, f"unset {name}", name, Root.SETTING)
    if measured.misspelt:
        yield _of_misspelt(measured.misspelt)
    yield from _of_switches(measured)
    if measured.keepalive is not None:
        yield _of_keepalive(measured.keepalive)
    if measured.is_tls:
        yield _of_trust(measured.trust)
    yield _of_proxy(measured.proxy, measured.host)
    yield _of_reach(measured.reach)


def _of_values(measured: Measured) -> Finding:
    changed = [one for one in measured.values if one.source != "default"]
    if not changed:
        return ok("settings.values", f"all {len(measured.values)} settings have their defaults")
    text = f"{len(changed)} of {len(measured.values)} settings are changed, the others have their defaults"
    value = ", ".join(f"{one.variable}={one.shown} ({one.source})" for one in changed)
    return ok("settings.values", text, value)


def _of_misspelt(found: tuple[tuple[str, str], ...]) -> Finding:
    name, nearest = found[0]
    text = f"{name} is not a setting, and has no effect; the nearest is {nearest}"
    value = ", ".join(name for name, _ in found)
    return warn("settings.unknown", text, f'export {nearest}="${name}"; unset {name}', value, Root.OTHER)


def _of_switches(measured: Measured) -> Iterator[Finding]:
    if measured.bypassed_by:
        yield warn(
            "settings.switches",
            "the setting bypass turns the adapter off, so stock requests makes every call",
            "unset RESILIENT_TRANSPORT_BYPASS",
            measured.bypassed_by,
            Root.SETTING,
        )
    if measured.disabled_by:
        hint = "unset RESILIENT_TRANSPORT_DISABLE"
        if measured.disabled_by == "session":
            hint = "remove this page from disable= of the session's adapter"
        yield fail(
            "settings.switches",
            f"the setting disable refuses every call to {measured.page}",
            hint,
            measured.disabled_by,
            Root.SETTING,
            blocks=False,
        )


def _of_keepalive(keepalive: KeepAlive) -> Finding:
    check, words = "settings.keep-alive", keepalive.words
    value = ", ".join(f"{word.name}={word.told}" for word in words)
    if keepalive.error:
        return skipped(check, f"loopback cannot be used: {keepalive.error}")
    if wrong := [word for word in words if not word.is_honoured]:
        text = f"the socket reports {wrong[0].name}={wrong[0].told}, though it was set to {wrong[0].wanted}"
        hint = "ask the administrator of this machine what changes the options of sockets"
        return warn(check, text, hint, value, Root.THIS_HOST)
    if keepalive.is_own:
        return ok(check, "the program's own default_socket_options set TCP keep-alive", value)
    if not keepalive.seconds:
        return ok(check, "TCP keep-alive is off, as the setting says", value)
    return ok(check, f"TCP keep-alive probes the server after {keepalive.seconds} s of silence", value)


def _of_trust(trust: TrustChoice) -> Finding:
    check = "settings.trust"
    if trust.problem:
        text = f"{trust.source} names {trust.verify}, which {trust.problem}"
        value = f"{trust.source}: {trust.verify} {trust.problem}"
        return fail(check, text, _cure_of_trust(trust), value, Root.SETTING)
    if trust.replaced:
        text = f"{trust.source} beats session.verify={trust.replaced}, which has no effect"
        hint = "session.trust_env = False   # or pass verify= with each call, which beats both"
        return warn(check, text, hint, str(trust.verify), Root.OTHER)
    if trust.is_unhashed:
        text = f"{trust.source} names the folder {trust.verify}, whose files are not named by their hash"
        return warn(check, text, f"openssl rehash {quote(str(trust.verify))}", root=Root.OTHER)
    unread = "".join(f"; {name} is set, and requests does not read it" for name in trust.unread)
    if trust.verify is True:
        return ok(check, f"the trusted authorities are those of certifi{unread}")
    if trust.verify is False:
        return ok(check, "the session does not check certificates (verify=False)")
    return ok(check, f"{trust.source} sets the trusted authorities", str(trust.verify))


def _cure_of_trust(trust: TrustChoice) -> str:
    if trust.source == "--ca":
        return "--ca FILE   # a file of certificates in PEM, or a folder of them"
    if trust.source == "session.verify":
        return "session.verify = FILE   # a file of certificates in PEM, or a folder of them"
    return f"unset {trust.source}"


def _of_proxy(choice: ProxyChoice, host: str) -> Finding:
    check = "settings.proxy"
    overruled = choice.in_session and choice.source not in ("--proxy", "session.proxies")
    if overruled and choice.proxy is not None and choice.in_session != choice.proxy:
        text = f"{choice.source} beats session.proxies, so that {choice.in_session} is not used"
        return warn(check, text, "session.trust_env = False", choice.proxy, Root.OTHER)
    if choice.source == "session.proxies" and choice.excluded_by:
        text = f"NO_PROXY exempts {host}, but session.proxies sets a proxy all the same"
        hint = "del session.proxies['https']   # and set HTTPS_PROXY instead, which NO_PROXY applies to"
        return warn(check, text, hint, choice.proxy or "", Root.OTHER)
    if choice.too_wide and choice.in_environment:
        text = f"NO_PROXY exempts {host} by its entry {choice.too_wide[0]}, which is for another host"
        return warn(check, text, "pip install 'requests>=2.34'", ", ".join(choice.excluded_by), Root.OTHER)
    if choice.near and choice.proxy is not None and choice.source == choice.variable:
        entry, bare = choice.near[0]
        text = f"NO_PROXY has {entry!r}, which does not match {host}"
        return warn(
            check,
            text,
            f"export NO_PROXY={quote(bare)}   # entries are names, separated by commas",
            entry,
            Root.OTHER,
        )
    return _of_usual_proxy(choice, host)


def _of_usual_proxy(choice: ProxyChoice, host: str) -> Finding:
    check = "settings.proxy"
    if choice.proxy is not None:
        return ok(check, f"{choice.source} sets the proxy", choice.proxy)
    if choice.source == "--proxy":
        return ok(check, "--proxy says to use none")
    if choice.in_environment and choice.excluded_by:
        text = f"{choice.variable} sets a proxy, but NO_PROXY exempts {host}"
        return ok(check, text, ", ".join(choice.excluded_by))
    if not choice.trusts_environment:
        return ok(check, "no proxy is set; the session does not read the environment")
    return ok(check, "no proxy is set")


def _of_reach(reach: Reach | None) -> Finding:
    check = "settings.reach"
    if reach is None:
        return skipped(check, "no --session is given")
    value = ", ".join([*reach.others, *reach.left_alone])
    mount = (
        "from resilient_transport import ResilientAdapter; "
        f'session.mount("{reach.prefix or "https://"}", ResilientAdapter())'
    )
    if reach.is_ours:
        return ok(check, f"the session has this adapter at {reach.prefix}", value)
    if not reach.is_mountable and (reach.chooses or not reach.prefix):
        text = f"{reach.session}.get_adapter returns {reach.adapter}, whatever is mounted"
        hint = f"change {reach.session}.get_adapter, so that it returns a ResilientAdapter"
        return warn(check, text, hint, value, Root.OTHER)
    if not reach.is_mountable:
        text = f"{reach.adapter} at {reach.prefix} serves this page, and what is mounted at https:// does not"
        return warn(check, text, mount, value, Root.OTHER)
    if not reach.is_plain:
        text = f"install() does not replace {reach.adapter} at {reach.prefix}"
        return warn(check, text, mount, value, Root.OTHER)
    if reach.obstacle:
        text = f"install() does not replace the HTTPAdapter at {reach.prefix}: {reach.obstacle}"
        return warn(check, text, mount, value, Root.OTHER)
    more = f"; {reach.session} has a send() of its own, which decides" if reach.sends else ""
    return ok(check, f"install() and mount() reach the session{more}", value)


SETTINGS: Final = Section(
    "settings",
    "Settings",
    (
        Check("settings.values", "every setting that is in force, and who says so"),
        Check("settings.usable", "whether each variable can be used"),
        Check("settings.unknown", "whether a variable looks like a setting and is none"),
        Check("settings.switches", "whether a setting turns the adapter off, or refuses the page"),
        Check("settings.keep-alive", "what a socket says of TCP keep-alive"),
        Check("settings.trust", "whose certificates are trusted, and who says so"),
        Check("settings.proxy", "which proxy is named, and what NO_PROXY makes of that"),
        Check("settings.reach", "whether the adapter serves the program's session"),
    ),
    measure,
    judge,
)
