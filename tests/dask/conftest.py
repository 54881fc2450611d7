"""Workers in this process: they cost little, and share what is the process's."""

from contextlib import contextmanager

import pytest
from distributed import Client, LocalCluster

from resilient_transport import uninstall
from tests.slate import clean_slate  # noqa: F401 - a fixture
from tests.tblib_installed import tblib_installed


@pytest.fixture(autouse=True)
def uninstalled():
    """End each test with stock requests."""
    yield
    uninstall()


@pytest.fixture
def cluster(tmp_path):
    """Return a function that starts workers in threads of this process, and their client."""

    @contextmanager
    def started(workers):
        with (
            tblib_installed(),
            LocalCluster(
                n_workers=workers,
                threads_per_worker=2,
                processes=False,
                protocol="tcp",
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                local_directory=str(tmp_path),
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client

    return started
