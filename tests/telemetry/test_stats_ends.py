"""How calls end is counted: by exception, by status, by time; and what `str(stats())` makes of it."""

import copy
import dataclasses
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.exceptions import UnrewindableBodyError

from resilient_transport import Breaker, RetryPolicy, attempts_of, events, override, stats
from resilient_transport.telemetry.counters import BUCKETS, Counters, Durations
from resilient_transport.telemetry.stats import OriginStats, Stats
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.end_to_end.hearing import Heard, attempted
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

FAST = {"backoff": 0.001, "backoff_max": 0.001}
BROKEN = Script((Rule(Fault(Moment.EXECUTED)),))
WIDTH = 120
#: What the counting of everything above has left alone.
UNTOUCHED = {"handshakes_full"}


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


def test_calls_that_failed_are_counted_by_exception(server, dial):
    """By the name of the type that the program catches; a call that was repeated is one call."""
    session = dial(server, policy=RetryPolicy(retries=1, breaker=Breaker(failures=3), **FAST))
    session.get(server.url)
    server.play(BROKEN)
    server.reset_peers()
    attempted(session, "GET", server.url)
    server.play(Script((Rule(Fault(Moment.EXECUTED, How.STALL)),)))
    with override(deadline=SHORT_TIMEOUT):
        attempted(session, "POST", server.url)
    attempted(session, "GET", server.url)
    found = stats()[server.url]

    assert found.failed_calls == {"ConnectionError": 1, "DeadlineExceeded": 1, "CircuitOpen": 1}
    assert found.calls == 4
    assert found.responses == {"2xx": 1}


def test_a_call_to_a_disabled_endpoint_has_failed(server, dial):
    """It raises, whatever it would have done."""
    attempted(dial(server, disable=[server.url]), "GET", server.url)
    found = stats()[server.url]

    assert (found.calls, found.failed_calls) == (1, {"EndpointDisabled": 1})


def test_an_interrupt_ends_a_call_as_well(server, dial):
    """It is counted by its name, whatever it is."""

    def interrupt(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dial(server, on_event=interrupt).get(server.url)

    assert stats()[server.url].failed_calls == {"KeyboardInterrupt": 1}


def test_responses_are_counted_by_the_class_of_their_status(server, dial):
    """As they are handed out, those that ended the attempts included; one that was repeated is none."""
    session = dial(server, policy=RetryPolicy(retries=1, **FAST))
    for path in ("/words/3", "/words/3", "/redirect?to=/words/3", "/status/404", "/status/503"):
        session.get(server.url + path)
    session.get(server.url + "/status/503?times=1&id=ends")
    found = stats()[server.url]

    assert found.responses == {"2xx": 4, "3xx": 1, "4xx": 1, "5xx": 1}
    assert found.calls == sum(found.responses.values())
    assert found.failed_calls == {}


@pytest.mark.parametrize("read", ["iter_content", "read"])
def test_a_stream_that_breaks_counts_twice(server, dial, read):
    """Its response was handed out, and its body has failed."""
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=10)),)))
    session = dial(server, policy=RetryPolicy(**FAST))
    response = session.get(server.url + "/bytes/100?etag=weak", stream=True)
    with pytest.raises((requests.RequestException, Exception)):
        list(response.iter_content()) if read == "iter_content" else response.raw.read()
    found = stats()[server.url]

    assert (found.calls, found.responses) == (1, {"2xx": 1})
    assert found.failed_calls == {"ChunkedEncodingError": 1}


@pytest.mark.parametrize("how", [How.RST, How.STALL, How.FIN])
def test_a_stream_counts_by_the_name_that_its_reader_catches(server, dial, how):
    """requests makes its own exception of urllib3's; count and event have that name, too."""
    server.play(Script((Rule(Fault(Moment.BODY, how, after_bytes=10)),)))
    heard = Heard()
    session = dial(server, policy=RetryPolicy(**FAST), on_event=heard)
    response = session.get(server.url + "/bytes/100?etag=weak", stream=True, timeout=SHORT_TIMEOUT)
    with pytest.raises(requests.RequestException) as caught:
        list(response.iter_content())
    name = type(caught.value).__name__

    assert stats()[server.url].failed_calls == {name: 1}
    assert [event.error for event in heard.of(events.GaveUp)] == [name]


