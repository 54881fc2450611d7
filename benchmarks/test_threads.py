"""What `Session.get` costs when sixteen threads share a session whose connections are there already."""

import pytest

from benchmarks.contestants import PEERS
from benchmarks.kept import compared
from benchmarks.rounds import Comparison
from benchmarks.sites import TINY, Site

ROUNDS = 30
THREADS = 16
#: Of all threads in a round.
CALLS = 80


@pytest.fixture(scope="module")
def got(site: Site, staff, compare) -> Comparison:
    """Compare it. Sixteen connections are more than a session of `requests` keeps, so some are made anew."""
    order = {"url": f"{site.url}/bytes/{TINY}", "threads": THREADS, "times": CALLS}
    title = f"keep-alive, Session.get, {THREADS} threads"
    return compared(title, site, staff(PEERS), compare, ROUNDS, order, connections=THREADS * ROUNDS)


def test_get_in_threads(got, contestant, play):
    """It costs this much."""
    play(got)
