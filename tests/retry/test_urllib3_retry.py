"""urllib3's `Retry`, one field at a time."""

import random
import warnings
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.util import Retry
from urllib3.util.retry import RequestHistory

from resilient_transport import RetryPolicy
from resilient_transport.retry.decision import backoff_delay, judge
from resilient_transport.retry.policy import Limit
from resilient_transport.retry.stages import IDEMPOTENT, Cause, Column, Failure, Stage, column
from resilient_transport.retry.urllib3_retry import policy_from

RESET = Failure(Stage.HANDSHAKE, Cause.RESET)
REFUSED = Failure(Stage.CONNECT, Cause.REFUSED)
UNANSWERED = Failure(Stage.REQUEST, Cause.RESET)
CUT = Failure(Stage.BODY, Cause.RESET)
BAD_RECORD = Failure(Stage.REQUEST, Cause.TLS)
BUSY = Failure(Stage.STATUS, Cause.STATUS, status=503)
ALL = [RESET, REFUSED, UNANSWERED, CUT, BAD_RECORD, BUSY]
FOREVER = float("inf")


def granted(retry, failure, at_most=30):
    """Return how many times in a row a failure is repeated."""
    policy = policy_from(retry)
    counts = (
        number
        for number in range(1, at_most + 1)
        if not judge(policy, Column.IDEMPOTENT, [failure] * number, FOREVER).again
    )
    return next(counts, at_most + 1) - 1


def pause(retry, number):
    """Return the pause before a repetition by urllib3's own formula."""
    history = tuple(RequestHistory("GET", "/", None, None, None) for _ in range(number))
    return retry.new(history=history).get_backoff_time()


def refused_with(answer):
    """Return the decision about a 503 under a policy from a `Retry`, given what Retry-After says."""
    retry, retry_after = answer
    failure = Failure(Stage.STATUS, Cause.STATUS, status=503, retry_after=retry_after)
    return judge(policy_from(retry), Column.IDEMPOTENT, [failure], FOREVER)


@pytest.mark.parametrize("failure", ALL)
def test_total_bounds_every_repetition(failure):
    """Whatever happens counts against `total`, and all of it together."""
    policy = policy_from(Retry(total=4))
    mixed = judge(policy, Column.IDEMPOTENT, [RESET, UNANSWERED, CUT, BUSY, failure], FOREVER)

    assert granted(Retry(total=4), failure) == 4
    assert (mixed.again, mixed.why) == (False, "not sent again: total=4 is used up")


@pytest.mark.parametrize("total", [0, False, -1])
@pytest.mark.parametrize("failure", ALL)
def test_a_total_of_nothing_repeats_nothing(total, failure):
    """0, False and what lies below all turn repetitions off, as in urllib3."""
    assert granted(Retry(total=total), failure) == 0


@pytest.mark.parametrize("failure", ALL)
def test_without_a_total_nothing_is_bounded_by_it(failure):
    """The control: None leaves the count to the other fields, and there are none."""
    assert granted(Retry(total=None), failure) == 30


def test_connect_bounds_what_comes_before_the_request():
    """It counts every failure before the first byte of the request, a TLS handshake's reset included."""
    retry = Retry(total=None, connect=2)

    assert {failure: granted(retry, failure) for failure in ALL} == {
        RESET: 2,
        REFUSED: 2,
        UNANSWERED: 30,
        CUT: 30,
        BAD_RECORD: 30,
        BUSY: 30,
    }


def test_read_bounds_what_comes_after_the_request():
    """It counts failures from the first byte of the request to the last of the body."""
    retry = Retry(total=None, read=2)

    assert {failure: granted(retry, failure) for failure in ALL} == {
        RESET: 30,
        REFUSED: 30,
        UNANSWERED: 2,
        CUT: 2,
        BAD_RECORD: 2,
        BUSY: 30,
    }


def test_other_bounds_tls_failures_besides():
    """It counts TLS failures at every stage, in addition to their stage's own limit."""
    early = Failure(Stage.HANDSHAKE, Cause.TLS)

    assert [granted(Retry(total=None, other=1), failure) for failure in (BAD_RECORD, early)] == [1, 1]
    assert granted(Retry(total=None, other=1), UNANSWERED) == 30
    assert granted(Retry(total=None, other=9, read=2), BAD_RECORD) == 2


def test_status_bounds_statuses():
    """It counts responses and nothing else."""
    retry = Retry(total=None, status=2, status_forcelist=[503])

    assert granted(retry, BUSY) == 2
    assert granted(retry, UNANSWERED) == 30


@pytest.mark.parametrize("name", ["connect", "read", "status", "other"])
def test_false_turns_a_kind_of_repetition_off(name):
    """As in urllib3 it is the same as 0, and None leaves the kind to `total`."""
    (off,) = policy_from(Retry(total=None, **{name: False})).limits

    assert (off.name, off.most) == (name, 0)
    assert policy_from(Retry(total=None, **{name: 0})).limits == (off,)
    assert policy_from(Retry(total=None, **{name: None})).limits == ()


