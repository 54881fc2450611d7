"""Other people's tools in the same process, each in its current release: pyOpenSSL, vcrpy, gevent and others.

What cannot live in the project's own environment has one of its own below `.venv/neighbours`.
"""

import faulthandler
from contextlib import contextmanager

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

from tests.missing import require
from tests.neighbours.environments import Environment
from tests.timeouts import HANG_TIMEOUT


@pytest.fixture
def environment_of(request):
    """Return a function that makes an environment with a tool, or finds it made."""

    def of(*arguments, **environment):
        with no_hang_timeout(request.config):
            return Environment.of(*arguments, **environment)

    return of


@contextmanager
def no_hang_timeout(config):
    """Give a slow index more time than a test has; pip has a limit of its own."""
    # Where pytest's plugin writes, past its own capturing; pinned by the name that is imported.
    stderr = config.stash.get(fault_handler_stderr_fd_key, None)
    faulthandler.cancel_dump_traceback_later()
    try:
        yield
    finally:
        if stderr is not None:
            faulthandler.dump_traceback_later(HANG_TIMEOUT, file=stderr, exit=True)


@pytest.fixture
def pyopenssl():
    """Put pyOpenSSL into urllib3, as google-auth does, and take it out again."""
    neighbour = require("urllib3.contrib.pyopenssl")
    neighbour.inject_into_urllib3()
    yield neighbour
    neighbour.extract_from_urllib3()
