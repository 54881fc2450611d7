"""tenacity: it repeats a function of the program's own; what that raises has its attempts."""

import pickle

import pytest
import requests
import tenacity

from resilient_transport import attempts_of
from resilient_transport.testing import Fault, Moment, Rule, Script

#: As one writes it around requests: on an error of the connection, three times.
THRICE = {
    "retry": tenacity.retry_if_exception_type(requests.ConnectionError),
    "stop": tenacity.stop_after_attempt(3),
    "wait": tenacity.wait_none(),
}


def posting(session, server, **settings):
    """A function of a program, with tenacity around it."""
    return tenacity.retry(**{**THRICE, **settings})(lambda: session.post(server.url + "/echo", data=b"x"))


def test_it_repeats_what_the_transport_may_not(way, server, trusting):
    """A POST that was reset is an error of the type that it waits for: so the program has opted in."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=2),)))
    session = trusting(way.prepare(requests.Session()))
    answer = posting(session, server)()

    assert answer.content == b"x"
    assert len(server.executions()) == 3


def test_both_multiply_where_both_repeat(way, server, trusting):
    """A GET to a server that always resets: so one of them is enough."""
    server.play(Script((Rule(Fault(Moment.EXECUTED)),)))
    session = trusting(way.prepare(requests.Session()))
    get = tenacity.retry(**THRICE)(lambda: session.get(server.url))
    with pytest.raises(tenacity.RetryError) as caught:
        get()
    last = caught.value.last_attempt.exception()

    assert isinstance(last, requests.ConnectionError)
    assert len(server.executions()) == (3 * len(attempts_of(last)) if way.heals else 3)
    assert len(attempts_of(last)) == (6 if way.heals else 0)


def test_what_it_raises_tells_the_attempts(way, server, trusting):
    """With `reraise=True` it is the transport's error; it survives a pickle, as a task queue makes one."""
    server.play(Script((Rule(Fault(Moment.EXECUTED)),)))
    session = trusting(way.prepare(requests.Session()))
    with pytest.raises(requests.ConnectionError) as caught:
        posting(session, server, reraise=True)()
    told = attempts_of(pickle.loads(pickle.dumps(caught.value)))

    assert len(told) == way.heals