@pytest.mark.parametrize("name", ["total", "connect", "read", "status", "other"])
@pytest.mark.parametrize("value", [True, 1.5, "3"])
def test_a_count_of_another_type_is_refused_by_name(name, value):
    """urllib3 would fail with a bare TypeError in the middle of a call, or count True as 1."""
    with pytest.raises(TypeError) as refusal:
        policy_from(Retry(**{name: value}))

    assert str(refusal.value) == f"Retry({name}=...) takes a number, None or False, not {value!r}"


@pytest.mark.parametrize(
    "fields",
    [
        {"redirect": 0},
        {"redirect": 7},
        {"redirect": False},
        {"raise_on_redirect": False},
        {"remove_headers_on_redirect": ["X-Secret"]},
    ],
)
def test_what_concerns_redirects_is_inert(fields):
    """requests follows redirects itself: these fields are accepted and change nothing."""
    assert policy_from(Retry(3, **fields)) == policy_from(Retry(3))
    assert policy_from(Retry(4)) != policy_from(Retry(3))


@pytest.mark.parametrize(
    ("allowed", "method", "expected"),
    [
        (Retry.DEFAULT_ALLOWED_METHODS, "GET", Column.IDEMPOTENT),
        (Retry.DEFAULT_ALLOWED_METHODS, "POST", Column.UNSAFE),
        ({"POST"}, "POST", Column.OPTED_IN),
        (["POST"], "GET", Column.UNSAFE),
        (None, "POST", Column.OPTED_IN),
        (False, "POST", Column.OPTED_IN),
        (None, "GET", Column.IDEMPOTENT),
        ({"get"}, "GET", Column.IDEMPOTENT),
        ({"post"}, "POST", Column.OPTED_IN),
    ],
)
def test_allowed_methods_choose_the_column(allowed, method, expected):
    """A listed method that is not idempotent is opted in, None is every method, and case does not matter."""
    policy = policy_from(Retry(allowed_methods=allowed))

    assert column(method, policy.allowed_methods, policy.retry_non_idempotent) is expected


def test_an_empty_collection_of_methods_is_every_method():
    """So says urllib3 2; its later versions warn that version 3 will see it otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        retry = Retry(allowed_methods=[])

    assert retry._is_method_retryable("POST")
    assert policy_from(retry).allowed_methods is None


def test_status_forcelist_is_kept():
    """What it lists is repeated; without one, no status is."""
    assert policy_from(Retry(status_forcelist=range(500, 503))).statuses == frozenset({500, 501, 502})
    assert policy_from(Retry()).statuses == frozenset()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {413, 429, 503}),
        ({"total": 0}, set()),
        ({"total": None, "status": 3}, set()),
        ({"respect_retry_after_header": False}, set()),
    ],
)
def test_a_retry_after_alone_repeats_what_urllib3_repeats(fields, expected):
    """413, 429 and 503 with a Retry-After need no list, where urllib3 needs none."""
    retry = Retry(**fields)
    stock = {status for status in range(400, 600) if retry.is_retry("GET", status, has_retry_after=True)}

    assert policy_from(retry).retry_after_statuses == stock == expected


def test_a_subclass_may_name_other_statuses_for_retry_after():
    """The class's constant is data, which is read, and not a method, which would not be called."""

    class Patient(Retry):
        RETRY_AFTER_STATUS_CODES = frozenset({503})

    assert policy_from(Patient(2)).retry_after_statuses == frozenset({503})


@settings(deadline=None)
@given(
    factor=st.floats(0, 10),
    most=st.floats(0, 200),
    number=st.integers(1, 60),
)
def test_backoff_factor_and_maximum_pace_as_in_urllib3(factor, most, number):
    """The pause before each repetition is urllib3's own."""
    retry = Retry(backoff_factor=factor, backoff_max=most)

    assert backoff_delay(policy_from(retry), number) == pytest.approx(pause(retry, number))


@settings(deadline=None)
@given(jitter=st.floats(0.001, 10), number=st.integers(1, 20), seed=st.integers(0, 1000))
def test_backoff_jitter_is_added_as_in_urllib3(jitter, number, seed):
    """From the same source of randomness comes the same pause."""
    retry = Retry(backoff_factor=0.1, backoff_max=8, backoff_jitter=jitter)
    random.seed(seed)
    stock = pause(retry, number)
    random.seed(seed)

    assert backoff_delay(policy_from(retry), number) == pytest.approx(stock)


def test_the_pacing_of_an_int_is_another():
    """The control: an int leaves this package's full jitter, which waits before the first repetition."""
    assert backoff_delay(policy_from(Retry(3, backoff_factor=1)), 1) == 0
    assert backoff_delay(policy_from(3), 1, uniform=lambda low, high: high) == 0.05


@pytest.mark.parametrize("given_", [True, False])
def test_raise_on_status_is_as_given(given_):
    """urllib3's default, which is True, counts as given."""
    assert policy_from(Retry(raise_on_status=given_)).raise_on_status is given_
    assert policy_from(Retry()).raise_on_status is True
    assert policy_from(3).raise_on_status is False


