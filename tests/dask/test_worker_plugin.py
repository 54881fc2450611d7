"""One installation for each worker, with one set of settings."""

import asyncio
import pickle
import ssl
import time
from itertools import permutations
from types import SimpleNamespace

import cloudpickle
import pytest
import requests

from resilient_transport import ResilientAdapter, RetryPolicy, install, stats
from resilient_transport.dask import InstallAdapter
from resilient_transport.installation import _installed
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.programs import run_python
from tests.timeouts import LONG_TIMEOUT


def in_force():
    """Return how often a new session repeats a call; None: it is stock's."""
    adapter = requests.Session().get_adapter("https://api.example")
    return adapter.policy.retries if isinstance(adapter, ResilientAdapter) else None


def eventually(holds):
    """Wait until something holds."""
    end = time.monotonic() + LONG_TIMEOUT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


class Working:
    """As much of a worker as a plugin looks at."""

    def __init__(self, cluster):
        self.scheduler = SimpleNamespace(address=cluster)


def workers_of(cluster, number=1):
    """Return workers of a cluster."""
    return [Working(cluster) for _ in range(number)]


def started(plugin, workers):
    """Do what workers do when they get a plugin out of its pickle."""
    sent = cloudpickle.dumps(plugin)
    there = [pickle.loads(sent) for _ in workers]
    for one, worker in zip(there, workers, strict=True):
        asyncio.run(one.setup(worker))
    return there


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_workers_of_one_process_end_in_any_order(order):
    """Each has its own installation, with a hook of which each pickle makes another; none is warned of."""
    workers = workers_of("tcp://a:1", 3)
    there = started(InstallAdapter(max_retries=7, on_event=lambda event: None), workers)
    seen = []
    for index in order:
        seen.append(in_force())
        there[index].teardown(workers[index])

    assert seen == [7, 7, 7]
    assert in_force() is None


def test_copies_of_a_hook_would_be_told_of():
    """The control: of two copies of a hook, `install` warns."""
    sent = cloudpickle.dumps({"on_event": lambda event: None})
    install(**pickle.loads(sent))

    with pytest.warns(RuntimeWarning, match="on_event"):
        install(**pickle.loads(sent))


def test_a_worker_whose_start_has_failed_ends_nobody_elses():
    """Its end leaves those of others alone."""
    good, bad = workers_of("tcp://a:1", 2)
    (there,) = started(InstallAdapter(max_retries=7), [good])
    there.teardown(bad)

    assert in_force() == 7


def test_two_clusters_of_one_process_that_differ_are_told_of():
    """Tasks of the one would have the settings of the other; the program's own installation counts, too."""
    started(InstallAdapter(max_retries=7), workers_of("tcp://a:1"))

    with pytest.warns(
        RuntimeWarning,
        match="the InstallAdapter 'resilient_transport' of tcp://b:2 differs from .* of tcp://a:1",
    ):
        started(InstallAdapter(max_retries=8), workers_of("tcp://b:2"))
    with pytest.warns(RuntimeWarning, match=f"{__name__.split('.')[-1]}.py:.* of tcp://b:2"):
        install(max_retries=9)


def test_it_pickles():
    """With its settings, and without what it has installed here; again, where it has come to."""
    plugin = InstallAdapter(policy=RetryPolicy(retries=0), mounted=False, warm=["http://127.0.0.1:1"])
    state = dict(vars(plugin))
    asyncio.run(plugin.setup(*workers_of("tcp://a:1")))
    there = pickle.loads(pickle.dumps(plugin))
    again = pickle.loads(pickle.dumps(there))

    assert vars(there) == vars(again) == {**state, "_installations": {}}
    assert in_force() == 0


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, TypeError, "paths in verify="),
        ({"key_password": "swordfish"}, TypeError, "importable function"),
        ({"idle_timeout": -1}, ValueError, "idle_timeout"),
        ({"no_such": 1}, TypeError, "no_such"),
        ({"warm": "https://api.example"}, TypeError, "list of URLs"),
        ({"warm": [{"url": "https://api.example", "certificate": "x"}]}, TypeError, "certificate"),
        ({"warm": [{"verify": "ca.pem"}]}, TypeError, "url"),
        ({"warm": [{"url": b"https://api.example"}]}, TypeError, "as text, not bytes"),
        ({"mounted": 1}, TypeError, "mounted"),
    ],
)
def test_what_cannot_be_is_refused_before_it_is_sent(settings, error, said):
    """Where the plugin is made, and not in the log of a worker."""
    with pytest.raises(error, match=said):
        InstallAdapter(**settings)


