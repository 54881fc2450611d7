"""What hooks hear, as short lines that a test can write down; and which figures have grown."""

from contextlib import suppress

import requests

from resilient_transport import events, stats
from resilient_transport.telemetry.stats import OriginStats

LINES = {
    events.AttemptStarted: "started {0.number}",
    events.HandshakeDone: "connected",
    events.AttemptSucceeded: "succeeded {0.attempt.number}",
    events.AttemptFailed: "failed {0.attempt.number} at {0.attempt.stage}",
    events.RetryScheduled: "scheduled after {0.number}",
    events.BodyResumed: "resumed in {0.number} from {0.from_byte}",
    events.Recovered: "recovered in {0.attempts}",
    events.GaveUp: "gave up in {0.attempt.number}: {0.error}",
    events.IdentityRotated: "rotated: {0.usable}",
    events.CircuitOpened: "circuit opened",
    events.CircuitClosed: "circuit closed",
}


class Heard(list):
    """A hook that remembers what it is told."""

    def __call__(self, event):
        self.append(event)

    def story(self):
        """Return a line for each event but the end of a call, and forget them."""
        lines = [LINES[type(event)].format(event) for event in self if type(event) in LINES]
        self.clear()
        return lines

    def calls(self):
        """Return the events of each call by its number, in the order in which the calls were met."""
        found = {}
        for event in self:
            if isinstance(event, events.CallEvent):
                found.setdefault(event.call, []).append(event)
        return found

    def of(self, kind):
        """Return the events of a kind."""
        return [event for event in self if isinstance(event, kind)]


def grown(server):
    """Return what is not as it is in the beginning, but for calls, times, handshakes and connections."""
    found, new = stats()[server.url], OriginStats()
    usual = ("calls", "handshakes_full", "handshakes_resumed", "live", "idle", "waits")
    usual += ("responses", "response_times", "failed_calls")
    names = [name for name in OriginStats.__dataclass_fields__ if name not in usual]
    return {name: getattr(found, name) for name in names if getattr(found, name) != getattr(new, name)}


def attempted(session, method, url, **values):
    """Make a call, however it ends."""
    with suppress(requests.RequestException):
        session.request(method, url, **values).content  # noqa: B018 - reading it is a part of it
