"""What happens once is counted once, and a body that is whole is handed out at once."""

import socket

import pytest
import requests

from resilient_transport import RetryPolicy, attempts_of, mount, stats
from resilient_transport.events import AttemptFailed, Recovered
from resilient_transport.retry.deadline import Deadline
from resilient_transport.testing import FaultServer
from tests.call.test_resume import BODY, V1, V2, chunks, part, whole
from tests.end_to_end.hearing import Heard
from tests.end_to_end.verbatim_server import STALL, Answer, VerbatimServer, told
from tests.loopback import has_ipv6
from tests.timeouts import LONG_TIMEOUT

FAST = {"backoff": 0.0, "jitter": 0.0}


def open_session(heard=None, **policy):
    """Return a session for any server without TLS."""
    session = requests.Session()
    session.trust_env = False
    mount(session, policy=RetryPolicy(**FAST, **policy), on_event=heard)
    return session


@pytest.mark.parametrize("limit", [{}, {"deadline": LONG_TIMEOUT}, {"attempt_timeout": LONG_TIMEOUT}])
@pytest.mark.parametrize("stream", [False, True])
def test_a_rest_whose_last_chunk_is_late_is_waited_for_a_moment(limit, stream):
    """All that the body has is there: with a deadline as without, it is handed out soon."""
    rest = told(
        "206 OK", chunks(BODY[700:])[: -len(b"0\r\nX-End: 1\r\n\r\n")], Transfer_Encoding="chunked",
        Content_Range="bytes 700-2047/2048", **V1,
    )  # fmt: skip
    with VerbatimServer([whole(cut=700), Answer(rest, STALL)]) as server, open_session(**limit) as session:
        began = Deadline(LONG_TIMEOUT / 2)
        body = session.get(server.url, stream=stream).content

        assert body == BODY
        assert not began.is_over()


@pytest.mark.parametrize("stream", [False, True])
def test_another_version_is_counted_once(stream):
    """Two attempts have failed, one for its cut body and one since it is another: so two are counted."""
    heard = Heard()
    answers = [whole(cut=700), part(700, **V2), whole(**V2)]
    with VerbatimServer(answers) as server, open_session(heard) as session:
        response = session.get(server.url, stream=stream)
        try:
            response.content  # noqa: B018 - reading it is the point
        except requests.RequestException:
            assert stream
        (figures,) = stats().values()

    assert len(heard.of(AttemptFailed)) == 2
    assert figures.failures == {"body": 2}
    assert figures.repetitions_not_made == ({"not resumable": 1} if stream else {})


def test_a_call_recovers_once():
    """From a status, and then from a cut in its stream: that is told when its response comes."""
    heard = Heard()
    busy = Answer(told("503 Busy", b"", Content_Length="0"))
    with VerbatimServer([busy, whole(cut=700), part(700)]) as server, open_session(heard) as session:
        response = session.get(server.url, stream=True)

        assert response.content == BODY
        assert len(heard.of(Recovered)) == 1
        assert len(attempts_of(response)) == 3


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_an_ipv6_origin_is_one():
    """Its calls and its connections are told together, under the name that a URL has."""

    class OnIPv6(VerbatimServer):
        def _listen(self):
            return socket.create_server(("::1", 0), family=socket.AF_INET6)

    with OnIPv6([whole()]) as server, open_session() as session:
        origin = f"http://[::1]:{server.port}"
        session.get(origin + "/")
        found = dict(stats())

    assert list(found) == [origin]
    assert (found[origin].calls, found[origin].live) == (1, 1)


def test_the_fault_server_is_told_once_as_well(server, dial):
    """The control: names, too, are told as the URL has them."""
    dial(server).get(server.url)

    assert isinstance(server, FaultServer)
    assert list(stats()) == [server.url]
