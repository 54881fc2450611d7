"""Statuses that say "not now": repeated, obeyed, or handed back."""

import pytest
import requests
from urllib3.util import Retry

from resilient_transport import RetryPolicy, attempts_of
from resilient_transport.retry.retry_after import retry_after
from resilient_transport.testing import Script

FAST = {"backoff": 0.001, "backoff_max": 0.001}


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
@pytest.mark.parametrize("stream", [False, True])
def test_a_passing_status_is_repeated(server, dial, status, stream):
    """A GET is sent again until the server can."""
    session = dial(server, policy=RetryPolicy(**FAST))

    response = session.get(f"{server.url}/status/{status}?times=2&id={status}{stream}", stream=stream)

    assert response.status_code == 200
    assert [attempt.status for attempt in attempts_of(response)] == [status, status, 200]
    assert server.counts().accepts == 1
    response.close()


@pytest.mark.parametrize("status", [400, 404, 500, 501])
def test_other_statuses_are_answers(server, dial, status):
    """The control: what does not say "not now" is handed out at once."""
    response = dial(server).get(f"{server.url}/status/{status}?times=1&id=o{status}")

    assert response.status_code == status
    assert len(attempts_of(response)) == 1


def test_when_attempts_end_the_response_is_returned(server, dial):
    """A status is an answer, not an exception; its body can be read."""
    response = dial(server, policy=RetryPolicy(retries=2, **FAST)).get(server.url + "/status/503")

    assert response.status_code == 503
    assert response.content
    assert len(attempts_of(response)) == 3
    assert "retries=2 is used up" in attempts_of(response)[-1].decision


def test_a_retry_raises_as_urllib3_has_it(server, dial):
    """`Retry(raise_on_status=True)`, its default, ends in a RetryError, as in stock."""
    with pytest.raises(requests.exceptions.RetryError, match="too many 503 error responses"):
        dial(server, max_retries=Retry(1, status_forcelist=[503])).get(server.url + "/status/503")

    assert server.counts().requests == 2


def test_a_retry_that_does_not_raise(server, dial):
    """`raise_on_status=False` returns the response."""
    retry = Retry(1, status_forcelist=[503], raise_on_status=False)

    assert dial(server, max_retries=retry).get(server.url + "/status/503").status_code == 503


def test_a_post_is_not_repeated_for_a_status(server, dial):
    """The server has answered: whether it has acted only it knows."""
    response = dial(server).post(server.url + "/status/503", data=b"x")

    assert response.status_code == 503
    assert server.counts().requests == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_misdirected_request_gets_one_new_connection(server, dial, method):
    """421 is repeated once, for every method, and not on the connection that it came on."""
    session = dial(server)
    session.get(server.url)

    response = session.request(method, f"{server.url}/status/421?times=1&id={method}")

    assert response.status_code == 200
    assert [attempt.reused for attempt in attempts_of(response)] == [True, False]
    assert server.counts().accepts == 2


def test_twice_misdirected_is_the_answer(server, dial):
    """A second 421 is handed back."""
    response = dial(server).get(server.url + "/status/421")

    assert response.status_code == 421
    assert server.counts().requests == 2


class Clock:
    """Counts what was slept instead of sleeping."""

    def __init__(self, monkeypatch):
        self.slept = []
        monkeypatch.setattr("resilient_transport.call.loop.sleep", self.slept.append)


def test_retry_after_is_obeyed(server, dial, monkeypatch):
    """Up to 60 s, the server's word is the pause."""
    clock = Clock(monkeypatch)

    response = dial(server).get(server.url + "/status/503?retry_after=7&times=1&id=ra")

    assert response.status_code == 200
    assert clock.slept == [7]


def test_a_long_retry_after_is_the_callers_business(server, dial, monkeypatch):
    """More than 60 s is handed back at once."""
    clock = Clock(monkeypatch)

    response = dial(server).get(server.url + "/status/503?retry_after=61&times=1&id=long")

    assert response.status_code == 503
    assert clock.slept == []
    assert "Retry-After" in attempts_of(response)[0].decision


def test_retry_after_beyond_the_deadline(server, dial, monkeypatch):
    """What the deadline does not allow is not waited for."""
    clock = Clock(monkeypatch)
    session = dial(server, policy=RetryPolicy(deadline=5))

    response = session.get(server.url + "/status/503?retry_after=7&times=1&id=dl")

    assert response.status_code == 503
    assert clock.slept == []


def test_a_retry_clamps_retry_after(server, dial, monkeypatch):
    """urllib3 waits `retry_after_max` when the server asks for more."""
    clock = Clock(monkeypatch)
    retry = Retry(2, allowed_methods=None)
    retry.retry_after_max = 3

    response = dial(server, max_retries=retry).get(server.url + "/status/503?retry_after=61&times=1&id=c")

    assert response.status_code == 200
    assert clock.slept == [3]


def test_history_goes_on(server, dial):
    """`response.raw.retries.history` tells what stock's would."""
    session = dial(server, policy=RetryPolicy(**FAST))

    response = session.get(server.url + "/status/503?times=2&id=h")

    assert [entry.status for entry in response.raw.retries.history] == [503, 503]
    assert [entry.method for entry in response.raw.retries.history] == ["GET", "GET"]


@pytest.mark.parametrize("value", ["nonsense", "Fri, 31 Dec 99999 23:59:59 GMT", "9" * 5000])
def test_a_retry_after_that_says_nothing(value):
    """It is passed over, and the pause is the policy's."""
    response = requests.Response()
    response.headers["Retry-After"] = value

    assert retry_after(response.headers["Retry-After"]) is None


def test_a_listed_status_below_400_is_repeated(server, dial):
    """`statuses` is honoured whatever it lists: 202 may mean "not yet"."""
    session = dial(server, policy=RetryPolicy(statuses={202}, **FAST))

    response = session.get(server.url + "/status/202?times=1&id=listed")

    assert response.status_code == 200


def test_a_blank_key_opts_nobody_in(server, dial):
    """An `Idempotency-Key` without a value lets no server tell a repetition."""
    response = dial(server).post(server.url + "/status/503", headers={"Idempotency-Key": ""})

    assert response.status_code == 503
    assert server.counts().requests == 1
