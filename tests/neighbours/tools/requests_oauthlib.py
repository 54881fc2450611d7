"""requests-oauthlib: sessions that sign their requests, and get their tokens by POST."""

import pytest
import requests
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth1Session, OAuth2Session

from resilient_transport import attempts_of
from tests.neighbours.stand_in import EXECUTED, HANDSHAKE, Answered, told_as_json


@pytest.fixture
def provider(stand_in):
    """A server that gives tokens, and knows them; of OAuth 1 it takes each nonce once."""
    nonces = set()

    def page(asked):
        signed = asked.fields.get("authorization", "")
        if asked.path == "/token":
            return told_as_json({"access_token": "secret", "token_type": "Bearer", "expires_in": 3600})
        if signed.startswith("OAuth "):
            known = signed in nonces
            nonces.add(signed)
            return Answered(b"used before" if known else b"signed", 401 if known else 200)
        return Answered(b"known" if signed == "Bearer secret" else b"who?")

    return stand_in(page)


def oauth2(trusting, **settings):
    """A session for a service's own account."""
    return trusting(OAuth2Session(client=BackendApplicationClient(client_id="me"), **settings))


def test_a_token_is_fetched_although_the_handshake_is_reset(way, provider, trusting):
    """That is a POST, which had not left; and the GET that shows the token is healed in any case."""
    session = way.prepare(oauth2(trusting))
    provider.faults = [HANDSHAKE]
    with way.survives():
        session.fetch_token(provider.url + "/token", client_secret="mine")
        provider.faults = [EXECUTED]
        answer = session.get(provider.url + "/page")
        assert (answer.text, len(attempts_of(answer))) == ("known", 2)
        assert [asked.path for asked in provider.asked] == ["/token", "/page", "/page"]


def test_a_token_is_not_asked_for_twice(way, provider, trusting):
    """The provider may have given it; whether one more does harm is for the program to say."""
    session = way.prepare(oauth2(trusting))
    provider.faults = [EXECUTED]
    with pytest.raises(requests.ConnectionError):
        session.fetch_token(provider.url + "/token", client_secret="mine")

    assert len(provider.asked) == 1


def test_an_expired_token_is_refreshed_on_the_way(way, provider, trusting):
    """Within one call: the POST for the new one comes first, and its handshake is healed."""
    old = {"access_token": "old", "refresh_token": "r", "token_type": "Bearer", "expires_in": -1}
    session = way.prepare(
        oauth2(trusting, token=old, auto_refresh_url=provider.url + "/token", token_updater=dict)
    )
    provider.faults = [HANDSHAKE]
    with way.survives():
        assert session.get(provider.url + "/page").text == "known"


def oauth1(trusting):
    """A session that signs."""
    return trusting(
        OAuth1Session("key", client_secret="mine", resource_owner_key="k", resource_owner_secret="s")
    )


def test_what_oauth1_has_signed_is_healed_unless_it_was_executed(way, provider, trusting):
    """A repetition is the same request, nonce included, which a server takes once."""
    session = way.prepare(oauth1(trusting))
    provider.faults = [HANDSHAKE]
    with way.survives():
        assert session.get(provider.url + "/page").text == "signed"
        provider.faults = [EXECUTED]
        assert session.get(provider.url + "/page").status_code == 401
        assert len(provider.asked) == 3
