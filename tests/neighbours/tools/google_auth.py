"""google-auth: a session with credentials, and a second one by which it gets tokens."""

import json
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
import requests
from google.auth import exceptions
from google.auth.transport import _mtls_helper
from google.auth.transport.requests import AuthorizedSession, _MutualTlsAdapter
from google.oauth2.credentials import Credentials

from resilient_transport import ResilientAdapter, install
from tests.neighbours.stand_in import EXECUTED, HANDSHAKE, Answered, told_as_json


@pytest.fixture
def cloud(stand_in, monkeypatch, authority):
    """A server that gives tokens, and a page to who shows one. Its tools trust it by the environment."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.ca_file)

    def page(asked):
        if asked.path == "/token":
            return told_as_json({"access_token": "token", "expires_in": 3600})
        known = asked.fields.get("authorization") == "Bearer token"
        return Answered(b"known" if known else b"who?", 200 if known else 401)

    return stand_in(page)


@pytest.fixture
def session(way, cloud):
    """A session of a user who has no token yet."""
    credentials = Credentials(
        None, refresh_token="r", token_uri=cloud.url + "/token", client_id="me", client_secret="mine"
    )
    with AuthorizedSession(credentials) as session:
        yield way.prepare(session)
    session._auth_request_session.close()


def test_a_page_is_healed(way, cloud, session):
    """The first call gets the token, too."""
    session.get(cloud.url + "/page")
    cloud.faults = [EXECUTED]
    with way.survives():
        assert session.get(cloud.url + "/page").text == "known"
        assert [asked.path for asked in cloud.asked] == ["/token"] + ["/page"] * 3


def test_a_token_is_asked_for_once(way, cloud, session):
    """A POST that has left is not repeated by its `Retry(3)`, with this transport as without."""
    cloud.faults = [EXECUTED]
    with pytest.raises(exceptions.TransportError):
        session.credentials.refresh(session._auth_request)

    assert len(cloud.asked) == 1


def test_the_session_for_tokens_keeps_its_number(way, cloud, session):
    """It mounts an `HTTPAdapter(max_retries=3)`, which only `install` reaches. Then handshakes heal."""
    cloud.faults = [HANDSHAKE] * 3
    is_reached = way.name == "installed"
    with nullcontext() if is_reached else pytest.raises(exceptions.TransportError):
        session.credentials.refresh(session._auth_request)
    adapter = session._auth_request_session.get_adapter("https://")

    assert isinstance(adapter, ResilientAdapter) is is_reached
    assert adapter.max_retries.total == 3


def test_an_expired_token_is_refreshed_by_its_own_means(way, cloud, session):
    """A 401 is no failure of the wire: the tool gets a new token, and sends the call again."""
    session.credentials.token, session.credentials.expiry = "old", None
    answer = session.get(cloud.url + "/page")

    assert answer.text == "known"
    assert [asked.path for asked in cloud.asked] == ["/page", "/token", "/page"]


def test_its_client_certificate_is_its_own_affair(way, cloud, authority, monkeypatch):
    """`configure_mtls_channel` puts adapters of its own into both sessions: what was mounted is gone."""
    certificate, key = (Path(path).read_bytes() for path in authority.client)
    monkeypatch.setenv("GOOGLE_API_USE_CLIENT_CERTIFICATE", "true")
    with AuthorizedSession(Credentials("token")) as session:
        way.prepare(session)
        session.configure_mtls_channel(lambda: (certificate, key))
        adapter = session.get_adapter("https://")
        cloud.faults = [EXECUTED]
        with pytest.raises(requests.ConnectionError):
            session.get(cloud.url + "/page")
        session._auth_request_session.close()

    assert type(adapter) is _MutualTlsAdapter


@pytest.mark.parametrize(
    "settings", [None, {}, {"mounted": False}], ids=["stock", "installed", "mounted=False"]
)
def test_it_mounts_a_certificate_for_tokens_over_an_http_adapter_only(settings, server, monkeypatch):
    """Its second session shows one at mTLS endpoints, unless what is mounted there is of another class."""
    certificate, key = (Path(path).read_bytes() for path in server.authority.client)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.authority.ca_file)
    monkeypatch.setenv("GOOGLE_API_USE_CLIENT_CERTIFICATE", "true")
    # Its endpoints are not on this machine.
    monkeypatch.setattr(_mtls_helper, "is_mtls_endpoint", lambda url: True)
    monkeypatch.setattr(_mtls_helper, "get_client_cert_and_key", lambda: (True, certificate, key))
    with nullcontext() if settings is None else install(**settings):
        session = AuthorizedSession(Credentials("token"))
    with session, closing(session._auth_request_session):
        try:
            seen = json.loads(session._auth_request(server.url + "/whoami").data)["client"]
        except exceptions.TransportError:
            seen = None

    assert seen == (None if settings == {} else "alice")
