"""What `adapter.send` of a prepared request costs over a connection that is there already, body included."""

import pytest

from benchmarks.contestants import PEERS
from benchmarks.kept import compared
from benchmarks.rounds import Comparison
from benchmarks.sites import SMALL, TINY, Site

ROUNDS = 80


@pytest.fixture(scope="module", params=[TINY, SMALL], ids="{:,} B".format)
def sent(request, site: Site, staff, compare) -> Comparison:
    """Compare it."""
    order = {"url": f"{site.url}/bytes/{request.param}", "prepared": True}
    title = f"keep-alive, adapter.send, {request.param:,} B"
    return compared(title, site, staff(PEERS), compare, ROUNDS, order)


def test_send_over_a_kept_connection(sent, contestant, play):
    """It costs this much, and no new connection."""
    play(sent)
