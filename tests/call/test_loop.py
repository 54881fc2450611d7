"""The one loop, told by functions that stand for the wire: they mark the trace, fail it, raise or answer."""

import io
import logging

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError, ReadTimeoutError, SSLError

from resilient_transport import (
    ClientCertificateRejected,
    DeadlineExceeded,
    ResilientAdapter,
    RetryPolicy,
    attempts_of,
)
from resilient_transport.call.loop import Call
from resilient_transport.call.plan import CallPlan
from resilient_transport.call.record import Record
from resilient_transport.connection.trace import CURRENT
from resilient_transport.events.attempt import Attempts
from resilient_transport.retry.budget import Quota
from resilient_transport.retry.deadline import Deadline
from resilient_transport.retry.stages import Column, Stage
from resilient_transport.retry.urllib3_retry import ONE_ATTEMPT
from resilient_transport.telemetry.counters import Counters
from tests.retry.values import Clock, tls
from tests.timeouts import LONG_TIMEOUT

URL = "https://localhost/path?token=8f14e45f"
#: Those of an adapter without arguments.
OPTIONS = ResilientAdapter()._options
#: The pacing of most tests: no pause, then 0.5 s, 1 s, 2 s, without randomness.
EVEN = RetryPolicy(backoff=0.25, jitter=0.0)


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Return the list to which each pause is added instead of waiting for it."""
    waited = []
    monkeypatch.setattr("resilient_transport.call.loop.sleep", waited.append)
    return waited


def prepared(method="GET", **fields):
    """Return a prepared request."""
    return requests.Request(method, URL, **fields).prepare()


def a_plan(request=None, policy=EVEN, column=Column.IDEMPOTENT, deadline=None, quota=None, **values):
    """Return the plan of a call that may last for ever and has a full quota, unless it is told otherwise."""
    request, deadline, quota = request or prepared(), deadline or Deadline(), quota or Quota()
    return CallPlan(request, policy, column, deadline, quota, Counters(), OPTIONS, **values)


def a_call(*args, **values):
    """Return the call of such a plan."""
    return Call(a_plan(*args, **values), HTTPAdapter())


def answer(status=200, **headers):
    """Return requests' response around one of urllib3's."""
    response = requests.Response()
    response.status_code = status
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    body = io.BytesIO(b"" if status in (204, 304) else b"7 bytes")
    response.raw = HTTPResponse(body, status=status, preload_content=False)
    return response


def reset():
    """Return a reset as the wire meets it."""
    return ConnectionResetError(104, "Connection reset by peer")


def fails(stage, met=None, raised=None, reused=False):
    """Return a step in which the wire fails at a stage, as requests' adapter reports it."""

    def step(trace):
        trace.reused = reused
        trace.mark(stage)
        error = met or reset()
        trace.fail(error)
        raise raised or requests.ConnectionError(ProtocolError("Connection aborted.", error))

    return step


def answers(*args, **fields):
    """Return a step in which a response comes."""

    def step(trace):
        trace.mark(Stage.BODY)
        trace.bytes_out = 100
        return answer(*args, **fields)

    return step


class Script:
    """Stands for the wire: one step for each attempt, and the traces it was given."""

    def __init__(self, *steps):
        """Remember what to do."""
        self.steps = list(steps)
        self.traces = []

    def __call__(self, *arguments):
        """Do the next step, with the trace that the wire finds where it looks for it."""
        trace = CURRENT.value
        self.traces.append(trace)
        return self.steps.pop(0)(trace)


def raised_by(call, script):
    """Return what a call raises."""
    with pytest.raises(Exception) as failure:  # noqa: PT011 - whatever it is, the test looks at it
        call.run(script)
    return failure.value


def story(outcome):
    """Return what the attempts say, without what differs from run to run."""
    return [(one.number, str(one.stage), one.status, one.delay, one.decision) for one in attempts_of(outcome)]


HANDED_OUT = "the response was handed out"
RESET = "reset or closed at stage {}"
EARLY = "reset or closed at stage {}, no byte of the request had left"


