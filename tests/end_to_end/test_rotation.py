"""Certificate files are replaced ten times a second, in every way, under eight threads that never stop.

What a call shows was in the files, as the newest that was whole, at most 2 s before it began. The servers say
who they saw, the writer says what was whole when. `ROTATION_SECONDS` says for how long.
"""

import itertools
import os
import random
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, install
from resilient_transport.testing import FaultServer, Script
from tests.pool.rotation import WAYS, Secret
from tests.timeouts import LONG_TIMEOUT

SECONDS = float(os.environ.get("ROTATION_SECONDS", "30"))
#: Stock fails much sooner: as soon as somebody meets a pair that does not match, and 2 s after a rotation.
STOCK_SECONDS = 5.0
#: Seconds from one rotation to the next, and for which files are left half-written, at the most.
PERIOD, HALF = 0.1, 0.006
#: So old may be what a call shows, in seconds.
LATEST = 2.0
#: Seconds between two calls of a thread, at the least and at the most.
PACE = (0.03, 0.09)
#: So many certificates take turns: in a round they last longer than what may be shown.
CERTIFICATES = 40


class Whole(NamedTuple):
    """A version: whose; since when it was written, and until when it was the newest that was whole."""

    name: str
    since: float
    until: float


class Made(NamedTuple):
    """A call that was made: its id, when it began and ended, and what it has raised."""

    number: str
    began: float
    ended: float
    error: Exception | None


class Writer(threading.Thread):
    """Replaces the files until it is stopped, in each way in turn, and writes down what was whole when."""

    def __init__(self, secret, versions):
        super().__init__(daemon=True)
        self.secret, self.versions = secret, versions
        self.whole, self.lateness = [], 0.0
        self._stopped, self._random = threading.Event(), random.Random(7)

    def run(self):
        """Replace."""
        name, began = "v0", time.monotonic()
        since = began
        for way, (following, files) in zip(itertools.cycle(WAYS), self.versions, strict=False):
            if self.pause(max(0.0, began + PERIOD - time.monotonic())):
                break
            began = time.monotonic()
            for _ in way(self.secret, *files):
                self.pause(self._random.uniform(0, HALF))
            self.whole.append(Whole(name, since, time.monotonic()))
            name, since = following, began
        self.whole.append(Whole(name, since, float("inf")))

    def pause(self, seconds):
        """Wait; note by how much too long. Whether it is stopped."""
        began = time.monotonic()
        stopped = self._stopped.wait(seconds)
        self.lateness = max(self.lateness, time.monotonic() - began - seconds)
        return stopped

    def stop(self):
        """Stop it."""
        self._stopped.set()
        self.join(LONG_TIMEOUT)


@pytest.fixture(scope="module")
def servers(authority):
    """Two servers that demand a client certificate, with TLS 1.2 and 1.3."""
    with (
        FaultServer(authority=authority, max_tls="1.2") as older,
        FaultServer(authority=authority) as newer,
    ):
        yield older, newer


@pytest.fixture
def versions(authority, tmp_path):
    """Return an endless row of versions by name; the CA bundle differs, too, and always has ours."""
    both = tmp_path / "both.pem"
    parts = (Path(path).read_bytes() for path in (authority.ca_file, authority.other_ca_file))
    both.write_bytes(b"".join(parts))
    bundles = itertools.cycle([authority.ca_file, str(both)])
    names = [f"v{number}" for number in range(CERTIFICATES)]
    return itertools.cycle([(name, (*authority.issue(name), next(bundles))) for name in names])


def by_session(session, method, url, secret, headers):
    """Call with the session's own files."""
    session.verify, session.cert = secret.trusted, secret.pair
    return session.request(method, url, headers=headers, timeout=LONG_TIMEOUT)


def by_request(session, method, url, secret, headers):
    """Call with the request's."""
    given = {"verify": secret.trusted, "cert": secret.pair}
    return session.request(method, url, headers=headers, timeout=LONG_TIMEOUT, **given)


