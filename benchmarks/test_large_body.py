"""A body of 64 MB, at once or bit by bit: what it costs, and how much memory it takes at its worst.

Every round has a connection of its own, made before the clock starts. What decrypting costs depends on where
OpenSSL's buffers happen to lie, by a third in either direction, and that lasts as long as the connection.
"""

import pytest

from benchmarks.contestants import OURS, PEERS, STOCK
from benchmarks.quantities import MEMORY
from benchmarks.rounds import Comparison
from benchmarks.sites import LARGE, TINY, Site
from benchmarks.workers import orders

ROUNDS = 7


@pytest.fixture(scope="module")
def workers(staff):
    """Give each contestant one process for all of it."""
    return staff(PEERS)


@pytest.fixture(scope="module", params=[False, True], ids=["buffered", "streamed"])
def order(request, site: Site):
    """Return what is fetched, and how."""
    urls = {"url": f"{site.url}/bytes/{LARGE}", "tiny": f"{site.url}/bytes/{TINY}"}
    return {**urls, "length": LARGE, "streamed": request.param}


@pytest.fixture(scope="module")
def bodies(order, workers, site: Site, compare) -> Comparison:
    """Compare the time."""
    return compare(title(order), site.name, orders(workers, "fetch", **order), ROUNDS)


@pytest.fixture(scope="module")
def peaks(order, workers, site: Site, compare) -> Comparison:
    """Compare the memory: it is the same in every round, so one will do."""
    return compare(title(order), site.name, orders(workers, "peak", **order), 1, warm=False)


def title(order) -> str:
    """Return what the table says."""
    return f"64 MB, {'streamed' if order['streamed'] else 'buffered'}"


def test_a_large_body(bodies, contestant, play):
    """A large body takes this much."""
    play(bodies)


def test_the_memory_of_a_large_body(peaks):
    """A large body is held no more often than in stock; a stream has 8 kB more of it read ahead."""
    ratio = peaks.ratio(OURS, STOCK, MEMORY)

    assert ratio.value < 1.25
