"""The promise that comes first: a request that must not run twice never does."""

import uuid

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import RetryPolicy, Stage, attempts_of, override
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

#: Every way to lose a request that has left, in the order of the stages.
LOSSES = [
    Fault(Moment.REQUEST, How.RST),
    Fault(Moment.REQUEST, How.FIN),
    Fault(Moment.REQUEST, How.CLOSE_NOTIFY),
    Fault(Moment.REQUEST, How.CORRUPT),
    Fault(Moment.REQUEST, How.STALL),
    Fault(Moment.EXECUTED, How.RST),
    Fault(Moment.EXECUTED, How.FIN),
    Fault(Moment.EXECUTED, How.CLOSE_NOTIFY),
    Fault(Moment.EXECUTED, How.CORRUPT),
    Fault(Moment.EXECUTED, How.STALL),
    Fault(Moment.HEAD, How.RST),
    Fault(Moment.BODY, How.RST, after_bytes=1),
    Fault(Moment.BODY, How.FIN, after_bytes=1),
    Fault(Moment.BODY, How.CORRUPT, after_bytes=1),
    Fault(Moment.BODY, How.STALL, after_bytes=1),
]
NOT_EXECUTED = (Moment.REQUEST,)
OPT_INS = ["policy", "allowed methods", "key header", "key policy", "override"]


def name(fault):
    """A fault's name in a test's id."""
    return f"{fault.at.value}-{fault.how.value}"


def session_with(opt_in, server, dial):
    """Return a session whose adapter, and the headers of a call, that opt in this way."""
    policies = {
        "policy": RetryPolicy(retry_non_idempotent=True, timeout_retries=2),
        "key policy": RetryPolicy(idempotency_key=True, timeout_retries=2),
    }
    headers = {"Idempotency-Key": "k-1"} if opt_in == "key header" else {}
    if opt_in == "allowed methods":
        return dial(server, max_retries=Retry(3, allowed_methods={"POST"})), headers
    return dial(server, policy=policies.get(opt_in)), headers


@pytest.fixture(params=[False, True], ids=["fresh", "reused"])
def reused(request):
    """Whether the fault meets a connection that has carried a request."""
    return request.param


def play(server, fault, reused):
    """Let the first connection fail: at its second request when that is to be on a used connection."""
    server.play(Script((Rule(fault, first=1, on_request=2 if reused else 1),)))


def call(session, server, method, reused, fault, headers=()):
    """Make the call that meets the fault; return the response, or the exception."""
    patience = SHORT_TIMEOUT if fault.how is How.STALL else LONG_TIMEOUT
    if reused:
        session.get(server.url + "/")
    headers = {"X-Request-Id": "the-one", **dict(headers)}
    try:
        return session.request(
            method, server.url + "/words/30", data=b"body", headers=headers, timeout=(LONG_TIMEOUT, patience)
        )
    except requests.RequestException as error:
        return error


@pytest.mark.parametrize("fault", LOSSES, ids=name)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_request_that_left_is_not_sent_again(server, dial, method, fault, reused):
    """Not opted in, it reaches the server once, whatever the failure and the connection."""
    play(server, fault, reused)

    outcome = call(dial(server), server, method, reused, fault)

    assert isinstance(outcome, requests.RequestException)
    assert server.counts().executions.get("the-one", 0) == (fault.at not in NOT_EXECUTED)
    assert server.counts().accepts == 1
    assert [attempt.stage in (Stage.REQUEST, Stage.BODY) for attempt in attempts_of(outcome)] == [True]
    assert "not sent again: the server may have executed it" in attempts_of(outcome)[0].decision


@pytest.mark.parametrize("fault", LOSSES, ids=name)
@pytest.mark.parametrize("opt_in", OPT_INS)
def test_opted_in_it_is_sent_again(server, dial, opt_in, fault, reused):
    """The control: the same failures with the caller's consent end in a response."""
    session, headers = session_with(opt_in, server, dial)
    play(server, fault, reused)

    with override(retry_non_idempotent=True if opt_in == "override" else None):
        outcome = call(session, server, "POST", reused, fault, headers)

    assert isinstance(outcome, requests.Response), outcome
    assert outcome.ok
    assert server.counts().executions["the-one"] == 1 + (fault.at not in NOT_EXECUTED)
    assert [attempt.reused for attempt in attempts_of(outcome)] == [reused, False]


