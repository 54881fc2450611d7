"""Threads that begin with the context of the code that begins them, as 3.14t does by itself."""

import contextvars
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.timeouts import LONG_TIMEOUT


class Inside:
    """A thread that has begun with a copy of the context in which this was made, and lives on."""

    def __init__(self):
        self._pool = ThreadPoolExecutor(1)
        self._context = contextvars.copy_context()

    def see(self, work):
        """Return what it sees."""
        return self._pool.submit(self._context.run, work).result(LONG_TIMEOUT)

    def end(self):
        """End it."""
        self._pool.shutdown()


@pytest.fixture
def inside():
    """Return a function that begins such a thread."""
    begun = []

    def begin():
        begun.append(Inside())
        return begun[-1]

    yield begin
    for each in begun:
        each.end()
