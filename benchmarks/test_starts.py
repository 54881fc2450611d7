"""Forty starts of four calls each while half of all handshakes are reset."""

import pytest

from benchmarks.contestants import OURS, STOCK
from benchmarks.rounds import Sample
from benchmarks.sites import site_of
from benchmarks.starts import CALLS, NAMES, STARTS, coin, said, times
from benchmarks.workers import fresh
from resilient_transport.testing import FaultServer


@pytest.fixture(scope="module")
def found(authority, tell) -> dict[str, list[Sample]]:
    """Run them all: in each round, everybody meets the same resets."""
    samples: dict[str, list[Sample]] = {name: [] for name in NAMES}
    with FaultServer(authority=authority) as server:
        site = site_of(server)
        order = {"url": f"{site.url}/words/3", "methods": ["GET"] * CALLS}
        for seed in range(STARTS):
            for name in NAMES:
                server.play(coin(seed))
                samples[name].append(fresh(name, site, "burst", **order))
    tell(said, samples)
    return samples


def test_starts_come_through(found):
    """All of ours do; stock is the control: half of its connections fail."""
    assert len(times(found[OURS])) == STARTS
    assert len(times(found[STOCK])) < STARTS / 2
