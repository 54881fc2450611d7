"""requests-futures: a session whose calls run in threads, and that sets the size of its adapters' pools."""

import pytest
import requests
from requests_futures.sessions import FuturesSession

from resilient_transport import attempts_of, mount
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.neighbours.tools.conftest import QUICK

CALLS = 12


@pytest.fixture
def executed(server):
    """Return which requests of several the server has executed: the first four connections are reset."""
    server.play(Script((Rule(Fault(Moment.HANDSHAKE), first=4),)))
    return lambda: sorted(execution.path for execution in server.executions())


def test_calls_in_threads_are_healed(way, server, executed, trusting):
    """Each of them runs once."""
    session = way.prepare(trusting(FuturesSession(max_workers=CALLS)))
    futures = [session.get(server.url + f"/words/{number}") for number in range(CALLS)]
    failed = [future for future in futures if future.exception()]

    assert bool(failed) is not way.heals
    if way.heals:
        assert executed() == sorted(f"/words/{number}" for number in range(CALLS))


def test_the_pools_that_it_resizes_hold(resetting, trusting):
    """It makes the pool manager of a mounted adapter anew; the policy stays, and so does the number."""
    session = trusting(requests.Session())
    adapter = mount(session, policy=QUICK)
    session.get(resetting.url)
    with FuturesSession(session=session, max_workers=1, adapter_kwargs={"pool_maxsize": 3}) as futures:
        answer = futures.get(resetting.url + "/words/3").result()

    assert answer.text == "reset again whole"
    assert (adapter._pool_maxsize, adapter.policy) == (3, QUICK)


def test_its_number_of_repetitions_holds(server, trusting):
    """`adapter_kwargs={"max_retries": 0}` says none, also to an adapter with a policy."""
    session = trusting(requests.Session())
    mount(session, policy=QUICK)
    server.play(Script((Rule(Fault(Moment.EXECUTED)),)))
    with FuturesSession(session=session, max_workers=1, adapter_kwargs={"max_retries": 0}) as futures:
        failed = futures.get(server.url).exception()

    assert len(attempts_of(failed)) == 1
