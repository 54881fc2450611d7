"""The retry quota of an origin."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from resilient_transport.retry.budget import CAPACITY, RETRY_COST, TIMEOUT_COST, Quota


def test_a_hundred_retries_are_in_it():
    """The numbers are botocore's: 500 tokens, 5 for a retry, 10 after a time-out."""
    quota = Quota()
    taken = [quota.take(RETRY_COST) for _ in range(101)]

    assert (CAPACITY, RETRY_COST, TIMEOUT_COST) == (500, 5, 10)
    assert taken == [True] * 100 + [False]


def test_too_few_tokens_are_left_alone():
    """A cost that cannot be paid draws nothing, so that a cheaper one still can."""
    quota = Quota(12)

    assert quota.take(10)
    assert not quota.take(10)
    assert quota.tokens == 2
    assert quota.take(2)
    assert not quota.take(1)


def test_what_is_given_back_can_be_drawn_again():
    """A retry that succeeds gives its cost back, any other success one token."""
    quota = Quota(20)
    quota.take(20)
    quota.give_back(RETRY_COST)
    quota.give_back()

    assert quota.tokens == 6
    assert quota.take(6)


@pytest.mark.parametrize(("drawn", "back", "left"), [(0, 1, 20), (3, 10, 20), (3, 2, 19), (3, 3, 20)])
def test_a_quota_is_never_more_than_full(drawn, back, left):
    """Success pays back what was drawn and saves nothing up."""
    quota = Quota(20)
    quota.take(drawn)
    quota.give_back(back)

    assert quota.tokens == left


def test_its_repr_says_what_is_left():
    """Both numbers, for logs."""
    quota = Quota()
    quota.take(5)

    assert repr(quota) == "<Quota 495 of 500>"


def test_threads_draw_every_token_once():
    """Eight threads that draw at the same time get as many tokens as there are."""
    quota = Quota(1000)
    together = threading.Barrier(8)

    def draw(_):
        together.wait()
        return sum(quota.take(1) for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(draw, range(8)))

    assert sum(drawn) == 1000
    assert quota.tokens == 0
