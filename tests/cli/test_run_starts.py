"""The report, with a program that knows nothing of this package: most starts fail, and under `run` none."""

from pathlib import Path

import pytest

from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.cli.twice import RUN, started

pytestmark = pytest.mark.slow

PROGRAM = str(Path(__file__).with_name("starting.py"))
#: How often the program is started; and without what is tested, where most fail.
STARTS, CONTROLS = 3, 3
#: Every connection whose handshake overlaps with another one is reset.
RACE = Script((Rule(Fault(Moment.CLIENT_HELLO), in_flight_over=1),), handshake_delay=0.01)


def starts_failed(server, run, workers, starts):
    """Start the program so often; return what those said that failed."""
    server.play(RACE)
    material = [server.url, server.authority.ca_file, *server.authority.client]
    ends = [started(*run, PROGRAM, *material, str(workers)) for _ in range(starts)]
    return [end.err for end in ends if end.status]


@pytest.mark.parametrize(
    ("run", "workers"), [(RUN, 0), ((*RUN, "--children"), 2)], ids=["the program", "its workers"]
)
def test_every_start_completes(run, workers, server):
    """Each of its code paths, in one process and in processes that it starts."""
    assert starts_failed(server, run, workers, STARTS) == []


@pytest.mark.parametrize(("run", "workers"), [((), 0), (RUN, 2)], ids=["the program", "its workers"])
def test_most_starts_fail_without(run, workers, server):
    """The control: without `run`, and for workers without --children."""
    assert len(starts_failed(server, run, workers, CONTROLS)) > CONTROLS / 2
