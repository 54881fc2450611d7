"""A response in a pickle has its attempts, which requests itself leaves out."""

import copy
import copyreg
import io
import pickle

import cloudpickle
import pytest
from requests import Response
from requests.adapters import HTTPAdapter

from resilient_transport import RetryPolicy, attempts_of
from resilient_transport.testing import Fault, Moment, Rule, Script

TWICE = RetryPolicy(retries=1, backoff=0.0)
ONCE_CUT = Script((Rule(Fault(Moment.BODY, after_bytes=100), first=1),))


@pytest.fixture
def get(server, dial):
    """Return a function that makes a call."""

    def call(path, script=ONCE_CUT, **values):
        server.play(script)
        return dial(server, policy=TWICE).get(server.url + path, **values)

    return call


def told(response):
    """Return what is to be the same in a copy."""
    return (type(response), response.status_code, response.url, response.content, response.headers)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_response_pickles_with_its_attempts(get, protocol):
    """And again, where it has come to."""
    response = get("/bytes/1000")
    there = pickle.loads(pickle.dumps(response, protocol))
    again = pickle.loads(pickle.dumps(there, protocol))

    assert told(there) == told(again) == told(response)
    assert attempts_of(there) == attempts_of(again) == attempts_of(response)
    assert [attempt.body_resumed for attempt in attempts_of(again)] == [False, True]


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(cloudpickle.dumps(one))]
)
def test_so_do_copies(get, copied):
    """`copy` goes the way of pickle, and cloudpickle knows pickle's table of types."""
    response = get("/bytes/1000")

    assert attempts_of(copied(response)) == attempts_of(response) != ()


def test_a_stream_is_read_for_its_pickle(get):
    """As in stock; and what that took is among the attempts."""
    response = get("/bytes/100000", stream=True)
    there = pickle.loads(pickle.dumps(response))

    assert len(there.content) == 100_000
    assert attempts_of(there) == attempts_of(response)
    assert [attempt.body_resumed for attempt in attempts_of(there)] == [False, True]


def test_redirects_keep_theirs(get):
    """Each hop of `history` is a response of its own."""
    response = get("/redirect?to=/words/3", Script())
    there = pickle.loads(pickle.dumps(response))

    assert [attempts_of(hop) for hop in there.history] == [attempts_of(hop) for hop in response.history]
    assert [len(attempts_of(hop)) for hop in there.history] == [1]


def by_requests_alone(response):
    """Pickle as if this package had said nothing about responses."""
    made = io.BytesIO()
    pickler = pickle.Pickler(made)
    pickler.dispatch_table = {kind: by for kind, by in copyreg.dispatch_table.items() if kind is not Response}
    pickler.dump(response)
    return made.getvalue()


def test_responses_of_others_pickle_as_ever(server, dial):
    """Stock's, byte for byte. The control: that way, ours would come without attempts."""
    server.play(Script())
    stock = dial(server, HTTPAdapter()).get(server.url + "/words/3")
    ours = dial(server).get(server.url + "/words/3")

    assert pickle.dumps(stock) == by_requests_alone(stock)
    assert attempts_of(ours) != ()
    assert attempts_of(pickle.loads(by_requests_alone(ours))) == ()


def test_a_way_of_the_programs_own_is_kept(get, monkeypatch):
    """What somebody has put into requests' class says how its responses are pickled."""
    monkeypatch.setattr(Response, "__reduce__", lambda response: (str, (response.url,)))

    assert pickle.loads(pickle.dumps(get("/words/3"))).endswith("/words/3")
