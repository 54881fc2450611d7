"""A fixture for tests of the whole transport: what is process-wide is as new for each."""

from collections.abc import Iterator

import pytest

from resilient_transport import registry
from resilient_transport.call import origin_state
from resilient_transport.telemetry import left_alone


@pytest.fixture(autouse=True)
def clean_slate() -> Iterator[None]:
    """Begin and end each test with no idle connection and full quotas."""
    registry.clear()
    origin_state.clear()
    left_alone.clear()
    yield
    registry.clear()
