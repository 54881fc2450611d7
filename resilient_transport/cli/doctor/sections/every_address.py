"""The connect: every address of the server, or of the proxy, on its own.

A client tries one address after the other, or two at once. What one of them does is easily hidden by the
others, until the name server gives them in another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from shlex import quote
from socket import AF_INET6
from typing import Final

from ....retry.causes import Cause
from ..addresses import Address, look_up
from ..allowance import Budget
from ..finding import Finding, fail, ok, skipped, warn
from ..line import Line
from ..root import Root
from ..section import Check, Section
from ..visit import Visit
from .name import Measured as Names

#: Addresses that are tried, the first that the resolver has named.
MOST: Final = 8
#: A first SYN that is lost is repeated after a second (RFC 6298): a connect that takes longer has lost one.
SLOW: Final = 0.9
#: Where one of several is silent, calls wait there for ten times as long as the others take, or for this.
_PATIENCE: Final = 1.0
#: Seconds that Linux waits for an answer to a connect, where nobody has set a time-out.
_KERNEL: Final = 130


@dataclass(frozen=True, slots=True)
class Try:
    """One address, and what came of a connect to it."""

    #: The address.
    address: Address
    #: Seconds until it was there, or failed.
    seconds: float
    #: Why it has failed; None: it has not.
    cause: Cause | None = None
    #: That in words.
    error: str = ""

    @property
    def is_harmless(self) -> bool:
        """Whether no client loses time by it, and nobody would mend it.

        A machine without IPv6 says so at once. That a server of this machine listens at one family only is
        usual.
        """
        if self.cause in (Cause.UNREACHABLE, Cause.LOCAL):
            return self.address.family == AF_INET6
        return self.cause is Cause.REFUSED and self.address.is_loopback

    @property
    def told(self) -> str:
        """The address, and how it went."""
        if self.cause is None:
            return f"{self.address} {self.seconds * 1000:.1f} ms"
        return f"{self.address} {'silent' if self.cause is Cause.TIMEOUT else self.cause}"


@dataclass(frozen=True, slots=True)
class Measured:
    """Every address that was tried, in the order that the system tries them in."""

    #: What came of each.
    tries: tuple[Try, ...]
    #: Whose they are: "server" or "proxy".
    whose: str
    #: Its name, or its address.
    host: str
    #: Its port.
    port: int
    #: How many addresses were left out.
    left_out: int = 0

    @property
    def causes(self) -> set[Cause | None]:
        """What came of the addresses; that a machine has no IPv6 says nothing, where another one is tried."""
        telling = [one for one in self.tries if one.cause is Cause.REFUSED or not one.is_harmless]
        return {one.cause for one in telling or self.tries}

    @property
    def root_of_all(self) -> Root:
        """What it comes from, if every address fails."""
        causes = self.causes
        if Cause.LOCAL in causes:
            return Root.THIS_HOST
        if self.whose == "proxy":
            return Root.PROXY_UNREACHABLE
        return Root.REFUSED if causes == {Cause.REFUSED} else Root.UNREACHABLE


def measure(visit: Visit) -> Measured:
    """Connect to each address at once, and close each."""
    host, port = visit.target.dialled
    names = visit.of("name", Names)
    found = names.dialled.addresses if names else look_up(host, port, visit.options.timeout).addresses
    chosen = found[:MOST]
    visit.budget.connect(len(chosen))
    with ThreadPoolExecutor(max(1, len(chosen))) as threads:
        tries = tuple(threads.map(lambda address: _tried(visit, address), chosen))
    there = [one for one in tries if one.cause is None]
    if there:
        visit.answering = there[0].address.dialled
        if len(there) < len(tries):
            patience = max(_PATIENCE, 10 * max(one.seconds for one in there))
            visit.connect_timeout = min(visit.options.timeout, patience)
    whose = "server" if visit.target.proxy is None else "proxy"
    return Measured(tries, whose, host, port, len(found) - len(chosen))


def _tried(visit: Visit, address: Address) -> Try:
    # Each has a budget of its own, which is used by one thread only; the visit's has granted all of them.
    line = Line(visit.target, Budget(), visit.options.timeout, address.dialled)
    with visit.kept(line, f"connect to {address}"), suppress(OSError):
        line.dial()
    trouble = line.trouble
    # A connection that is reset at once was made all the same: somebody listens there. A later section, which
    # makes more of them, tells how often that happens.
    if trouble is not None and trouble.cause is not Cause.RESET:
        return Try(address, trouble.seconds, trouble.cause, trouble.error)
    return Try(address, line.bars[-1].seconds)


def judge(measured: Measured) -> Iterator[Finding]:
    """Say which addresses do not answer, and what that costs."""
    tries = measured.tries
    if not tries:
        yield skipped("connect.addresses", "no address is known")
        return
    failed = [one for one in tries if one.cause is not None]
    if len(failed) == len(tries):
        yield _of_none(measured)
        return
    yield _of_some(measured, [one for one in failed if not one.is_harmless])
    if len(tries) > 1:
        text = f"the system tries {tries[0].address} first"
        yield ok("connect.first", text, _rest(measured))
    yield _of_time([one for one in tries if one.cause is None])


def _of_none(measured: Measured) -> Finding:
    tries, root = measured.tries, measured.root_of_all
    value = ", ".join(one.told for one in tries[:MOST])
    who = f"the {measured.whose} {measured.host}"
    causes = measured.causes
    if root is Root.THIS_HOST:
        text = f"this machine does not permit a connection to {measured.host} ({tries[0].error})"
        hint = "sudo nft list ruleset   # or what else filters here: a sandbox, a policy, an agent"
    elif causes == {Cause.REFUSED}:
        text = f"{who} has refused the connection at port {measured.port}"
        hint = f"nc -vz {quote(measured.host)} {measured.port}   # does anything listen there?"
    elif Cause.TIMEOUT in causes:
        silence = max(one.seconds for one in tries)
        text = f"{who} is silent at port {measured.port} for {silence:.1f} s: something drops the packets"
        hint = f"traceroute -T -p {measured.port} {quote(measured.host)}   # a firewall? a VPN that is off?"
    else:
        text = f"no connection to {who} can be made ({tries[0].error})"
        hint = f"ip route get {tries[0].address.host}   # is there a way to that network?"
    return fail("connect.addresses", text, hint, value, root)


def _of_some(measured: Measured, failed: Sequence[Try]) -> Finding:
    tries = measured.tries
    value = ", ".join(one.told for one in tries)
    if not failed:
        answer = sum(one.cause is None for one in tries)
        text = (
            f"the {measured.whose} accepts connections"
            if len(tries) == 1
            else f"{answer} of {len(tries)} addresses accept connections"
        )
        return ok("connect.addresses", text, value)
    which = ", ".join(str(one.address) for one in failed)
    return warn(
        "connect.addresses",
        f"{len(failed)} of {len(tries)} addresses of {measured.host} do not answer: {which}{_cost(failed)}",
        _cure(measured, failed),
        value,
        Root.SOME_ADDRESS,
    )


def _cost(failed: Sequence[Try]) -> str:
    """What a client loses that tries one address after the other, as stock requests does."""
    if any(one.cause is Cause.TIMEOUT for one in failed):
        return f"; stock requests waits there for its whole connect time-out, or {_KERNEL} s if it has none"
    return ""


def _cure(measured: Measured, failed: Sequence[Try]) -> str:
    families = {one.address.family for one in failed}
    if len(families) == 1 and families.isdisjoint(
        one.address.family for one in measured.tries if one.cause is None
    ):
        order = "ipv4first" if AF_INET6 in families else "ipv6first"
        return f"export RESILIENT_TRANSPORT_DNS_ORDER={order}"
    return f"ask the operator of {measured.host} to repair {failed[0].address.host}, or to remove it from DNS"


def _rest(measured: Measured) -> str:
    return f"{measured.left_out} more were not tried" if measured.left_out else ""


def _of_time(there: Sequence[Try]) -> Finding:
    slowest = max(there, key=lambda one: one.seconds)
    value = ", ".join(one.told for one in there)
    if slowest.seconds < SLOW:
        return ok("connect.time", "connecting is fast", value)
    return warn(
        "connect.time",
        f"connecting to {slowest.address} takes {slowest.seconds:.1f} s: its first packet is lost",
        f"mtr -T -P {slowest.address.where[1]} {slowest.address.host}   # where are packets lost?",
        value,
    )


CONNECT: Final = Section(
    "connect",
    "Connect",
    (
        Check("connect.addresses", "which addresses answer a connect, each on its own"),
        Check("connect.first", "which of them the system tries first"),
        Check("connect.time", "how long a connect takes"),
    ),
    measure,
    judge,
    needs=("name",),
)
