"""What a program does at its start: all its calls at once, each on a session of its own.

That is the report: every code path builds its own TLS agent.
"""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Final

import requests

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
    with ThreadPoolExecutor(len(order.calls)) as pool:
        return Start(tuple(pool.map(partial(_make, order, gun), order.calls)))


def _make(order: Order, gun: _Gun, call: Call) -> Outcome:
    with session_for(order.transport) as session:
        session.verify, session.cert = order.ca_file, order.client
        gun.wait()
        try:
            response = _send(session, order.url, call)
        except Exception as error:
            # Whatever it is: a request that failed. An error that is none of requests' is one as well.
            return _outcome(call, gun, error, type(error).__name__)
        right = call.digest in (None, _digest(response.content))
        wrong = WRONG_BODY if right is False else None
        error_status = None if response.ok else f"status {response.status_code}"
        return _outcome(call, gun, response, error_status or wrong, response.content)


def _send(session: requests.Session, url: str, call: Call) -> requests.Response:
    data = b"ping" if call.method == "POST" else None
    headers = {"X-Request-Id": call.request_id}
    return session.request(call.method, url + call.path, data=data, headers=headers, timeout=_TIMEOUT)


def _outcome(call: Call, gun: _Gun, of: object, error: str | None, body: bytes = b"") -> Outcome:
    attempts = attempts_of(of)
    return Outcome(
        call.request_id,
        call.method,
        error,
        stage=str(attempts[-1].stage) if attempts else None,
        attempts=len(attempts),
        body_bytes=len(body),
        digest=_digest(body),
        seconds=monotonic() - gun.fired_at,
    )


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
