"""How often: by cause, and by what was asked for."""

import pytest
import requests
from urllib3.util import Retry

from resilient_transport import DeadlineExceeded, RetryPolicy, attempts_of, override
from resilient_transport.retry.decision import backoff_delay
from resilient_transport.retry.policy import RetryPolicy as Policy
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT


def failed(session, url, method="GET", **values):
    """The exception that a call raises."""
    with pytest.raises(requests.RequestException) as caught:
        session.request(method, url, **values)
    return caught.value


@pytest.mark.parametrize("certificate", ["expired", "misnamed", "untrusted"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_bad_certificate_costs_one_handshake(fault_server_factory, dial, certificate, method):
    """What never heals is tried once."""
    server = fault_server_factory(certificate=certificate)

    error = failed(dial(server), server.url, method)

    assert isinstance(error, requests.exceptions.SSLError)
    assert server.counts().accepts == 1
    assert "does not heal" in attempts_of(error)[0].decision


def test_stock_retry_tries_it_four_times(fault_server_factory, dial):
    """The control: `Retry(3)` shows an untrusted certificate four times."""
    from requests.adapters import HTTPAdapter

    server = fault_server_factory(certificate="untrusted")

    failed(dial(server, HTTPAdapter(max_retries=Retry(3))), server.url)

    assert server.counts().accepts == 4


def ceiling(attempts):
    """The longest that pauses of this number can take with the default policy, in seconds."""
    return sum(backoff_delay(Policy(), number, lambda _, high: high) for number in range(1, attempts))


def test_a_name_that_is_not_found(fault_server_factory, dial):
    """A typo is asked for three times, with pauses of under 0.5 s in all."""
    session = dial(fault_server_factory())

    error = failed(session, "https://typo.invalid/")

    assert [attempt.stage for attempt in attempts_of(error)] == ["resolve"] * 3
    assert isinstance(error, requests.ConnectionError)
    assert ceiling(3) < 0.5
    assert sum(attempt.delay or 0 for attempt in attempts_of(error)) < 0.5


def test_a_port_where_nobody_listens(fault_server_factory, dial):
    """A refused connection is tried six times, with pauses of under 2 s in all."""
    gone = fault_server_factory()
    gone.close()

    error = failed(dial(gone), gone.url, "POST")

    assert [attempt.stage for attempt in attempts_of(error)] == ["connect"] * 6
    assert ceiling(6) < 2


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        (Fault(Moment.CLIENT_HELLO), 13),
        (Fault(Moment.CLIENT_HELLO, How.STALL), 2),
        (Fault(Moment.EXECUTED), 6),
        (Fault(Moment.EXECUTED, How.STALL), 2),
        (Fault(Moment.BODY, after_bytes=1), 6),
    ],
    ids=lambda value: getattr(value, "at", value) and str(getattr(value, "at", value)),
)
def test_default_limits_of_a_get(server, dial, fault, attempts):
    """12 for resets before the request, 1 for time-outs, 5 for everything else."""
    server.play(Script((Rule(fault),)))
    patience = SHORT_TIMEOUT if fault.how is How.STALL else LONG_TIMEOUT
    session = dial(server, policy=RetryPolicy(backoff=0.001, backoff_max=0.001))

    error = failed(session, server.url + "/words/9", timeout=(patience, patience))

    assert len(attempts_of(error)) == attempts
    assert server.counts().accepts == attempts


@pytest.mark.parametrize(
    "fault",
    [Fault(Moment.CLIENT_HELLO), Fault(Moment.HANDSHAKE), Fault(Moment.EXECUTED)],
    ids=lambda f: f.at.value,
)
@pytest.mark.parametrize("given", ["max_retries", "policy", "Retry", "override"])
@pytest.mark.parametrize("count", [0, 2])
def test_an_explicit_count_is_honoured_on_every_path(server, dial, fault, given, count):
    """The report's wound: wherever it is said, the count is the number of repetitions."""
    server.play(Script((Rule(fault),)))
    settings = {
        "max_retries": {"max_retries": count},
        "policy": {"policy": RetryPolicy(retries=count)},
        "Retry": {"max_retries": Retry(count)},
        "override": {},
    }[given]
    session = dial(server, **settings)

    with override(retries=count if given == "override" else None):
        error = failed(session, server.url)

    assert server.counts().accepts == count + 1
    assert len(attempts_of(error)) == count + 1


def test_an_explicit_count_may_be_larger_than_a_default(server, dial):
    """`max_retries=8` means eight also where the default of the cause is five."""
    server.play(Script((Rule(Fault(Moment.EXECUTED)),)))

    error = failed(dial(server, policy=RetryPolicy(retries=8, backoff=0.001)), server.url)

    assert server.counts().accepts == 9
    assert "retries=8 is used up" in attempts_of(error)[-1].decision


