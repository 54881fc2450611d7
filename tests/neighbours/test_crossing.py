"""Sessions, adapters, responses and errors cross to workers of dask and back."""

import traceback

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import (
    Breaker,
    CircuitOpen,
    ClientCertificateRejected,
    DeadlineExceeded,
    EndpointDisabled,
    ResilientAdapter,
    RetryPolicy,
    attempts_of,
    install,
    mount,
    uninstall,
)
from resilient_transport.dask import InstallAdapter
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.neighbours.cluster import SECRET, Site, called, cluster_of, same

pytestmark = pytest.mark.slow

ONCE = {"retries": 1, "backoff": 0}
RESET = Fault(Moment.EXECUTED)
#: What the server does, what the policy says, how many calls the task makes; and what comes of it.
FAILURES = {
    "reset": (RESET, {}, 1, requests.ConnectionError, 2),
    "cut": (Fault(Moment.BODY, after_bytes=3), {}, 1, requests.exceptions.ChunkedEncodingError, 2),
    "refused": (Fault(Moment.HANDSHAKE, How.ALERT, seconds=0), {}, 1, ClientCertificateRejected, 1),
    "late": (Fault(Moment.EXECUTED, How.STALL), {"deadline": 0.3}, 1, DeadlineExceeded, 1),
    "open": (RESET, {"breaker": Breaker(failures=1, cool_down=60)}, 3, CircuitOpen, 0),
    "disabled": (RESET, {}, 1, EndpointDisabled, 0),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Return the client of a worker in a process of its own."""
    with cluster_of(1, tmp_path_factory.mktemp("dask")) as client:
        yield client


@pytest.fixture
def site(server):
    """Return what a task has to know of the server."""
    server.play(Script())
    server.reset_peers()
    return Site.of(server)


@pytest.fixture(params=["installed", "mounted"])
def session_with(request, client, site):
    """Return a function that makes a session with settings, or None: a worker makes one under `install`."""
    if request.param == "mounted":

        def session(**settings):
            session = site.session()
            mount(session, **settings)
            return session
    else:

        def session(**settings):
            client.register_plugin(InstallAdapter(**settings))

    yield session
    if request.param == "installed":
        client.unregister_worker_plugin(InstallAdapter.name)


@pytest.mark.parametrize("name", FAILURES)
def test_errors_cross(client, server, site, session_with, name):
    """With their attempts, their own values and where they come from; header and query stay behind."""
    fault, settings, calls, kind, attempts = FAILURES[name]
    disabled = [site.url] if name == "disabled" else []
    server.play(Script((Rule(fault, on_request=1 if fault.at is Moment.HANDSHAKE else None),)))
    session = session_with(policy=RetryPolicy(**ONCE, **settings), disable=disabled)
    with pytest.raises(kind) as caught:
        client.submit(called, site, session, calls, pure=False).result()
    error = caught.value
    again, seen = client.submit(same, error, pure=False).result()

    assert type(error) is type(again) is kind
    assert len(attempts_of(error)) == attempts
    assert attempts_of(again) == seen == attempts_of(error)
    assert "in called" in "".join(traceback.format_tb(error.__traceback__))
    assert SECRET not in repr(vars(error)) + str(error) + "".join(getattr(error, "__notes__", ()))
    assert getattr(again, "alert", None) == ("unknown_ca" if name == "refused" else None)
    assert (getattr(again, "retry_after", 0) > 0) is (name == "open")


def test_stocks_errors_hold_the_request(client, server, site):
    """The control: what stock raises on a worker comes with header and query, and without attempts."""
    server.play(Script((Rule(RESET, on_request=None),)))
    with pytest.raises(requests.ConnectionError) as caught:
        client.submit(called, site, pure=False).result()

    assert attempts_of(caught.value) == ()
    assert caught.value.request.headers["Authorization"] == SECRET


def test_sessions_and_responses_cross(client, server, site, session_with):
    """A session makes its calls over there, and comes back with what it had; a response tells how it came."""
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=3), first=1),)))
    session = session_with(policy=RetryPolicy(**ONCE, deadline=60))
    back, response = client.submit(called, site, session, pure=False).result()
    again, seen = client.submit(same, response, pure=False).result()
    here = back.get(site.url + "/words/3")

    assert {type(adapter) for adapter in back.adapters.values()} == {ResilientAdapter}
    assert back.get_adapter(site.url).policy == RetryPolicy(**ONCE, deadline=60)
    assert len(response.text.split()) == 99
    assert [attempt.error is None for attempt in attempts_of(response)] == [False, True]
    assert attempts_of(again) == seen == attempts_of(response)
    assert (here.status_code, len(attempts_of(here))) == (200, 1)


def test_a_session_of_stock_stays_stock(client, server, site):
    """Under `install`, too: a session that exists keeps what it has. One made under it takes ours along."""
    stock = site.session()
    client.register_plugin(InstallAdapter())
    install(max_retries=3)
    try:
        ours = site.session()
        backs = [client.submit(called, site, session).result()[0] for session in (stock, ours)]
    finally:
        uninstall()
        client.unregister_worker_plugin(InstallAdapter.name)
    kept, taken = (back.get_adapter(site.url) for back in backs)

    assert type(kept) is HTTPAdapter
    assert (type(taken), taken.policy.retries) == (ResilientAdapter, 3)
