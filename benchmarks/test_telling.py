"""What attempts, counts, log and hooks cost a request over a connection that is there already."""

from contextlib import ExitStack

import pytest
import requests

from benchmarks.rounds import Comparison, alternate
from benchmarks.sites import TINY, Site
from benchmarks.tellings import CONTESTANTS, MUTE, actions, adapter_for

ROUNDS = 200


@pytest.fixture(scope="module")
def told(site: Site, remember) -> Comparison:
    """Compare the same code with telling and without."""
    with ExitStack() as stack:
        sessions = {}
        for name in CONTESTANTS:
            sessions[name] = session = stack.enter_context(requests.Session())
            session.trust_env = False
            session.verify, session.cert = site.ca_file, site.cert
            session.mount("https://", adapter_for(name))
        url = f"{site.url}/bytes/{TINY}"
        samples = alternate(actions(sessions, url), ROUNDS)
    return remember(Comparison("telling", site.name, samples, reference=MUTE))


def test_telling(told):
    """What it may cost is in the table."""
    assert set(told.samples) == set(CONTESTANTS)