@pytest.mark.parametrize("fault", LOSSES, ids=name)
@pytest.mark.parametrize("method", ["GET", "PUT", "QUERY"])
def test_an_idempotent_request_is_sent_again(server, dial, method, fault, reused):
    """RFC 9110 section 9.2.2: repeating it does no harm."""
    play(server, fault, reused)

    outcome = call(dial(server), server, method, reused, fault)

    assert isinstance(outcome, requests.Response), outcome
    assert outcome.ok
    assert server.counts().executions["the-one"] == 1 + (fault.at not in NOT_EXECUTED)


def test_the_same_key_goes_with_each_attempt(server, dial):
    """A server can tell a repetition by its Idempotency-Key."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=2),)))

    dial(server, policy=RetryPolicy(idempotency_key=True)).post(server.url + "/")

    keys = [execution.idempotency_key for execution in server.executions()]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    made = uuid.UUID(keys[0].strip('"'))
    assert (made.version, made.variant, f'"{made}"') == (4, uuid.RFC_4122, keys[0])


def test_each_call_has_a_key_of_its_own(server, dial):
    """The same prepared request, sent twice, is two calls; the caller's object stays as it was."""
    server.play(Script())
    session = dial(server, policy=RetryPolicy(idempotency_key=True))
    prepared = session.prepare_request(requests.Request("POST", server.url + "/", data=b"x"))

    for _ in range(2):
        session.send(prepared, verify=session.verify, cert=session.cert)

    keys = [execution.idempotency_key for execution in server.executions()]
    assert len(set(keys)) == 2
    assert "Idempotency-Key" not in prepared.headers


def test_a_key_of_the_caller_is_kept(server, dial):
    """`idempotency_key=True` adds a key only where there is none, and none to a GET."""
    server.play(Script())
    session = dial(server, policy=RetryPolicy(idempotency_key=True))

    session.post(server.url + "/", headers={"idempotency-key": "mine"})
    session.get(server.url + "/")

    assert [execution.idempotency_key for execution in server.executions()] == ["mine", None]


def test_an_override_can_forbid_what_the_policy_allows(server, dial):
    """`override(retry_non_idempotent=False)` is stronger than the adapter, and than a key."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=1),)))
    session = dial(server, policy=RetryPolicy(retry_non_idempotent=True))

    with override(retry_non_idempotent=False), pytest.raises(requests.ConnectionError):
        session.post(server.url + "/", headers={"X-Request-Id": "the-one", "Idempotency-Key": "k"})

    assert server.counts().executions == {"the-one": 1}


def test_stock_delivers_a_post_four_times(server, dial):
    """The control: urllib3's Retry repeats a POST after a TLS error although only GET is allowed."""
    server.play(Script((Rule(Fault(Moment.EXECUTED, How.CORRUPT)),)))
    stock = dial(server, HTTPAdapter(max_retries=Retry(3, allowed_methods={"GET"})))

    with pytest.raises(requests.exceptions.SSLError):
        stock.post(server.url + "/", headers={"X-Request-Id": "the-one"})

    assert server.counts().executions == {"the-one": 4}


def test_the_same_rules_deliver_it_once_here(server, dial):
    """A `Retry` given to this adapter is asked about the method whatever the exception."""
    server.play(Script((Rule(Fault(Moment.EXECUTED, How.CORRUPT)),)))
    session = dial(server, max_retries=Retry(3, allowed_methods={"GET"}))

    with pytest.raises(requests.exceptions.SSLError):
        session.post(server.url + "/", headers={"X-Request-Id": "the-one"})

    assert server.counts().executions == {"the-one": 1}
