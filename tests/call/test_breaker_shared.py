"""What a circuit counts, who shares it, and what leaves it as it is."""

import io

import pytest
import requests

from resilient_transport import CircuitOpen, RetryPolicy, attempts_of, override
from resilient_transport.call.origin_state import state_of
from resilient_transport.retry.breaker import Breaker
from resilient_transport.testing import Fault, Moment, Rule, Script
from resilient_transport.util.origin import origin_at
from tests.call.test_breaker import BREAKER, ONCE, call, fail
from tests.retry.values import Clock


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


@pytest.mark.parametrize(
    ("path", "fault", "opens"),
    [
        ("/status/503", None, True),
        ("/status/500", None, True),
        ("/status/429", None, True),
        ("/status/404", None, False),
        ("/words/3", None, False),
        ("/words/3", Fault(Moment.CLIENT_HELLO), True),
        ("/words/3", Fault(Moment.BODY), True),
    ],
)
def test_what_counts(server, dial, path, fault, opens):
    """Failures on the wire, statuses that are retried, and those from 500 on; nothing else."""
    session = dial(server, policy=RetryPolicy(**ONCE))
    server.play(Script((Rule(fault),) if fault else ()))
    for _ in range(3):
        call(session, server.url + path)
    server.play(Script())

    assert (call(session, server.url) is CircuitOpen) == opens


def test_equal_breakers_share(server, dial):
    """What one adapter has met, all know whose breaker is equal, and nobody else."""
    fail(server, dial(server, policy=RetryPolicy(**ONCE)))
    equal = RetryPolicy(breaker=Breaker(failures=3, window=10.0, cool_down=30.0), retries=2)
    other = RetryPolicy(breaker=Breaker(failures=3, window=10.0, cool_down=31.0))

    assert call(dial(server, policy=equal), server.url) is CircuitOpen
    assert call(dial(server, policy=other), server.url) == 200
    assert call(dial(server), server.url) == 200


def test_origins_do_not_share(server, dial, fault_server_factory):
    """One server that is down closes no other."""
    other, session = fault_server_factory(), dial(server, policy=RetryPolicy(**ONCE))
    fail(server, session)

    assert call(session, other.url) == 200
    assert call(session, server.url) is CircuitOpen


def test_a_block_leaves_it_on(server, dial):
    """`override` says how often, and not whether the server is left alone; nor does an int say that."""
    session = dial(server, policy=RetryPolicy(breaker=BREAKER))
    session.get_adapter(server.url).max_retries = 1
    with override(retries=0):
        fail(server, session)

    assert call(session, server.url) is CircuitOpen


def broken():
    """A body whose source fails."""
    yield b"x"
    raise ValueError("the source has failed")


@pytest.mark.parametrize(("data", "length", "error"), [(broken(), None, ValueError), (b"xy", "1", OSError)])
def test_a_probe_of_no_use_lets_another_in(server, dial, data, length, error):
    """What fails by the caller's own doing says nothing of the server: the next call is the probe."""
    session = dial(server, policy=RetryPolicy(**ONCE))
    clock = state_of(origin_at(server.url)).circuit(BREAKER)._clock = Clock(1000.0)
    fail(server, session)
    clock.now += 30
    request = session.prepare_request(requests.Request("PUT", server.url + "/echo", data=data))
    if length is not None:
        request.headers["Content-Length"] = length
    with pytest.raises(error):
        session.send(request)

    assert call(session, server.url) == 200


class Meanwhile(io.BytesIO):
    """A body in whose midst other calls are made, once."""

    others = None

    def read(self, *args):
        """Read, after the others."""
        others, self.others = self.others, None
        if others is not None:
            others()
        return super().read(*args)


def test_who_is_on_the_way_when_it_opens_does_not_pause(server, dial, pauses):
    """Others have opened it during the attempt: what fails then is not waited for, nor sent again."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), on_request=None),)))
    others = dial(server, policy=RetryPolicy(**ONCE))
    body = Meanwhile(b"x")
    body.others = lambda: [call(others, server.url) for _ in range(3)]
    with pytest.raises(requests.ConnectionError) as caught:
        dial(server, policy=RetryPolicy(breaker=BREAKER)).put(server.url + "/echo", data=body)

    assert server.counts().executed == 4
    assert pauses == []
    assert "the circuit of its origin is open" in attempts_of(caught.value)[-1].decision
