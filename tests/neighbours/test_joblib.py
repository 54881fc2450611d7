"""joblib: calls in workers that are forked (multiprocessing), or begin as Pythons of their own (loky)."""

import json

import pytest

from tests.neighbours.environments import WORKERS
from tests.neighbours.losses import LOSSES, settings_of

pytestmark = pytest.mark.slow
CALLS = 100


def called(environment_of, server, whose, backend):
    """Make calls in workers; return what came of the parent's own, how many worked, and what came of all."""
    server.play(LOSSES)
    arguments = "-m", "tests.neighbours.parallel", backend, str(CALLS)
    return json.loads(
        environment_of("workers", *WORKERS).run(*arguments, **settings_of(server, whose)).stdout
    )


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_each_call_is_answered(environment_of, server, backend):
    """By both workers, while a quarter of the connections is lost."""
    first, workers, said = called(environment_of, server, "ours", backend)

    assert (first, workers, said) == ("answered", 2, {"answered": CALLS})


def test_stock_loses_some(environment_of, server):
    """The control."""
    _, workers, said = called(environment_of, server, "stock", "multiprocessing")

    assert workers == 2
    assert said["answered"] < CALLS
