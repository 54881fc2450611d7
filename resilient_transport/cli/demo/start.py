"""What a program does at its start: all its calls at once, each on a session of its own.

That is the report: every code path builds its own TLS agent.
"""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from time import monotonic
from typing import Final

import requests

from ...events import subscribed
from ...events.attempt import attempts_of
from .order import WRONG_BODY, Call, Order, Outcome, Start
from .transports import session_for

#: Seconds to connect and between bytes: never reached, unless something hangs.
_TIMEOUT: Final = 10.0


class _Gun:
    """Releases all threads at once and knows when that was."""

    def __init__(self, runners: int) -> None:
        self._barrier = threading.Barrier(runners, self._fire)
        #: Set when the last runner has come, before any is released.
        self.fired_at = 0.0

    def wait(self) -> None:
        """Come to the line."""
        self._barrier.wait()

    def _fire(self) -> None:
        self.fired_at = monotonic()


def run(order: Order) -> Start:
    """Make all calls in parallel, and say what came of each."""
    gun = _Gun(len(order.calls))
    # Stages have times only while somebody listens.
    listening = subscribed(lambda _event: None) if order.in_detail else nullcontext()
    with listening, ThreadPoolExecutor(len(order.calls)) as pool:
        return Start(tuple(pool.map(partial(_make, order, gun), order.calls)))


def _make(order: Order, gun: _Gun, call: Call) -> Outcome:
    with session_for(order.transport) as session:
        session.verify, session.cert = order.ca_file, order.client
        gun.wait()
        began = monotonic()
        came: requests.Response | Exception
        try:
            came = _send(session, order.url, call)
            error, body = _fault(came, call), came.content
        except Exception as failure:
            # Whatever it is: a request that failed. An error that is none of requests' is one as well.
            came, error, body = failure, type(failure).__name__, b""
        ended = monotonic()
    attempts = attempts_of(came)
    return Outcome(
        call.request_id,
        call.method,
        error,
        stage=str(attempts[-1].stage) if attempts else None,
        attempts=len(attempts),
        body_bytes=len(body),
        digest=_digest(body),
        began=began - gun.fired_at,
        seconds=ended - gun.fired_at,
        history=tuple(attempts) if order.in_detail else (),
    )


def _send(session: requests.Session, url: str, call: Call) -> requests.Response:
    data = b"ping" if call.method == "POST" else None
    headers = {"X-Request-Id": call.request_id}
    return session.request(call.method, url + call.path, data=data, headers=headers, timeout=_TIMEOUT)


def _fault(response: requests.Response, call: Call) -> str | None:
    """What is wrong with a response that came."""
    if not response.ok:
        return f"status {response.status_code}"
    return None if call.digest in (None, _digest(response.content)) else WRONG_BODY


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
