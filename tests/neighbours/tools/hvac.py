"""hvac: Vault's client, over a session that it makes or is given."""

import hvac
import pytest
import requests

from resilient_transport import mount
from tests.neighbours.stand_in import EXECUTED, HANDSHAKE, Answered, told_as_json


@pytest.fixture
def vault(stand_in):
    """A server that has one secret, and lets one role in."""

    def page(asked):
        if asked.path == "/v1/auth/approle/login":
            return told_as_json({"auth": {"client_token": "token"}})
        if asked.fields.get("x-vault-token") != "token":
            return told_as_json({"errors": ["permission denied"]}, 403)
        if asked.path == "/v1/secret/data/mine":
            return told_as_json({"data": {"data": {"word": "reset"}}})
        if asked.method == "LIST":
            return told_as_json({"data": {"keys": ["mine"]}})
        return Answered(status=404)

    return stand_in(page)


@pytest.fixture
def client(way, vault, trusting):
    """One that was given a session, or makes its own."""
    if way.name == "mounted":
        return hvac.Client(vault.url, session=trusting(way.prepare(requests.Session())))
    client = hvac.Client(vault.url, verify=trusting(requests.Session()).verify)
    trusting(client.session)
    return client


def test_a_login_and_a_read_are_healed(way, client, vault):
    """A login is a POST, whose handshake is healed; a read is, in any case."""
    vault.faults = [HANDSHAKE]
    with way.survives():
        client.auth.approle.login("role")
        vault.faults = [EXECUTED]
        secret = client.secrets.kv.v2.read_secret_version("mine", raise_on_deleted_version=True)
        assert secret["data"]["data"] == {"word": "reset"}


def test_a_login_is_not_repeated_once_it_has_left(way, client, vault):
    """It makes a token each time."""
    vault.faults = [EXECUTED]
    with pytest.raises(requests.ConnectionError):
        client.auth.approle.login("role")

    assert len(vault.asked) == 1


@pytest.mark.parametrize("strict", [False, True])
def test_a_list_is_repeated_if_it_is_a_get(strict, vault, trusting):
    """`LIST` is Vault's own method, which no rule lets repeat; `strict_http` makes it a GET."""
    session = trusting(requests.Session())
    mount(session)
    client = hvac.Client(vault.url, token="token", session=session, strict_http=strict)
    vault.page = lambda asked: told_as_json({"data": {"keys": ["mine"]}})
    vault.faults = [EXECUTED]
    try:
        keys = client.secrets.kv.v2.list_secrets("")["data"]["keys"]
    except requests.ConnectionError:
        keys = None

    assert keys == (["mine"] if strict else None)
    assert [asked.method for asked in vault.asked] == (["GET"] * 2 if strict else ["LIST"])
