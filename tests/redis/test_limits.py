"""`RedisLimits`: a value that crosses to other processes, and shows no password; it needs no Redis."""

import copy
import logging
import pickle
import traceback

import pytest
from urllib3.util import Retry

import resilient_transport.redis
from resilient_transport import RetryPolicy, override
from resilient_transport.redis import RedisLimits
from resilient_transport.retry.urllib3_retry import policy_from
from tests.missing import require
from tests.programs import run_python

URL = "redis://worker:8f14e45fceea167a@localhost:7000/3"
SECRET = "8f14e45fceea167a"


@pytest.fixture(autouse=True)
def nothing_known():
    """End each test with no Redis known."""
    yield
    resilient_transport.redis.clear()


def test_equal_values_share():
    """By all that they say; they are hashed, and cross in pickles as what they are."""
    limits = RedisLimits(URL)
    policy = RetryPolicy(shared=limits)

    assert limits == RedisLimits(URL) == pickle.loads(pickle.dumps(limits)) == copy.deepcopy(limits)
    assert hash(limits) == hash(RedisLimits(URL))
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert (
        len({limits, RedisLimits(URL, "other"), RedisLimits(URL, timeout=1), RedisLimits(URL + "?db=4")}) == 4
    )


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (URL, "redis://localhost:7000/3"),
        ("rediss://:8f14e45fceea167a@localhost?ssl_ca_certs=ca.pem", "rediss://localhost"),
        ("redis://localhost?password=8f14e45fceea167a", "redis://localhost"),
        ("unix:///run/redis.sock?password=8f14e45fceea167a", "unix:///run/redis.sock"),
        ("unix://worker:8f14e45fceea167a@/run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_no_password_is_shown(url, place):
    """In its `repr`, and in that of what has it; who needs the URL has it as it was given (the control)."""
    limits = RedisLimits(url)

    assert repr(limits) == f"RedisLimits({place!r}, prefix='resilient_transport', timeout=0.25)"
    assert SECRET not in repr(RetryPolicy(shared=limits))
    assert limits.url == url


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"url": 5}, TypeError, "url is text"),
        ({"url": URL, "prefix": None}, TypeError, "prefix is text"),
        ({"url": URL, "timeout": "1"}, TypeError, "timeout is a number of seconds"),
        ({"url": URL, "timeout": True}, TypeError, "timeout is a number of seconds"),
        ({"url": URL, "timeout": 0}, ValueError, "timeout is a finite number"),
        ({"url": URL, "timeout": float("inf")}, ValueError, "timeout is a finite number"),
        ({"url": f"http://a:{SECRET}@b"}, ValueError, "url begins with"),
        ({"url": f"redis://a:{SECRET}/@b"}, ValueError, "percent-encoded"),
        ({"url": f"redis://a:{SECRET}#@b"}, ValueError, "percent-encoded"),
        ({"url": f"redis://a:{SECRET}?@b"}, ValueError, "percent-encoded"),
        ({"url": f"redis://[{SECRET}@b"}, ValueError, "the URL of a Redis"),
        ({"url": f"redis://b:{SECRET}"}, ValueError, "redis-py can make nothing of url"),
        ({"url": f"redis://b?no_such_option={SECRET}"}, ValueError, "redis-py can make nothing of url"),
    ],
)
def test_what_cannot_be_is_refused(arguments, error, said):
    """By name, when it is made, and without a password in the message or the traceback's chain."""
    with pytest.raises(error, match=said) as caught:
        RedisLimits(**arguments)

    shown = caught.value.__cause__ or (
        None if caught.value.__suppress_context__ else caught.value.__context__
    )
    assert shown is None
    assert SECRET not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize("value", [URL, RedisLimits, 5, object()])
def test_a_policy_takes_nothing_else(value):
    """A URL is an easy mistake, and its password is not told."""
    with pytest.raises(TypeError, match="shared is a RedisLimits or None, not a value of type") as caught:
        RetryPolicy(shared=value)

    assert SECRET not in str(caught.value)


def test_a_retry_and_a_block_leave_it_as_it_is():
    """A `Retry` has no word for it, and `override` says how often."""
    policy = RetryPolicy(shared=RedisLimits(URL))
    with override(retries=1):
        assert policy_from(1, policy).shared == policy.shared

    assert policy_from(Retry(2), policy).shared == policy.shared


def test_redis_py_repeats_nothing_and_waits_for_no_longer():
    """Whatever the URL says: since version 6 it would repeat three times, with pauses."""
    from resilient_transport.redis.address import address_of

    asked = "?socket_timeout=60&retry_on_timeout=yes&health_check_interval=1&protocol=3"
    made = address_of(f"redis://localhost{asked}", 0.25).connect()

    assert made.retry._retries == 0
    assert (made.socket_timeout, made.socket_connect_timeout) == (0.25, 0.25)
    assert (made.health_check_interval, made.protocol) == (0, 2)


WITHOUT = """
import sys
sys.modules["redis"] = None
import resilient_transport
resilient_transport.RetryPolicy()
print("resilient_transport.redis" in sys.modules)
import resilient_transport.redis
"""


def test_without_redis_py_the_cure_is_told():
    """Who does not want it needs nothing of it (the control)."""
    ran = run_python("-c", WITHOUT, check=False)

    assert ran.stdout.strip() == "False"
    assert "ImportError: resilient_transport.redis takes redis-py: pip install redis" in ran.stderr


def test_a_password_that_a_server_repeats_is_not_told(caplog):
    """Some servers repeat the commands that they do not know; the log says the rest."""
    from resilient_transport.redis import _stores

    store = _stores.used(RedisLimits(URL))
    said = store._said(
        require("redis").ResponseError(f"unknown command HELLO with args AUTH worker {SECRET}")
    )

    assert said == "ResponseError: unknown command HELLO with args AUTH ... ..."
    assert caplog.at_level(logging.DEBUG)
