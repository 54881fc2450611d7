"""A call leaves nothing for the cyclic collector: with the collector off, memory does not grow."""

import gc
from contextlib import suppress
from dataclasses import replace
from functools import partial
from traceback import walk_tb
from types import FrameType

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.response import HTTPResponse

from resilient_transport import RetryPolicy, registry
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

pytestmark = pytest.mark.slow

#: How many calls are made before anything is counted, and while it is counted.
BEFORE, CALLS = 2, 4
#: Repeats at once, so that a call that fails is over soon.
AT_ONCE = RetryPolicy(connect_retries=2, retries=2, backoff=0.0, jitter=0.0)


def whole(session, method, url, **values):
    """Make a call, whose body is read before it returns."""
    session.request(method, url, timeout=LONG_TIMEOUT, **values).content  # noqa: B018


def streamed(session, method, url, **values):
    """Make a call, and read its body piece by piece."""
    with session.request(method, url, stream=True, timeout=LONG_TIMEOUT, **values) as response:
        for _ in response.iter_content(500):
            pass


def left_unread(session, method, url):
    """Make a call, and close its response."""
    session.request(method, url, stream=True).close()


def looked_at(session, method, url):
    """Make a call with a hook, so that its body is read when it is asked for."""
    session.request(method, url, hooks={"response": lambda response, **_: None}).content  # noqa: B018


WAYS = {"whole": whole, "streamed": streamed, "left unread": left_unread, "looked at": looked_at}

FAILURES = {
    "handshake": Script((Rule(Fault(Moment.CLIENT_HELLO)),)),
    "confirmation": Script((Rule(Fault(Moment.HANDSHAKE)),)),
    "request": Script((Rule(Fault(Moment.EXECUTED), on_request=None),)),
    "head": Script((Rule(Fault(Moment.HEAD), on_request=None),)),
    "body": Script((Rule(Fault(Moment.BODY, How.RST), on_request=None),)),
    "certificate": Script((Rule(Fault(Moment.HANDSHAKE, How.ALERT, seconds=0)),)),
}
#: The first of two connections fails.
SURVIVED = {
    "handshake": Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),)),
    "request": Script((Rule(Fault(Moment.EXECUTED), first=1, on_request=None),)),
    "body": Script((Rule(Fault(Moment.BODY, after_bytes=800), first=1, on_request=None),)),
}


def garbage(call, times=CALLS):
    """Return how many objects a call leaves that only the cyclic collector finds."""
    for _ in range(BEFORE):
        call()
    gc.collect()
    gc.disable()
    try:
        for _ in range(times):
            call()
        return gc.collect() / times
    finally:
        gc.enable()


@pytest.fixture
def sessions(dial, server):
    """Return a session with this transport and one with stock, the control."""
    server.play(Script())
    return dial(server, policy=AT_ONCE), dial(server, HTTPAdapter())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/bytes/2000", "/chunked/2000", "/gzip/2000", "/bytes/0", "/status/404"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_success(server, sessions, way, path, method):
    """Whatever is asked for, and however its body is read."""
    ours, _ = sessions

    assert garbage(partial(WAYS[way], ours, method, server.url + path)) == 0


@pytest.mark.parametrize("way", WAYS)
def test_redirects(server, sessions, way):
    """Each hop is a call of its own."""
    ours, _ = sessions

    assert garbage(partial(WAYS[way], ours, "GET", server.url + "/redirect/3")) == 0


def clear_frames_of_urllib3(error):
    """Forget the local variables in those frames of the tracebacks of an error that are urllib3's."""
    while error is not None:
        for frame, _ in walk_tb(error.__traceback__):
            if "urllib3" in frame.f_code.co_filename or frame.f_code.co_filename.endswith("contextlib.py"):
                frame.clear()
        error = error.__cause__ or error.__context__


