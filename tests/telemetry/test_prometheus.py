"""The figures in Prometheus' text format: as its own parser reads them, and without it a clear error."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from resilient_transport import RetryPolicy, stats
from resilient_transport.telemetry.counters import BUCKETS, Counters
from resilient_transport.telemetry.stats import OriginStats, Stats
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.end_to_end.hearing import attempted
from tests.programs import run_python

FAST = {"backoff": 0.001, "backoff_max": 0.001}
WITHOUT = """
import sys
sys.modules["prometheus_client"] = None
import resilient_transport
figures = resilient_transport.stats()
print(len(figures))
figures.prometheus()
"""


def samples(text):
    """Return the value of each sample, by its name (without the prefix) and its labels but for the origin."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith(".")
        for sample in family.samples:
            labels = dict(sample.labels)
            # A client certificate is told by its file instead.
            origin = labels.pop("origin", None)
            key = origin, sample.name.removeprefix("resilient_transport_"), *labels.values()
            assert key not in found
            found[key] = sample.value
    return found


def expected(figures):
    """Return what the text has to say of figures."""
    found = {}
    for origin, one in figures.items():
        plain = {
            ("calls_total",): one.calls,
            ("retries_total",): one.retries,
            ("recovered_calls_total",): one.recovered,
            ("resumes_total",): one.resumes,
            ("resumed_bytes_total",): one.bytes_saved,
            ("handshakes_total", "full"): one.handshakes_full,
            ("handshakes_total", "resumed"): one.handshakes_resumed,
            ("connections", "idle"): one.idle,
            ("connections", "active"): one.live - one.idle,
            ("gate_wait_seconds_count",): one.waits.count,
            ("gate_wait_seconds_sum",): one.waits.seconds,
            ("response_seconds_count",): one.response_times.count,
            ("response_seconds_sum",): one.response_times.seconds,
            ("certificate_refusals_total",): one.certificate_refusals,
        }
        plain |= {("failures_total", str(stage)): count for stage, count in one.failures.items()}
        plain |= {
            ("repetitions_not_made_total", reason): count
            for reason, count in one.repetitions_not_made.items()
        }
        plain |= {
            ("shared_failures_total", str(stage)): count for stage, count in one.shared_failures.items()
        }
        plain |= {("failed_calls_total", error): count for error, count in one.failed_calls.items()}
        plain |= {("responses_total", kind): count for kind, count in one.responses.items()}
        bounds = [*map(str, BUCKETS), "+Inf"]
        for number, bound in enumerate(bounds, 1):
            plain["gate_wait_seconds_bucket", bound] = sum(one.waits.histogram[:number])
            plain["response_seconds_bucket", bound] = sum(one.response_times.histogram[:number])
        found |= {(origin, *key): value for key, value in plain.items()}
    for file, one in figures.certificates.items():
        found[None, "client_certificate_expiry_timestamp_seconds", file, one.subject] = one.not_after
    return found


def test_the_text_has_the_same_numbers(server, fault_server_factory, dial):
    """After calls that go in many ways to two servers, each sample is the figure that it is named after."""
    other = fault_server_factory(tls=False)
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=30), first=1),)))
    session = dial(server, policy=RetryPolicy(retries=1, **FAST))
    for path in ("/bytes/100", "/status/503", "/status/503?times=1&id=text", "/status/421"):
        attempted(session, "GET", server.url + path)
    attempted(session, "POST", server.url + "/status/503")
    attempted(dial(other), "GET", other.url)
    figures = stats()
    found = samples(figures.prometheus())

    assert found == expected(figures)
    assert found[server.url, "repetitions_not_made_total", "limit"] == 1
    assert found[server.url, "failures_total", "body"] == 1
    assert found[server.url, "recovered_calls_total"] == figures[server.url].recovered > 0
    assert found[other.url, "calls_total"] == 1
    assert list(figures.certificates) == [server.authority.client[0]]


def test_waits_are_a_histogram():
    """Each bucket has those before it, too, and the last one all of them."""
    counters = Counters()
    for seconds in (0.0005, 0.001, 0.02, 7.0, 70.0):
        counters.waited(seconds)
    figures = Stats({"https://a.example": OriginStats(waits=counters.counts().waits)})
    found = samples(figures.prometheus())
    buckets = [found["https://a.example", "gate_wait_seconds_bucket", str(bound)] for bound in BUCKETS]

    assert found == expected(figures)
    assert buckets == [2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4]
    assert found["https://a.example", "gate_wait_seconds_bucket", "+Inf"] == 5


def test_of_nothing_there_is_no_number():
    """The control: without a call there is no sample."""
    assert samples(Stats({}).prometheus()) == {}


def test_without_prometheus_client_the_error_says_what_to_do():
    """The figures are there; only their text takes the package, and its absence is told by name."""
    done = run_python("-c", WITHOUT, check=False)

    assert done.stdout == "0\n"
    assert done.stderr.strip().splitlines()[-1] == (
        "ImportError: the text format takes prometheus_client: pip install prometheus_client"
    )


@pytest.mark.parametrize("label", ['a"b', "a\\b", "a\nb"])
def test_labels_are_escaped(label):
    """Whatever a label holds comes out of the parser as it went in."""
    figures = Stats({label: OriginStats(calls=3)})

    assert samples(figures.prometheus()) == expected(figures)
