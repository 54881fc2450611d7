"""The examples of docs/clusters.md run as they stand, but for the names of the server and its files."""

import json

import cloudpickle
import pytest
import requests

from resilient_transport import uninstall
from resilient_transport.installation import _installed
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.examples import for_server, headed_examples_of
from tests.neighbours.environments import WORKERS
from tests.programs import ROOT, run_python

EXAMPLES = headed_examples_of("docs/clusters.md")
#: Stock loses the first call of a process to it.
FIRST_IS_RESET = Script((Rule(Fault(Moment.EXECUTED), first=1),))
PATHS = [f"/words/{number}" for number in range(1, 6)]
#: Runs a worker of celery with the example in this process: its broker is in memory, and results are files.
CELERY = """
import json, sys
from celery.contrib.testing.worker import start_worker
import pages

pool, folder = sys.argv[1:]
pages.app.conf.update(broker_url="memory://", result_backend="file://" + folder)
with start_worker(pages.app, pool=pool, concurrency=1, perform_ping_check=False):
    results = [pages.fetch.delay(f"/words/{number}") for number in range(1, 6)]
    texts = [result.get(timeout=60, propagate=False) for result in results]
print(json.dumps([len(text.split()) if isinstance(text, str) else type(text).__name__ for text in texts]))
"""


@pytest.fixture(autouse=True)
def uninstalled():
    """End each test with stock requests."""
    yield
    uninstall()


@pytest.fixture
def example(server):
    """Return a function that returns an example for the server, which then resets the first connection."""

    def made(name, without=""):
        server.play(FIRST_IS_RESET)
        server.reset_peers()
        assert without in EXAMPLES[name]
        return for_server(EXAMPLES[name].replace(without, "", 1), server)

    return made


def test_each_way_has_an_example():
    """None is passed over."""
    assert list(EXAMPLES) == ["dask", "Celery", "Spark"]


@pytest.mark.slow
def test_dask(example, tmp_path):
    """A cluster in processes, with the sum of what its workers have counted."""
    program = tmp_path / "pages.py"
    program.write_text(example("dask"))
    # Another cluster of this machine may have the port of dask's dashboard, which is warned of.
    ran = run_python("-W", "ignore", str(program), PYTHONPATH=str(ROOT))
    words, head, figures = ran.stdout.splitlines()

    assert words == "210 words"
    assert head.split()[:3] == ["origin", "calls", "failed"]
    # One connection for each worker, warmed, and the calls.
    assert figures.split()[1:4] == ["22", "0", "20"]


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "solo"])
@pytest.mark.parametrize(
    ("without", "first"),
    [("", 1), ("@worker_process_init.connect", "ConnectionError")],
    ids=["with", "without"],
)
def test_celery(environment_of, example, tmp_path, pool, without, first):
    """Each process of a pool has the transport. The control: without the signal's line, a task fails."""
    celery = environment_of("workers", *WORKERS)
    results = tmp_path / "results"
    results.mkdir()
    (tmp_path / "pages.py").write_text(example("Celery", without))
    ran = celery.run("-c", CELERY, pool, str(results), PYTHONPATH=f"{tmp_path}:{ROOT}")

    assert json.loads(ran.stdout.splitlines()[-1]) == [first, 2, 3, 4, 5]


def partitions(example):
    """Do with an example what Spark does in one of its processes: two partitions, one after the other."""
    program = {}
    exec(compile(example, "clusters.md", "exec"), program)
    fetch = cloudpickle.loads(cloudpickle.dumps(program["fetch_partition"]))
    return dict(pair for partition in (PATHS[:3], PATHS[3:]) for pair in fetch(iter(partition)))


def test_spark(example):
    """The transport is installed once, and holds for both partitions."""
    texts = partitions(example("Spark"))

    assert [len(texts[path].split()) for path in PATHS] == [1, 2, 3, 4, 5]
    assert len(_installed) == 1


def test_spark_with_stock(example):
    """The control: without the installation, the first call fails."""
    with pytest.raises(requests.ConnectionError):
        partitions(example("Spark", "    installed_once()\n"))

    assert _installed == []
