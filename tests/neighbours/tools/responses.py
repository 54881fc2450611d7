"""responses: it patches `HTTPAdapter.send`, so that each attempt is answered by the mock."""

import pytest
import requests
import responses

from resilient_transport import attempts_of, override


def test_the_mock_answers_in_the_servers_place(way, server, trusting):
    """Nothing goes over the wire. What the mock answers with is judged as a server's answer would be."""
    session = trusting(way.prepare(requests.Session()))
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(server.url + "/words/3", status=503)
        mock.get(server.url + "/words/3", body="made up")
        answer = session.get(server.url + "/words/3")
        calls = len(mock.calls)

    assert (answer.status_code, calls) == ((200, 2) if way.heals else (503, 1))
    assert server.counts().accepts == 0


def test_a_test_may_turn_repetitions_off(way, server, trusting):
    """Then the mocked status is what the program gets."""
    session = trusting(way.prepare(requests.Session()))
    with responses.RequestsMock() as mock, override(retries=0):
        mock.get(server.url, status=503)
        status = session.get(server.url).status_code

    assert status == 503


def test_an_error_of_the_mock_is_final(way, server, trusting):
    """It is no failure of the wire: a test of a program's own error handling sees it at once."""
    session = trusting(way.prepare(requests.Session()))
    with responses.RequestsMock() as mock:
        mock.get(server.url, body=requests.ConnectionError("made up"))
        with pytest.raises(requests.ConnectionError, match="made up"):
            session.get(server.url)
        calls = len(mock.calls)

    assert calls == 1


def test_what_is_passed_on_is_healed(way, resetting, trusting):
    """What the mock lets through goes over the wire as ever."""
    session = trusting(way.prepare(requests.Session()))
    with responses.RequestsMock() as mock:
        mock.add_passthru(resetting.url)
        with way.survives():
            assert len(attempts_of(session.get(resetting.url + "/words/3"))) == 2
