"""4 workers of dask map 1,000 URLs each over a server that resets; one is killed on the way."""

import os
from functools import partial

import pytest

from resilient_transport.dask import InstallAdapter, cluster_stats, sums
from resilient_transport.telemetry.stats import OriginStats
from tests.neighbours.cluster import (
    EACH,
    RESETS,
    WORKERS,
    Site,
    back_again,
    cluster_of,
    fetched,
    killing_after,
    mapped,
    transport,
    wrong,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Return the client of a cluster that the tests of this module share."""
    with cluster_of(WORKERS, tmp_path_factory.mktemp("dask")) as client:
        yield client


@pytest.fixture
def site(server):
    """Return what a task has to know of the server, which resets what it is asked from now on."""
    server.play(RESETS)
    server.reset_peers()
    return Site.of(server)


@pytest.fixture
def installed(client, site):
    """Let all workers have the transport, and stock's again after the test."""
    client.register_plugin(InstallAdapter())
    yield
    client.unregister_worker_plugin(InstallAdapter.name)


def test_stock_loses_some(client, server, site):
    """The control: the same tasks on the same workers without the plugin."""
    results = client.gather(mapped(client, site, range(1, 201)))
    lost = [size for sizes, bodies in results.items() for size in wrong(sizes, bodies)]

    assert set(client.run(transport).values()) == {("HTTPAdapter", False)}
    assert len(lost) >= 5


def test_every_body_is_right(client, server, site, installed):
    """Of all URLs, whatever the server resets; and the sum of what the workers tell is what was done."""
    before = cluster_stats(client).get(site.url, OriginStats())
    results = client.gather(mapped(client, site, range(1, WORKERS * EACH + 1)))
    total = cluster_stats(client)
    lost = [size for sizes, bodies in results.items() for size in wrong(sizes, bodies)]
    counts = server.counts()

    assert lost == []
    assert sum(map(len, results)) == WORKERS * EACH
    assert set(client.run(transport).values()) == {("ResilientAdapter", True)}
    assert (total.processes, total.missing) == (WORKERS, {})
    assert total[site.url].calls - before.calls == WORKERS * EACH
    assert total[site.url].failed_calls == {}
    # Resets were not rare.
    assert total[site.url].recovered - before.recovered > WORKERS * EACH / 25
    assert counts.accepts > WORKERS * EACH / 25


def test_a_killed_worker_loses_nothing(client, server, site, installed):
    """What was returned stays, what it had not returned others do again, and the next one has the adapter."""
    futures = mapped(client, site, range(1, EACH + 1))
    returned, killed = killing_after(5, client, list(futures.values()))
    results = {sizes: future.result() for sizes, future in futures.items()}
    back_again(client, WORKERS, killed)
    later = client.run(transport)

    assert [size for sizes, bodies in results.items() for size in wrong(sizes, bodies)] == []
    assert sum(map(len, results)) == EACH
    assert {
        key: results[sizes] for sizes, future in futures.items() if (key := future.key) in returned
    } == returned
    assert len(returned) == 5
    assert (len(later), set(later.values())) == (WORKERS, {("ResilientAdapter", True)})


def test_a_worker_that_ends_meanwhile_is_named(client, site, installed):
    """Its counts are gone with it, and the sum says so; the others' are there."""
    client.gather(client.map(partial(fetched, site), [(1,)] * WORKERS, pure=False))
    victim, pid = next(iter(client.run(os.getpid).items()))
    client.run(ends_when_asked, workers=[victim])
    total = cluster_stats(client)
    back_again(client, WORKERS, pid)
    after = cluster_stats(client)

    assert (total.processes, list(total.missing)) == (WORKERS - 1, [victim])
    assert f"missing: {victim}: " in str(total)
    assert (after.processes, after.missing) == (WORKERS, {})


def ends_when_asked():
    """Let the worker's process end when it is asked for its counts."""
    sums.stats = partial(os._exit, 1)
