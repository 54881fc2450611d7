"""Hooks break nothing, hold up nobody, and may do what they like."""

import dataclasses
import gc
import logging
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from resilient_transport import Breaker, ResilientAdapter, RetryPolicy, attempts_of, events, registry, stats
from resilient_transport.call.origin_state import state_of
from resilient_transport.testing import Fault, Moment, Rule, Script
from resilient_transport.util.origin import origin_at
from tests.end_to_end.hearing import LINES, Heard
from tests.retry.values import Clock
from tests.timeouts import LONG_TIMEOUT

FAST = {"backoff": 0.001, "backoff_max": 0.001}
#: What comes about without new certificates.
IN_CALLS = [kind for kind in LINES if kind is not events.IdentityRotated]
OF_CALLS = [kind for kind in LINES if issubclass(kind, events.CallEvent)]


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong, and end it with no subscriber."""
    server.play(Script())
    yield
    assert events.subscribers() == ()


def eventful(dial, server, method, hook):
    """Make calls in which every kind of event comes about, but for a rotation; return what came of them."""
    session = dial(server, on_event=hook, policy=RetryPolicy(retries=2, **FAST))
    registry.clear()
    cut_short = Rule(Fault(Moment.BODY, after_bytes=9), skip=1, first=1)
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1), cut_short)))
    cut = session.get(server.url + "/bytes/100", stream=True).content
    server.play(Script())
    lost = session.get(server.url + "/status/503").status_code
    breaker = Breaker(failures=1, cool_down=30.0)
    state_of(origin_at(server.url)).circuit(breaker)._clock = clock = Clock(1000.0)
    session = dial(server, on_event=hook, policy=RetryPolicy(breaker=breaker, **FAST))
    session.get(server.url + "/status/500")
    clock.now += 30.0
    return len(cut), lost, session.request(method, server.url + "/echo").status_code


def raising(kind, heard):
    """Return a hook that raises at each event of a kind."""

    def hook(event):
        heard(event)
        if isinstance(event, kind):
            raise ValueError("s3cret")

    return hook


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kind", IN_CALLS)
def test_a_hook_that_raises_breaks_nothing(server, dial, caplog, kind, method):
    """Whatever the event is, the calls go as they would; the log names the hook, and not what it says."""
    quiet, loud = Heard(), Heard()
    expected = eventful(dial, server, method, quiet)
    found = eventful(dial, server, method, raising(kind, loud))

    assert found == expected == (100, 503, 200)
    assert loud.of(kind)
    assert f"{raising.__name__}.<locals>.hook has raised ValueError" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("kind", OF_CALLS)
@pytest.mark.parametrize("stream", [False, True])
def test_an_interrupt_in_a_hook_reaches_the_caller(server, dial, kind, stream):
    """KeyboardInterrupt passes through, and leaves no connection in use and nobody waiting at the gate."""

    def hook(event):
        if isinstance(event, kind):
            raise KeyboardInterrupt

    policy = RetryPolicy(retries=0 if kind is events.GaveUp else 3, **FAST)
    session = dial(server, on_event=hook, policy=policy)
    if kind is events.BodyResumed:
        server.play(Script((Rule(Fault(Moment.BODY, after_bytes=9), first=1),)))
        path = "/bytes/100"
    else:
        path = f"/status/503?times=1&id={kind.__name__}{stream}"
    with pytest.raises(KeyboardInterrupt):
        session.get(server.url + path, stream=stream).content  # noqa: B018 - reading it is the point
    gc.collect()
    figures = stats()[server.url]
    after = dial(server).get(server.url, timeout=LONG_TIMEOUT)

    assert figures.live == figures.idle
    assert after.ok


@pytest.mark.parametrize("kind", [events.AttemptStarted, events.HandshakeDone, events.AttemptFailed])
def test_a_slow_hook_holds_up_nobody_else(server, dial, kind):
    """While a hook takes its time, even in the first call to a cold server, others are served."""
    inside, leave = threading.Event(), threading.Event()

    def hook(event):
        if isinstance(event, kind):
            inside.set()
            leave.wait(LONG_TIMEOUT)

    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),)))
    slow, quick = dial(server, on_event=hook), dial(server)
    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(slow.get, server.url)
        assert inside.wait(LONG_TIMEOUT)
        answers = [quick.get(server.url, timeout=LONG_TIMEOUT).ok for _ in range(2)]
        waiting = not held.done()
        leave.set()

    assert answers == [True, True]
    assert waiting
    assert held.result().ok


def test_a_hooks_own_calls_are_told_to_nobody(server, dial):
    """A hook that calls with the same adapter hears of the first call alone, and both calls succeed."""
    heard, answers = Heard(), []

    def hook(event):
        heard(event)
        answers.append(session.get(server.url + "/words/2").status_code)

    session = dial(server, on_event=hook)
    with events.subscribed(heard):
        session.get(server.url)

    assert answers == [200] * 3
    assert len(heard.calls()) == 1
    assert Heard(heard[::2]).story() == Heard(heard[1::2]).story() == ["started 1", "succeeded 1"]


@pytest.mark.parametrize("kind", IN_CALLS)
def test_a_hook_is_called_under_no_lock(server, dial, kind):
    """Figures and `registry.clear()` work in a hook, in its thread and another, and so does `close()`."""
    found, stuck = [], []

    def look():
        found.append((repr(stats()), repr(registry)))
        registry.clear()

    def hook(event):
        if isinstance(event, kind):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join(LONG_TIMEOUT)
            stuck.append(thread.is_alive())
            look()
            for session in sessions:
                session.close()

    def counted(server, **values):
        sessions.append(dial(server, **values))
        return sessions[-1]

    sessions = []
    eventful(counted, server, "GET", hook)

    assert stuck
    assert not any(stuck)
    assert len(found) == 2 * len(stuck)


def test_subscribing_inside_a_hook(server, dial):
    """Hooks may come and go while one is called: from the next call on."""
    late = Heard()

    def first(event):
        events.unsubscribe(first)
        events.subscribe(late)

    events.subscribe(first)
    session = dial(server)
    try:
        session.get(server.url)
        heard_at_once = late.of(events.CallEvent)
        while late in events.subscribers():
            events.unsubscribe(late)
        with events.subscribed(late):
            session.get(server.url)
    finally:
        for hook in events.subscribers():
            events.unsubscribe(hook)

    assert heard_at_once == []
    assert late.story() == ["started 1", "succeeded 1"]


def test_all_hooks_hear_the_same(server, dial):
    """The adapter's own and those of the process, in this order; one that has left hears no more."""
    order = []
    session = dial(server, on_event=lambda event: order.append("own"))
    with events.subscribed(lambda event: order.append("one")) as one:
        with events.subscribed(lambda event: order.append("two")):
            session.get(server.url)
        both, order[:] = list(order), []
        session.get(server.url)
        events.unsubscribe(one)
        session.get(server.url)

    # With the end of the call, and at first with its handshake.
    assert both == ["own", "one", "two"] * 4
    assert order == ["own", "one"] * 3 + ["own"] * 3


