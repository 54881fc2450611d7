"""This host: the same calls to a server of our own on loopback, which does nothing wrong.

If those fail, too, it is something on this machine that interferes. The page's server is not asked.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import requests
from requests.utils import get_environ_proxies, select_proxy

from ....call.redaction import describe
from ....retry.causes import root_of
from ..finding import Finding, fail, ok, skipped, warn
from ..line import FAILURES, Trouble
from ..program_calls import OURS, STOCK, Call, calls
from ..root import Root
from ..section import Check, Section
from ..visit import Visit

if TYPE_CHECKING:
    from ....testing import FaultServer

#: Bytes of the pages that are asked for, and how often each is in each way.
SIZES: Final = (1000, 1_000_000)
TRIALS: Final = 2


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of the calls to loopback."""

    #: Why there was no server to ask; empty: there was one.
    unavailable: str = ""
    #: Whether it spoke TLS.
    is_tls: bool = True
    #: How many requests by hand were made, and what the others met.
    by_hand: int = 0
    troubles: tuple[str, ...] = ()
    #: The calls by stock requests and by the adapter, and the bytes that each should have brought.
    stock: tuple[tuple[Call, int], ...] = ()
    ours: tuple[tuple[Call, int], ...] = ()
    #: Whether the environment has a proxy for loopback, and what a call through it met; empty: nothing.
    has_proxy: bool = False
    by_proxy: str = ""


def measure(visit: Visit) -> Measured:
    """Start a server, and ask it for a small and a large page in each way."""
    try:
        with _server() as server:
            return _asked(visit, server)
    except (OSError, RuntimeError) as error:
        return Measured(unavailable=f"no server can be started here: {type(error).__name__}")


def _server() -> FaultServer:
    """A server without faults; with TLS, if there is trustme to make certificates with."""
    from ....testing import FaultServer

    try:
        return FaultServer(client_auth="optional")
    except ImportError:
        return FaultServer(tls=False)


def _asked(visit: Visit, server: FaultServer) -> Measured:
    is_tls = server.options.tls
    trusted = server.authority.ca_file if is_tls else None
    troubles: list[str] = []
    stock: list[tuple[Call, int]] = []
    ours: list[tuple[Call, int]] = []
    count = 0
    for size in SIZES:
        url = f"{server.url}/bytes/{size}"
        own = Visit(
            replace(visit.options, url=url, session=None, cert=None, key=None, proxy="", ca=trusted, sizes=())
        )
        own.began, own.chart = visit.began, visit.chart
        for number in range(TRIALS):
            count += 1
            troubles += _by_hand(own, size, f"loopback, GET {size} bytes by hand, call {number + 1}")
        stock += [(call, size) for call in calls(own, STOCK, TRIALS)]
        ours += [(call, size) for call in calls(own, OURS, TRIALS)]
        for chart in own.charts():
            for row in chart.rows:
                visit.add(row)
    has_proxy, by_proxy = _through_environment(visit, f"{server.url}/bytes/{SIZES[0]}", trusted or True)
    return Measured("", is_tls, count, tuple(troubles), tuple(stock), tuple(ours), has_proxy, by_proxy)


def _by_hand(own: Visit, size: int, title: str) -> Iterator[str]:
    """What a request by hand meets; nothing, if the page comes whole."""
    trouble: Trouble | None = None
    brought = None
    with suppress(*FAILURES), own.kept(own.line(), title) as line:
        try:
            line.dial()
            line.shake_hands(own.context())
            brought = line.ask().body_bytes
        finally:
            trouble = line.trouble
    if trouble is not None:
        yield f"{trouble.phase.value}: {trouble.error}"
    elif brought != size:
        yield f"{brought} of {size} bytes came"


def _through_environment(visit: Visit, url: str, verify: str | bool) -> tuple[bool, str]:
    """Whether the environment sends calls to loopback through a proxy, and what one meets then."""
    proxies = get_environ_proxies(url, no_proxy=None)
    if not select_proxy(url, proxies):
        return False, ""
    try:
        with requests.Session() as session:
            answer = session.get(url, proxies=proxies, verify=verify, timeout=visit.options.timeout)
    except (requests.RequestException, OSError, ValueError, http.client.HTTPException) as error:
        return True, describe(root_of(error))
    return True, "" if answer.ok else f"status {answer.status_code}"


def judge(measured: Measured) -> Iterator[Finding]:
    """Say whether calls to loopback work in each way."""
    if measured.unavailable:
        yield from (skipped(check.name, measured.unavailable) for check in THIS_HOST.checks)
        return
    over = (
        "a local server" if measured.is_tls else "a local server without TLS (pip install trustme adds TLS)"
    )
    yield _told("this-host.by-hand", f"socket and ssl alone to {over}", measured.troubles, measured.by_hand)
    for check, made in (("this-host.stock", measured.stock), ("this-host.adapter", measured.ours)):
        yield _told(check, f"{made[0][0].transport} to {over}", [*map(_fault, made)], len(made))
    if measured.has_proxy:
        yield _of_proxy(measured.by_proxy)


def _fault(made: tuple[Call, int]) -> str:
    call, size = made
    if call.error is not None:
        return call.error
    return (
        ""
        if (call.status, call.body_bytes) == (200, size)
        else f"status {call.status}, {call.body_bytes} bytes"
    )


def _told(check: str, who: str, faults: Sequence[str], tried: int) -> Finding:
    met = [fault for fault in faults if fault]
    value = f"{tried - len(met)} of {tried} came whole"
    if not met:
        return ok(check, f"calls by {who} work", value)
    return fail(
        check, f"calls by {who} fail, too ({met[0]})",
        "sudo nft list ruleset   # or what else filters connections here: endpoint security, LD_PRELOAD",
        value, Root.THIS_HOST,
    )  # fmt: skip


def _of_proxy(fault: str) -> Finding:
    if not fault:
        return ok("this-host.proxy", "the environment's proxy is used for localhost, too, and that works")
    return warn(
        "this-host.proxy", f"the environment's proxy is used for localhost, too, and fails there ({fault})",
        "export NO_PROXY=localhost,127.0.0.1,::1", "", Root.OTHER,
    )  # fmt: skip


THIS_HOST: Final = Section(
    "this-host",
    "This host",
    (
        Check("this-host.by-hand", "whether loopback works by socket and ssl alone"),
        Check("this-host.stock", "whether stock requests works on loopback"),
        Check("this-host.adapter", "whether the adapter works on loopback"),
        Check("this-host.proxy", "whether the environment's proxy stands before localhost"),
    ),
    measure,
    judge,
)