def test_a_good_answer_is_handed_out_at_once(pauses):
    """The control: without a failure there is one attempt, no pause and no history."""
    call, script = a_call(), Script(answers())
    response = call.run(script)
    (attempt,) = attempts_of(response)

    assert story(response) == [(1, "done", 200, None, HANDED_OUT)]
    assert (attempt.error, attempt.bytes_out, attempt.bytes_in) == (None, 100, 7)
    assert (pauses, call.plan.quota.tokens, response.raw.retries) == ([], 500, None)
    assert CURRENT.value is None


def test_an_attempt_is_what_stock_sends_without_retries():
    """The wire is given urllib3's `Retry` as requests makes it, so that it repeats nothing itself."""
    stock = requests.adapters.HTTPAdapter().max_retries

    assert (ONE_ATTEMPT.total, ONE_ATTEMPT.read) == (stock.total, stock.read) == (0, False)


def test_resets_before_the_request_are_survived(pauses):
    """Three handshakes fail, the fourth attempt is answered: the caller sees a response and its story."""
    script = Script(*[fails(Stage.HANDSHAKE)] * 3, answers())
    response = a_call(column=Column.UNSAFE).run(script)

    assert story(response) == [
        (1, "handshake", None, 0.0, "sent again at once: " + EARLY.format("handshake")),
        (2, "handshake", None, 0.5, "sent again after 0.500 s: " + EARLY.format("handshake")),
        (3, "handshake", None, 1.0, "sent again after 1.000 s: " + EARLY.format("handshake")),
        (4, "done", 200, None, HANDED_OUT),
    ]
    assert pauses == [0.0, 0.5, 1.0]
    assert {one.error for one in attempts_of(response)[:3]} == {
        "ConnectionResetError: Connection reset by peer"
    }


def test_a_request_that_may_not_be_repeated_is_sent_once(pauses):
    """The control: once it has left, a POST's reset is the caller's, with the reason why."""
    error = raised_by(a_call(prepared("POST"), column=Column.UNSAFE), Script(fails(Stage.REQUEST)))

    assert type(error) is requests.ConnectionError
    assert story(error) == [
        (
            1,
            "request",
            None,
            None,
            "not sent again: the server may have executed it (stage request), and the method may not be "
            "repeated; an Idempotency-Key header or retry_non_idempotent=True opts in",
        )
    ]
    assert pauses == []


def test_an_error_carries_its_story_in_a_note():
    """Whoever reads the traceback reads what was tried."""
    error = raised_by(a_call(policy=RetryPolicy(retries=1, jitter=0)), Script(*[fails(Stage.BODY)] * 2))

    assert error.__notes__ == [str(attempts_of(error))]
    assert [one.number for one in attempts_of(error)] == [1, 2]


@pytest.mark.parametrize(
    ("stages", "raised"),
    [
        ([Stage.REQUEST, Stage.CONNECT, Stage.HANDSHAKE], 0),
        ([Stage.CONNECT, Stage.BODY, Stage.HANDSHAKE], 1),
        ([Stage.CONNECT, Stage.HANDSHAKE, Stage.REQUEST], 2),
        ([Stage.REQUEST, Stage.CONNECT, Stage.REQUEST], 2),
        ([Stage.CONNECT, Stage.CONNECT, Stage.CONNECT], 2),
    ],
)
def test_the_furthest_failure_is_raised(stages, raised):
    """It says most about what is wrong; among equals the latest does. All attempts are told with it."""
    errors = [requests.ConnectionError(f"number {number}") for number in range(3)]
    steps = [fails(stage, raised=error) for stage, error in zip(stages, errors, strict=True)]
    error = raised_by(a_call(policy=RetryPolicy(retries=2, jitter=0)), Script(*steps))

    assert error is errors[raised]
    assert [str(one.stage) for one in attempts_of(error)] == [str(stage) for stage in stages]
    assert [hasattr(other, "attempts") for other in errors].count(True) == 1


def test_what_did_not_fail_on_the_wire_is_raised_at_once(pauses):
    """What no part of the wire recorded is a mistake of the program, and repeating it mends nothing."""
    mistake = requests.exceptions.InvalidHeader("no such header")

    def step(trace):
        raise mistake

    error = raised_by(a_call(), Script(step, answers()))

    assert error is mistake
    assert story(error) == [(1, "queue", None, None, "not sent again: it did not fail on the wire")]
    assert pauses == []


