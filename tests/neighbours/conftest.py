"""Other people's tools in the same process, each in its current release: pyOpenSSL, vcrpy, gevent and others.

What cannot live in the project's own environment has one of its own below `.venv/neighbours`.
"""

import pytest

from tests.missing import require
from tests.neighbours.environments import Environment


@pytest.fixture
def environment_of():
    """Return a function that makes an environment with a tool, or finds it made."""
    return Environment.of


@pytest.fixture
def pyopenssl():
    """Put pyOpenSSL into urllib3, as google-auth does, and take it out again."""
    neighbour = require("urllib3.contrib.pyopenssl")
    neighbour.inject_into_urllib3()
    yield neighbour
    neighbour.extract_from_urllib3()
