"""requests-ratelimiter: a mixin for sessions and adapters, which counts calls before they are sent."""

import pytest
import requests
from requests_ratelimiter import LimiterAdapter, LimiterMixin, LimiterSession

from resilient_transport import ResilientAdapter, attempts_of, stats
from tests.neighbours.tools.conftest import QUICK


class Resilient(LimiterMixin, ResilientAdapter):
    """What a program writes for both: calls are limited, and the repetitions of one are not."""


def assert_limited(session, server):
    """A reset is healed within the one call that the limit allows; a second call is not let through."""
    assert len(attempts_of(session.get(server.url + "/words/3"))) == 2
    with pytest.raises(requests.Timeout, match="Rate limit"):
        session.get(server.url + "/words/3")
    assert server.counts().accepts == 2


def test_its_session_limits_calls(way, resetting, trusting):
    """It stands before the adapter."""
    session = way.prepare(trusting(LimiterSession(per_hour=1, max_delay=0.01)))
    with way.survives():
        assert_limited(session, resetting)


def test_a_class_derived_from_both_limits_and_heals(resetting, trusting):
    """It is made with the arguments of the limiter. What is the adapter's is set afterwards."""
    session = trusting(requests.Session())
    adapter = Resilient(per_hour=1, max_delay=0.01, policy=QUICK)
    session.mount("https://", adapter)

    assert adapter.policy == QUICK
    assert_limited(session, resetting)


def test_its_own_adapter_is_left_alone(installed, resetting, trusting):
    """Under `install()`, too; named there."""
    session = trusting(requests.Session())
    session.mount("https://", LimiterAdapter(per_second=100))
    with pytest.raises(requests.ConnectionError):
        session.get(resetting.url)

    assert sum(stats().left_alone.values()) == installed.heals