def test_history_is_no_part_of_the_policy():
    """It belongs to one call; a policy is for all of them."""
    history = (RequestHistory("GET", "/", None, 503, None),)

    assert policy_from(Retry(3, history=history)) == policy_from(Retry(3))


@pytest.mark.parametrize(("respect", "delay"), [(True, 7.0), (False, 0.0)])
def test_respect_retry_after_header_is_as_given(respect, delay):
    """Where it is False, the pause is the backoff's."""
    assert refused_with((Retry(respect_retry_after_header=respect), 7.0)).delay == delay


@pytest.mark.skipif(
    not hasattr(Retry(), "retry_after_max"), reason="this urllib3 waits as long as it is told"
)
def test_retry_after_max_clamps_as_in_urllib3():
    """A longer Retry-After is waited for as long as the maximum says, and not given back."""
    retry = Retry(retry_after_max=5)

    assert refused_with((retry, 7.0)).delay == retry.parse_retry_after("7") == 5
    assert refused_with((Retry(), 10.0**6)).delay == Retry().parse_retry_after("1000000") == 21600


def test_a_retry_after_that_is_too_long_is_given_back_without_a_retry():
    """The control: this package's own policy does not clamp."""
    failure = Failure(Stage.STATUS, Cause.STATUS, status=503, retry_after=61.0)

    assert not judge(RetryPolicy(), Column.IDEMPOTENT, [failure], FOREVER).again
    assert policy_from(Retry()).clamp_retry_after


def test_a_retry_from_before_retry_after_max_has_six_hours():
    """Earlier versions of urllib3 have no such field and wait as long as they are told."""
    retry = Retry()
    vars(retry).pop("retry_after_max", None)

    assert policy_from(retry).retry_after_max == 21600


@pytest.mark.parametrize(("value", "most"), [(0, 0), (3, 3), (-1, 0), (False, 0)])
def test_an_int_bounds_the_count(value, most):
    """It counts every repetition together; below 0 it is 0, and False is urllib3's way to say so."""
    assert policy_from(value).in_force() == (Limit("retries", most),)


def test_an_int_leaves_the_rest_of_the_policy():
    """Only the count is replaced, an explicit limit of a cause stays, and given limits go."""
    base = RetryPolicy(connect_retries=2, backoff=1.0, statuses={500}, limits=(Limit("total", 9),))
    policy = policy_from(4, base)

    assert policy == RetryPolicy(retries=4, connect_retries=2, backoff=1.0, statuses={500})
    assert policy_from(4) == RetryPolicy(retries=4)


def test_a_retry_brings_its_own_rules():
    """The control: what is left of the base is what a `Retry` has no word for."""
    beside = {"deadline": 3.0, "spool_bytes": 9, "require_close_notify": False, "idempotency_key": True}
    base = RetryPolicy(retry_non_idempotent=True, backoff=1.0, statuses={500}, **beside)

    assert policy_from(Retry(2), base) == replace(policy_from(Retry(2)), **beside)
    assert policy_from(Retry(2)).allowed_methods == IDEMPOTENT - {"QUERY"}


@pytest.mark.parametrize("value", [True, 1.5, "3", None, RetryPolicy()])
def test_what_is_neither_is_refused(value):
    """The message says what is taken and shows what came."""
    with pytest.raises(TypeError) as refusal:
        policy_from(value)

    assert str(refusal.value) == f"max_retries takes an int or a urllib3.util.Retry, not {value!r}"


class Logged(Retry):
    def increment(self, *args, **kwargs):
        raise NotImplementedError


class Mixin:
    def sleep(self, response=None):
        raise NotImplementedError


class Mixed(Mixin, Retry):
    pass


class Static(Retry):
    @staticmethod
    def is_retry(method, status_code, has_retry_after=False):
        raise NotImplementedError

    @classmethod
    def from_int(cls, retries, redirect=True, default=None):
        raise NotImplementedError

    parse_retry_after = property(lambda self: None)


class Deep(Logged):
    def get_backoff_time(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Logged, "increment"),
        (Mixed, "sleep"),
        (Static, "from_int, is_retry, parse_retry_after"),
        (Deep, "get_backoff_time, increment"),
    ],
)
def test_a_subclass_that_overrides_methods_is_refused_by_name(kind, names):
    """They would never be called: the error names them and the cure."""
    with pytest.raises(TypeError) as refusal:
        policy_from(kind(2))

    assert str(refusal.value) == (
        f"{kind.__name__} overrides {names}, which this transport never calls; "
        "say the same with a RetryPolicy, or with a plain urllib3.util.Retry"
    )


def test_a_subclass_that_overrides_nothing_is_taken():
    """The control: constants, further attributes and methods of its own change none of urllib3's rules."""

    class Named(Retry):
        """A class of one's own."""

        DEFAULT_BACKOFF_MAX = 5
        nickname = "patience"

        def describe(self):
            return self.nickname

    assert policy_from(Named(2)) == policy_from(Retry(2))
    assert Named(2).describe() == "patience"