@pytest.fixture
def tidy_urllib3(monkeypatch):
    """Let no frame of urllib3 hold an error whose traceback holds that frame; stock leaves such rings."""

    def tidied(function):
        def tidy(*args, **kwargs):
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                clear_frames_of_urllib3(error)
                raise

        return tidy

    for owner, name in ((HTTPConnectionPool, "urlopen"), (HTTPResponse, "_raw_read")):
        monkeypatch.setattr(owner, name, tidied(getattr(owner, name)))


def fails(session, way, method, url):
    """Make a call that fails, or one of stock that is answered with half a head."""
    with suppress(requests.RequestException):
        WAYS[way](session, method, url)


@pytest.mark.usefixtures("tidy_urllib3")
@pytest.mark.parametrize("way", ["whole", "streamed"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("failure", FAILURES)
def test_failure(server, sessions, way, method, failure):
    """Whatever a call fails of, nothing is left of it, and of its attempts, but what urllib3 leaves."""
    ours, _ = sessions
    server.play(FAILURES[failure])
    registry.clear()

    assert garbage(partial(fails, ours, way, method, server.url + "/bytes/2000")) == 0


@pytest.mark.parametrize("policy", [AT_ONCE, RetryPolicy(retries=0)], ids=["three attempts", "one attempt"])
def test_what_urllib3_leaves(server, dial, sessions, policy):
    """The control: a ring for each call that fails, as with stock, however many attempts it had."""
    url = server.url + "/bytes/2000"
    server.play(FAILURES["handshake"])
    registry.clear()
    rings = [
        rings_of_urllib3(partial(fails, session, "whole", "GET", url))
        for session in (dial(server, policy=policy), sessions[1])
    ]

    assert rings == [CALLS, CALLS]


#: The code of urllib3's own; ours calls it.
URLOPEN = HTTPConnectionPool.urlopen.__code__


def rings_of_urllib3(call):
    """Return how many frames of urllib3's `urlopen` the collector finds after some calls."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        garbage(call)
        found = [one for one in gc.garbage if isinstance(one, FrameType) and one.f_code is URLOPEN]
        return len(found) - BEFORE
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.parametrize("way", ["whole", "streamed"])
@pytest.mark.parametrize("fault", SURVIVED)
def test_survival(server, sessions, way, fault):
    """Attempts that failed, and a body that was resumed, leave nothing when the call succeeds."""
    ours, _ = sessions
    url = server.url + "/bytes/2000"

    def survive():
        server.play(SURVIVED[fault])
        WAYS[way](ours, "GET", url, headers={"Connection": "close"})

    assert garbage(survive) == 0


@pytest.mark.usefixtures("tidy_urllib3")
@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_a_status_that_is_raised(server, dial, way):
    """Attempts that end on a status leave nothing, whether it is raised or handed out."""
    server.play(Script())
    url = server.url + "/status/503"
    for raises in (True, False):
        session = dial(server, policy=replace(AT_ONCE, raise_on_status=raises))

        assert garbage(partial(fails, session, way, "GET", url)) == 0


@pytest.mark.usefixtures("tidy_urllib3")
@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_a_deadline_that_is_over(server, dial, way):
    """Nor does a call that took too long."""
    server.play(Script((Rule(Fault(Moment.EXECUTED, How.STALL, seconds=LONG_TIMEOUT), on_request=None),)))
    registry.clear()
    session = dial(server, policy=replace(AT_ONCE, deadline=SHORT_TIMEOUT))

    assert garbage(partial(fails, session, way, "GET", server.url), times=BEFORE) == 0


@pytest.mark.parametrize("fault", SURVIVED)
def test_an_exception_that_the_caller_handles_is_left_alone(server, sessions, fault):
    """A call within an `except` block takes nothing from the exception, which may be raised again."""
    server.play(SURVIVED[fault])
    registry.clear()
    try:
        raise KeyError("the caller's")
    except KeyError as error:
        before = error.__traceback__
        whole(sessions[0], "GET", server.url + "/bytes/2000")
        afterwards = error.__traceback__

    assert afterwards is before
