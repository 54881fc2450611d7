"""sentry-sdk: it patches `http.client`, so that each attempt is a span and a breadcrumb of its own."""

import http.client

import pytest
import requests
import sentry_sdk
from sentry_sdk.transport import Transport

from resilient_transport import attempts_of
from resilient_transport.connection.shipped import is_as_shipped
from resilient_transport.testing import Fault, Moment, Rule, Script

#: What it patches for as long as the process lives; it is put back here, for the sake of other tools' tests.
PATCHED = {
    http.client.HTTPConnection: ("putrequest", "putheader", "endheaders", "getresponse"),
    http.client.HTTPResponse: ("read", "close"),
}


class Collecting(Transport):
    """Keeps what would be sent."""

    def __init__(self, options=None):
        super().__init__(options)
        self.sent = []

    def capture_envelope(self, envelope):
        """Keep it."""
        self.sent += [item.payload.json for item in envelope.items]


@pytest.fixture(scope="module")
def transport():
    """Initialise sentry, which patches once in the life of a process; return what gets all that it tells."""
    transport = Collecting()
    with pytest.MonkeyPatch.context() as patch:
        for kind, names in PATCHED.items():
            for name in names:
                patch.setattr(kind, name, getattr(kind, name))
        sentry_sdk.init(
            "http://key@localhost/1",
            transport=transport,
            traces_sample_rate=1.0,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
        )
        yield transport
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture
def told(transport):
    """What is told from now on."""
    sentry_sdk.get_isolation_scope().clear_breadcrumbs()
    transport.sent.clear()
    return transport.sent


def test_each_attempt_is_a_span(way, resetting, trusting, told):
    """The first has no status, the second has one; a call over the warm connection is seen, too."""
    session = trusting(way.prepare(requests.Session()))
    with sentry_sdk.start_transaction(name="mine"), way.survives():
        assert len(attempts_of(session.get(resetting.url + "/words/3"))) == 2
        assert session.get(resetting.url + "/words/3").text == "reset again whole"
    (transaction,) = told
    calls = [span for span in transaction["spans"] if span["op"] == "http.client"]

    assert not is_as_shipped()
    assert [span["data"].get("http.response.status_code") for span in calls] == (
        [None, 200, 200] if way.heals else [None]
    )
    assert all("timestamp" in span for span in calls)


def test_an_error_has_the_attempts_among_its_breadcrumbs(way, server, trusting, told):
    """One for each; and the exception is the one that the program gets."""
    server.play(Script((Rule(Fault(Moment.EXECUTED)),)))
    session = trusting(way.prepare(requests.Session()))
    try:
        session.get(server.url)
    except requests.ConnectionError as error:
        sentry_sdk.capture_exception(error)
        attempts = len(attempts_of(error))
    event = told[-1]
    crumbs = [crumb for crumb in event["breadcrumbs"]["values"] if crumb["type"] == "http"]

    assert event["exception"]["values"][-1]["type"] == "ConnectionError"
    assert len(crumbs) == (attempts if way.heals else 1)
