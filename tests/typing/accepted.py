"""What type checkers must accept: everything that is allowed at run time."""

from pathlib import Path

import requests
from typing_extensions import Unpack

import resilient_transport
from resilient_transport import (
    AdapterArguments,
    Identity,
    ResilientAdapter,
    RetryPolicy,
    install,
    mount,
    override,
    recording,
)
from resilient_transport.events import Event
from resilient_transport.redis import RedisLimits
from resilient_transport.waterfall import Recording

session = requests.Session()


def hook(event: Event) -> None:
    """Be told."""


def identity() -> Identity:
    """Give who this client is."""
    return Identity.from_pkcs12(b"", "password", ca="")


def wrap(**settings: Unpack[AdapterArguments]) -> ResilientAdapter:
    """Pass arguments on."""
    with install(**settings):
        return mount(session, **settings)


def call() -> str:
    """Make a call."""
    return session.get("https://api.example/").text


def use() -> None:
    """Use what is public."""
    adapter: ResilientAdapter = mount(session)
    mount(session, policy=RetryPolicy(deadline=20), connect_timeout=None, on_event=hook, pool_maxsize=3)
    mount(session, max_retries=3, dns_order="ipv4first", disable=["https://a.example"], key_password=b"x")
    mount(session, identity=identity)
    install(identity=Identity(b"", "", b"", ca=None))
    ResilientAdapter(10, 10, 3, False, warm=["https://a.example", {"url": "https://b.example"}])
    with install(policy=RetryPolicy(retries=3), read_timeout=5):
        pass
    install(mounted=False, max_retries=3).end()
    left: dict[str, int] = resilient_transport.stats().left_alone
    with override(retries=0, deadline=5.5, retry_non_idempotent=True):
        pass
    with recording() as record:
        kept: Recording = record
    kept.html("page.html")
    kept.har(Path("calls.har"))
    seconds: list[float] = [chart.seconds for chart in kept.charts()]
    text: str = override(retries=0).wrap(call)()
    methods: list[str] = ["GET"]
    RetryPolicy(allowed_methods=methods, statuses=[500], retry_after_statuses=(503,))
    RetryPolicy(shared=RedisLimits("redis://localhost", prefix="ours", timeout=1))
    RetryPolicy(allowed_methods={"GET"}, statuses={500}, retry_after_statuses=frozenset({503}))
    RetryPolicy(allowed_methods=("GET",), statuses=(500,), retry_after_statuses=[503])
    RetryPolicy(statuses=range(500, 600), retry_after_statuses=range(400, 500))
    wrap(connect_timeout=3, policy=RetryPolicy(retries=3))
    policy = RetryPolicy(allowed_methods=None)
    found: bool = 500 in policy.statuses
    version: str = resilient_transport.__version__
    numbers: dict[str, int] = resilient_transport.stats()["https://a.example"].failed_calls
    print(adapter, text, found, version, numbers, left, seconds)
