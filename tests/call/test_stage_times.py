"""When each stage of an attempt began, and when a body that is read later has ended: for who listens."""

import gc
import json
import pickle

import pytest
import requests

from resilient_transport import RetryPolicy, attempts_of, events, registry
from resilient_transport.body.streamed import Followed, Streamed
from resilient_transport.connection.trace import TimedTrace, Trace
from resilient_transport.events import AttemptFailed, AttemptSucceeded, BodyEnded, CallEnded, GaveUp
from resilient_transport.retry.stages import Stage
from resilient_transport.testing import Fault, FaultServer, Moment, Rule, Script
from tests.end_to_end.hearing import Heard

FAST = {"backoff": 0.001, "backoff_max": 0.001}
CUT = Script((Rule(Fault(Moment.BODY, after_bytes=1000), first=1),))
ALWAYS_CUT = Script((Rule(Fault(Moment.BODY, after_bytes=1000)),))


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong, and no connection."""
    server.play(Script())
    registry.clear()


@pytest.fixture
def heard():
    """What a hook of the test's own hears."""
    return Heard()


def stages(attempt):
    """The names of an attempt's stages; they begin one after the other, within the attempt."""
    moments = [began for _, began in attempt.stages]
    assert moments == sorted(moments)
    assert all(0 <= moment <= attempt.seconds for moment in moments)
    return [stage for stage, _ in attempt.stages]


def test_stages_of_a_new_connection_and_of_a_reused_one(server, dial, heard):
    """What was not passed through is not there."""
    session = dial(server, on_event=heard)
    new, reused = (attempts_of(session.get(server.url))[0] for _ in range(2))

    # Where handshakes have failed a moment ago, the next one is confirmed before the request leaves.
    passed = [stage for stage in stages(new) if stage != "confirm"]
    assert passed == ["queue", "resolve", "connect", "handshake", "request", "body"]
    assert stages(reused) == ["queue", "request", "body"]
    assert new.stages[0][1] == 0.0
    assert [event.attempt for event in heard.of(AttemptSucceeded)] == [new, reused]


def test_where_nobody_listens_there_are_none(server, dial):
    """The control: nothing is kept that nobody has asked for."""
    (attempt,) = attempts_of(dial(server).get(server.url))

    assert attempt.stages == ()


def test_a_tunnel_is_a_stage(server, authority, dial, heard):
    """What a proxy takes is told apart from what the server takes; the warmed attempt waits for proof."""
    with FaultServer(authority=authority, tls=False) as proxy:
        session = dial(server, on_event=heard)
        session.proxies = {"https": proxy.url}
        session.get_adapter(server.url).warm(server.url, session=session)
    (warmed,) = (event.attempt for event in heard.of(AttemptSucceeded))

    assert stages(warmed) == ["queue", "resolve", "connect", "tunnel", "handshake", "confirm"]