def test_what_did_not_fail_on_the_wire_wins_over_what_did():
    """A mistake that comes after a reset is raised as itself."""
    mistake = ValueError("a plain mistake")

    def step(trace):
        raise mistake

    error = raised_by(a_call(), Script(fails(Stage.BODY), step))

    assert error is mistake
    assert attempts_of(error) == ()


def test_an_interrupt_passes_through(pauses):
    """Ctrl-C is not judged, and leaves no trace behind."""

    def step(trace):
        trace.fail(KeyboardInterrupt())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        a_call().run(Script(step, answers()))

    assert CURRENT.value is None
    assert pauses == []


@pytest.mark.parametrize(
    ("met", "why"),
    [
        (tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "client certificate refused"),
        (SSLError("Fingerprints did not match"), "server certificate not trusted"),
        (OSError("Tunnel connection failed: 407 Who?"), "refused by the proxy"),
    ],
)
def test_what_does_not_heal_is_tried_once(met, why):
    """A refused certificate costs one handshake."""
    raised = requests.exceptions.SSLError(met)
    error = raised_by(a_call(), Script(fails(Stage.CONFIRM, met, raised), answers()))

    if "CERTIFICATE_REQUIRED" in str(met):
        assert type(error) is ClientCertificateRejected
        assert error.__cause__ is raised
    else:
        assert error is raised
    decisions = [f"not sent again: {why}: this does not heal by itself"]
    assert [one.decision for one in attempts_of(error)] == decisions


def test_a_stale_connection_is_replaced_at_once(pauses):
    """The first time; the wire said that the connection had been used before."""
    policy = RetryPolicy(backoff=1.0, backoff_max=1.0, jitter=0.0)
    stale = fails(Stage.REQUEST, reused=True)
    response = a_call(policy=policy).run(Script(fails(Stage.REQUEST), stale, stale, answers()))

    assert pauses == [0.0, 0.0, 0.0]
    assert [one.reused for one in attempts_of(response)] == [False, True, True, False]


def test_pauses_are_what_was_decided(pauses):
    """Every pause that a decision names is slept, in order, and no other."""
    call = a_call(policy=RetryPolicy(backoff=0.25, backoff_max=0.75, jitter=0.0))
    response = call.run(Script(*[fails(Stage.HANDSHAKE)] * 5, answers()))

    assert pauses == [0.0, 0.5, 0.75, 0.75, 0.75]
    assert pauses == [one.delay for one in attempts_of(response)[:-1]]


def test_a_busy_server_is_asked_again(pauses):
    """A 503 with Retry-After is waited for, its response closed, and the next one handed out."""
    busy = answers(503, Retry_After="7")
    responses = []

    def remembered(trace):
        responses.append(busy(trace))
        return responses[0]

    response = a_call(stream=True).run(Script(remembered, answers()))

    assert story(response) == [
        (1, "status", 503, 7, "sent again after 7.000 s: status 503"),
        (2, "done", 200, None, HANDED_OUT),
    ]
    assert pauses == [7]
    assert responses[0].raw.closed


@pytest.mark.parametrize(
    "value",
    ["soon", "-5", "1.5.5", "", "9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT"],
    ids=lambda text: text[:9],
)
def test_a_retry_after_that_says_nothing_is_no_reason_to_fail(pauses, value):
    """What does not parse is taken as not said."""
    response = a_call().run(Script(answers(503, Retry_After=value), answers()))

    assert response.status_code == 200
    assert pauses == [0.0]


def test_a_retry_after_that_is_too_long_ends_the_call(pauses):
    """The caller gets the response at once and decides."""
    response = a_call(policy=RetryPolicy(raise_on_status=True)).run(Script(answers(503, Retry_After="61")))

    assert response.status_code == 503
    assert story(response) == [
        (1, "status", 503, None, "not sent again: Retry-After asks for more than 60 s")
    ]
    assert pauses == []


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 500])
def test_other_statuses_are_answers(status):
    """The control: what the policy does not list is handed out, with `raise_on_status` too."""
    response = a_call(policy=RetryPolicy(raise_on_status=True)).run(Script(answers(status)))

    assert story(response) == [(1, "done", status, None, HANDED_OUT)]