def test_a_body_that_was_sent_before_is_a_failed_call(server, dial):
    """It is refused before its call begins."""
    session = dial(server)
    request = session.prepare_request(requests.Request("POST", server.url + "/echo", data=iter([b"x"])))
    session.send(request)
    with pytest.raises(UnrewindableBodyError):
        session.send(request)
    found = stats()[server.url]

    assert (found.calls, found.responses) == (2, {"2xx": 1})
    assert found.failed_calls == {"UnrewindableBodyError": 1}
    assert server.counts().requests == 1


class Turn:
    """A lock: another thread's whole step goes before who takes it, and one comes after."""

    def __init__(self, step):
        self._step = step

    def __enter__(self):
        self._step()

    def __exit__(self, *_):
        self._step()


def test_a_snapshot_adds_up(monkeypatch):
    """It is of one moment: between what others count before it and what they count after it."""
    counters = Counters()

    def step():
        counters._responses[2] += 1
        counters._times[0] += 1

    monkeypatch.setattr("resilient_transport.util.atomic.lock", Turn(step))
    found = counters.counts()

    assert (found.calls, found.responses, found.response_times.count) == (1, {"2xx": 1}, 1)


@pytest.mark.slow
def test_snapshots_add_up_while_calls_end():
    """The same with threads: each snapshot has as many calls as it has ends of calls."""
    before = sys.getswitchinterval()
    counters, is_over = Counters(), threading.Event()

    def count():
        while not is_over.is_set():
            counters.answered(200, 0.1)
            counters.ended("ConnectionError")
            counters.waited(0.1)

    threads = [threading.Thread(target=count) for _ in range(3)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        found = [counters.counts() for _ in range(2000)]
    finally:
        is_over.set()
        for thread in threads:
            thread.join(LONG_TIMEOUT)
        sys.setswitchinterval(before)
    ends = [sum(one.responses.values()) + sum(one.failed_calls.values()) for one in found]

    assert [one.calls for one in found] == ends
    assert [one.response_times.count for one in found] == [one.responses.get("2xx", 0) for one in found]


def test_a_snapshot_stays_as_it_is():
    """What is counted afterwards does not change it."""
    counters = Counters()
    everything = (
        lambda: counters.answered(200, 0.1),
        lambda: counters.ended("ConnectionError"),
        lambda: counters.waited(0.1),
        lambda: counters.failed("connect"),
        lambda: counters.failed("connect", shared=True),
        lambda: counters.refused("limit"),
        lambda: counters.shook_hands(True),
        lambda: counters.resumed(7),
        counters.retried,
        counters.recovered,
        counters.certificate_refused,
    )
    for each in everything:
        each()
    once = counters.counts()
    kept = copy.deepcopy(once)
    for each in everything:
        each()

    assert once == kept
    for field in dataclasses.fields(once):
        assert getattr(once, field.name) != getattr(counters.counts(), field.name) or field.name in UNTOUCHED


def test_a_body_that_a_hook_could_not_read_counts_as_well(server, dial):
    """It is read after the response was handed out to the hook."""
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=10)),)))
    session = dial(server, policy=RetryPolicy(retries=0))
    session.hooks["response"].append(lambda response, **_: None)
    attempted(session, "GET", server.url + "/bytes/100")
    found = stats()[server.url]

    assert (found.calls, found.responses) == (1, {"2xx": 1})
    assert found.failed_calls == {"ChunkedEncodingError": 1}