@pytest.mark.parametrize("subscribe", [events.subscribe, lambda hook: ResilientAdapter(on_event=hook)])
def test_what_cannot_be_called_is_no_hook(subscribe):
    """It is refused where it is given."""
    with pytest.raises(TypeError, match="call"):
        subscribe(3)


def rotated(server, dial, tmp_path, monkeypatch, heard):
    """Replace the files of a session with half a pair, and then with another pair."""
    monkeypatch.setattr("resilient_transport.pool.key._LOOK_EVERY", -1.0)
    authority = server.authority
    pair = [tmp_path / "cert.pem", tmp_path / "key.pem"]

    def put(*paths):
        for target, path in zip(pair, paths, strict=True):
            with open(path, "rb") as file:
                target.with_suffix(".new").write_bytes(file.read())
            target.with_suffix(".new").replace(target)
        session.get(server.url)

    session = dial(server, on_event=heard)
    session.cert = tuple(map(str, pair))
    put(*authority.client)
    put(*authority.client)
    put(authority.other_client[0], authority.client[1])
    put(*authority.other_client)


def test_a_rotation_is_told(server, dial, tmp_path, monkeypatch):
    """Half a pair is not usable, a whole one is; the same content under a new date is no rotation."""
    heard = Heard()
    rotated(server, dial, tmp_path, monkeypatch, lambda event: (heard(event), stats(), registry.clear()))

    assert [(event.usable, event.origin) for event in heard.of(events.IdentityRotated)] == [
        (False, server.url),
        (True, server.url),
    ]


def test_a_rotation_is_one_line(server, dial, tmp_path, monkeypatch, caplog):
    """A warning that says why half a pair is not usable, and then a word; each with its event's values."""
    caplog.set_level("INFO", logger="resilient_transport")
    heard = Heard()
    rotated(server, dial, tmp_path, monkeypatch, heard)
    told = heard.of(events.IdentityRotated)
    records = caplog.records
    plain = vars(logging.makeLogRecord({})).keys()
    names = {f"rt_{field.name}" for field in dataclasses.fields(events.IdentityRotated)} | {"rt_event"}

    assert [(one.levelname, one.getMessage()) for one in records] == [
        ("WARNING", str(told[0])),
        ("INFO", str(told[1])),
    ]
    assert "cert.pem" in records[0].getMessage()
    assert [(one.rt_event, one.rt_origin) for one in records] == [("IdentityRotated", server.url)] * 2
    assert [(one.rt_usable, one.rt_why) for one in records] == [(False, told[0].why), (True, None)]
    assert all(
        {name for name in vars(one).keys() - plain if name.startswith("rt_")} == names for one in records
    )


def test_events_are_values(server, dial, tmp_path, monkeypatch):
    """Each kind is frozen, equal to its like, hashable, picklable, and tells itself in a line."""
    heard = Heard()
    eventful(dial, server, "GET", heard)
    rotated(server, dial, tmp_path, monkeypatch, heard)
    for event in heard:
        copy = pickle.loads(pickle.dumps(event))
        assert (copy, hash(copy), type(copy)) == (event, hash(event), type(event))
        assert "\n" not in str(event)
        assert event.origin in str(event)
        with pytest.raises(dataclasses.FrozenInstanceError):
            event.origin = "x"
    other = dataclasses.replace(heard[0], origin="x")

    assert {type(event) for event in heard} == {*LINES, events.BodyEnded, events.CallEnded}
    assert other != heard[0]


def test_a_response_tells_what_its_last_event_tells(server, dial):
    """The attempt in an event is the one in `attempts_of`."""
    heard = Heard()
    response = dial(server, on_event=heard).get(server.url)
    (done,) = heard.of(events.AttemptSucceeded)

    assert attempts_of(response) == (done.attempt,)
    assert requests.codes.ok == done.attempt.status