@pytest.mark.parametrize("status", [202, 304, 404, 500])
def test_whatever_status_is_listed_is_repeated(status):
    """A 202 that means "not yet" can be asked again, as with urllib3's `status_forcelist`."""
    response = a_call(policy=RetryPolicy(statuses={status}, jitter=0)).run(Script(answers(status), answers()))

    assert [one.status for one in attempts_of(response)] == [status, 200]


@pytest.mark.parametrize(("headers", "repeated"), [({"Retry_After": "1"}, True), ({}, False)])
def test_a_status_can_be_repeated_if_it_says_when(headers, repeated):
    """413 with a Retry-After, as in urllib3; without one it is an answer."""
    policy = RetryPolicy(retry_after_statuses={413}, jitter=0)
    response = a_call(policy=policy).run(Script(answers(413, **headers), answers()))

    assert response.status_code == (200 if repeated else 413)


def test_statuses_that_do_not_end_are_handed_out():
    """When the limit is reached the caller gets the last response, with the whole story."""
    response = a_call(policy=RetryPolicy(retries=1, jitter=0)).run(Script(answers(503), answers(502)))

    assert story(response) == [
        (1, "status", 503, 0.0, "sent again at once: status 503"),
        (2, "status", 502, None, "not sent again: retries=1 is used up"),
    ]
    assert response.status_code == 502


def test_statuses_that_do_not_end_are_raised_on_request():
    """`raise_on_status` makes stock's RetryError of it, with the attempts, without the query."""
    policy = RetryPolicy(retries=1, raise_on_status=True, jitter=0)
    last = answer(502)
    error = raised_by(a_call(policy=policy), Script(answers(503), lambda trace: last))

    assert type(error) is requests.exceptions.RetryError
    assert last.raw.closed
    assert "url: /path (Caused by ResponseError('too many 502 error responses'))" in str(error)
    assert [one.status for one in attempts_of(error)] == [503, 502]


def test_raise_on_status_raises_only_what_was_given_up():
    """The control: a POST's 503 was never to be repeated, so that its response is handed out."""
    policy = RetryPolicy(raise_on_status=True)
    response = a_call(prepared("POST"), policy, Column.UNSAFE).run(Script(answers(503)))

    assert response.status_code == 503


def test_a_misdirected_request_gets_a_new_connection(pauses):
    """The wire is told to take no idle connection, for that attempt; a second 421 is handed out."""
    script = Script(answers(421), answers(421))
    response = a_call(prepared("POST"), column=Column.UNSAFE).run(script)

    assert story(response) == [
        (1, "status", 421, 0.0, "sent again at once: status 421"),
        (2, "status", 421, None, "not sent again: it was misdirected on a new connection, too"),
    ]
    assert [trace.fresh for trace in script.traces] == [False, True]
    assert pauses == [0.0]


def test_after_another_failure_any_connection_will_do():
    """The control: only a misdirection asks for a new one."""
    script = Script(answers(421), fails(Stage.HANDSHAKE), answers(503), answers())
    a_call().run(script)

    assert [trace.fresh for trace in script.traces] == [False, True, False, False]


@pytest.mark.parametrize(
    ("column", "replayable"), [(Column.IDEMPOTENT, True), (Column.OPTED_IN, True), (Column.UNSAFE, False)]
)
def test_the_wire_is_told_what_it_may_do(column, replayable):
    """Whether the request may be repeated decides which connection it gets; each attempt has its trace."""
    deadline = Deadline()
    script = Script(fails(Stage.CONNECT), answers())
    a_call(column=column, deadline=deadline).run(script)
    first, second = script.traces

    assert first is not second
    assert [trace.replayable for trace in script.traces] == [replayable] * 2
    assert [trace.deadline for trace in script.traces] == [deadline] * 2


