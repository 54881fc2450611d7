"""An `HTTPAdapter` that is mounted under `install` has this transport, and what it was told itself holds."""

import copy
import logging
import pickle
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from types import MethodType

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.poolmanager import PoolManager
from urllib3.util import Retry

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, install, stats, uninstall
from resilient_transport.pool.manager import LeasingPoolManager
from resilient_transport.retry.decision import RESET_PAUSE
from resilient_transport.retry.urllib3_retry import policy_from
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT

PLAIN = "requests.adapters.HTTPAdapter"
URL = "https://localhost"


@pytest.fixture(autouse=True)
def uninstalled(server):
    """Begin each test with a server that does nothing wrong, and end it with stock requests."""
    server.play(Script())
    yield
    uninstall()


def mounted(adapter):
    """Return an adapter that a session has mounted for both schemes."""
    session = requests.Session()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    assert session.get_adapter(URL) is adapter
    return adapter


def outcome(dial, server, method, adapter):
    """What comes of one call with an adapter: the status, or the exception's class."""
    try:
        return dial(server, adapter).request(method, server.url + "/words/300").status_code
    except requests.RequestException as error:
        return type(error)


RESETS = {
    "handshake": Fault(Moment.CLIENT_HELLO),
    "request": Fault(Moment.EXECUTED),
    "body": Fault(Moment.BODY, after_bytes=50),
}


@pytest.mark.parametrize(("method", "moment"), [("POST", "handshake"), ("GET", "request"), ("GET", "body")])
@pytest.mark.parametrize("takes_over", [True, False])
def test_a_mounted_adapter_survives(server, dial, method, moment, takes_over):
    """Also where stock does not repeat; that is the control, since it is left alone there."""
    server.play(Script((Rule(RESETS[moment], first=1),)))
    survives = takes_over or moment == "request"
    with install(mounted=takes_over):
        found = outcome(dial, server, method, HTTPAdapter(max_retries=Retry(3)))

    assert (found == 200) is survives


@pytest.mark.parametrize(
    ("given", "settings", "most"),
    [
        (HTTPAdapter(), {}, 6),
        (HTTPAdapter(), {"max_retries": 2}, 3),
        (HTTPAdapter(max_retries=0), {"policy": RetryPolicy(retries=2, backoff=0.001)}, 3),
        (HTTPAdapter(max_retries=1), {"max_retries": 2}, 2),
        (HTTPAdapter(max_retries=Retry(1)), {}, 2),
        (HTTPAdapter(max_retries=Retry(0)), {"max_retries": 2}, 1),
        (HTTPAdapter(max_retries=Retry(3, read=1)), {"policy": RetryPolicy(retries=2)}, 2),
    ],
    ids=["default", "installed", "0", "1", "Retry(1)", "Retry(0)", "Retry(3, read=1)"],
)
def test_what_is_nearer_says_how_often(server, dial, pauses, given, settings, most):
    """The adapter's own number holds; without one, the installation's; without any, the default."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), on_request=None),)))
    with install(**settings):
        session = dial(server, pickle.loads(pickle.dumps(given)))
        with pytest.raises(requests.ConnectionError):
            session.get(server.url, headers={"X-Request-Id": "one"})

    assert server.counts().executions == {"one": most}


def test_a_default_of_the_program_counts(monkeypatch):
    """Who has set requests' own default for everybody means these adapters, too."""
    monkeypatch.setattr(requests.adapters, "DEFAULT_RETRIES", 7)

    with install():
        counts = [mounted(HTTPAdapter(**given)).policy.retries for given in ({}, {"max_retries": 7})]

    assert counts == [7, 7]


def test_a_retry_is_translated_to_the_letter():
    """As `ResilientAdapter(max_retries=...)` translates it; a change in place counts as well."""
    retry = Retry(4, connect=1, backoff_factor=0.3, status_forcelist=[503], allowed_methods=["PUT"])

    with install():
        adapter = mounted(HTTPAdapter(max_retries=retry))
    at_first = adapter.policy
    retry.total = 9

    assert at_first == policy_from(Retry(**{**vars(retry), "total": 4, "redirect": None}))
    assert adapter.max_retries is retry
    assert adapter._retry_settings.in_force() == policy_from(retry)


