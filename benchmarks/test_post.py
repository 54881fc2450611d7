"""What a POST of a small body costs when the process has a connection already.

Who must not repeat a POST takes care that its connection is good; the price of that is in here.
"""

import pytest

from benchmarks.contestants import PEERS
from benchmarks.kept import compared
from benchmarks.rounds import Comparison
from benchmarks.sites import Site

ROUNDS = 80


@pytest.fixture(scope="module")
def posted(site: Site, staff, compare) -> Comparison:
    """Compare it."""
    order = {"url": f"{site.url}/", "method": "POST", "body": '{"words": 3}'}
    return compared("keep-alive, POST of 12 B", site, staff(PEERS), compare, ROUNDS, order)


def test_post_over_a_kept_connection(posted, contestant, play):
    """It costs this much, and no new connection."""
    play(posted)