def test_an_empty_quota_ends_the_call():
    """The load that repetitions add is bounded: without tokens the failure is the caller's."""
    quota = Quota(12)
    error = raised_by(a_call(quota=quota), Script(*[fails(Stage.HANDSHAKE)] * 3))

    assert [one.decision for one in attempts_of(error)] == [
        "sent again at once: " + EARLY.format("handshake"),
        "sent again after 0.500 s: " + EARLY.format("handshake"),
        "not sent again: the retry quota of its origin is empty",
    ]
    assert quota.tokens == 2


def test_success_pays_back():
    """A call that succeeds gives back all that it has drawn, one without repetitions a token."""
    quota = Quota()
    a_call(quota=quota).run(Script(fails(Stage.HANDSHAKE), fails(Stage.HANDSHAKE), answers()))
    after_retries = quota.tokens
    quota.take(7)
    a_call(quota=quota).run(Script(answers()))

    assert (after_retries, quota.tokens) == (500, 494)


def test_failure_pays_nothing_back():
    """The control: tokens that brought no answer are gone; the last response, if bad, is none."""
    quota = Quota()
    policy = RetryPolicy(retries=1, jitter=0)
    raised_by(a_call(policy=policy, quota=quota), Script(*[fails(Stage.HANDSHAKE)] * 2))
    a_call(policy=policy, quota=quota).run(Script(answers(503), answers(503)))

    assert quota.tokens == 490


def test_a_time_out_costs_twice():
    """It draws ten tokens and gives them back when the repetition succeeds."""
    quota, seen = Quota(), []

    def step(trace):
        seen.append(quota.tokens)
        return answers()(trace)

    slow = fails(Stage.REQUEST, TimeoutError("timed out"))
    a_call(quota=quota).run(Script(slow, step))

    assert (seen, quota.tokens) == ([490], 500)


@pytest.fixture
def clock():
    """Return a clock that shows 100 s until a test moves it."""
    return Clock(100.0)


def test_a_call_without_time_is_not_begun(clock):
    """Nothing is sent, and there is no attempt to tell of."""
    deadline = Deadline(2.0, clock)
    clock.now = 102.0
    request = prepared()
    error = raised_by(a_call(request, deadline=deadline), Script())

    assert type(error) is DeadlineExceeded
    assert str(error).startswith(
        "The deadline was over 2.000 s after the call had begun: GET an unnamed origin/"
    )
    assert str(error).endswith(" had not begun.")
    assert (error.request, error.__cause__, attempts_of(error)) == (request, None, ())


def test_a_call_with_time_is_begun(clock):
    """The control: a moment before its end, it is sent."""
    deadline = Deadline(2.0, clock)
    clock.now = 101.9

    assert a_call(deadline=deadline).run(Script(answers())).status_code == 200


def test_a_failure_at_the_deadline_is_the_deadlines(clock):
    """What failed furthest is the cause, and the attempts are told."""
    failure = requests.ConnectionError("reset")
    failing = fails(Stage.BODY, raised=failure)

    def late(trace):
        clock.now = 103.0
        failing(trace)

    error = raised_by(a_call(deadline=Deadline(2.0, clock)), Script(late))

    assert type(error) is DeadlineExceeded
    assert error.__cause__ is failure
    assert [one.decision for one in attempts_of(error)] == [
        "not sent again: 0.000 s of waiting, and the deadline leaves 0.000 s"
    ]


def test_a_pause_that_ends_after_the_deadline_is_not_begun(clock, pauses):
    """The failure itself is raised while there is time left to see it."""
    failure = requests.ConnectionError("reset")
    steps = [fails(Stage.HANDSHAKE), fails(Stage.HANDSHAKE, raised=failure)]
    error = raised_by(a_call(deadline=Deadline(0.4, clock)), Script(*steps))

    assert error is failure
    assert attempts_of(error)[-1].decision == (
        "not sent again: 0.500 s of waiting, and the deadline leaves 0.400 s"
    )
    assert pauses == [0.0]


def test_a_deadline_that_passes_while_waiting_ends_the_call(clock, monkeypatch):
    """The next attempt is not begun; the one that failed is the cause and is told."""
    failure = requests.ConnectionError("reset")

    def oversleep(seconds):
        clock.now += 10

    monkeypatch.setattr("resilient_transport.call.loop.sleep", oversleep)
    error = raised_by(
        a_call(deadline=Deadline(2.0, clock)), Script(fails(Stage.BODY, raised=failure), answers())
    )

    assert type(error) is DeadlineExceeded
    assert error.__cause__ is failure
    assert [one.number for one in attempts_of(error)] == [1]


