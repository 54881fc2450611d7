"""What attempts, counts, log and hooks cost a request over a connection that is there already."""

from contextlib import ExitStack

import pytest
import requests

from benchmarks.quantities import CPU
from benchmarks.rounds import Comparison, alternate
from benchmarks.sites import TINY, Site
from benchmarks.tellings import A_HOOK, CONTESTANTS, MUTE, NO_HOOK, actions, adapter_for

ROUNDS = 200
#: The shares of CPU that telling may cost, without a hook and with one.
NO_HOOK_AT_MOST = 1.03
A_HOOK_AT_MOST = 1.08


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


@pytest.mark.parametrize(("contestant", "most"), [(NO_HOOK, NO_HOOK_AT_MOST), (A_HOOK, A_HOOK_AT_MOST)])
def test_telling_is_cheap(told, contestant, most):
    """A ratio within one run, less the half of its interval: noise alone fails nobody."""
    ratio = told.ratio(contestant, MUTE, CPU)

    assert ratio.value - ratio.margin <= most
