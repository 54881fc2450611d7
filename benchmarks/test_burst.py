"""Four parallel calls at start, over mutual TLS, in processes that have made none before."""

import pytest

from benchmarks.burst import METHODS, in_fresh_process
from benchmarks.contestants import CONTESTANTS
from benchmarks.rounds import CONNECTIONS, Comparison, Sample
from benchmarks.sites import Site

ROUNDS = 10


@pytest.fixture(scope="module")
def bursts(cold_site: Site, compare) -> Comparison:
    """Run them all."""

    def start(contestant: str) -> Sample:
        sample = in_fresh_process(contestant, cold_site.url, cold_site.ca_file, cold_site.cert)
        return {**sample, CONNECTIONS: cold_site.new_connections()}

    cold_site.new_connections()
    actions = {name: lambda name=name: start(name) for name in CONTESTANTS}
    return compare("cold burst of 4 calls", cold_site, actions, ROUNDS, warm=False)


def test_a_cold_burst(bursts, contestant, play):
    """A burst opens at most a connection for each call, and takes this much."""
    play(bursts)

    assert max(bursts.series(contestant, CONNECTIONS)) <= len(METHODS)