def test_a_response_at_the_deadline_is_handed_out(clock):
    """What has come is not thrown away, even if it would have been repeated."""

    def late(trace):
        clock.now = 103.0
        return answers(503)(trace)

    response = a_call(deadline=Deadline(2.0, clock)).run(Script(late))

    assert response.status_code == 503


def chunks():
    """Yield a body that can be sent once."""
    yield b"once"


@pytest.mark.parametrize("column", [Column.IDEMPOTENT, Column.OPTED_IN])
@pytest.mark.parametrize("step", [fails(Stage.REQUEST), fails(Stage.BODY), answers(503), answers(421)])
def test_a_body_that_is_gone_is_not_sent_again(column, step):
    """Whoever asks for it, and whatever came in answer: it would be sent empty."""
    call, script = a_call(prepared("PUT", data=chunks()), column=column), Script(step, answers())
    decisions = []
    try:
        decisions = attempts_of(call.run(script))
    except requests.ConnectionError as error:
        decisions = attempts_of(error)

    assert [one.decision for one in decisions] == [
        "not sent again: its body was touched and cannot be rewound (give bytes, a file or spool_bytes)"
    ]


def test_a_body_that_was_not_touched_is_sent_again():
    """The control: before the first byte of the request has left, a generator is whole."""
    body = chunks()
    call = a_call(prepared("POST", data=body), column=Column.UNSAFE)
    response = call.run(Script(fails(Stage.CONFIRM), answers()))

    assert response.status_code == 200
    assert list(body) == [b"once"]


def test_a_file_is_rewound_to_where_it_was():
    """Each attempt sends the same bytes: from where the caller had left the file, not from its start."""
    file = io.BytesIO(b"0123456789")
    file.seek(4)
    sent = []

    def sends(step):
        def sending(trace):
            trace.mark(Stage.REQUEST)
            sent.append(file.read())
            return step(trace)

        return sending

    call = a_call(prepared("PUT", data=file))
    call.run(Script(*[sends(fails(Stage.REQUEST))] * 2, sends(answers())))

    assert sent == [b"456789"] * 3


def test_a_file_is_rewound_after_a_status():
    """A busy server may have read it all."""
    file = io.BytesIO(b"0123456789")

    def step(trace):
        file.read()
        return answers(503)(trace)

    a_call(prepared("PUT", data=file)).run(Script(step, answers()))

    assert file.tell() == 0


def test_a_file_that_was_closed_meanwhile_is_not_sent_again():
    """Its bytes are out of reach, and the failure is the caller's."""
    file = io.BytesIO(b"0123456789")

    def step(trace):
        file.close()
        fails(Stage.REQUEST)(trace)

    error = raised_by(a_call(prepared("PUT", data=file)), Script(step, answers()))

    assert [one.decision for one in attempts_of(error)] == [
        "not sent again: its body cannot be rewound any more"
    ]


def test_the_history_goes_on_in_the_response():
    """Who reads `raw.retries.history` finds each failure and each status, without the query."""
    met = reset()

    def step(trace):
        try:
            raise ProtocolError("Connection aborted.", met)
        except ProtocolError as error:
            fails(Stage.HANDSHAKE, met, requests.ConnectionError(error))(trace)

    entries = a_call().run(Script(step, answers(503), answers())).raw.retries.history

    assert [(one.method, one.url, one.status) for one in entries] == [
        ("GET", "/path", None),
        ("GET", "/path", 503),
    ]
    assert isinstance(entries[0].error, ProtocolError)
    assert entries[0].error.args == ("Connection aborted.", met)
    assert entries[0].error.__traceback__ is None
    assert entries[1].error is None


def test_a_response_without_urllib3s_has_no_history():
    """Test doubles put other things into `raw`: those stay as they are."""

    def step(trace):
        response = answer()
        response.raw = io.BytesIO(b"abc")
        return response

    response = a_call().run(Script(fails(Stage.HANDSHAKE), step))

    assert not hasattr(response.raw, "retries")
    assert len(attempts_of(response)) == 2


