"""What tests of calls share."""

import pytest
import requests

from resilient_transport import RetryPolicy, mount


@pytest.fixture
def session():
    """Return a session with an adapter that does not pause."""
    with requests.Session() as session:
        session.trust_env = False
        mount(session, policy=RetryPolicy(backoff=0))
        yield session
