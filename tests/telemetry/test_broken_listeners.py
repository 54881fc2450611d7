"""Hooks and handlers of the log that are broken themselves break no call; nor does what tells of them."""

import logging
from pathlib import Path

import pytest

from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT

ONE_RESET = Script((Rule(Fault(Moment.EXECUTED), first=1),))


class Unbound:
    """A proxy that stands for nothing yet: whatever is asked of it raises."""

    def __call__(self, event):
        """Be no hook."""
        raise RuntimeError("unbound")

    def __getattr__(self, name):
        """Be nothing else either."""
        raise RuntimeError("unbound")


class Broken(logging.Handler):
    """A handler that raises where `logging` does not expect it."""

    def emit(self, record):
        """Raise."""
        raise ValueError("handler")


class Sending(logging.Handler):
    """A handler that sends each record with a session that logs."""

    def __init__(self, send):
        """Send so."""
        super().__init__()
        self.send, self.sent = send, 0

    def emit(self, record):
        """Send."""
        self.sent += 1
        self.send()


@pytest.fixture
def listening():
    """Return a function that adds a handler to the log, at a level."""
    log = logging.getLogger("resilient_transport")
    level, added = log.level, []

    def listen(handler, wanted):
        log.addHandler(handler)
        log.setLevel(wanted)
        added.append(handler)

    yield listen
    for handler in added:
        log.removeHandler(handler)
    log.setLevel(level)


def raising(event):
    """Raise."""
    raise KeyError("hook")


@pytest.mark.parametrize("hook", [None, raising, Unbound()], ids=["none", "raises", "unbound"])
@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
@pytest.mark.parametrize("broken", [True, False])
def test_a_call_succeeds_whoever_listens(server, dial, listening, hook, level, broken):
    """With a hook that raises, in whatever way, and a handler that raises when that is told."""
    if broken:
        listening(Broken(), level)
    server.play(ONE_RESET)

    assert dial(server, on_event=hook).get(server.url).status_code == 200


def test_a_handler_may_send_with_the_session_that_it_logs(server, dial, listening, tmp_path):
    """Files that are not usable any more warn once, although the handler's own call meets them, too."""
    paths = [tmp_path / name for name in ("client.pem", "client.key")]
    for path, source in zip(paths, server.authority.client, strict=True):
        path.write_bytes(Path(source).read_bytes())
    session = dial(server)
    session.cert = tuple(map(str, paths))
    session.get(server.url)
    handler = Sending(lambda: session.get(server.url))
    listening(handler, logging.WARNING)
    paths[0].write_text("broken")
    for entry in session.get_adapter(server.url)._lookup._entries.values():
        # It was looked at long ago.
        entry._looked_at -= LONG_TIMEOUT
    status = session.get(server.url).status_code

    assert status == 200
    assert handler.sent == 1
