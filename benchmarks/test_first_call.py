"""The first call of a process: one GET by a program that has imported all it needs, and made no call yet."""

from functools import partial

import pytest

from benchmarks.contestants import PEERS
from benchmarks.rounds import Comparison
from benchmarks.sites import Site
from benchmarks.test_burst import start
from benchmarks.workers import available

ROUNDS = 15


@pytest.fixture(scope="module")
def calls(site: Site, compare) -> Comparison:
    """Make it, each time in a new process."""
    actions = {name: partial(start, name, site, ("GET",)) for name in available(PEERS)}
    return compare("first call", site.name, actions, ROUNDS, warm=False)


def test_the_first_call(calls, contestant, play):
    """It takes this much."""
    play(calls)