def test_no_pickle_holds_a_password():
    """The control: what asks for it may travel, by its name."""
    assert b"swordfish" not in pickle.dumps(InstallAdapter(key_password=password))


def password():
    """Return the password of a key."""
    return "swordfish"


def test_registered_twice_it_is_there_once(cluster):
    """The second takes the place of the first, and with its removal stock is back."""
    with cluster(2) as client:
        before = set(client.run(in_force).values())
        client.register_plugin(InstallAdapter(max_retries=3))
        client.register_plugin(InstallAdapter(max_retries=4))
        within = set(client.run(in_force).values())
        client.unregister_worker_plugin(InstallAdapter.name)
        after = set(client.run(in_force).values())

    assert (before, within, after) == ({None}, {4}, {None})


def test_workers_that_join_later_have_it(cluster):
    """And those that close end theirs, and no other's."""
    seen = []
    with cluster(1) as client:
        client.register_plugin(InstallAdapter(max_retries=4))
        for workers in (1, 3, 1):
            client.cluster.scale(workers)
            eventually(lambda workers=workers: len(_installed) == workers)
            # One that is about to close may still be asked.
            seen.append((len(client.run(in_force, on_error="ignore")), in_force()))

    assert seen == [(1, 4), (3, 4), (1, 4)]
    assert (_installed, in_force()) == ([], None)


def test_its_connections_are_there_before_a_task(cluster, server):
    """With the certificates that the tasks will use; the first call finds one, shaken hands and all."""
    server.play(Script())
    where = {"url": server.url, "verify": server.authority.ca_file, "cert": server.authority.client}
    with cluster(1) as client:
        client.register_plugin(InstallAdapter(warm=[{**where, "connections": 2}]))
        idle = stats()[server.url].idle
        client.submit(fetched, server.url, where["verify"], where["cert"]).result()

    assert idle == 2
    assert (server.counts().accepts, server.counts().requests) == (2, 1)


def fetched(url, verify, cert):
    """Make a call as a task does."""
    return requests.get(url, verify=verify, cert=cert).status_code


def test_without_it_the_first_task_connects(cluster, server):
    """The control."""
    server.play(Script())
    server.reset_peers()
    with cluster(1) as client:
        client.register_plugin(InstallAdapter())

        assert server.url not in stats()


@pytest.mark.parametrize("retries", [0, 1])
def test_a_server_that_cannot_be_warmed_fails_no_start(cluster, server, retries):
    """The worker's log says which server, and what has happened; and no secret of its URL."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO)),)))
    with cluster(1) as client:
        client.register_plugin(
            InstallAdapter(
                policy=RetryPolicy(retries=retries, backoff=0), warm=[f"{server.url}/words/3?token=swordfish"]
            )
        )
        (log,) = client.get_worker_logs().values()
        told = [line for level, line in log if level == "WARNING"]
        still = client.submit(in_force).result()

    assert still == retries
    assert len(told) == 1
    assert f"warming {server.url} failed: ConnectionError, {retries + 1} attempt" in told[0]
    assert "swordfish" not in told[0]


def test_without_distributed_it_says_what_is_missing():
    """And the rest of the package needs none."""
    program = "import sys; sys.modules['distributed'] = None; import resilient_transport.{}"
    ran = run_python("-c", program.format("dask"), check=False)

    assert ran.stderr.splitlines()[-1] == (
        "ImportError: resilient_transport.dask takes distributed: pip install distributed"
    )
    assert run_python("-c", program.format("public_names")).stderr == ""
