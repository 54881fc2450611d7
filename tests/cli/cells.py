"""Outcomes and cells made by hand, for tests of what is said about them."""

from resilient_transport.cli.demo.cell import Cell
from resilient_transport.cli.demo.order import Outcome, Start
from resilient_transport.cli.demo.scenarios import SCENARIOS
from resilient_transport.cli.demo.transports import OURS
from resilient_transport.events.attempt import Attempt

STOCK, RETRY = "stock requests", "Retry(3)"
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def attempt(number=1, stage="done", error=None, stages=(), started=0.0):
    """An attempt that took half a second."""
    moved, flags, times = (100, 0), [False] * 4, (started, 0.5, 0.25, None)
    status = None if error else 200
    return Attempt(number, stage, error, status, *moved, *flags, *times, "returned", stages=stages)


def outcome(method, error=None, stage=None, number=1, seconds=0.1):
    """What came of one request."""
    return Outcome(f"{method}-{number}", method, error, stage, seconds=seconds)


def cell(*outcomes, scenario="race", transport=OURS, executions=None):
    """A cell of one start with these outcomes; nothing fails the start but they."""
    starts = (Start(outcomes or (outcome("GET"),)),)
    return Cell(BY_NAME[scenario], transport, starts, connections=4, executions=executions or {})


#: A small run: stock loses much, ours one POST that the server had run.
RUN = [
    cell(
        outcome("GET", "ConnectionError"),
        outcome("GET", "SSLError", number=2),
        outcome("POST", "ConnectionError"),
        outcome("POST", number=2),
        transport=STOCK,
    ),
    cell(
        outcome("GET"),
        outcome("GET", "ConnectionError", number=2),
        outcome("POST", "ConnectionError"),
        outcome("POST", number=2),
        transport=RETRY,
    ),
    cell(*(outcome(method, number=n) for method in ("GET", "POST") for n in (1, 2))),
    *(
        cell(
            outcome("GET", None if name == OURS else "ChunkedEncodingError"),
            outcome("GET", number=2),
            outcome("POST", "ChunkedEncodingError", "body" if name == OURS else None),
            outcome("POST", number=2, seconds=1.25),
            scenario="megabyte",
            transport=name,
            executions={"GET-1": 1, "POST-1": 1, "POST-2": 1},
        )
        for name in (STOCK, RETRY, OURS)
    ),
]
