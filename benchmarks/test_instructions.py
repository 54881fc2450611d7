"""What a call over a connection that is there already takes in machine instructions: one round is enough."""

import pytest

from benchmarks.contestants import FLOOR, OURS, STOCK, URLLIB3
from benchmarks.instructions import counter, per_call
from benchmarks.quantities import INSTRUCTIONS
from benchmarks.rounds import Comparison
from benchmarks.sites import TINY

NAMES = (FLOOR, URLLIB3, STOCK, OURS)


@pytest.mark.parametrize(("way", "prepared"), [("Session.get", False), ("adapter.send", True)])
def test_instructions(site, remember, way, prepared):
    """Told beside the row of the time."""
    if counter() is None:
        pytest.skip(
            "no tool that counts instructions: neither perf nor valgrind (Debian: apt-get install valgrind)"
        )
    order = {"url": f"{site.url}/bytes/{TINY}", "prepared": prepared}
    samples = {name: [{INSTRUCTIONS: count}] for name, count in per_call(NAMES, site, order).items()}
    found = remember(Comparison(f"keep-alive, {way}, {TINY} B", site.name, samples))

    assert found.median(FLOOR, INSTRUCTIONS) < found.median(STOCK, INSTRUCTIONS)