def by_function(session, method, url, secret, headers):
    """Call without a session, with the bundle that the environment names."""
    return requests.request(method, url, headers=headers, timeout=LONG_TIMEOUT, cert=secret.pair)


#: What each of the eight threads does; the last two share a session.
WORK = [(by_session, "GET"), (by_session, "POST"), (by_request, "GET"), (by_request, "POST"),
        (by_function, "GET"), (by_function, "POST"), (by_session, "GET"), (by_request, "GET")]  # fmt: skip


class Client(threading.Thread):
    """Makes calls until it is told to stop, to one server after the other."""

    def __init__(self, number, session, servers, secret, stopped):
        super().__init__(daemon=True)
        self.number, self.session, self.secret, self.stopped = number, session, secret, stopped
        self.urls, self.made = itertools.cycle([server.url + "/whoami" for server in servers]), []

    def run(self):
        """Call."""
        call, method = WORK[self.number]
        pace = random.Random(self.number)
        while not self.stopped.wait(pace.uniform(*PACE)):
            number, began, error = f"{self.number}-{len(self.made)}", time.monotonic(), None
            try:
                call(self.session, method, next(self.urls), self.secret, {"X-Request-Id": number}).json()
            except (OSError, ValueError) as raised:
                error = raised
            self.made.append(Made(number, began, time.monotonic(), error))


def run(servers, secret, versions, adapter, seconds):
    """Rotate under load; return the writer and all calls that were made."""
    # Before anything was usable, nobody knows what to use in the place of what is half-written.
    requests.get(servers[0].url, cert=secret.pair, timeout=LONG_TIMEOUT)
    for server in servers:
        server.play(Script())
    stopped = threading.Event()
    sessions = [requests.Session() for _ in WORK[:-1]]
    for session in sessions:
        session.trust_env = False
        session.mount("https://", adapter())
    sessions.append(sessions[-1])
    writer = Writer(secret, versions)
    clients = [Client(number, sessions[number], servers, secret, stopped) for number in range(len(WORK))]
    for thread in (writer, *clients):
        thread.start()
    stopped.wait(seconds)
    stopped.set()
    for client in clients:
        client.join(LONG_TIMEOUT)
    writer.stop()
    for session in sessions:
        session.close()
    return writer, [made for client in clients for made in client.made]


def outdated(servers, writer, made, latest=LATEST):
    """Return the calls that have shown a version that was none of those of its time, and how old it was."""
    shown = {one.request_id: one.client for server in servers for one in server.executions()}
    found = []
    for one in made:
        ages = [
            one.began - whole.until
            for whole in writer.whole
            if whole.name == shown.get(one.number) and whole.since <= one.ended
        ]
        if one.error is None and min(ages, default=float("inf")) > latest:
            found.append((one.number, shown.get(one.number), min(ages, default=None)))
    return found


@pytest.fixture
def secret(authority, tmp_path, versions, monkeypatch):
    """Return the files, with the first version in them."""
    name, files = next(versions)
    secret = Secret(tmp_path / "secret", *files)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", secret.trusted)
    return secret


@pytest.mark.slow
def test_nobody_notices_a_rotation(servers, secret, versions):
    """No call fails, and none shows what was replaced more than 2 s before it began."""
    with install():
        writer, made = run(servers, secret, versions, ResilientAdapter, SECONDS)
    executed = [one.request_id for server in servers for one in server.executions()]
    # What a busy machine has held up the writer for, it may have held up a call for.
    latest = LATEST + 2 * writer.lateness

    assert [one for one in made if one.error is not None] == []
    assert outdated(servers, writer, made, latest) == []
    assert sorted(executed) == sorted(one.number for one in made)
    assert len(writer.whole) > SECONDS


@pytest.mark.slow
def test_stock_does(servers, secret, versions):
    """The control: calls fail on files that are half-written, and sessions go on as who they were."""
    writer, made = run(servers, secret, versions, HTTPAdapter, STOCK_SECONDS)

    assert [one for one in made if one.error is not None] != []
    assert outdated(servers, writer, made) != []