def test_what_is_raised_holds_no_query():
    """Not in the message, not in its chain, not in the attempts."""

    def step(trace):
        trace.mark(Stage.CONNECT)
        met = NewConnectionError(None, "refused")
        trace.fail(met)
        raise requests.ConnectionError(MaxRetryError(None, "/path?token=8f14e45f", met))

    error = raised_by(a_call(policy=RetryPolicy(retries=0)), Script(step))

    assert "Max retries exceeded with url: /path (Caused by" in str(error)
    assert "8f14e45f" not in f"{error} {error!r} {attempts_of(error)} {error.__notes__}"


def test_the_deadlines_cause_holds_no_query(clock):
    """What is told as its cause is redacted, too."""

    def step(trace):
        clock.now = 103.0
        met = ReadTimeoutError(None, "/path?token=8f14e45f", "Read timed out.")
        trace.mark(Stage.REQUEST)
        trace.fail(met)
        raise requests.exceptions.ReadTimeout(met)

    error = raised_by(a_call(deadline=Deadline(2.0, clock)), Script(step))

    assert error.__cause__.args[0].url == "/path"


def test_the_loop_tells_its_logger(caplog):
    """Each failed attempt at DEBUG, giving up at WARNING, with the request, its call and its thread."""
    policy = RetryPolicy(retries=1, jitter=0)
    with caplog.at_level(logging.DEBUG, "resilient_transport"):
        call = a_call(policy=policy, origin="https://api.example:8443")
        error = raised_by(call, Script(*[fails(Stage.BODY)] * 2))
    first, second = attempts_of(error)

    number = caplog.records[0].rt_call
    request = f"GET https://api.example:8443/path (call {number}, MainThread)"

    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("DEBUG", f"{request}: {first}"),
        ("DEBUG", f"{request}: {second}"),
        ("WARNING", f"{request} gave up: {second}"),
    ]


def test_success_is_not_logged(caplog):
    """The control: an answer that was handed out at once is no news."""
    with caplog.at_level(logging.DEBUG, "resilient_transport"):
        a_call().run(Script(answers()))

    assert caplog.records == []


def test_times_are_told_in_seconds_from_the_start():
    """Each attempt says when it began and how long it took, on the deadline's clock."""
    response = a_call().run(Script(fails(Stage.HANDSHAKE), answers()))
    first, second = attempts_of(response)

    assert 0 <= first.started <= second.started < LONG_TIMEOUT
    assert first.started + first.seconds <= second.started + second.seconds
    assert isinstance(attempts_of(response), Attempts)


def test_what_a_connection_was_is_told():
    """Reused or resumed, and how long it took to make."""

    def step(trace):
        trace.tls_resumed = True
        trace.connected = trace.began + 0.25
        return answers()(trace)

    (attempt,) = attempts_of(a_call().run(Script(step)))

    assert (attempt.reused, attempt.tls_resumed, attempt.connecting) == (False, True, 0.25)


def test_a_call_is_known_to_gates_from_attempt_to_attempt():
    """Who needs it first makes it, and what it has met is known to the next attempt; most never need it."""
    callers = []

    def choke(trace):
        callers.append(trace.caller)
        trace.choked()
        callers.append(trace.caller)
        return fails(Stage.HANDSHAKE)(trace)

    def answered(trace):
        callers.append(trace.caller)
        return answers()(trace)

    a_call().run(Script(choke, choke, answered))
    a_call().run(Script(answered))
    before, made, *later, none = callers

    assert (before, none, made.chokes) == (None, None, 2)
    assert later == [made] * 3


def test_of_very_many_attempts_the_first_and_the_last_are_told():
    """As a body of gigabytes may take; the latest can still be written anew."""
    record = Record(a_plan())
    for _ in range(300):
        trace = record.trace()
        record.write_down(trace, None, "goes on")
    record.write_down(trace, None, "is over")

    assert [one.number for one in record.attempts] == [*range(1, 51), *range(251, 301)]
    assert record.attempts[-1].decision == "is over"
    assert "\n... 200 attempts more ...\n" in str(Attempts(record.attempts))
