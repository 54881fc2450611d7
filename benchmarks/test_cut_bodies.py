"""Bodies of 250 kB to 64 MB from nginx, behind a proxy that cuts each connection after 1 MB in the mean."""

import hashlib
from urllib.parse import urlsplit

import pytest

from benchmarks.contestants import OURS
from benchmarks.cuts import SIZES, buffered, measure, said, streamed

#: What may pass, over what is needed.
MARGIN = 1.05
#: The most that a stream may hold, in bytes.
HELD = 8_000_000


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fetch", [buffered, streamed], ids=lambda fetch: fetch.__name__)
def test_cut_bodies(site, tell, size, fetch):
    """All come whole, hardly a byte passes twice, and a stream is never held."""
    expected = hashlib.sha256(bytes(size)).hexdigest()
    found = {one.contestant: one for one in measure(site, urlsplit(site.url).port, size, fetch, expected)}
    for one in found.values():
        tell(said, one)
    ours = found[OURS]

    assert ours.whole == ours.fetched
    assert ours.passed <= MARGIN
    assert fetch is buffered or ours.peak < HELD