@pytest.mark.parametrize(
    ("retry", "is_told"),
    [(Retry(3), False), (Retry(3, backoff_factor=0.3), True), (Retry(3, backoff_jitter=0.2), True)],
)
def test_a_retry_without_pauses_gets_some(retry, is_told):
    """It says how often. To `ResilientAdapter` itself it says that there are to be none."""
    with install():
        taken = mounted(HTTPAdapter(max_retries=retry)).policy
    with install(policy=RetryPolicy(backoff=0.7)):
        patient = mounted(HTTPAdapter(max_retries=retry)).policy

    assert (taken.backoff == RESET_PAUSE, patient.backoff == 0.7) == (not is_told, not is_told)
    assert taken.limits == policy_from(retry).limits
    assert ResilientAdapter(max_retries=retry).policy == policy_from(retry)


def test_deadlines_of_an_installation_hold_beside_a_retry():
    """A `Retry` has no word for them."""
    with install(policy=RetryPolicy(retries=9, deadline=20)):
        policy = mounted(HTTPAdapter(max_retries=Retry(2))).policy

    assert (policy.deadline, policy.limits) == (20, policy_from(Retry(2)).limits)


def test_what_the_program_holds_stays_true():
    """The same object: what is assigned to it later counts, and its own attributes are there."""
    adapter = HTTPAdapter()
    adapter.label = "mine"
    proxies = adapter.proxy_manager

    with install():
        mounted(adapter)
    adapter.max_retries = 2

    assert type(adapter) is ResilientAdapter
    assert isinstance(adapter, HTTPAdapter)
    assert (adapter.policy.retries, adapter.max_retries.total, adapter.label) == (2, 2, "mine")
    assert adapter.proxy_manager is proxies
    assert "max_retries" not in vars(adapter)


def test_pool_arguments_are_the_adapters_own():
    """Whatever the installation says of them."""
    with install(pool_maxsize=50, pool_block=False, pool_connections=60, read_timeout=5):
        adapter = mounted(HTTPAdapter(3, 4, pool_block=True))

    assert (adapter._pool_connections, adapter._pool_maxsize, adapter._pool_block) == (3, 4, True)
    assert type(adapter.poolmanager) is LeasingPoolManager
    assert adapter.poolmanager.pools._maxsize == 3
    assert adapter.poolmanager.connection_pool_kw == {"maxsize": 4, "block": True}
    assert adapter._options.timeout[1] == 5


@pytest.mark.parametrize("block", [True, False])
def test_pool_block_bounds_connections(server, dial, block):
    """Eight threads have two connections at the most; without `pool_block`, the control, they have more."""
    server.play(Script(response_delay=0.05))
    with install():
        session = dial(server, HTTPAdapter(pool_maxsize=2, pool_block=block))
        with ThreadPoolExecutor(8) as pool:
            together = threading.Barrier(8)
            calls = [
                pool.submit(lambda: (together.wait(LONG_TIMEOUT), session.get(server.url))[1].ok)
                for _ in range(8)
            ]
            done = [one.result(LONG_TIMEOUT) for one in calls]

    assert all(done)
    assert (server.counts().accepts <= 2) is block


@pytest.mark.parametrize("of_the_installation", [False, True])
def test_keywords_of_the_pool_manager_hold(server, authority, of_the_installation):
    """A TLS context that the program has put there is shown, also where the installation has another."""
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.load_cert_chain(*authority.client)
    adapter = HTTPAdapter()
    adapter.init_poolmanager(2, 3, block=True, ssl_context=context)
    settings = {"ssl_context": ssl.create_default_context()} if of_the_installation else {}

    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),)))
    with install(**settings), requests.Session() as session:
        session.trust_env = False
        session.mount("https://", adapter)
        response = session.get(server.url)

    assert len(attempts_of(response)) == 2
    assert adapter.poolmanager.connection_pool_kw == {"maxsize": 3, "block": True, "ssl_context": context}


def test_a_context_of_the_installation_holds(server, authority):
    """The control: where the program has none, the installation's is used."""
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.load_cert_chain(*authority.client)

    with install(ssl_context=context), requests.Session() as session:
        session.trust_env = False
        session.mount("https://", HTTPAdapter())

        assert session.get(server.url).ok


def patched(**values):
    """Return an adapter on which somebody has put something."""
    adapter = HTTPAdapter()
    vars(adapter).update(values)
    return adapter


