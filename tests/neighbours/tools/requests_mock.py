"""requests-mock: it puts an adapter of its own in the place of whatever a session has mounted."""

import pytest
import requests
import requests_mock

from resilient_transport import attempts_of


def test_the_mock_takes_the_place_of_the_adapter(way, server, trusting):
    """The transport has no say: no attempts, and an error is final."""
    session = trusting(way.prepare(requests.Session()))
    with requests_mock.Mocker() as mock:
        mock.get(server.url, [{"status_code": 503}, {"text": "made up"}])
        statuses = [session.get(server.url).status_code for _ in range(2)]
        mock.get(server.url, exc=requests.ConnectionError("made up"))
        with pytest.raises(requests.ConnectionError, match="made up") as caught:
            session.get(server.url)

    assert statuses == [503, 200]
    assert attempts_of(caught.value) == ()
    assert server.counts().accepts == 0


def test_its_fixture_works(requests_mock):
    """That of its pytest plugin."""
    requests_mock.get("https://api.example/", text="made up")

    assert requests.get("https://api.example/").text == "made up"


def test_what_is_passed_on_is_healed(way, resetting, trusting):
    """`real_http=True` asks the adapter that is mounted."""
    session = trusting(way.prepare(requests.Session()))
    with requests_mock.Mocker(real_http=True), way.survives():
        assert len(attempts_of(session.get(resetting.url + "/words/3"))) == 2


def test_an_adapter_of_its_own_beside_ours(way, resetting, trusting):
    """One that is mounted answers below its prefix; what is beside it goes over the wire."""
    session = trusting(way.prepare(requests.Session()))
    adapter = requests_mock.Adapter()
    adapter.register_uri("GET", "mock://api.example/", text="made up")
    session.mount("mock://", adapter)

    assert session.get("mock://api.example/").text == "made up"
    with way.survives():
        assert session.get(resetting.url + "/words/3").text == "reset again whole"
