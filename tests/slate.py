"""A fixture for tests of the whole transport: what is process-wide is as new for each."""

from collections.abc import Iterator

import pytest

from resilient_transport import registry
from resilient_transport.retry import breaker, budget
from resilient_transport.telemetry import counters


@pytest.fixture(autouse=True)
def clean_slate() -> Iterator[None]:
    """Begin and end each test with no idle connection and full quotas."""
    registry.clear()
    budget.clear()
    breaker.clear()
    counters.clear()
    yield
    registry.clear()
