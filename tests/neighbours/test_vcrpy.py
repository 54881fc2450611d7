"""vcrpy puts connection classes of its own into urllib3 while it records or plays; they mark no stages."""

import pytest
import requests
import vcr
from requests.adapters import HTTPAdapter
from vcr.errors import CannotOverwriteExistingCassetteException

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, install
from resilient_transport.testing import Fault, Moment, Rule, Script

QUICK = RetryPolicy(backoff=0.0)


def recording(tmp_path, mode="once"):
    """A cassette."""
    return vcr.use_cassette(str(tmp_path / "cassette.yaml"), record_mode=mode)


@pytest.mark.parametrize("moment", [Moment.HANDSHAKE, Moment.EXECUTED, Moment.BODY])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_fails_while_it_records_is_repeated(method, moment, server, dial, tmp_path):
    """A reset costs an attempt, the answer is recorded once, and is played without the server."""
    server.play(Script((Rule(Fault(moment), first=1),)))
    session = dial(server, policy=QUICK)
    with recording(tmp_path):
        answer = session.request(method, server.url + "/words/3", data="x" if method == "PUT" else None)
    made = server.counts().accepts
    with recording(tmp_path, "none") as cassette:
        played = session.request(method, server.url + "/words/3", data="x" if method == "PUT" else None)

    assert answer.text == played.text
    assert len(attempts_of(answer)) == made == 2
    assert (cassette.play_count, server.counts().accepts) == (1, 2)


def test_what_is_installed_is_healed_there_too(server, tmp_path):
    """A session of its own, made while the cassette records."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=1),)))
    files = {"verify": server.authority.ca_file, "cert": server.authority.client}
    with install(policy=QUICK):
        for mode in ("once", "none"):
            with recording(tmp_path, mode):
                assert requests.get(server.url + "/words/3", **files).text == "reset again whole"

    assert server.counts().accepts == 2


def test_stock_is_at_its_end_there(server, dial, tmp_path):
    """The control."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=1),)))
    with recording(tmp_path), pytest.raises(requests.ConnectionError):
        dial(server, HTTPAdapter()).get(server.url)


@pytest.mark.parametrize("moment", [Moment.HANDSHAKE, Moment.EXECUTED])
def test_a_post_is_not_repeated(moment, server, dial, tmp_path):
    """Nobody has marked whether it left: so it counts as one that did."""
    server.play(Script((Rule(Fault(moment), first=1),)))
    with recording(tmp_path), pytest.raises(requests.ConnectionError) as caught:
        dial(server, policy=QUICK).post(server.url + "/echo", data=b"x")

    assert server.counts().accepts == len(attempts_of(caught.value)) == 1
    assert "the server may have executed it" in str(attempts_of(caught.value))


def test_what_never_heals_is_not_repeated(server, dial, tmp_path):
    """An untrusted server is one attempt, as without vcrpy, and stock's exception."""
    server.play(Script())
    raised = []
    for adapter in (ResilientAdapter(policy=QUICK), HTTPAdapter()):
        session = dial(server, adapter)
        session.verify = server.authority.other_ca_file
        with recording(tmp_path), pytest.raises(requests.exceptions.SSLError) as caught:
            session.get(server.url)
        raised.append(caught.value)

    assert type(raised[0]) is type(raised[1])
    assert len(attempts_of(raised[0])) == 1
    assert server.counts().accepts == 2


def test_what_a_cassette_does_not_have_is_not_repeated(server, dial, tmp_path):
    """What vcrpy itself raises is no failure of the wire."""
    server.play(Script())
    session = dial(server, policy=QUICK)
    with recording(tmp_path):
        session.get(server.url)
    with recording(tmp_path), pytest.raises(CannotOverwriteExistingCassetteException) as caught:
        session.get(server.url + "/words/5")

    assert len(attempts_of(caught.value)) <= 1
    assert server.counts().requests == 1