class OwnManager(PoolManager):
    """Makes pools in a way of its own."""

    def connection_from_host(self, *args, **kwargs):
        return super().connection_from_host(*args, **kwargs)


class OwnRetry(Retry):
    """Has a method that this transport never calls."""

    def increment(self, *args, **kwargs):
        return super().increment(*args, **kwargs)


@pytest.mark.parametrize(
    ("adapter", "why"),
    [
        (patched(send=MethodType(HTTPAdapter.send, HTTPAdapter())), "its own send"),
        (patched(poolmanager=OwnManager()), "pools of its own, in a OwnManager"),
        (patched(poolmanager=object()), "pools of its own, in a object"),
        (HTTPAdapter(max_retries=OwnRetry(3)), "OwnRetry overrides increment"),
        (patched(max_retries="three"), "max_retries takes an int"),
        (object.__new__(HTTPAdapter), "it has no _pool_block"),
    ],
    ids=["method", "manager", "double", "Retry", "nonsense", "not made"],
)
def test_what_would_lose_its_own_ways_is_left(adapter, why, caplog):
    """It stays stock's, the log says why, and `stats` that it is there."""
    before = dict(vars(adapter))
    with caplog.at_level(logging.DEBUG, "resilient_transport"), install():
        mounted(adapter)

    assert type(adapter) is HTTPAdapter
    assert vars(adapter) == before
    assert why in caplog.text
    assert stats().left_alone == {
        f"{PLAIN}(max_retries={__name__}.OwnRetry)" if "OwnRetry" in why else PLAIN: 1
    }


@pytest.mark.parametrize("again", [copy.copy, lambda adapter: pickle.loads(pickle.dumps(adapter))])
def test_copies_have_the_same(server, dial, again):
    """A copy and a pickle of what was taken over are what it is."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),)))
    with install(read_timeout=7):
        adapter = mounted(HTTPAdapter(4, 5, max_retries=2, pool_block=True))
    other = again(adapter)

    assert type(other) is ResilientAdapter
    assert (other._pool_connections, other._pool_maxsize, other._pool_block) == (4, 5, True)
    assert (other.policy, other._options.timeout[1]) == (adapter.policy, 7)
    assert len(attempts_of(dial(server, other).get(server.url))) == 2


def test_bypassed_it_is_as_in_stock(server, dial, monkeypatch):
    """`RESILIENT_TRANSPORT_BYPASS` turns all of it off here, too; what was told to the adapter stays."""
    monkeypatch.setenv("RESILIENT_TRANSPORT_BYPASS", "1")
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),)))
    with install():
        adapter = mounted(HTTPAdapter(max_retries=Retry(3)))
    found = outcome(dial, server, "POST", adapter)

    assert type(adapter.poolmanager) is PoolManager
    assert adapter.max_retries.total == 3
    assert issubclass(found, requests.ConnectionError)


def test_an_adapter_that_is_in_use_is_taken_over(server, dial):
    """Threads that are sending with it meanwhile notice nothing."""
    adapter = HTTPAdapter(pool_maxsize=4)
    session, over = dial(server, adapter), threading.Event()

    def call():
        count = 0
        while not over.is_set() or count < 3:
            assert session.get(server.url).ok
            count += 1

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        server.wait_for(lambda counts: counts.requests > 8, LONG_TIMEOUT)
        with install():
            mounted(adapter)
        before = server.counts().requests
        server.wait_for(lambda counts: counts.requests > before + 8, LONG_TIMEOUT)
        over.set()
        for one in calls:
            one.result(LONG_TIMEOUT)

    assert type(adapter) is ResilientAdapter


def test_one_adapter_is_taken_over_by_many_threads_at_once():
    """They all find the same: its own number, its pools, nothing of stock's left."""
    with install(), ThreadPoolExecutor(8) as pool:
        for _ in range(50):
            adapter, together = HTTPAdapter(max_retries=3), threading.Barrier(8)
            tasks = [
                pool.submit(lambda one, gate: (gate.wait(LONG_TIMEOUT), mounted(one)), adapter, together)
                for _ in range(8)
            ]
            for task in tasks:
                task.result(LONG_TIMEOUT)

            assert adapter.max_retries.total == 3
            assert adapter.policy.limits == policy_from(Retry(3)).limits
            assert type(adapter.poolmanager) is LeasingPoolManager
            assert "max_retries" not in vars(adapter)
