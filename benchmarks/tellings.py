"""What telling costs: the same code with it, and with it taken out."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final
from unittest import mock

import requests

from benchmarks.quantities import CPU
from benchmarks.rounds import Sample, timed
from resilient_transport import ResilientAdapter
from resilient_transport.call import record
from resilient_transport.telemetry.counters import Counters

#: The reference: nothing is recorded, counted or told. And once more, as the control.
MUTE: Final = "mute"
CONTROL: Final = "mute again"
NO_HOOK: Final = "no hook"
A_HOOK: Final = "a hook"
CONTESTANTS: Final = (MUTE, CONTROL, NO_HOOK, A_HOOK)

#: Requests of each contestant in a round.
REQUESTS: Final = 20


def _nothing(*_: object) -> None:
    """Tell nobody; a mock would cost more than what it stands for."""


@contextmanager
def muted() -> Iterator[None]:
    """Take out of the code all that tells: attempts, counts, log and hooks."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(record, "dispatcher_for", _nothing))
        stack.enter_context(mock.patch.object(record.Record, "write_down", _nothing))
        stack.enter_context(mock.patch.object(Counters, "answered", _nothing))
        yield


def adapter_for(contestant: str) -> ResilientAdapter:
    """Return an adapter; the hook keeps what it is told for a while, as one that exports would."""
    return ResilientAdapter(on_event=deque(maxlen=1000).append if contestant == A_HOOK else None)


def actions(sessions: Mapping[str, requests.Session], url: str) -> dict[str, Callable[[], Sample]]:
    """Return what each contestant does in a round."""
    return {name: _action(name, session, url) for name, session in sessions.items()}


def _action(name: str, session: requests.Session, url: str) -> Callable[[], Sample]:
    request = session.prepare_request(requests.Request("GET", url))
    adapter = session.get_adapter(url)

    def send() -> bytes:
        return adapter.send(request, verify=session.verify, cert=session.cert).content

    def act() -> Sample:
        with ExitStack() as stack:
            if name in (MUTE, CONTROL):
                stack.enter_context(muted())
            return {CPU: timed(send, REQUESTS)[CPU]}

    return act