def test_the_failure_that_got_furthest_is_raised(server, dial):
    """A reset after the request says more than the refused handshakes that followed it."""
    rules = (Rule(Fault(Moment.EXECUTED), first=1), Rule(Fault(Moment.CLIENT_HELLO), skip=1))
    server.play(Script(rules))

    error = failed(dial(server, max_retries=2), server.url)

    assert [attempt.stage for attempt in attempts_of(error)] == ["request", "handshake", "handshake"]
    assert error.args[0].args[0] == "Connection aborted."
    assert "3 attempts" in error.__notes__[-1]


def test_the_first_repetition_on_a_dead_reused_connection_is_at_once(server, dial):
    """A server that closes an idle connection under a request costs no pause, and counts all the same."""
    server.play(Script((Rule(Fault(Moment.REQUEST), first=1, on_request=2),)))
    session = dial(server)
    session.get(server.url)

    response = session.get(server.url)

    first, second = attempts_of(response)
    assert (first.reused, first.delay) == (True, 0.0)
    assert (second.reused, second.delay) == (False, None)


def test_the_quota_ends_a_storm(server, dial):
    """500 tokens, 5 for a retry: after 100 repetitions an origin gets no more, and the error says so."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO)),)))
    session = dial(server, policy=RetryPolicy(retries=1000, backoff=0, backoff_max=0))

    error = failed(session, server.url)

    assert server.counts().accepts == 101
    assert "quota of its origin is empty" in attempts_of(error)[-1].decision


def test_a_deadline_ends_a_stalled_handshake(server, dial):
    """The call's deadline is stronger than the caller's longer time-out."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO, How.STALL)),)))
    session = dial(server, policy=RetryPolicy(deadline=SHORT_TIMEOUT))

    error = failed(session, server.url, timeout=LONG_TIMEOUT)

    assert isinstance(error, DeadlineExceeded)
    assert isinstance(error, requests.Timeout)
    assert isinstance(error.__cause__, requests.ConnectionError | requests.Timeout)
    assert len(attempts_of(error)) == 1


#: Seconds for two calls that take 0.7 of it each: a busy machine begins the first in time.
BLOCK = 4 * SHORT_TIMEOUT


def test_a_deadline_around_a_block_spans_its_calls(server, dial):
    """`override(deadline=...)` counts from the start of the block, redirects included."""
    server.play(Script())
    session = dial(server)
    session.get(server.url)
    server.play(Script(response_delay=BLOCK * 0.7))

    with override(deadline=BLOCK), pytest.raises(DeadlineExceeded):
        session.get(server.url + "/redirect?to=/words/3")

    assert server.wait_for(lambda counts: counts.requests >= 1)


def test_without_a_deadline_the_same_calls_end_well(server, dial):
    """The control."""
    server.play(Script(response_delay=BLOCK * 0.7))

    assert dial(server).get(server.url + "/redirect?to=/words/3").ok


def test_a_deadline_ends_a_dripping_body(server, dial):
    """A body that comes in small pieces is over when the deadline is, not when its last byte came."""
    server.play(Script((Rule(Fault(Moment.BODY, How.STALL, after_bytes=10)),)))
    session = dial(server, policy=RetryPolicy(deadline=5 * SHORT_TIMEOUT))

    error = failed(session, server.url + "/bytes/5000", timeout=LONG_TIMEOUT)

    assert isinstance(error, DeadlineExceeded)
    assert attempts_of(error)[-1].stage == "body"
    assert sum(attempt.seconds for attempt in attempts_of(error)) < LONG_TIMEOUT / 2


def test_a_body_comes_whole_within_a_deadline(server, dial):
    """The control: short, long, chunked and encoded bodies are read in pieces, and whole."""
    server.play(Script())
    session = dial(server, policy=RetryPolicy(deadline=LONG_TIMEOUT))

    lengths = [
        len(session.get(server.url + path).content)
        for path in (
            "/bytes/0",
            "/bytes/9",
            "/bytes/300000",
            "/chunked/70000",
            "/gzip/70000",
            "/until-close/900",
        )
    ]

    assert lengths == [0, 9, 300000, 70000, 70000, 900]


def test_a_slot_is_waited_for_within_the_deadline(server, dial):
    """With `pool_block`, waiting for a slot is part of the call, and makes no slot that was not there."""
    server.play(Script())
    session = dial(server, pool_maxsize=1, pool_block=True)

    with session.get(server.url + "/bytes/300000", stream=True) as first:
        for _ in range(3):
            with override(deadline=SHORT_TIMEOUT), pytest.raises(DeadlineExceeded):
                session.get(server.url)
        assert len(first.content) == 300000

    assert session.get(server.url).ok
    assert server.counts().accepts == 1
