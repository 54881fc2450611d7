"""Outcomes and cells made by hand, for tests of what is said about them."""

from resilient_transport.cli.demo.order import Outcome, Start
from resilient_transport.cli.demo.scenarios import SCENARIOS
from resilient_transport.cli.demo.transports import OURS
from resilient_transport.cli.demo.verdict import Cell

STOCK = "stock requests"
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def outcome(method, error=None, stage=None, number=1, seconds=0.1):
    """What came of one request."""
    return Outcome(f"{method}-{number}", method, error, stage, seconds=seconds)


def cell(*outcomes, scenario="race", transport=OURS, executions=None):
    """A cell of one start with these outcomes; nothing fails the start but they."""
    starts = (Start(outcomes or (outcome("GET"),)),)
    return Cell(BY_NAME[scenario], transport, starts, connections=4, executions=executions or {})
