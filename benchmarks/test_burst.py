"""Four parallel calls at start, over mutual TLS, in processes that have made none before."""

from functools import partial

import pytest

from benchmarks.contestants import CONTESTANTS, WARMED
from benchmarks.quantities import COMPLETED, CONNECTIONS, HANDSHAKES
from benchmarks.rounds import Comparison, Sample
from benchmarks.sites import Site
from benchmarks.workers import available, fresh

ROUNDS = 10
METHODS = ("GET", "GET", "POST", "POST")


def start(contestant: str, site: Site, methods: tuple[str, ...], shared: bool = False) -> Sample:
    """Make the calls in a new process; all have to come through."""
    site.new_connections(), site.full_handshakes()
    sample = dict(fresh(contestant, site, "burst", url=site.url + "/", methods=methods, shared=shared))
    assert sample.pop(COMPLETED) == len(methods)
    return {**sample, CONNECTIONS: site.new_connections(), HANDSHAKES: site.full_handshakes()}


@pytest.fixture(scope="module")
def bursts(cold_site: Site, compare) -> Comparison:
    """Run them all."""
    actions = {name: partial(start, name, cold_site, METHODS) for name in available(CONTESTANTS)}
    return compare("cold burst of 4 calls", cold_site.name, actions, ROUNDS, warm=False)


def test_a_cold_burst(bursts, contestant, play):
    """A burst opens at most a connection for each call, and takes this much."""
    play(bursts)

    if contestant in bursts.samples and contestant != WARMED:
        assert max(bursts.series(contestant, CONNECTIONS)) <= len(METHODS)
