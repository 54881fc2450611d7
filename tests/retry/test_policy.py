"""When and how often: values that refuse nonsense, and the limits that follow from them."""

import math
import pickle
from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_transport import RetryPolicy
from resilient_transport.retry.policy import Limit
from resilient_transport.retry.stages import IDEMPOTENT, Cause, Failure, Stage

COUNTS = ["retries", "connect_retries", "name_retries", "refused_retries", "timeout_retries"]
SECONDS = ["backoff", "backoff_max", "retry_after_max", "jitter", "deadline"]
SWITCHES = [
    "retry_non_idempotent",
    "idempotency_key",
    "raise_on_status",
    "respect_retry_after",
    "clamp_retry_after",
    "require_close_notify",
]
EARLY = [Stage.QUEUE, Stage.RESOLVE, Stage.CONNECT, Stage.TUNNEL, Stage.HANDSHAKE, Stage.CONFIRM]
LATE = [Stage.REQUEST, Stage.BODY]


def counted(policy, failure):
    """Return the names of the limits that count a failure."""
    return [limit.name for limit in policy.in_force() if limit.covers(failure)]


def bounds(policy):
    """Return the limits in force by name."""
    return {limit.name: limit.most for limit in policy.in_force()}


def test_the_defaults_are_the_recommendation():
    """A policy without arguments says what the design says."""
    policy = RetryPolicy()

    assert {field.name: getattr(policy, field.name) for field in fields(policy)} == {
        "retries": None,
        "connect_retries": None,
        "name_retries": None,
        "refused_retries": None,
        "timeout_retries": None,
        "proxy_retries": None,
        "other_retries": None,
        "retry_non_idempotent": False,
        "idempotency_key": False,
        "allowed_methods": IDEMPOTENT,
        "statuses": frozenset({408, 429, 502, 503, 504}),
        "retry_after_statuses": frozenset(),
        "raise_on_status": False,
        "backoff": 0.05,
        "backoff_max": 2.0,
        "jitter": None,
        "respect_retry_after": True,
        "retry_after_max": 60.0,
        "clamp_retry_after": False,
        "deadline": None,
        "attempt_timeout": None,
        "require_close_notify": True,
        "spool_bytes": 0,
        "breaker": None,
        "shared": None,
        "limits": None,
    }


def test_the_default_limits_go_by_cause():
    """Causes heal at different speeds: what heals slowly is repeated less often."""
    limits = RetryPolicy().in_force()

    assert [(limit.name, limit.most) for limit in limits] == [
        ("connect_retries", 12),
        ("name_retries", 2),
        ("refused_retries", 5),
        ("timeout_retries", 1),
        ("proxy_retries", 2),
        ("other_retries", 1),
        ("retries", 5),
    ]


@pytest.mark.parametrize(
    ("failure", "name"),
    [
        *((Failure(stage, Cause.RESET), "connect_retries") for stage in EARLY),
        *((Failure(stage, Cause.DAMAGED), "connect_retries") for stage in EARLY),
        (Failure(Stage.TUNNEL, Cause.UNREADY), "proxy_retries"),
        (Failure(Stage.RESOLVE, Cause.NAME), "name_retries"),
        (Failure(Stage.CONNECT, Cause.REFUSED), "refused_retries"),
        *((Failure(stage, Cause.TIMEOUT), "timeout_retries") for stage in [*EARLY, *LATE]),
        *((Failure(stage, Cause.TLS), "other_retries") for stage in [*EARLY, *LATE]),
        *((Failure(stage, Cause.UNNAMED), "other_retries") for stage in [*EARLY, *LATE]),
        *((Failure(stage, cause), "retries") for stage in LATE for cause in (Cause.RESET, Cause.DAMAGED)),
        (Failure(Stage.STATUS, Cause.STATUS), "retries"),
        (Failure(Stage.STATUS, Cause.MISDIRECTED), "retries"),
    ],
)
def test_each_failure_counts_against_one_limit(failure, name):
    """By default the causes share nothing, and no failure is without a limit."""
    assert counted(RetryPolicy(), failure) == [name]


