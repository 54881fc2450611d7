"""Sentences of the pages that no other test holds to: each is played against a server."""

from contextlib import nullcontext

import pytest
import requests

from resilient_transport import DeadlineExceeded, RetryPolicy, attempts_of, override, registry
from resilient_transport.retry.causes import DEFAULT_LIMITS
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from tests.docs.test_behaviour import BEHAVIOUR, CONNECTIONS, says
from tests.examples import examples_of, run_example
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

PROGRAMS = "programs"


@pytest.fixture(autouse=True)
def clean_slate(server):
    """Begin with a server that does nothing wrong, and without connections."""
    registry.clear()
    server.play(Script())


@pytest.mark.parametrize(
    ("method", "headers", "policy", "has_key"),
    [
        ("POST", {}, {}, True),
        ("PATCH", {}, {}, True),
        ("POST", {}, {"retry_non_idempotent": True}, True),
        ("PUT", {}, {}, False),
        ("PUT", {"If-Match": '"x"'}, {}, False),
        ("PUT", {}, {"allowed_methods": ["GET"]}, False),
    ],
)
def test_a_key_goes_by_the_method(server, dial, method, headers, policy, has_key):
    """Each request whose method is not idempotent gets one, and no other; whatever may be repeated."""
    session = dial(server, policy=RetryPolicy(idempotency_key=True, **policy))
    response = session.request(method, server.url + "/echo", data=b"x", headers=headers)

    assert says(BEHAVIOUR, "has none and whose method is not idempotent")
    assert says(PROGRAMS, "request whose method is not idempotent gets one")
    assert ("Idempotency-Key" in response.request.headers) is has_key


@pytest.mark.parametrize(
    ("how", "setting", "words"),
    [
        (How.RST, "connect_retries", "resets or closes the connection instead, the call gets {} repetitions"),
        (How.STALL, "timeout_retries", "Silence gets {} (`timeout_retries`)"),
    ],
)
def test_a_proxy_that_breaks_off(server, dial, how, setting, words):
    """It counts as such a failure does elsewhere, and not as a proxy that is not ready."""
    fault = Fault(Moment.TUNNEL, how, seconds=2 * SHORT_TIMEOUT)
    most = DEFAULT_LIMITS[setting]
    broken = pytest.raises(requests.RequestException)
    with FaultServer(Script((Rule(fault),)), tls=False) as proxy, broken as error:
        session = dial(server, policy=RetryPolicy(backoff=0, backoff_max=0))
        session.get(server.url + "/words/3", proxies={"https": proxy.url}, timeout=SHORT_TIMEOUT)

    assert says(CONNECTIONS, words.format(most))
    assert [str(attempt.stage) for attempt in attempts_of(error.value)] == ["tunnel"] * (most + 1)


@pytest.mark.parametrize("block", [None, LONG_TIMEOUT])
def test_a_block_puts_the_deadline_of_a_policy_off(server, dial, block):
    """A later one holds, too; the control: without a block the policy's ends the call."""
    server.play(Script((Rule(Fault(Moment.EXECUTED, How.STALL, seconds=2 * SHORT_TIMEOUT), first=1),)))
    session = dial(server, policy=RetryPolicy(deadline=SHORT_TIMEOUT))
    here = nullcontext() if block is None else override(deadline=block)
    ends = pytest.raises(DeadlineExceeded) if block is None else nullcontext()
    with here, ends:
        session.get(server.url + "/words/3").raise_for_status()

    assert says(BEHAVIOUR, "replaces the policy's deadline, even by a later one")
    assert says(PROGRAMS, "takes the place of the policy's, even if it is later")


def test_a_time_out_of_none_counts_as_none_given(server, dial):
    """A pair with None waits without a limit; the control: the adapter's own time-out is short."""
    server.play(Script(response_delay=2 * SHORT_TIMEOUT))
    session = dial(server, read_timeout=SHORT_TIMEOUT, policy=RetryPolicy(retries=0))
    with pytest.raises(requests.ReadTimeout):
        session.get(server.url + "/words/3", timeout=None)
    patient = session.get(server.url + "/words/3", timeout=(LONG_TIMEOUT, None))

    assert says(BEHAVIOUR, "`timeout=None` counts as a call without one")
    assert patient.ok


def test_a_sentence_that_is_not_there_is_found():
    """The control of all of them."""
    assert not says(BEHAVIOUR, "even by a sooner one")


@pytest.mark.parametrize(
    ("statuses", "status", "attempts"), [(None, 503, 6), ({500}, 503, 1), ({500}, 421, 2)]
)
def test_statuses_take_the_place_of_the_five(server, dial, statuses, status, attempts):
    """And not their side; the last response is handed back; 421 is repeated whatever they are."""
    told = {} if statuses is None else {"statuses": statuses}
    session = dial(server, policy=RetryPolicy(backoff=0, **told))
    response = session.get(f"{server.url}/status/{status}")

    assert says(
        BEHAVIOUR, "takes the place of the five statuses of the table. Status 421 is repeated in any case"
    )
    assert response.status_code == status
    assert len(attempts_of(response)) == attempts


def test_an_adapter_is_shown_as_the_page_has_it(capsys, server):
    """By the example below the question whether it is on."""
    example = next(code for code in examples_of("docs/programs.md") if "get_adapter" in code)
    run_example(example, server)

    assert says(PROGRAMS, capsys.readouterr().out.strip())
