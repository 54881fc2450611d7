"""gunicorn: workers that are forked from a master which has made calls already."""

import http.client
import signal
import socket
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from resilient_transport.settings.environment import clean_environment
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.neighbours.environments import WORKERS
from tests.neighbours.losses import LOSSES, settings_of
from tests.programs import ROOT
from tests.timeouts import HANG_TIMEOUT

pytestmark = pytest.mark.slow

#: The reset of a start.
ONE_RESET = Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),))
REQUESTS, CLIENTS = 1000, 8
KINDS = {"sync": ["--workers=3"], "gthread": ["--workers=2", "--worker-class=gthread", "--threads=4"]}


@contextmanager
def gunicorn(environment_of, server, whose, *options, before=()):
    """Run gunicorn over a socket that listens already; yield its port, then check that it ends in order."""
    python = environment_of("workers", *WORKERS).python
    environment = {**clean_environment(), "PYTHONPATH": str(ROOT), **settings_of(server, whose)}
    fixed = ["-m", "gunicorn", "--preload", "--log-level=warning", "--no-control-socket"]
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        bound = f"--bind=fd://{listener.fileno()}"
        process = subprocess.Popen(
            [python, *before, *fixed, bound, *options, "tests.neighbours.fetching:application"],
            cwd=ROOT,
            env=environment,
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield listener.getsockname()[1]
        finally:
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=HANG_TIMEOUT)[1]
    assert process.returncode == 0, said


def ask(port, path):
    """Return the worker that answered, and what it said."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_TIMEOUT / 2)
    connection.request("GET", f"/{path}")
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer.split()


def ask_at_once(port, number):
    """Make so many requests; return the workers that answered, and what they said."""
    with ThreadPoolExecutor(CLIENTS) as threads:
        said = list(threads.map(lambda name: ask(port, name), range(number)))
    return {worker for worker, _ in said}, Counter(what for _, what in said)


@pytest.mark.parametrize("kind", KINDS)
def test_each_request_is_answered(environment_of, server, kind):
    """1,000 of 1,000, while a quarter of the connections behind them is lost."""
    server.play(LOSSES)
    with gunicorn(environment_of, server, "ours", *KINDS[kind]) as port:
        workers, said = ask_at_once(port, REQUESTS)

    assert said == {"answered": REQUESTS}
    assert len(workers) > 1
    assert server.counts().executed >= REQUESTS
    assert server.counts().handshakes < REQUESTS


def test_stock_loses_some(environment_of, server):
    """The control."""
    server.play(LOSSES)
    with gunicorn(environment_of, server, "stock", *KINDS["gthread"]) as port:
        _, said = ask_at_once(port, REQUESTS // 5)

    assert said["answered"] < REQUESTS // 5
    assert said["ConnectionError"] > 0


@pytest.mark.parametrize(("run", "expected"), [(True, "answered"), (False, "ConnectionError")])
def test_under_run(environment_of, server, run, expected):
    """`run --children` before `-m gunicorn`: nobody mounts anything. The control goes without."""
    server.play(ONE_RESET)
    before = ["-m", "resilient_transport", "run", "--children"] if run else []
    with gunicorn(environment_of, server, "installed", "--workers=1", before=before) as port:
        _, by_the_master = ask(port, "first")
        server.play(ONE_RESET)
        _, by_a_worker = ask(port, "1")

    assert (by_the_master, by_a_worker) == (expected, expected)
