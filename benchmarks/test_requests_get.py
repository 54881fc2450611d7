"""`requests.get`, a hundred times: a session of its own each time, and in stock a connection of its own."""

import pytest
import requests

from benchmarks.adapted import everywhere
from benchmarks.contestants import ADAPTERS, OURS
from benchmarks.quantities import CONNECTIONS
from benchmarks.rounds import Comparison, Sample, timed
from benchmarks.sites import AMONG_MANY, TINY, Site
from resilient_transport import registry
from tests.timeouts import LONG_TIMEOUT

ROUNDS = 3
#: With the large bundle: what differs twentyfold needs no further look.
FEW_ROUNDS = 2
CALLS = 100


@pytest.fixture(scope="module")
def hundreds(cold_site: Site, compare) -> Comparison:
    """Run them all, each time with a cold pool."""

    def get() -> None:
        url = f"{cold_site.url}/bytes/{TINY}"
        requests.get(
            url, verify=cold_site.ca_file, cert=cold_site.cert, timeout=LONG_TIMEOUT
        ).raise_for_status()

    def hundred(contestant: str) -> Sample:
        cold_site.new_connections()
        with everywhere(contestant):
            sample = timed(lambda: [get() for _ in range(CALLS)])
        registry.clear()
        return {**sample, CONNECTIONS: cold_site.new_connections()}

    actions = {name: lambda name=name: hundred(name) for name in ADAPTERS}
    rounds = FEW_ROUNDS if cold_site.name == AMONG_MANY else ROUNDS
    return compare(f"{CALLS} × requests.get", cold_site.name, actions, rounds, warm=False)


def test_a_hundred_times_requests_get(hundreds, contestant, play):
    """Installed, all calls share one connection; otherwise each makes its own."""
    play(hundreds)

    if contestant in hundreds.samples:
        assert set(hundreds.series(contestant, CONNECTIONS)) == {1 if contestant == OURS else CALLS}
