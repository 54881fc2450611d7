"""Each figure grows with what it counts, by as much, and with nothing else."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from resilient_transport import RetryPolicy, registry, stats
from resilient_transport.call.origin_state import state_of
from resilient_transport.telemetry.counters import BUCKETS, Durations
from resilient_transport.telemetry.stats import OriginStats
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.end_to_end.hearing import attempted, grown
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

FAST = {"backoff": 0.001, "backoff_max": 0.001}
ONE = RetryPolicy(retries=1, **FAST)
CALLS = 120


def without_times(figures):
    """Return figures without what a clock has measured."""
    return replace(figures, response_times=Durations())


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


def once(moment, **values):
    """Return a script in which the first connection is broken."""
    return Script((Rule(Fault(moment, **values), first=1),))


def test_there_is_nothing_in_the_beginning(server):
    """Nobody has called, nothing is counted."""
    assert dict(stats()) == {}
    assert repr(stats()) == "<Stats {}>"


def test_good_calls(server, dial):
    """The control: calls, the handshake of the first, and its connection; nothing else."""
    session = dial(server)
    for _ in range(5):
        session.get(server.url)
    found = stats()[server.url]

    assert without_times(found) == OriginStats(
        calls=5, responses={"2xx": 5}, handshakes_full=1, live=1, idle=1
    )
    assert (server.counts().requests, server.counts().handshakes) == (5, 1)
    assert server.counts().open_connections == found.live


def test_a_snapshot_stays_as_it_is(server, dial):
    """What was taken does not grow, and cannot be changed."""
    session = dial(server)
    session.get(server.url)
    before = stats()
    session.get(server.url)

    assert (before[server.url].calls, stats()[server.url].calls) == (1, 2)
    with pytest.raises(TypeError):
        before[server.url] = None
    with pytest.raises(AttributeError):
        before[server.url].calls = 3


def test_each_origin_has_its_own(server, fault_server_factory, dial):
    """What goes to one server is not counted for another, with TLS or without."""
    other = fault_server_factory(tls=False)
    dial(server).get(server.url)
    session = dial(other)
    session.get(other.url)
    session.get(other.url)

    assert stats()[server.url].calls == 1
    assert without_times(stats()[other.url]) == OriginStats(calls=2, responses={"2xx": 2}, live=1, idle=1)
    assert list(stats()) == sorted([server.url, other.url])


def test_handshakes(server, dial):
    """Full and resumed ones, as the server has counted them."""
    session = dial(server)
    for _ in range(4):
        session.get(server.url)
        server.reset_peers()
    found, seen = stats()[server.url], server.counts()

    assert found.handshakes_resumed == seen.resumptions == 3
    assert found.handshakes_full == seen.handshakes - seen.resumptions == 1


def test_connections(server, dial):
    """A connection in use is live; given back it is idle, too; closed, neither."""
    session = dial(server)
    response = session.get(server.url + "/bytes/100000", stream=True)
    used = stats()[server.url]
    session.get(server.url)
    both = stats()[server.url]
    response.content  # noqa: B018 - reading it gives the connection back
    back = stats()[server.url]
    registry.clear()
    gone = stats()[server.url]

    assert [(each.live, each.idle) for each in (used, both, back, gone)] == [(1, 0), (2, 1), (2, 2), (0, 0)]


STAGES = {
    "handshake": Moment.CLIENT_HELLO,
    "confirm": Moment.HANDSHAKE,
    "request": Moment.EXECUTED,
    "body": Moment.BODY,
}


@pytest.mark.parametrize("stage", STAGES)
def test_failures_by_stage(server, dial, stage):
    """A failure is counted where it was met, and its repetition as one."""
    server.play(once(STAGES[stage]))
    # Only what may not be repeated waits for confirmation.
    method = "POST" if stage == "confirm" else "GET"
    dial(server, policy=RetryPolicy(**FAST)).request(method, server.url + "/bytes/100?etag=weak")

    assert grown(server) == {"failures": {stage: 1}, "retries": 1, "recovered": 1}
    assert stats()[server.url].calls == 1


def test_a_status_is_a_failure_of_its_own(server, dial):
    """503 twice, then 200."""
    dial(server, policy=RetryPolicy(**FAST)).get(server.url + "/status/503?times=2&id=figures")

    assert grown(server) == {"failures": {"status": 2}, "retries": 2, "recovered": 1}
    assert server.counts().requests == 3


def test_a_name_and_a_port_that_are_not_there(server, dial, fault_server_factory):
    """Resolving and connecting are stages, too."""
    gone = fault_server_factory()
    gone.close()
    session = dial(server, policy=ONE)
    attempted(session, "GET", gone.url)
    attempted(session, "GET", "https://nowhere.example/")

    assert stats()[gone.url].failures == {"connect": 2}
    assert stats()["https://nowhere.example"].failures == {"resolve": 2}
    assert stats()[gone.url].repetitions_not_made == {"limit": 1}


@pytest.mark.parametrize("stream", [False, True])
def test_bytes_saved(server, dial, stream):
    """A body that is resumed where it broke saves what had come; one that begins again saves nothing."""
    server.play(once(Moment.BODY, after_bytes=700))
    session = dial(server, policy=RetryPolicy(**FAST))
    session.get(server.url + "/bytes/1000", stream=stream).content  # noqa: B018 - reading it is the point
    resumed = grown(server)
    server.reset_peers()
    server.play(once(Moment.BODY, after_bytes=700))
    attempted(session, "GET", server.url + "/bytes/1000?etag=weak")

    saved = {"resumes": 1, "bytes_saved": 700, "recovered": 1}
    assert resumed == {"failures": {"body": 1}, "retries": 1, **saved}
    assert (stats()[server.url].bytes_saved, stats()[server.url].resumes) == (700, 1)


def test_waits(server, dial):
    """Of calls at once to a cold server, those that wait are counted, and how long; later calls do not."""
    server.play(Script(handshake_delay=4 * SHORT_TIMEOUT))
    session = dial(server)
    together = threading.Barrier(4)

    def call(_):
        together.wait(LONG_TIMEOUT)
        return session.get(server.url).ok

    began = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(call, range(4)))
    took = time.monotonic() - began
    waits = stats()[server.url].waits
    session.get(server.url)

    assert waits.count == 3
    assert sum(waits.histogram) == waits.count
    assert sum(waits.histogram[: BUCKETS.index(0.1)]) == 0
    assert SHORT_TIMEOUT < waits.seconds < 3 * took
    assert stats()[server.url].waits == waits


def test_threads_add_up(server, dial):
    """Many calls at once, each third request breaks: every figure is what the server has counted."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), on_request=3),)))
    session = dial(server, policy=RetryPolicy(retries=50, **FAST))
    state_of(server.url).quota.tokens = state_of(server.url).quota.capacity = 10**6

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: session.get(server.url).ok, range(CALLS)))
    found, seen = stats()[server.url], server.counts()

    assert answers == [True] * CALLS
    assert found.calls == CALLS
    assert found.failures == {"request": seen.requests - CALLS}
    assert found.retries == seen.requests - CALLS > 0
    assert found.handshakes_full + found.handshakes_resumed == seen.handshakes
    assert found.handshakes_resumed == seen.resumptions
    assert found.repetitions_not_made == {}


def test_warming_counts_its_connections(server, dial):
    """Connections that are made ahead are there, and the call that uses one shakes no hands."""
    session = dial(server)
    session.get_adapter(server.url).warm(server.url, connections=3, session=session)
    warmed = stats()[server.url]
    session.get(server.url)

    assert (warmed.live, warmed.idle) == (3, 3)
    assert warmed.handshakes_full + warmed.handshakes_resumed == 3 == server.counts().handshakes
    assert stats()[server.url].calls == warmed.calls + 1
