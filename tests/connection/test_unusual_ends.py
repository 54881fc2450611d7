"""What is told, counted and kept secret where a call ends in an unusual way."""

import gc
import logging
import pickle
import threading
from pathlib import Path

import pytest
import requests

from resilient_transport import (
    Breaker,
    CircuitOpen,
    DeadlineExceeded,
    ResilientAdapter,
    RetryPolicy,
    events,
    mount,
    override,
    registry,
    stats,
)
from resilient_transport.retry.deadline import Deadline
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.call.test_resume import V2, part, whole
from tests.end_to_end.hearing import Heard, attempted
from tests.end_to_end.planting import HEADERS, SECRETS, of_errors
from tests.end_to_end.verbatim_server import RST, Answer, VerbatimServer, told
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

NAME = "resilient_transport"
FAST = {"backoff": 0.001, "backoff_max": 0.001}
BROKEN = Script((Rule(Fault(Moment.EXECUTED)),))
CUT = Script((Rule(Fault(Moment.BODY, after_bytes=9), first=1),))
NO = Answer(told("500 No", b"", Content_Length="0"))


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


@pytest.fixture
def heard():
    """Return a hook."""
    return Heard()


def open_session(heard=None, **policy):
    """Return a session for any server without TLS."""
    session = requests.Session()
    session.trust_env = False
    mount(session, policy=RetryPolicy(**{"backoff": 0.0, "jitter": 0.0, **policy}), on_event=heard)
    return session


def too_late(server, dial, heard):
    """Call when the deadline of the block is over."""
    with override(deadline=0), pytest.raises(DeadlineExceeded):
        dial(server, on_event=heard).get(server.url)


def circuit_open(server, dial, heard):
    """Call a server whose circuit is open."""
    session = dial(server, on_event=heard, policy=RetryPolicy(breaker=Breaker(failures=1), **FAST))
    session.get(server.url + "/status/500")
    heard.clear()
    with pytest.raises(CircuitOpen):
        session.get(server.url)


def not_the_wire(server, dial, heard):
    """Call with a certificate that is not there."""
    with pytest.raises(OSError, match="Could not find"):
        dial(server, on_event=heard).get(server.url, cert="gone.pem")


def too_long(server, dial, heard):
    """Be asked for more patience than there is."""
    dial(server, on_event=heard).get(server.url + "/status/503?retry_after=61")


def misdirected(server, dial, heard):
    """Be misdirected twice."""
    dial(server, on_event=heard).get(server.url + "/status/421")


def post_in_vain(server, dial, heard):
    """Get a status that says "not now" for a POST."""
    dial(server, on_event=heard).post(server.url + "/status/503")


GAVE_UP = [too_late, circuit_open]
#: An error that is not of the wire, and statuses that are responses like any other.
DID_NOT = [not_the_wire, too_long, misdirected, post_in_vain]


@pytest.mark.parametrize("act", [*GAVE_UP, *DID_NOT], ids=lambda act: act.__name__)
def test_what_is_a_give_up(server, dial, heard, caplog, act):
    """One GaveUp, the last of all but the end, and a warning; or neither."""
    act(server, dial, heard)
    warnings = [
        record for record in caplog.records if record.name == NAME and " gave up" in record.getMessage()
    ]
    given_up = act in GAVE_UP

    assert [type(event) is events.GaveUp for event in heard[-2:]] == [given_up, False]
    assert len(warnings) == given_up


@pytest.mark.parametrize("act", [too_late, circuit_open], ids=lambda act: act.__name__)
def test_every_call_that_was_raised_from_is_counted(server, dial, heard, act):
    """A call that ends before its first attempt has ended; the deadline that refused it is a reason."""
    act(server, dial, heard)
    found = stats()[server.url]

    assert found.calls == (2 if act is circuit_open else 1)
    assert sum(found.repetitions_not_made.values()) == 1


def test_a_circuit_that_opens_during_a_pause(heard):
    """The repetition that is not made is no repetition, and the call has given up and is counted."""
    breaker = Breaker(failures=2)

    def hook(event):
        heard(event)
        if isinstance(event, events.RetryScheduled):
            thread = threading.Thread(target=other.get, args=(server.url,))
            thread.start()
            thread.join()

    with (
        open_session(hook, backoff=SHORT_TIMEOUT, breaker=breaker) as session,
        open_session(backoff=SHORT_TIMEOUT, breaker=breaker) as other,
        VerbatimServer(lambda _: Answer(b"", RST) if len(server.heads) == 1 else NO) as server,
    ):
        with pytest.raises(requests.ConnectionError):
            session.get(server.url)
        found = stats()[server.url.rstrip("/")]

    assert len(server.heads) == 2
    assert heard.story()[-1] == "gave up in 1: ConnectionError"
    assert (found.calls, found.retries, found.repetitions_not_made) == (2, 0, {"circuit": 1})


AFTER_A_CUT = {
    "no repetitions": ([whole(cut=2)], {"retries": 0}),
    "lost again": ([whole(cut=700), Answer(b"", RST), Answer(b"", RST)], {"retries": 1}),
    "another version": ([whole(cut=700), part(700, **V2), whole()], {}),
}


@pytest.mark.parametrize("name", AFTER_A_CUT)
def test_each_attempt_fails_once(heard, name):
    """A body that is not gone on with (stream=False): each attempt's failure is told once, in order."""
    answers, policy = AFTER_A_CUT[name]
    with VerbatimServer(answers) as server, open_session(heard, **policy) as session:
        attempted(session, "GET", server.url)
    numbers = [event.attempt.number for event in heard.of(events.AttemptFailed)]

    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("path", ["/bytes/100?etag=weak", "/chunked/100?etag=none"])
