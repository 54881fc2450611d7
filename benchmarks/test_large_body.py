"""A body of 64 MB, at once or bit by bit: what it costs, and how much memory it takes at its worst."""

import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial

import pytest
import requests

from benchmarks.contestants import CONTESTANTS, OURS, STOCK, session_of
from benchmarks.rounds import MEMORY, Comparison, Sample, timed
from benchmarks.sites import LARGE, Site
from tests.timeouts import LONG_TIMEOUT

ROUNDS = 5
#: What a streaming caller asks for at a time, in bytes.
CHUNK = 65_536

Fetch = Callable[[requests.Session, str], int]


def buffered(session: requests.Session, url: str) -> int:
    """Fetch a body at once, and return its length."""
    return len(session.get(url, timeout=LONG_TIMEOUT).content)


def streamed(session: requests.Session, url: str) -> int:
    """Fetch a body bit by bit, and return its length."""
    with session.get(url, stream=True, timeout=LONG_TIMEOUT) as response:
        return sum(map(len, response.iter_content(CHUNK)))


def fetched(fetch: Fetch, session: requests.Session, url: str) -> Sample:
    """Measure the time."""
    return timed(lambda: whole(fetch, session, url))


def peak(fetch: Fetch, session: requests.Session, url: str) -> Sample:
    """Measure the most that Python had allocated at once."""
    tracemalloc.start()
    try:
        whole(fetch, session, url)
        return {MEMORY: tracemalloc.get_traced_memory()[1]}
    finally:
        tracemalloc.stop()


def whole(fetch: Fetch, session: requests.Session, url: str) -> None:
    """Fetch, and make sure that all has come."""
    assert fetch(session, url) == LARGE


@pytest.fixture(scope="module")
def sessions(site: Site) -> Iterator[Mapping[str, requests.Session]]:
    """Give each contestant a session."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(session_of(name, site.ca_file, site.cert)) for name in CONTESTANTS}


@pytest.fixture(scope="module", params=[buffered, streamed], ids=lambda fetch: fetch.__name__)
def bodies(request, site: Site, sessions, compare) -> Comparison:
    """Compare the time."""
    url = f"{site.url}/bytes/{LARGE}"
    actions = {name: partial(fetched, request.param, session, url) for name, session in sessions.items()}
    return compare(f"64 MB, {request.param.__name__}", site, actions, ROUNDS)


@pytest.fixture(scope="module", params=[buffered, streamed], ids=lambda fetch: fetch.__name__)
def peaks(request, site: Site, sessions, compare) -> Comparison:
    """Compare the memory."""
    url = f"{site.url}/bytes/{LARGE}"
    actions = {name: partial(peak, request.param, session, url) for name, session in sessions.items()}
    return compare(f"64 MB, {request.param.__name__}", site, actions, rounds=1)


def test_a_large_body(bodies, play):
    """A large body takes this much."""
    play(bodies)


def test_the_memory_of_a_large_body(peaks):
    """A large body is held no more often than in stock."""
    ratio = peaks.ratio(OURS, STOCK, MEMORY)

    assert ratio.value < 1.1
