"""The name: which addresses it has, in both families, how long that takes, and whether answers differ."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from time import monotonic
from typing import Final

from ....waterfall.chart import Bar, Phase, Row
from ..addresses import Address, Lookup, is_literal, look_up
from ..finding import Finding, fail, ok, warn
from ..root import Root
from ..section import Check, Section
from ..visit import Visit

#: How often it is asked for; and after how many silences no more.
TRIALS: Final = 3
_SILENT: Final = 2
#: A resolver that takes longer, in seconds, is worth a warning: every new connection asks it.
SLOW: Final = 1.0
#: Names that a machine has by itself.
HOSTS_FILE: Final = Path("/etc/hosts")
_FAMILIES: Final = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}


@dataclass(frozen=True, slots=True)
class Name:
    """A host, and what its name leads to."""

    #: The host.
    host: str
    #: Whose it is: "server" or "proxy".
    whose: str
    #: The answers for both families together, one after the other; for an address, that address.
    lookups: tuple[Lookup, ...]
    #: What a question for IPv4 alone is answered, and one for IPv6; None: it was not asked.
    of_ipv4: Lookup | None = None
    of_ipv6: Lookup | None = None
    #: The addresses that the machine's own file of hosts gives it.
    in_hosts_file: tuple[str, ...] = ()

    @property
    def is_literal(self) -> bool:
        """Whether the host is an address already."""
        return is_literal(self.host)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses of the first answer that has any."""
        return next((one.addresses for one in self.lookups if one.addresses), ())


@dataclass(frozen=True, slots=True)
class Measured:
    """The names that this machine has to find."""

    #: The one that it connects to: the server's, or the proxy's.
    dialled: Name
    #: The server's, where the proxy is to be told its address; None: the proxy looks it up, or there is none.
    behind: Name | None = None
    #: The server's host, where the proxy looks it up.
    left_to_proxy: str | None = None


def measure(visit: Visit) -> Measured:
    """Ask the resolver a few times."""
    target, proxy = visit.target, visit.line().proxy
    if proxy is None:
        return Measured(_named(visit, target.host, target.port, "server"))
    dialled = _named(visit, *target.dialled, "proxy")
    if proxy.scheme in ("socks4", "socks5"):
        return Measured(dialled, _named(visit, target.host, target.port, "server"))
    return Measured(dialled, left_to_proxy=target.host)


def _named(visit: Visit, host: str, port: int, whose: str) -> Name:
    lookups: list[Lookup] = []
    while len(lookups) < (1 if is_literal(host) else TRIALS) and not _is_silent(lookups):
        began = monotonic()
        lookups.append(look_up(host, port, visit.options.timeout))
        visit.add(_row(visit, host, began, lookups[-1]))
    name = Name(host, whose, tuple(lookups), in_hosts_file=_in_hosts_file(host))
    if name.is_literal or not name.addresses:
        return name
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(look_up, host, port, visit.options.timeout, family) for family in _FAMILIES]
        return replace(name, of_ipv4=asked[0].result(), of_ipv6=asked[1].result())


def _is_silent(lookups: list[Lookup]) -> bool:
    return len(lookups) >= _SILENT and not any(one.addresses or one.is_absent for one in lookups)


def _row(visit: Visit, host: str, began: float, lookup: Lookup) -> Row:
    failed = lookup.error is not None
    bar = Bar(Phase.NAME, began - visit.began, lookup.seconds, failed, lookup.error or "")
    count = len(lookup.addresses)
    outcome = lookup.error or f"{count} address{'es' if count > 1 else ''}"
    return Row(f"the name {host}", (bar,), outcome, failed)


def _in_hosts_file(host: str) -> tuple[str, ...]:
    try:
        lines = HOSTS_FILE.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    entries = [line.partition("#")[0].split() for line in lines]
    return tuple(entry[0] for entry in entries if host.lower() in map(str.lower, entry[1:]))


def judge(measured: Measured) -> Iterator[Finding]:
    """Say whether the names are found, always the same and soon."""
    for name in (measured.dialled, measured.behind):
        if name is not None:
            yield from _judged(name)
    if measured.left_to_proxy is not None and not is_literal(measured.left_to_proxy):
        yield ok("name.at-proxy", f"the proxy looks up {measured.left_to_proxy}, not this machine")


