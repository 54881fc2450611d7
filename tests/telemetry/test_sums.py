"""What several processes have counted, added up, is what one would have counted."""

import pickle
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_transport.telemetry.counters import Counters, Counts, Durations
from resilient_transport.telemetry.stats import ClientCertificate, OriginStats, Stats

#: What a call of a process may add, with values that a process counts. Halves of halves are added exactly.
SECONDS = st.integers(0, 20_000).map(lambda parts: parts / 1024)
NAMES = st.sampled_from(["connect", "handshake", "body"])
EVENTS = st.one_of(
    st.tuples(st.just("answered"), st.sampled_from([200, 204, 301, 404, 503]), SECONDS),
    st.tuples(st.just("ended"), st.sampled_from([None, "ConnectionError", "SSLError"])),
    st.tuples(st.just("broke_off"), st.just("ChunkedEncodingError")),
    st.tuples(st.just("shook_hands"), st.booleans()),
    st.tuples(st.just("waited"), SECONDS),
    st.tuples(st.just("failed"), NAMES, st.booleans()),
    st.tuples(st.just("retried")),
    st.tuples(st.just("refused"), st.sampled_from(["quota", "deadline"])),
    st.tuples(st.just("certificate_refused")),
    st.tuples(st.just("recovered")),
    st.tuples(st.just("resumed"), st.integers(0, 1 << 40)),
)
ORIGINS = ("https://a.example:443", "https://b.example:443")
PARTS = 3


def told(counters, event):
    """Let counters count an event."""
    name, *values = event
    getattr(counters, name)(*values)


def figures(counters, live=0, idle=0):
    """Return what `stats()` has of an origin."""
    counts = counters.counts()
    return OriginStats(
        **{one.name: getattr(counts, one.name) for one in fields(counts)}, live=live, idle=idle
    )


@given(st.lists(st.tuples(st.integers(0, PARTS - 1), EVENTS)))
def test_the_sum_of_the_parts_is_the_whole(events):
    """Whatever is counted, and by whomever: each field of the sum is what one that counts all has."""
    parts, whole = [Counters() for _ in range(PARTS)], Counters()
    for part, event in events:
        told(parts[part], event)
        told(whole, event)
    total = Counts()
    for part in parts:
        total = total + part.counts()

    assert total == whole.counts()
    # The control: without one that has counted, it is another.
    if parts[0].counts() != Counts():
        assert parts[1].counts() + parts[2].counts() != whole.counts()


@given(st.lists(st.tuples(st.integers(0, PARTS - 1), st.sampled_from(ORIGINS), EVENTS)))
def test_origins_are_added_apart(events):
    """Each origin has its own sum, also one that not every process has called."""
    parts, whole = [{} for _ in range(PARTS)], {}
    for part, origin, event in events:
        for counters in (parts[part], whole):
            told(counters.setdefault(origin, Counters()), event)
    total = Stats({})
    for part in parts:
        total = total + Stats({origin: figures(counters, 2, 1) for origin, counters in part.items()})
    having = {origin: sum(origin in part for part in parts) for origin in whole}

    assert dict(total) == {
        origin: figures(counters, 2 * having[origin], having[origin]) for origin, counters in whole.items()
    }


def test_the_certificate_that_expires_first_is_told():
    """Of files of one name on two machines; others are told all."""
    late, early, other = (ClientCertificate(f"CN={end}", 0.0, end) for end in (9.0, 3.0, 7.0))
    one, two = Stats({}, {}, {"a.pem": late}), Stats({}, {}, {"a.pem": early, "b.pem": other})

    assert (one + two).certificates == (two + one).certificates == {"a.pem": early, "b.pem": other}


def test_adding_changes_neither():
    """Values in, a value out."""
    one = Stats({ORIGINS[0]: OriginStats(calls=1, failures={"body": 1})}, {"a.Adapter": 1})
    other = Stats({ORIGINS[0]: OriginStats(calls=2, failures={"body": 2, "connect": 1})}, {"b.Adapter": 2})
    total = one + other

    assert total[ORIGINS[0]] == OriginStats(calls=3, failures={"body": 3, "connect": 1})
    assert total.left_alone == {"a.Adapter": 1, "b.Adapter": 2}
    assert one[ORIGINS[0]] == OriginStats(calls=1, failures={"body": 1})
    assert other.left_alone == {"b.Adapter": 2}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_snapshot_pickles(protocol):
    """It arrives as it was, table and all."""
    counters = Counters()
    counters.answered(200, 0.5)
    counters.failed("body")
    certificates = {"a.pem": ClientCertificate("CN=a", 1.0, 2.0)}
    made = Stats({ORIGINS[0]: figures(counters, 3, 2)}, {"a.Adapter": 1}, certificates)
    there = pickle.loads(pickle.dumps(made, protocol))

    assert dict(there) == dict(made)
    assert (there.left_alone, there.certificates) == (made.left_alone, certificates)
    assert (str(there), repr(there)) == (str(made), repr(made))


def test_figures_of_another_make_are_refused():
    """A histogram with other buckets cannot be added, and is not cut to size."""
    other = replace(Durations(), histogram=(1, 2))

    with pytest.raises(ValueError, match="shorter"):
        Durations() + other
