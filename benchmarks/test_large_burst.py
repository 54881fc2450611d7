"""Thirty-two parallel calls at start, by one session for all, in processes that have made none before."""

from functools import partial

import pytest

from benchmarks.contestants import CONTESTANTS, WARMED
from benchmarks.quantities import CONNECTIONS
from benchmarks.rounds import Comparison
from benchmarks.sites import Site
from benchmarks.test_burst import METHODS, start
from benchmarks.workers import available

ROUNDS = 10
CALLS = 32


@pytest.fixture(scope="module")
def bursts(site: Site, compare) -> Comparison:
    """Run them all."""
    methods = METHODS * (CALLS // len(METHODS))
    actions = {name: partial(start, name, site, methods, shared=True) for name in available(CONTESTANTS)}
    return compare(f"cold burst of {CALLS} calls", site.name, actions, ROUNDS, warm=False)


def test_a_large_cold_burst(bursts, contestant, play):
    """A burst opens at most a connection for each call, and takes this much."""
    play(bursts)

    if contestant in bursts.samples and contestant != WARMED:
        assert max(bursts.series(contestant, CONNECTIONS)) <= CALLS
