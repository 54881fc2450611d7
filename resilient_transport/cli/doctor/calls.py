"""Calls as programs make them: by the session as it is, and with the adapter mounted."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import requests

from ...adapter.adapter import ResilientAdapter
from ...call.redaction import describe
from ...events.attempt import Attempts, attempts_of
from ...pool.registry import registry
from ...retry.causes import Cause, classify, root_of
from ...waterfall.chart import Bar, Phase, Row
from .visit import Visit

#: The session as it is, which is stock requests unless the program's own has something mounted; and ours.
STOCK: Final = "stock requests"
OURS: Final = "this adapter"


@dataclass(frozen=True, slots=True)
class Call:
    """What came of one call."""

    #: `STOCK` or `OURS`.
    transport: str
    #: The response's status; None: it has failed.
    status: int | None
    #: Why it has failed, by type and reason; None: it has not.
    error: str | None
    #: What the adapter would call that.
    cause: Cause | None
    #: Its attempts; empty for stock, which does not tell.
    attempts: Attempts
    #: Seconds that it took.
    seconds: float
    #: Bytes of the decoded body, and their SHA-256.
    body_bytes: int = 0
    digest: str = ""
    #: The response's header, by names in lower case. No value of it is ever shown.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def calls(
    visit: Visit,
    transport: str,
    count: int,
    *,
    together: bool = False,
    url: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    mark: Callable[[], None] = lambda: None,
) -> tuple[Call, ...]:
    """Make cold calls, each on a session of its own, one after the other or all at once.

    What the adapter's pools remember is forgotten first, so that it starts as cold as stock does.

    Args:
        visit: what they are part of; it grants as many requests.
        transport: `STOCK` or `OURS`.
        count: how many.
        together: whether they begin at once, each in a thread of its own.
        url: None: the target's.
        method: GET or HEAD.
        headers: what is sent besides.
        mark: is called after each.
    """
    visit.budget.request(count)
    if transport == OURS:
        registry.clear()
    line = threading.Barrier(count if together else 1)
    asked = (method, url or visit.target.url, dict(headers or {}))

    def one(number: int) -> Call:
        line.wait(60)
        began = monotonic()
        made = _made(visit, transport, asked)
        visit.add(_row(visit, f"{method} by {transport}, call {number}", began, made))
        mark()
        return made

    with ThreadPoolExecutor(count if together else 1) as threads:
        made = tuple(threads.map(one, range(1, count + 1)))
    if transport == OURS:
        sent = sum(attempt.bytes_out > 0 for call in made for attempt in call.attempts)
        visit.budget.told(max(0, sent - count))
    return made


def _made(visit: Visit, transport: str, asked: tuple[str, str, dict[str, str]]) -> Call:
    method, url, headers = asked
    began, timeout = monotonic(), (visit.connect_timeout, visit.options.timeout)
    with visit.new_session() as session:
        if transport == OURS:
            adapter = ResilientAdapter()
            session.mount("https://", adapter)
            session.mount("http://", adapter)
        target = visit.target
        try:
            answer = session.request(
                method, url, headers=headers, timeout=timeout, allow_redirects=False, verify=target.verify,
                proxies=target.proxies,
            )  # fmt: skip
        except (requests.RequestException, ValueError, OSError) as error:
            root = root_of(error)
            why, cause = describe(root), classify(error)
            return Call(transport, None, why, cause, attempts_of(error), monotonic() - began)
        body = answer.content
        return Call(
            transport, answer.status_code, None, None, attempts_of(answer), monotonic() - began, len(body),
            hashlib.sha256(body).hexdigest(), {name.lower(): text for name, text in answer.headers.items()},
        )  # fmt: skip


def _row(visit: Visit, title: str, began: float, call: Call) -> Row:
    """A call as one bar; of the adapter's, `recording` knows more."""
    bar = Bar(Phase.BODY, began - visit.began, call.seconds, call.error is not None, call.error or "")
    outcome = call.error or f"status {call.status}"
    return Row(title, (bar,), outcome, call.error is not None, status=call.status, url=visit.target.shown)