def test_times_are_measured_to_the_response(server, dial):
    """From the start of the call, its repetitions included; a call that fails has none."""
    server.play(Script((Rule(Fault(Moment.EXECUTED, How.STALL), first=1),)))
    session = dial(server, policy=RetryPolicy(**FAST))
    session.get(server.url, timeout=SHORT_TIMEOUT)
    server.play(BROKEN)
    server.reset_peers()
    attempted(session, "POST", server.url)
    times = stats()[server.url].response_times

    assert times.count == sum(times.histogram) == 1
    assert times.seconds >= SHORT_TIMEOUT
    assert sum(times.histogram[: [bound < SHORT_TIMEOUT for bound in BUCKETS].index(False)]) == 0


def test_warming_is_no_response(server, dial):
    """The control: nothing was asked, so that nothing was answered."""
    session = dial(server)
    session.get_adapter(server.url).warm(server.url, session=session)
    found = stats()[server.url]

    assert (found.calls, found.responses, found.failed_calls) == (1, {}, {})
    assert found.response_times == Durations()


def test_shared_failures_are_counted_apart(server, dial):
    """Of calls at once to a cold server, one connects, fails for good, and the others fail with it."""
    session = dial(server)
    session.cert = server.authority.stranger_client
    together = threading.Barrier(4)

    def call(_):
        together.wait(LONG_TIMEOUT)
        with pytest.raises(requests.exceptions.SSLError) as caught:
            session.get(server.url)
        return len(attempts_of(caught.value))

    with ThreadPoolExecutor(4) as threads:
        attempts = sum(threads.map(call, range(4)))
    found, handshakes = stats()[server.url], server.counts().handshakes
    own, shared = sum(found.failures.values()), sum(found.shared_failures.values())

    assert found.failed_calls == {"ClientCertificateRejected": 4}
    assert own + shared == attempts
    assert own <= handshakes + server.counts().accepts
    assert shared > 0


def test_a_failure_of_ones_own_is_not_shared(server, dial):
    """The control: a call that is alone."""
    server.play(BROKEN)
    attempted(dial(server, policy=RetryPolicy(retries=1, **FAST)), "GET", server.url)
    found = stats()[server.url]

    assert (found.failures, found.shared_failures) == ({"request": 2}, {})


HUGE = OriginStats(
    calls=10**11,
    failed_calls={"ConnectionError": 10**11, "SSLError": 7},
    responses={"2xx": 10**11, "3xx": 10**11, "4xx": 10**11, "5xx": 10**11},
    response_times=Durations(10**11, 10**15),
    retries=10**11,
    repetitions_not_made={"limit": 10**11},
    shared_failures={"connect": 10**11},
    resumes=10**11,
    handshakes_full=10**11,
    live=10**11,
)
LONG = "https://a-very-long-name-of-a-server.in-a-very-long-name-of-a-domain.example.com:12345"


def test_the_table_has_a_line_for_each_origin():
    """Aligned, with the numbers of `repr` added up."""
    good = OriginStats(calls=3, responses={"2xx": 2, "4xx": 1}, response_times=Durations(3, 0.0123), live=1)
    lines = str(Stats({"https://a.example": good, "http://b.example:81": OriginStats()})).splitlines()

    assert lines[0].split()[:6] == ["origin", "calls", "failed", "2xx", "3xx", "4xx"]
    assert lines[1].split()[:8] == ["https://a.example", "3", "0", "2", "0", "1", "0", "4.1ms"]
    assert lines[2].split()[:8] == ["http://b.example:81", "0", "0", "0", "0", "0", "0", "-"]
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 3


@pytest.mark.parametrize("origin", ["https://a.example", LONG])
@pytest.mark.parametrize("figures", [OriginStats(), HUGE], ids=["nothing", "huge"])
def test_the_table_is_narrow(origin, figures):
    """Whatever the numbers and the names: an origin that is too long loses its middle."""
    lines = str(Stats({origin: figures, "http://b": OriginStats()})).splitlines()

    assert all(len(line) < WIDTH for line in lines)
    assert lines[1].startswith(origin[:10])
    assert lines[1].partition("  ")[0].endswith(origin[-5:])


def test_the_table_of_nothing():
    """Is a sentence."""
    assert str(Stats({})) == "no calls yet"
