"""What the tests of the doctor's sections share."""

from collections.abc import Iterator

import pytest

from resilient_transport.testing import FaultServer


@pytest.fixture(scope="module")
def plain() -> Iterator[FaultServer]:
    """A fault server without TLS: where a handshake has no part in it, it takes a tenth of the time."""
    with FaultServer(tls=False) as server:
        yield server
