"""locust: users in greenlets, each with a session that mounts an adapter of locust's own.

Runs where gevent has patched everything before anything else was imported.
"""

import pytest
from locust import HttpUser, task
from locust.env import Environment

from resilient_transport import install, mount, stats
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.neighbours.tools.conftest import QUICK

CALLS = 6


class User(HttpUser):
    """Asks for three words a few times, and leaves."""

    abstract = True
    wait_time = staticmethod(lambda: 0)
    is_mounted = False

    def on_start(self):
        """Trust the server; and mount the adapter, if that is the way."""
        self.client.trust_env = False
        self.client.verify, self.client.cert = self.files
        if self.is_mounted:
            mount(self.client, policy=QUICK)

    @task
    def words(self):
        """Do that."""
        for _ in range(CALLS):
            self.client.get("/words/3")
        self.environment.runner.quit()


def failures_of(server, **settings):
    """Run one user; return the numbers of its calls and of those that have failed."""
    authority = server.authority
    about = {"host": server.url, "files": (authority.ca_file, authority.client), "abstract": False}
    environment = Environment(user_classes=[type("Mine", (User,), {**about, **settings})])
    environment.create_local_runner().start(1, spawn_rate=1)
    environment.runner.greenlet.join(timeout=60)
    total = environment.stats.total
    return total.num_requests, total.num_failures


@pytest.mark.parametrize("way", ["mounted", "installed", "stock"])
def test_a_user_meets_no_reset_if_the_adapter_is_mounted(way, server):
    """Under `install()` locust's own class is left alone: a load test shows what its users would meet."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=1),)))
    if way == "installed":
        with install(policy=QUICK):
            told = failures_of(server)
    else:
        told = failures_of(server, is_mounted=way == "mounted")

    assert told == (CALLS, 0 if way == "mounted" else 1)
    assert stats().left_alone == ({"locust.clients.LocustHttpAdapter": 2} if way == "installed" else {})
