"""A cluster of dask workers, each in a process of its own, and what tasks do there.

What a task calls is a function of this module, which the workers import.
"""

import os
import signal
import time
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, NamedTuple

import dask
import pytest
import requests
from distributed import Client, LocalCluster, as_completed

from resilient_transport import ResilientAdapter, attempts_of, events
from resilient_transport.testing import Fault, Moment, Rule, Script
from resilient_transport.testing.engine.pages import noise
from tests.tblib_installed import tblib_installed
from tests.timeouts import HANG_TIMEOUT

#: How many workers there are, and how many URLs of a server each of them is to fetch.
WORKERS, EACH = 4, 1000
#: What calls have in their headers and queries.
SECRET = "8f14e45fceea167a"
#: How many URLs one task fetches.
BATCH = 50
#: Breaks one of five handshakes, half of the connections at their 12th request, and each at its 20th or 21st.
RESETS = Script(
    (
        Rule(Fault(Moment.HANDSHAKE), probability=0.2),
        Rule(Fault(Moment.EXECUTED), probability=0.5, on_request=12),
        # A body of one byte passes unharmed.
        Rule(Fault(Moment.BODY, after_bytes=1), on_request=20),
        Rule(Fault(Moment.EXECUTED), on_request=21),
    ),
    seed=16,
)


#: Of dask. On a busy machine a nanny takes longer than the 15 s after which the cluster gives a worker up.
#: And to look at what each thread does, a hundred times a second, takes more than the tasks.
CONFIGURATION = {
    "distributed.deploy.lost-worker-timeout": HANG_TIMEOUT,
    "distributed.worker.profile.enabled": False,
}


@contextmanager
def cluster_of(workers, folder, **options):
    """Start workers, each a process with a nanny that starts it anew if it dies; return a client.

    Args:
        workers: how many.
        folder: where they keep their files.
        options: what else `LocalCluster` takes.
    """
    settings = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", **options}
    with tblib_installed(), dask.config.set(CONFIGURATION), pytest.MonkeyPatch.context() as patch:
        # Tests in one process cover the package; to measure workers would take as long as their work.
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        with (
            LocalCluster(
                n_workers=workers, processes=True, local_directory=str(folder), **settings
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


class Site(NamedTuple):
    """What a task has to know of a server."""

    #: Where it is.
    url: str
    #: The file of its CA, and the files of a client's certificate and key.
    ca_file: str
    client: tuple[str, str]

    @classmethod
    def of(cls, server):
        """Return that of a fault server."""
        return cls(server.url, server.authority.ca_file, server.authority.client)

    def session(self):
        """Return a session for it, as any program makes one."""
        session = requests.Session()
        # To look for proxies takes as long as the call.
        session.trust_env = False
        session.verify, session.cert = self.ca_file, self.client
        return session

    @property
    def warm(self):
        """Return what `warm` is told of it."""
        return {"url": self.url, "verify": self.ca_file, "cert": self.client}


def fetched(site, sizes):
    """A task: fetch a page of each size over one session; where that fails, return the name of the error."""
    with site.session() as session:
        return [_fetched(session, f"{site.url}/bytes/{size}") for size in sizes]


def _fetched(session, url):
    try:
        return session.get(url).content
    except requests.RequestException as error:
        return type(error).__name__


def mapped(client, site, sizes):
    """Let the cluster fetch pages of these sizes; return what becomes of each batch, by its sizes."""
    sizes = list(sizes)
    batches = [tuple(sizes[start : start + BATCH]) for start in range(0, len(sizes), BATCH)]
    return dict(zip(batches, client.map(partial(fetched, site), batches, pure=False), strict=True))


def wrong(sizes, bodies):
    """Return the sizes whose body is not what the server has, or not there."""
    return [size for size, body in zip(sizes, bodies, strict=True) if body != noise(size)]


def kill_one(client):
    """Kill one worker's process, as the kernel does when memory is short; return its address and number."""
    address, pid = next(iter(client.run(os.getpid).items()))
    os.kill(pid, signal.SIGKILL)
    return address, pid


def killing_after(number, client, futures):
    """Kill a worker when so many batches are done; return their results by key, and the worker's number."""
    done: dict[Any, Any] = {}
    for future in as_completed(futures):
        done[future.key] = future.result()
        if len(done) == number:
            break
    return done, kill_one(client)[1]


def back_again(client, workers, killed):
    """Wait until there are so many workers, and none of them is the process of this number."""
    end = time.monotonic() + HANG_TIMEOUT / 2
    while len(pids := client.run(os.getpid, on_error="ignore")) < workers or killed in pids.values():
        assert time.monotonic() < end, pids
        time.sleep(0.1)


def hear():
    """A task: keep what this process is told of shared limits from now on."""
    heard.clear()
    events.subscribe(_keep)


def _keep(event):
    if isinstance(event, (events.SharedLimitsLost, events.SharedLimitsFound)):
        heard.append(type(event).__name__)


#: What this process was told of shared limits.
heard: list[str] = []


def told():
    """A task: return what this process was told of shared limits."""
    return list(heard)


def asked(url, calls):
    """A task: make calls over one session; return the statuses that they end with."""
    with requests.Session() as session:
        session.trust_env = False
        return [session.get(url).status_code for _ in range(calls)]


def transport():
    """A task: tell which adapter a new session has."""
    kind = type(requests.Session().get_adapter("https://api.example"))
    return kind.__name__, kind is ResilientAdapter


def called(site, session=None, calls=1):
    """A task: make calls by a session that has come, or by one of its own; return it, and the last answer."""
    session = session or site.session()
    for last in reversed(range(calls)):
        with suppress(requests.RequestException) if last else nullcontext():
            response = session.get(f"{site.url}/words/99?token={SECRET}", headers={"Authorization": SECRET})
    return session, response


def same(value):
    """A task: return what has come, and the attempts that this process sees in it."""
    return value, attempts_of(value)
