"""What the package costs before the first call: its import, an adapter, and a start of pytest beside it."""

import pytest

from benchmarks.contestants import OURS, STOCK
from benchmarks.quantities import MODULES
from benchmarks.rounds import Comparison
from benchmarks.start import BEGINNINGS, CONTESTANTS, beginnings

ROUNDS = 20


@pytest.fixture(scope="module", params=BEGINNINGS)
def started(request, compare) -> Comparison:
    """Begin in each way, without the package and with it."""
    with beginnings(request.param) as actions:
        return compare(request.param, "none", actions, ROUNDS)


def test_modules_are_counted(started):
    """The control: each run of a contestant imports as many as the last, and the package adds some."""
    counts = {name: set(started.series(name, MODULES)) for name in CONTESTANTS}

    assert [len(each) for each in counts.values()] == [1, 1, 1]
    assert min(counts[OURS]) > min(counts[STOCK])