def test_explicit_retries_bound_everything_together():
    """With `retries` the defaults of the causes are gone, and one limit counts every failure."""
    policy = RetryPolicy(retries=3)

    assert policy.in_force() == (Limit("retries", 3),)
    assert all(policy.in_force()[0].covers(Failure(stage, cause)) for stage in Stage for cause in Cause)


@pytest.mark.parametrize("name", COUNTS[1:])
def test_an_explicit_limit_of_a_cause_stays_beside_explicit_retries(name):
    """What was named holds, what was not named does not come back."""
    policy = RetryPolicy(retries=9, **{name: 4})

    assert bounds(policy) == {"retries": 9, name: 4}


@pytest.mark.parametrize("name", COUNTS[1:])
def test_an_explicit_limit_of_a_cause_alone_replaces_its_default(name):
    """The other causes keep theirs."""
    policy = RetryPolicy(**{name: 7})

    assert bounds(policy) == {**bounds(RetryPolicy()), name: 7}


@pytest.mark.parametrize("name", COUNTS)
def test_none_is_no_limit_and_nought_is_one(name):
    """0 turns these repetitions off; it is not taken for "not given"."""
    assert bounds(RetryPolicy(**{name: 0}))[name] == 0
    assert bounds(RetryPolicy(**{name: None})) == bounds(RetryPolicy())


def test_given_limits_stand_in_place_of_the_counts():
    """They are what a `Retry` was translated to, and nothing is added to them."""
    limits = (Limit("total", 2),)

    assert RetryPolicy(limits=limits, retries=9, connect_retries=1).in_force() == limits
    assert RetryPolicy(limits=()).in_force() == ()


def test_a_limit_counts_what_it_covers():
    """Failures of other stages and causes do not use it up."""
    limit = Limit("two", 2, frozenset({Stage.BODY}), frozenset({Cause.RESET}))
    mine, other, elsewhere = (
        Failure(Stage.BODY, Cause.RESET),
        Failure(Stage.BODY, Cause.TLS),
        Failure(Stage.CONNECT, Cause.RESET),
    )

    assert [limit.covers(failure) for failure in (mine, other, elsewhere)] == [True, False, False]
    assert not limit.used_up([mine, mine])
    assert limit.used_up([mine, mine, mine])
    assert limit.used_up([mine, other, elsewhere, mine, mine])
    assert not limit.used_up([mine, mine, mine, other])


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [True, False, 2.0, "3", object])
def test_a_count_that_is_no_whole_number_is_refused(name, value):
    """A bool is no count, either: `retries=True` is more likely a mistake than a 1."""
    with pytest.raises(TypeError) as refusal:
        RetryPolicy(**{name: value})

    assert str(refusal.value) == f"{name} is a number of repetitions or None, not {value!r}"


@pytest.mark.parametrize("name", COUNTS)
def test_a_negative_count_is_refused(name):
    """And the message says what turns repetitions off."""
    with pytest.raises(ValueError, match="turns these repetitions off") as refusal:
        RetryPolicy(**{name: -1})

    assert str(refusal.value) == f"{name} is 0 or more, not -1; 0 turns these repetitions off"


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [True, "1", [1]])
def test_seconds_that_are_no_number_are_refused(name, value):
    """The message names the field and shows the value."""
    with pytest.raises(TypeError) as refusal:
        RetryPolicy(**{name: value})

    assert str(refusal.value) == f"{name} is a number of seconds, not {value!r}"


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [-1, -0.001, math.inf, -math.inf, math.nan])
def test_seconds_that_are_no_span_are_refused(name, value):
    """Time runs forwards and ends."""
    with pytest.raises(ValueError, match="finite number of seconds") as refusal:
        RetryPolicy(**{name: value})

    assert str(refusal.value) == f"{name} is a finite number of seconds, 0 or more, not {value!r}"


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0, 0.0, 1, 2.5])
def test_seconds_are_whole_or_not(name, value):
    """The control: numbers of either kind are taken, 0 included."""
    assert getattr(RetryPolicy(**{name: value}), name) == value


