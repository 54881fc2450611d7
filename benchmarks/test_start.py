"""What the package costs before the first call: its import, an adapter, and a start of pytest beside it."""

import pytest

from benchmarks.rounds import CPU, Comparison, alternate
from benchmarks.start import BEGINNINGS, CONTESTANTS, MODULES, OURS, RSS, STOCK, beginnings

ROUNDS = 20
#: The most that a beginning may take, as a multiple of stock's: a busy machine takes longer for both.
AT_MOST = {
    "import": {CPU: 1.10, RSS: 1.05},
    "a mounted adapter": {CPU: 1.45, RSS: 1.15},
    "a start of pytest": {CPU: 1.05, RSS: 1.05},
}


@pytest.fixture(scope="module", params=BEGINNINGS)
def started(request, remember_start) -> Comparison:
    """Begin in each way, without the package and with it."""
    with beginnings(request.param) as actions:
        comparison = Comparison(request.param, "", alternate(actions, ROUNDS))
    remember_start(comparison)
    return comparison


@pytest.mark.parametrize("quantity", [CPU, RSS])
def test_a_start_costs_little_more(started, quantity):
    """A ratio within one run, less the half of its interval: noise alone fails nobody."""
    found = started.ratio(OURS, STOCK, quantity)

    assert found.value - found.margin <= AT_MOST[started.title][quantity]


def test_modules_are_counted(started):
    """The control: each run of a contestant imports as many as the last, and the package adds some."""
    counts = {name: set(started.series(name, MODULES)) for name in CONTESTANTS}

    assert [len(each) for each in counts.values()] == [1, 1, 1]
    assert min(counts[OURS]) > min(counts[STOCK])
