"""4 workers of dask map 1,000 URLs each over a server that resets; one is killed, and so is Redis."""

import os
import time
from functools import partial

import pytest

from resilient_transport import RetryPolicy
from resilient_transport.dask import InstallAdapter, cluster_stats, sums
from resilient_transport.redis import RedisLimits
from resilient_transport.retry.budget import CAPACITY, RETRY_COST
from resilient_transport.telemetry.stats import OriginStats
from tests.end_to_end.verbatim_server import Answer, VerbatimServer
from tests.end_to_end.verbatim_server import told as answer_of
from tests.neighbours.cluster import (
    EACH,
    RESETS,
    WORKERS,
    Site,
    asked,
    back_again,
    cluster_of,
    fetched,
    hear,
    killing_after,
    mapped,
    told,
    transport,
    wrong,
)
from tests.real.conftest import require
from tests.real.servers import Redis
from tests.timeouts import HANG_TIMEOUT, LONG_TIMEOUT

pytestmark = pytest.mark.slow
#: Calls of each worker to a server that is down, and the repetitions that one quota allows.
CALLS, SHARE = 40, CAPACITY // RETRY_COST


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Return the client of a cluster that the tests of this module share."""
    with cluster_of(WORKERS, tmp_path_factory.mktemp("dask")) as client:
        yield client


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """Return a Redis."""
    require("redis-server")
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def site(server):
    """Return what a task has to know of the server, which resets what it is asked from now on."""
    server.play(RESETS)
    server.reset_peers()
    return Site.of(server)


@pytest.fixture
def installed(client, redis):
    """Let all workers have the transport, with one quota for all, and stock's again after the test."""
    client.register_plugin(InstallAdapter(policy=RetryPolicy(shared=RedisLimits(redis.url))))
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


def test_a_killed_worker_and_a_killed_redis_lose_nothing(client, server, site, redis, installed):
    """What was returned stays, what it had not returned others do again, and the next one has the adapter.

    Without Redis each worker keeps to a quota of its own, and says so, until it is back.
    """
    client.run(hear)
    futures = mapped(client, site, range(1, EACH + 1))
    returned, killed = killing_after(5, client, list(futures.values()))
    redis.kill()
    results = {sizes: future.result() for sizes, future in futures.items()}
    back_again(client, WORKERS, killed)
    lost = client.run(told)
    redis.start()
    found = until_found(client, site, lost)
    later = client.run(transport)

    assert [size for sizes, bodies in results.items() for size in wrong(sizes, bodies)] == []
    assert sum(map(len, results)) == EACH
    assert {
        key: results[sizes] for sizes, future in futures.items() if (key := future.key) in returned
    } == returned
    assert len(returned) == 5
    assert (len(later), set(later.values())) == (WORKERS, {("ResilientAdapter", True)})
    # The worker that has come since has not listened from its beginning.
    assert {said[0] for said in lost.values() if said} == {"SharedLimitsLost"}
    assert sum(map(bool, lost.values())) >= WORKERS - 1
    assert {said[-1] for said in found.values()} == {"SharedLimitsFound"}


def until_found(client, site, lost):
    """Let all workers call, until those that had lost Redis have found it; return what they were told."""
    end = time.monotonic() + HANG_TIMEOUT / 2
    while True:
        client.run(fetched, site, range(1, 51))
        found = {worker: said for worker, said in client.run(told).items() if lost.get(worker)}
        if all(said[-1] == "SharedLimitsFound" for said in found.values()):
            return found
        assert time.monotonic() < end, found


def busy(head):
    """Answer as a server that is down, but at /well."""
    status = "200 OK" if head.startswith(b"GET /well") else "503 Busy"
    return Answer(answer_of(status, b"", Content_Length="0"))


@pytest.mark.parametrize("is_shared", [True, False])
def test_all_workers_keep_to_one_quota(client, redis, is_shared):
    """To a server that is down, all send what one alone would send more; the control sends that for each."""
    limits = RedisLimits(redis.url, f"{__name__} {is_shared}", LONG_TIMEOUT) if is_shared else None
    policy = RetryPolicy(backoff=0.001, backoff_max=0.001, shared=limits)
    client.register_plugin(InstallAdapter(policy=policy))
    with VerbatimServer(busy) as origin:
        # A cold start has a free repetition.
        client.run(asked, origin.url + "well", 1)
        origin.heads.clear()
        statuses = client.run(asked, origin.url + "ill", CALLS)
        requests = len(origin.heads)
    client.unregister_worker_plugin(InstallAdapter.name)

    assert list(statuses.values()) == [[503] * CALLS] * WORKERS
    assert requests == WORKERS * CALLS + (SHARE if is_shared else WORKERS * SHARE)


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