@pytest.mark.parametrize("name", ["backoff", "backoff_max", "retry_after_max"])
def test_seconds_without_a_meaning_for_none_refuse_it(name):
    """Only `jitter` and `deadline` may be absent."""
    with pytest.raises(TypeError, match=f"{name} is a number of seconds, not None"):
        RetryPolicy(**{name: None})
    assert RetryPolicy(jitter=None, deadline=None) == RetryPolicy()


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [None, 0, 1, "no"])
def test_a_switch_is_on_or_off(name, value):
    """The text "no" would be taken for a yes, and a POST be sent twice."""
    with pytest.raises(TypeError) as refusal:
        RetryPolicy(**{name: value})

    assert str(refusal.value) == f"{name} is True or False, not {value!r}"
    assert [getattr(RetryPolicy(**{name: value}), name) for value in (True, False)] == [True, False]


@pytest.mark.parametrize("value", [("total",), [Limit("total", 1), 2]])
def test_limits_of_another_kind_are_refused(value):
    """They are a translator's, and checked all the same."""
    with pytest.raises(TypeError) as refusal:
        RetryPolicy(limits=value)

    assert str(refusal.value) == f"limits is a tuple of Limit or None, not {value!r}"


@pytest.mark.parametrize("value", ["GET", ["GET", 5], [None], {b"GET"}])
def test_methods_that_are_no_set_of_names_are_refused(value):
    """One string is refused, too: its letters would be taken for methods."""
    with pytest.raises(TypeError) as refusal:
        RetryPolicy(allowed_methods=value)

    assert str(refusal.value) == f"allowed_methods is a set of method names or None, not {value!r}"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (["get", "Post"], frozenset({"GET", "POST"})),
        ({"HEAD"}, frozenset({"HEAD"})),
        ((), frozenset()),
        (None, None),
    ],
)
def test_methods_are_kept_in_upper_case(value, kept):
    """Any collection will do; None is every method, and nothing is none."""
    assert RetryPolicy(allowed_methods=value).allowed_methods == kept


@pytest.mark.parametrize("name", ["statuses", "retry_after_statuses"])
@pytest.mark.parametrize("value", [["503"], 503])
def test_statuses_are_a_collection_of_numbers(name, value):
    """Any collection of them will do; text, and one number alone, are refused by the field's name."""
    with pytest.raises(TypeError) as refusal:
        RetryPolicy(**{name: value})

    assert str(refusal.value) == f"{name} is a set of status codes, not {value!r}"
    assert getattr(RetryPolicy(**{name: range(500, 503)}), name) == frozenset({500, 501, 502})
    assert getattr(RetryPolicy(**{name: []}), name) == frozenset()


def test_a_policy_is_a_value():
    """Equal, hashable, picklable, frozen, and derived by `replace`."""
    policy = RetryPolicy(retries=2, allowed_methods={"get"})

    for value, name in ((policy, "retries"), (Limit("total", 2), "most")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, 3)
    assert {policy, RetryPolicy(retries=2, allowed_methods=["GET"])} == {policy}
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert replace(policy, retries=3) == RetryPolicy(retries=3, allowed_methods={"GET"})


def test_a_derived_policy_is_checked_too():
    """`replace` is no way around the rules."""
    with pytest.raises(ValueError, match="retries is 0 or more"):
        replace(RetryPolicy(), retries=-1)


@settings(deadline=None)
@given(
    retries=st.none() | st.integers(0, 30),
    by_cause=st.fixed_dictionaries({}, optional={name: st.integers(0, 30) for name in COUNTS[1:]}),
)
def test_explicit_retries_are_an_upper_bound(retries, by_cause):
    """Whatever else is given, a failure is counted, and `retries` counts every one of them."""
    policy = RetryPolicy(retries=retries, **by_cause)
    failures = [Failure(stage, cause) for stage in LATE for cause in (Cause.RESET, Cause.TIMEOUT, Cause.TLS)]
    failures += [Failure(Stage.CONNECT, Cause.REFUSED), Failure(Stage.RESOLVE, Cause.NAME)]

    assert all(counted(policy, failure) for failure in failures)
    assert retries is None or all("retries" in counted(policy, failure) for failure in failures)


@pytest.mark.parametrize(
    ("value", "error"), [(True, TypeError), (1.5, TypeError), (None, TypeError), (-1, ValueError)]
)
def test_spool_bytes_is_a_number_of_bytes(value, error):
    """Refused by its name."""
    with pytest.raises(error, match="spool_bytes"):
        RetryPolicy(spool_bytes=value)
