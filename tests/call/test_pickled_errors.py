"""Exceptions of requests' own, as this transport raises them: what goes into their pickle, and what not."""

import copy
import gc
import pickle
import socket
import weakref

import pytest
import requests

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, exceptions
from tests.end_to_end.slow_peers import Stalling
from tests.end_to_end.verbatim_server import FIN, RST, Answer, VerbatimServer, told
from tests.timeouts import SHORT_TIMEOUT

HEADER, QUERY, BODY = "Bearer 8f14e45fceea167a", "c9f0f895fb98ab91", "45c48cce2e2d7fbd"
SECRETS = [secret.encode() for secret in (HEADER, QUERY, BODY)]
#: Who fails a request, and what requests calls that.
FAILURES = {
    "reset": (lambda: VerbatimServer(lambda _: Answer(b"", RST)), requests.ConnectionError),
    "closed": (lambda: VerbatimServer(lambda _: Answer(b"", FIN)), requests.ConnectionError),
    "silent": (Stalling, exceptions.ReadTimeout),
    "cut": (lambda: VerbatimServer(lambda _: CUT), requests.exceptions.ChunkedEncodingError),
    "refused": (lambda: Nobody(), requests.ConnectionError),
}
#: Where requests knows of one.
WITH_REQUEST = [name for name in FAILURES if name != "cut"]
CUT = Answer(told("200 OK", b"x", Content_Length="9"), FIN)


class Nobody:
    """A port where nobody listens."""

    def __enter__(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        return self

    def __exit__(self, *_):
        """There was nothing."""


def raised(url, adapter):
    """Return what a call with secrets in its header, query and body ends in."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        try:
            session.post(
                f"{url}?token={QUERY}",
                data=BODY,
                headers={"Authorization": HEADER},
                timeout=SHORT_TIMEOUT,
            )
        except requests.RequestException as error:
            return error.with_traceback(None)
    raise AssertionError("it was answered")


def failed(name, adapter=None):
    """Let a call fail."""
    with FAILURES[name][0]() as peer:
        return raised(peer.url, adapter or ResilientAdapter(policy=RetryPolicy(retries=1, backoff=0.0)))


def same(told, error):
    """Make sure of what has to be the same in a copy."""
    # Some of urllib3's leave their pool behind when they are pickled, and so lose its name.
    args = pickle.loads(pickle.dumps(error.args))
    assert type(told) is type(error)
    assert repr(told.args) in (repr(error.args), repr(args))
    assert attempts_of(told) == attempts_of(error) != ()
    assert told.__notes__ == error.__notes__


@pytest.mark.parametrize("name", WITH_REQUEST)
def test_a_failure_has_its_request(name):
    """In memory it is as stock raises it, or derived from that: type, request and all."""
    error = failed(name)

    assert type(error) is FAILURES[name][1]
    assert error.request.headers["Authorization"] == HEADER
    assert error.request.body == BODY


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", FAILURES)
def test_its_pickle_holds_no_secret(name, protocol):
    """Header, query and body stay behind; type, message and attempts arrive."""
    error = failed(name)
    data = pickle.dumps(error, protocol)
    there = pickle.loads(data)

    assert [secret for secret in SECRETS if secret in data] == []
    assert (there.request, there.response) == (None, None)
    same(there, error)


def test_a_pickle_of_stocks_holds_them():
    """The control: the same failure of the stock adapter is found in the bytes with header and body."""
    data = pickle.dumps(failed("reset", requests.adapters.HTTPAdapter()))

    assert [secret in data for secret in SECRETS] == [True] * 3


def test_it_can_be_pickled_further():
    """What was unpickled, or copied, can be sent on."""
    error = failed("reset")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        there = pickle.loads(pickle.dumps(again))
        same(there, error)
        assert there.request is None


@pytest.mark.parametrize("name", FAILURES)
def test_it_can_be_copied(name):
    """`copy` goes the way of pickle, and leaves the original as it was."""
    error = failed(name)
    request, copied = error.request, copy.copy(error)

    assert error.request is request
    same(copied, error)


def outlives_itself(name, adapter):
    """Whether the exception of a call waits for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        held = weakref.ref(failed(name, adapter))
        return held() is not None
    finally:
        gc.enable()


@pytest.mark.parametrize("name", WITH_REQUEST)
def test_it_goes_with_its_last_reference(name):
    """The exception of a call that failed is in no cycle."""
    assert not outlives_itself(name, None)


@pytest.mark.parametrize("name", WITH_REQUEST)
def test_stocks_goes_with_its_last_reference(name):
    """The control: that of the stock adapter is in none."""
    assert not outlives_itself(name, requests.adapters.HTTPAdapter())
