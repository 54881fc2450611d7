"""requests-ntlm: it authenticates a connection, in two more requests, and looks at its certificate."""

import base64

import pytest
import requests
import requests_ntlm
import spnego

from tests.neighbours.stand_in import EXECUTED, HANDSHAKE, Answered

pytestmark = pytest.mark.filterwarnings("ignore:MD4", "ignore::DeprecationWarning")


@pytest.fixture
def guarded(stand_in, monkeypatch, tmp_path):
    """A server that asks who is there, and lets a known user in."""
    (tmp_path / "users").write_text("DOM:user:pass\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(tmp_path / "users"))
    contexts = []

    def page(asked):
        _, _, token = asked.fields.get("authorization", "").partition(" ")
        if not token:
            contexts[:] = [spnego.server(protocol="ntlm")]
            return Answered(b"who?", 401, {"WWW-Authenticate": "NTLM"})
        if contexts[0].complete:
            contexts[:] = [spnego.server(protocol="ntlm")]
        challenge = contexts[0].step(base64.b64decode(token))
        if contexts[0].complete:
            return Answered(b"welcome" * 100)
        told = "NTLM " + base64.b64encode(challenge).decode()
        return Answered(b"go on", 401, {"WWW-Authenticate": told})

    return stand_in(page)


@pytest.mark.parametrize("fault", [HANDSHAKE, EXECUTED])
def test_a_reset_before_it_is_known_is_healed(fault, way, guarded, trusting):
    """On the way to the first answer, nothing is bound to the connection yet."""
    session = trusting(way.prepare(requests.Session()))
    session.auth = requests_ntlm.HttpNtlmAuth("DOM\\user", "pass")
    guarded.faults = [fault]
    with way.survives():
        answer = session.get(guarded.url)
        assert (answer.status_code, answer.content) == (200, b"welcome" * 100)
