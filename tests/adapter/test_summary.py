"""The `repr` of an adapter: what it is set to, what it leases, and no secret."""

import pickle
import ssl

import pytest
import requests
from urllib3.util import Retry

from resilient_transport import Breaker, ResilientAdapter, RetryPolicy
from resilient_transport.testing import Script

USUAL = "connect_timeout=10.0, read_timeout=300.0"
SETTINGS = {
    "": {},
    "retries=3": {"policy": RetryPolicy(retries=3)},
    "retries=0": {"max_retries": 0},
    "deadline=20, breaker=Breaker(failures=5, window=10.0, cool_down=30.0)": {
        "policy": RetryPolicy(deadline=20, breaker=Breaker())
    },
    "allowed_methods=['GET', 'POST'], statuses=[500]": {
        "policy": RetryPolicy(allowed_methods=["post", "get"], statuses={500})
    },
}
OPTIONS = {
    f"{USUAL}": {},
    "connect_timeout=2, read_timeout=None": {"connect_timeout": 2, "read_timeout": None},
    f"{USUAL}, idle_timeout=30, max_age=60, dns_order='ipv4first', handshakes=2, tcp_keepalive=0": {
        "idle_timeout": 30, "max_age": 60, "dns_order": "ipv4first", "handshakes": 2, "tcp_keepalive": 0,
    },
    f"{USUAL}, pool_connections=3, pool_maxsize=4, pool_block=True": {
        "pool_connections": 3, "pool_maxsize": 4, "pool_block": True,
    },
    f"{USUAL}, ssl_context=..., key_password=..., disable=..., on_event=...": {
        "ssl_context": ssl.create_default_context(), "key_password": "s3cret", "on_event": print,
        "disable": ["https://api.example/s3cret"],
    },
}  # fmt: skip


@pytest.mark.parametrize("told", SETTINGS)
def test_it_tells_what_is_not_the_default_policy(told):
    """Every field that somebody has set, and nothing else."""
    expected = f"<ResilientAdapter, policy: {told or 'default'}; {USUAL}; leased pools: 0>"

    assert repr(ResilientAdapter(**SETTINGS[told])) == expected


@pytest.mark.parametrize("told", OPTIONS)
def test_it_tells_timeouts_and_what_else_is_set(told):
    """Of a context, a password, a hook and what is disabled only that it is there."""
    assert repr(ResilientAdapter(**OPTIONS[told])) == (
        f"<ResilientAdapter, policy: default; {told}; leased pools: 0>"
    )


def test_it_tells_a_retry_by_its_limits():
    """Those that a `Retry` of urllib3 brings, under their names there."""
    shown = repr(ResilientAdapter(max_retries=Retry(total=4, connect=2)))

    assert "limits={" in shown
    assert "total: 4" in shown
    assert "connect: 2" in shown


def test_the_environment_is_told_too(environment):
    """What it has set is not the default."""
    environment(retries=7, idle_timeout=5, bypass="on")

    assert repr(ResilientAdapter()) == (
        f"<ResilientAdapter, bypassed; {USUAL}, idle_timeout=5.0; leased pools: 0>"
    )


def test_it_counts_the_pools_that_it_leases(server, dial, fault_server_factory):
    """One for each origin, whatever lies idle elsewhere; none once it is closed."""
    server.play(Script())
    other = fault_server_factory(tls=False)
    session = dial(server)
    adapter = session.get_adapter(server.url)
    session.get(server.url)
    session.get(other.url)
    used = repr(adapter)
    session.close()

    assert used.endswith("; leased pools: 2>")
    assert repr(adapter).endswith("; leased pools: 0>")


def test_it_counts_its_proxies_and_names_none():
    """Their URLs may hold passwords."""
    adapter = ResilientAdapter()
    adapter.proxy_manager_for("http://user:s3cret@proxy.example:3128")

    assert repr(adapter).endswith("; leased pools: 0, proxies: 1>")


def test_a_subclass_and_a_copy_tell_the_same():
    """By the name of its class, and after a pickle."""
    adapter = Named(policy=RetryPolicy(retries=2))

    assert repr(adapter) == f"<Named, policy: retries=2; {USUAL}; leased pools: 0>"
    assert repr(pickle.loads(pickle.dumps(adapter))) == repr(adapter)


class Named(ResilientAdapter):
    """A subclass."""


def test_what_stock_tells_is_less():
    """The control: the adapter of requests tells where it is in memory."""
    assert " object at 0x" in repr(requests.adapters.HTTPAdapter())