def test_a_failure_keeps_its_stages(server, dial, heard):
    """The last of them is the one in which it failed, and the repetition has its own."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),)))
    failed, good = attempts_of(dial(server, on_event=heard, policy=RetryPolicy(**FAST)).get(server.url))

    assert stages(failed) == ["queue", "resolve", "connect", "handshake"]
    assert stages(good)[-1] == "body"
    assert [event.attempt for event in heard.of(AttemptFailed)] == [failed]


def test_stages_travel(server, dial, heard):
    """In a pickle, and in types that JSON has; whole and in an event."""
    (attempt,) = attempts_of(dial(server, on_event=heard).get(server.url))
    told = json.loads(json.dumps(heard.of(AttemptSucceeded)[0].as_dict()))["attempt"]

    assert pickle.loads(pickle.dumps(attempt)) == attempt
    assert told["stages"] == [list(pair) for pair in attempt.stages] == attempt.as_dict()["stages"]


def test_a_stage_begins_when_it_is_marked_first():
    """Marked again it goes on; what takes no time is none."""
    trace, plain = TimedTrace(), Trace()
    for stage in (Stage.REQUEST, Stage.BODY, Stage.BODY, Stage.STATUS, Stage.BODY, Stage.DONE):
        trace.mark(stage)
        plain.mark(stage)

    assert [stage for stage, _ in trace.stages] == ["queue", "request", "body"]
    assert plain.stages == ()
    assert trace.stage is plain.stage is Stage.DONE


def read(response):
    """Read all as most do."""
    return response.content


def read_in_pieces(response):
    """Read piece by piece."""
    return b"".join(response.iter_content(100))


def read_raw(response):
    """Read what urllib3 has, until there is no more."""
    return b"".join(iter(lambda: response.raw.read(100), b""))


def read_as_it_comes(response):
    """Read what has come, until there is no more."""
    if not hasattr(response.raw, "read1"):
        return response.raw.read()
    return b"".join(iter(lambda: response.raw.read1(100), b""))


@pytest.mark.parametrize("path", ["/bytes/5000", "/chunked/5000", "/until-close/5000"])
@pytest.mark.parametrize("reader", [read, read_in_pieces, read_raw, read_as_it_comes])
def test_the_end_of_a_stream_is_told(server, dial, heard, reader, path):
    """Once, after its last byte, with all that came by then; the call has ended before."""
    with dial(server, on_event=heard).get(server.url + path, stream=True) as response:
        before = list(heard)
        body = reader(response)
        after = heard.of(BodyEnded)
    (end,) = heard.of(BodyEnded)

    assert len(body) == 5000
    assert isinstance(before[-1], CallEnded)
    assert after == [end] == heard[len(before) :]
    assert (end.whole, end.attempt.bytes_in >= 5000, end.attempt.status) == (True, True, 200)
    assert end.attempt.seconds > heard.of(AttemptSucceeded)[0].attempt.seconds
    assert stages(end.attempt)[-1] == "body"
    assert "the body of attempt 1 has ended" in str(end)


@pytest.mark.parametrize("leave", ["close", "with", "raw.close"])
def test_a_stream_that_is_closed_is_left(server, dial, heard, leave):
    """Of the body came what came; whoever closes it, and however often, it is told once."""
    response = dial(server, on_event=heard).get(server.url + "/bytes/500000", stream=True)
    response.raw.read(10)
    if leave == "with":
        with response:
            pass
    (response.raw if leave == "raw.close" else response).close()
    response.close()
    (end,) = heard.of(BodyEnded)

    assert (end.whole, end.attempt.error) == (False, None)
    assert 10 <= end.attempt.bytes_in < 500000
    assert "is left" in str(end)


def test_a_stream_that_goes_on_tells_of_the_attempt_that_ended_it(server, dial, heard):
    """The second has brought the rest."""
    server.play(CUT)
    session = dial(server, on_event=heard, policy=RetryPolicy(**FAST))
    body = session.get(server.url + "/bytes/5000", stream=True).content
    (end,) = heard.of(BodyEnded)

    assert len(body) == 5000
    assert (end.whole, end.attempt.number, end.attempt.bytes_in) == (True, 2, 4000)
    assert heard[-1] is end


def test_a_stream_that_is_repeated_is_nobodys(server, dial, heard):
    """A response is read or closed before the call is made again: only the one that is handed out is told."""
    session = dial(server, on_event=heard, policy=RetryPolicy(**FAST))
    with session.get(server.url + "/status/503?times=2&id=repeated", stream=True) as response:
        assert heard.of(BodyEnded) == []
        assert response.raw.read(3)
    (end,) = heard.of(BodyEnded)

    assert (end.attempt.number, end.attempt.status) == (3, 200)


def test_a_stream_that_breaks_off_tells_so_last(server, dial, heard):
    """After its call has given up, with the attempt that has failed."""
    server.play(ALWAYS_CUT)
    session = dial(server, on_event=heard, policy=RetryPolicy(retries=0, **FAST))
    response = session.get(server.url + "/bytes/5000", stream=True)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        response.content  # noqa: B018 - reading it is the point
    response.close()

    assert [type(event) for event in heard[-3:]] == [AttemptFailed, GaveUp, BodyEnded]
    assert not heard[-1].whole
    assert heard[-1].attempt == heard[-2].attempt
    assert heard[-1].attempt.error is not None


def test_a_body_that_is_read_after_a_hook_has_ended_then(server, dial, heard):
    """Somebody has looked at its head first: whole, and whatever had to be done for it."""
    server.play(CUT)
    look = {"response": lambda response, **_: None}
    session = dial(server, on_event=heard, policy=RetryPolicy(**FAST))
    body = session.get(server.url + "/bytes/5000", hooks=look).content
    (end,) = heard.of(BodyEnded)

    assert len(body) == 5000
    assert (end.whole, end.attempt.number) == (True, 2)


def test_such_a_body_may_break_off(server, dial, heard):
    """Then that is told."""
    server.play(ALWAYS_CUT)
    look = {"response": lambda response, **_: None}
    session = dial(server, on_event=heard, policy=RetryPolicy(retries=0, **FAST))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(server.url + "/bytes/5000", hooks=look)

    assert [event.whole for event in heard.of(BodyEnded)] == [False]


def test_a_stream_that_is_forgotten_tells_nothing(server, dial, heard):
    """A finaliser runs in the middle of anything: it gives the connection back, and calls no hook."""
    response = dial(server, on_event=heard).get(server.url + "/bytes/500000", stream=True)
    before = list(heard)
    del response
    gc.collect()

    assert heard == before
    assert heard.of(BodyEnded) == []


def test_a_stream_to_which_nobody_listens_is_not_followed(server, dial, heard):
    """The control: the class that tells is not even in the way."""
    with dial(server).get(server.url + "/bytes/50", stream=True) as quiet:
        pass
    with dial(server, on_event=heard).get(server.url + "/bytes/50", stream=True) as loud:
        pass

    assert (type(quiet.raw), type(loud.raw)) == (Streamed, Followed)


@pytest.mark.parametrize("leave", [False, True])
def test_an_interrupt_in_that_hook_reaches_the_reader(server, dial, leave):
    """And the connection is back."""

    def hook(event):
        if isinstance(event, BodyEnded):
            raise KeyboardInterrupt

    response = dial(server, on_event=hook).get(server.url + "/bytes/5000", stream=True)
    with pytest.raises(KeyboardInterrupt):
        response.close() if leave else response.content

    assert response.raw._connection is None


def test_who_subscribes_later_hears_nothing_of_it(server, dial, heard):
    """Its call had begun before."""
    response = dial(server).get(server.url + "/bytes/50", stream=True)
    with events.subscribed(heard):
        assert len(response.content) == 50

    assert heard == []
