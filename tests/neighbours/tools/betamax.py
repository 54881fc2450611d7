"""betamax: it mounts an adapter that records what the one before it brings, and plays that."""

import betamax
import pytest
import requests

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


def test_what_fails_while_it_records_is_healed(way, resetting, trusting, tmp_path):
    """The answer is recorded once, and played without the server; two attempts made it."""
    session = trusting(way.prepare(requests.Session()))
    texts = []
    with way.survives():
        for _ in range(2):
            with betamax.Betamax(session, cassette_library_dir=str(tmp_path)).use_cassette("words"):
                texts.append(session.get(resetting.url + "/words/3").text)

    assert texts == (["reset again whole"] * 2 if way.heals else [])
    assert resetting.counts().accepts == 1 + way.heals


def test_what_is_mounted_inside_its_block_takes_its_place(server, trusting, tmp_path):
    """So the adapter is mounted first, and betamax wraps it."""
    from tests.neighbours.tools.conftest import Way

    session = trusting(requests.Session())
    with betamax.Betamax(session, cassette_library_dir=str(tmp_path)).use_cassette("words"):
        Way("mounted").prepare(session)
        for _ in range(2):
            session.get(server.url + "/words/3")

    assert server.counts().requests == 2