def test_a_stream_that_broke_is_a_failure(server, dial, heard, path):
    """What is told as a failed attempt is counted as one, and so is why nothing was repeated."""
    server.play(CUT)
    attempted(dial(server, on_event=heard), "GET", server.url + path, stream=True)
    found = stats()[server.url]

    assert len(heard.of(events.AttemptFailed)) == 1
    assert found.failures == {"body": 1}
    assert sum(found.repetitions_not_made.values()) == 1


def test_a_hook_that_comes_late(server, dial, heard):
    """Calls that began before a hook was there have no part of their story told, or a number of their own."""
    session = dial(server)
    responses = []
    for _ in range(2):
        server.play(CUT)
        responses.append(session.get(server.url + "/bytes/100?etag=weak", stream=True))
    with events.subscribed(heard):
        for response in responses:
            with pytest.raises(requests.RequestException):
                response.content  # noqa: B018 - reading it is the point
    calls = [event.call for event in heard]

    assert len(calls) == len(set(calls))
    assert 0 not in calls


def test_a_log_handler_may_make_calls(server, dial):
    """What a handler of the log does with the same adapter is told to nobody, as what a hook does."""
    depth = []

    class Sender(logging.Handler):
        def emit(self, record):
            if len(depth) < 10:
                depth.append(record.getMessage())
                attempted(session, "GET", server.url)

    session = dial(server, max_retries=0)
    log, handler = logging.getLogger(NAME), Sender()
    server.play(BROKEN)
    log.addHandler(handler)
    log.setLevel("DEBUG")
    try:
        attempted(session, "GET", server.url)
    finally:
        log.removeHandler(handler)
        log.setLevel("NOTSET")

    assert len(depth) < 10


def test_a_line_of_plain_http_is_readable(fault_server_factory, dial, heard):
    """Where there is no TLS, the line does not say "(None)"."""
    server = fault_server_factory(tls=False)
    dial(server, on_event=heard).get(server.url)
    (connected,) = heard.of(events.HandshakeDone)

    assert "None" not in str(connected)


def test_no_pickle_of_an_error_holds_the_request(server, dial):
    """The pickle of what a call raises has no header value, query or body, whoever made its class."""
    server.play(BROKEN)
    with pytest.raises(requests.ConnectionError) as caught:
        dial(server, max_retries=0).post(
            f"{server.url}/?t={SECRETS['query']}", headers=HEADERS, data=SECRETS["body"]
        )
    pickled = pickle.dumps(caught.value)

    assert [name for name, secret in SECRETS.items() if secret.encode() in pickled] == []


@pytest.mark.parametrize("given", [list, str], ids=["list", "str"])
def test_a_refused_prefix_is_not_repeated_to_the_reader(given):
    """`disable=` refuses credentials and queries, and does not put them into its message."""
    url = f"https://user:{SECRETS['userinfo']}@localhost/?t={SECRETS['query']}"
    with pytest.raises((TypeError, ValueError)) as caught:
        ResilientAdapter(disable=[url] if given is list else url)
    said = "".join(of_errors(caught.value))

    assert (SECRETS["userinfo"] in said, SECRETS["query"] in said) == (False, False)


def test_a_refused_variable_does_not_tell_a_query(monkeypatch):
    """RESILIENT_TRANSPORT_DISABLE with a query: the message masks it, as it masks credentials."""
    monkeypatch.setenv("RESILIENT_TRANSPORT_DISABLE", f"https://localhost/?t={SECRETS['query']}")
    with pytest.raises(ValueError, match="RESILIENT_TRANSPORT_DISABLE") as caught:
        ResilientAdapter()

    assert SECRETS["query"] not in "".join(of_errors(caught.value))


def test_a_key_given_in_place_of_its_path(server, dial):
    """The note that this package adds to stock's error does not hold the key."""
    key = Path(server.authority.client[1]).read_text()
    with pytest.raises(OSError, match="Could not find") as caught:
        dial(server).get(server.url, cert=(server.authority.client[0], key))

    assert key.splitlines()[1] not in "".join(caught.value.__notes__)


def test_a_query_is_taken_out_with_every_urllib3(server, dial):
    """A failed connect to a URL with a query is no AttributeError (urllib3 2.0.2 has no `_message`)."""
    with pytest.raises(requests.ConnectionError):
        dial(server, max_retries=0).get("https://localhost:1/?t=x")


def test_a_proxy_that_cannot_be_parsed(server, dial):
    """The message of what is raised does not hold the proxy's password."""
    proxies = {"https": f"http://user:{SECRETS['proxy']}@localhost:99999"}
    with pytest.raises(requests.exceptions.InvalidURL) as caught:
        dial(server).get(server.url, proxies=proxies)

    assert SECRETS["proxy"] not in "".join(of_errors(caught.value))


def test_a_connection_given_back_after_close_and_clear(server, dial):
    """A stream outlives `Session.close()` and `registry.clear()`: what it gives back is counted or closed."""
    session = dial(server)
    response = session.get(server.url + "/bytes/100000", stream=True)
    session.close()
    registry.clear()
    response.content  # noqa: B018 - reading it gives the connection back
    patience = Deadline(LONG_TIMEOUT)
    while server.counts().open_connections and not patience.is_over():
        # The server hears of it in its own time.
        gc.collect()

    assert stats()[server.url].live == server.counts().open_connections == 0