def _judged(name: Name) -> Iterator[Finding]:
    found = _of_being_found(name)
    yield found
    if name.is_literal or found.is_bad:
        return
    yield _of_addresses(name)
    yield _of_sameness(name)
    yield _of_time(name)
    if name.in_hosts_file and name.host != "localhost":
        text = f"{HOSTS_FILE} sets the address of {name.host}, whatever the name server says"
        yield ok("name.hosts-file", text, ", ".join(name.in_hosts_file))


def _of_being_found(name: Name) -> Finding:
    if name.is_literal:
        return ok("name.found", f"{name.host} is an address, so no name is looked up")
    if name.addresses:
        return ok("name.found", f"the {name.whose}'s name {name.host} is found")
    last = name.lookups[-1]
    if last.is_absent:
        text = f"the {name.whose}'s name {name.host} is not found ({last.error})"
        hint = f"getent ahosts {quote(name.host)}   # is it spelled right, and does it exist in this network?"
        return fail("name.found", text, hint, name.host, Root.NAME)
    return fail(
        "name.found",
        f"the {name.whose}'s name {name.host} is not found: the name server fails ({last.error})",
        "cat /etc/resolv.conf   # does the name server that stands there answer?",
        name.host,
        Root.NAME,
    )


def _of_addresses(name: Name) -> Finding:
    families = [told for family, told in _FAMILIES.items() if family in {a.family for a in name.addresses}]
    count = len(name.addresses)
    text = f"{name.host} has {count} address{'es' if count > 1 else ''} ({' and '.join(families)})"
    return ok("name.addresses", text, _listed(address.host for address in name.addresses))


def _of_sameness(name: Name) -> Finding:
    empty = [one for one in name.lookups if not one.addresses]
    if empty:
        return warn(
            "name.stable",
            f"{len(empty)} of {len(name.lookups)} lookups found no address ({empty[0].error})",
            "ask the administrator of the name server why its answers differ",
            f"{len(name.lookups) - len(empty)} of {len(name.lookups)} found",
            Root.NAME,
        )
    if len({one.hosts for one in name.lookups}) > 1:
        every = frozenset[str]().union(*(one.hosts for one in name.lookups))
        return ok("name.stable", "the addresses differ from lookup to lookup", _listed(sorted(every)))
    return ok("name.stable", f"{len(name.lookups)} lookups gave the same addresses")


def _of_time(name: Name) -> Finding:
    slowest = max(one.seconds for one in name.lookups)
    value = ", ".join(f"{one.seconds * 1000:.0f} ms" for one in name.lookups)
    if slowest <= SLOW:
        return ok("name.time", "looking the name up is fast", value)
    if _is_ipv6_slow(name):
        return warn(
            "name.time",
            f"looking the name up takes {slowest:.1f} s, because the name server is slow to answer for IPv6",
            "echo 'options single-request-reopen' | sudo tee -a /etc/resolv.conf",
            value,
        )
    return warn(
        "name.time",
        f"looking the name up takes {slowest:.1f} s, and each new connection waits for that",
        "cat /etc/resolv.conf   # does the first name server there answer?",
        value,
    )


def _is_ipv6_slow(name: Name) -> bool:
    """Whether a question for IPv4 alone is answered at once, and one for IPv6 is not."""
    one, other = name.of_ipv4, name.of_ipv6
    return one is not None and other is not None and one.seconds < SLOW / 2 and other.seconds > SLOW


def _listed(hosts: Iterable[str]) -> str:
    """A few of them."""
    told = list(hosts)
    return ", ".join(told[:8]) + (f" and {len(told) - 8} more" if len(told) > 8 else "")


NAME: Final = Section(
    "name",
    "Name",
    (
        Check("name.found", "whether the name has an address"),
        Check("name.addresses", "which addresses it has, of which families"),
        Check("name.stable", "whether answers differ"),
        Check("name.time", "how long the resolver takes"),
        Check("name.hosts-file", "whether this machine's hosts file has the name"),
        Check("name.at-proxy", "who looks the name up where a proxy is used"),
    ),
    measure,
    judge,
)
