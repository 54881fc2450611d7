"""What `Session.get` costs over a connection that is there already."""

import pytest

from benchmarks.contestants import PEERS
from benchmarks.kept import compared
from benchmarks.rounds import Comparison
from benchmarks.sites import TINY, Site

ROUNDS = 100


@pytest.fixture(scope="module")
def got(site: Site, staff, compare) -> Comparison:
    """Compare it."""
    order = {"url": f"{site.url}/bytes/{TINY}"}
    return compared(f"keep-alive, Session.get, {TINY} B", site, staff(PEERS), compare, ROUNDS, order)


def test_get_over_a_kept_connection(got, contestant, play):
    """It costs this much, and no new connection."""
    play(got)
