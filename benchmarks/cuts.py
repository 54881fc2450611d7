"""Bodies that are cut on their way: who gets them whole, and how much passes for that."""

import hashlib
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import requests

from benchmarks.adapted import session_of
from benchmarks.contestants import ADAPTERS, CONTROL
from benchmarks.markdown import table as markdown
from benchmarks.sites import CUT, LARGE, Site
from resilient_transport import registry
from resilient_transport.call import origin_state
from tests.real.cutter import Cutter
from tests.timeouts import LONG_TIMEOUT

#: Bytes between two cuts in the mean, as exponentially distributed.
MEAN: Final = 1_000_000
#: Sizes in bytes, and how many of each are fetched, by so many threads.
SIZES: Final = dict(zip((*CUT, LARGE), (40, 20, 8, 2), strict=True))
THREADS: Final = 4
#: What a streaming caller asks for at a time, in bytes.
CHUNK: Final = 65_536

#: Who fetches them.
NAMES: Final = tuple(name for name in ADAPTERS if name != CONTROL)

ABOUT: Final = (
    f"Bodies from nginx, through a proxy that resets each connection after {MEAN / 1e6:g} MB in the mean "
    f"(exponentially distributed), {THREADS} at a time:"
)

Fetch = Callable[[requests.Session, str], str]


@dataclass(frozen=True, slots=True)
class Cuts:
    """What one contestant made of bodies of one size."""

    #: How they were fetched.
    how: str
    #: Bytes of each.
    size: int
    #: Who fetched them.
    contestant: str
    #: How many, and how many of them came whole.
    fetched: int
    whole: int
    #: Bytes that passed the cut connections, heads and TLS included, over those of all bodies.
    passed: float
    #: The most that Python had allocated at once, in bytes.
    peak: int


def buffered(session: requests.Session, url: str) -> str:
    """Fetch a body at once, and return its digest."""
    return hashlib.sha256(session.get(url, timeout=LONG_TIMEOUT).content).hexdigest()


def streamed(session: requests.Session, url: str) -> str:
    """Fetch a body bit by bit, and return its digest."""
    digest = hashlib.sha256()
    with session.get(url, stream=True, timeout=LONG_TIMEOUT) as response:
        for chunk in response.iter_content(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def measure(site: Site, port: int, size: int, fetch: Fetch, expected: str) -> Iterator[Cuts]:
    """Let each contestant fetch the bodies of a size through cuts that fall in the same places."""
    for contestant in NAMES:
        origin_state.clear()
        with (
            Cutter(port, MEAN, seed=size) as cutter,
            session_of(contestant, site.ca_file, site.cert) as session,
            ThreadPoolExecutor(THREADS) as threads,
            _peak() as peak,
        ):
            url = f"{cutter.url}/bytes/{size}"
            digests = list(threads.map(lambda _, u=url, s=session: _tried(fetch, s, u), range(SIZES[size])))
        registry.clear()
        whole = digests.count(expected)
        share = cutter.passed / (size * SIZES[size])
        yield Cuts(fetch.__name__, size, contestant, SIZES[size], whole, share, peak[0])


def _tried(fetch: Fetch, session: requests.Session, url: str) -> str:
    try:
        return fetch(session, url)
    except requests.RequestException:
        return ""


@contextmanager
def _peak() -> Iterator[list[int]]:
    found = [0]
    tracemalloc.start()
    try:
        yield found
        found[0] = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def said(results: Sequence[Cuts]) -> str:
    """Return a table of one row for each size and way to fetch."""
    heads = ["bodies", "of", *(f"whole: {name}" for name in NAMES), "passed ÷ needed", "peak memory"]
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    by_kind: dict[tuple[str, int], dict[str, Cuts]] = {}
    for result in results:
        by_kind.setdefault((result.how, result.size), {})[result.contestant] = result
    for (how, size), found in by_kind.items():
        ours = found[NAMES[-1]]
        whole = [f"{found[name].whole} of {found[name].fetched}" for name in NAMES]
        rows.append([how, f"{size / 1e6:g} MB", *whole, f"{ours.passed:.3f}", f"{ours.peak / 1e6:.1f} MB"])
    return f"{ABOUT}\n\n{markdown(rows)}"
