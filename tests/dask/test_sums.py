"""What the workers of a cluster have counted, together."""

import pickle

import requests
from distributed import Client

from resilient_transport import stats
from resilient_transport.dask import InstallAdapter, cluster_stats
from resilient_transport.dask.sums import _here, _together
from resilient_transport.telemetry.stats import OriginStats, Stats
from resilient_transport.testing import Script

ONE = Stats({"https://a.example:443": OriginStats(calls=1, live=1)}, {"a.Adapter": 1})


def called(url, verify, cert):
    """Make a call as a task does."""
    return requests.get(url, verify=verify, cert=cert).status_code


def test_workers_of_one_process_count_once(cluster, server):
    """Three workers in this process have one `stats()`. The control: each tells all of it."""
    server.play(Script())
    with cluster(3) as client:
        client.register_plugin(InstallAdapter())
        files = server.authority.ca_file, server.authority.client
        client.gather([client.submit(called, server.url, *files, pure=False) for _ in range(5)])
        total = cluster_stats(client)
        each = [one[server.url].calls for _, one in client.run(_here).values()]

    assert dict(total) == dict(stats())
    assert total[server.url].calls == 5
    assert total.certificates == stats().certificates != {}
    assert (total.processes, total.missing, each) == (1, {}, [5, 5, 5])


def test_an_asynchronous_client_awaits_it(cluster):
    """As all that such a client returns."""

    async def asked(address):
        async with Client(address, asynchronous=True) as client:
            return await cluster_stats(client)

    with cluster(1) as client:
        total = client.sync(asked, client.scheduler.address)

    assert (dict(total), total.processes) == ({}, 1)


def test_processes_are_added():
    """By what a process is, not by who has told of it."""
    total = _together(
        {"tcp://a:1": (("x", 1), ONE), "tcp://a:2": (("x", 1), ONE), "tcp://b:1": (("x", 2), ONE)}
    )

    assert dict(total) == {"https://a.example:443": OriginStats(calls=2, live=2)}
    assert (total.left_alone, total.processes, total.missing) == ({"a.Adapter": 2}, 2, {})


def test_who_is_missing_is_named():
    """A worker that has ended is left out of the sum, and told with it."""
    gone = OSError("Timed out trying to connect")
    total = _together({"tcp://a:1": (("x", 1), ONE), "tcp://b:1": gone})
    line = "missing: tcp://b:1: OSError: Timed out trying to connect"

    assert (total.processes, total.missing) == (1, {"tcp://b:1": "OSError: Timed out trying to connect"})
    assert str(total).splitlines()[-1] == line
    assert str(total).startswith(str(ONE))
    assert repr(total).endswith(
        "left alone: {'a.Adapter': 1}, processes: 1, missing: " + repr(total.missing) + ">"
    )


def test_nobody_is_there():
    """A cluster without workers has made no calls."""
    total = _together({})

    assert (dict(total), total.processes, str(total)) == ({}, 0, "no calls yet")


def test_it_pickles():
    """A task may tell of it, too."""
    made = _together({"tcp://a:1": (("x", 1), ONE), "tcp://b:1": OSError("gone")})
    there = pickle.loads(pickle.dumps(made))

    assert (dict(there), there.left_alone) == (dict(made), made.left_alone)
    assert (there.processes, there.missing) == (made.processes, made.missing)
