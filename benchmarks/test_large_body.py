"""A body of 64 MB, at once or bit by bit: what it costs, and how much memory it takes at its worst.

Every round has a connection of its own, made before the clock starts. What decrypting costs depends on where
OpenSSL's buffers happen to lie, by a third in either direction, and that lasts as long as the connection.
"""

import tracemalloc
from collections.abc import Callable, Mapping
from functools import partial

import pytest
import requests

from benchmarks.contestants import CONTESTANTS, OURS, STOCK, session_of
from benchmarks.rounds import MEMORY, Action, Comparison, Sample, timed
from benchmarks.sites import LARGE, TINY, Site
from resilient_transport import registry
from tests.timeouts import LONG_TIMEOUT

ROUNDS = 11
#: What a streaming caller asks for at a time, in bytes.
CHUNK = 65_536

Fetch = Callable[[requests.Session, str], int]
Measure = Callable[[Callable[[], None]], Sample]


def buffered(session: requests.Session, url: str) -> int:
    """Fetch a body at once, and return its length."""
    return len(session.get(url, timeout=LONG_TIMEOUT).content)


def streamed(session: requests.Session, url: str) -> int:
    """Fetch a body bit by bit, and return its length."""
    with session.get(url, stream=True, timeout=LONG_TIMEOUT) as response:
        return sum(map(len, response.iter_content(CHUNK)))


def peak(action: Callable[[], None]) -> Sample:
    """Measure the most that Python had allocated at once."""
    tracemalloc.start()
    try:
        action()
        return {MEMORY: tracemalloc.get_traced_memory()[1]}
    finally:
        tracemalloc.stop()


def fetched(contestant: str, site: Site, fetch: Fetch, measure: Measure) -> Sample:
    """Measure one fetch over a connection that is there, and nobody else's; all of the body has to come."""

    def whole() -> None:
        assert fetch(session, f"{site.url}/bytes/{LARGE}") == LARGE

    with session_of(contestant, site.ca_file, site.cert) as session:
        fetch(session, f"{site.url}/bytes/{TINY}")
        sample = measure(whole)
    registry.clear()
    return sample


def actions(site: Site, fetch: Fetch, measure: Measure) -> Mapping[str, Action]:
    """Return what each contestant does in a round."""
    return {name: partial(fetched, name, site, fetch, measure) for name in CONTESTANTS}


@pytest.fixture(scope="module", params=[buffered, streamed], ids=lambda fetch: fetch.__name__)
def bodies(request, site: Site, compare) -> Comparison:
    """Compare the time."""
    title = f"64 MB, {request.param.__name__}"
    return compare(title, site, actions(site, request.param, timed), ROUNDS)


@pytest.fixture(scope="module", params=[buffered, streamed], ids=lambda fetch: fetch.__name__)
def peaks(request, site: Site, compare) -> Comparison:
    """Compare the memory: it is the same in every round, so one will do."""
    title = f"64 MB, {request.param.__name__}"
    return compare(title, site, actions(site, request.param, peak), 1, warm=False)


def test_a_large_body(bodies, play):
    """A large body takes this much."""
    play(bodies)


def test_the_memory_of_a_large_body(peaks):
    """A large body is held no more often than in stock."""
    ratio = peaks.ratio(OURS, STOCK, MEMORY)

    assert ratio.value < 1.1
