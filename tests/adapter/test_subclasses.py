"""Subclasses, mixins and patches that stock supports work here, and keep what this transport is for."""

import logging
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, registry
from resilient_transport.pool.manager import LeasingPoolManager, LeasingProxyManager
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.missing import require
from tests.pool.test_fork import in_child

#: The first two connections are reset before their handshake.
TWICE = Script((Rule(Fault(Moment.CLIENT_HELLO), first=2),))
HERE = ("127.0.0.1", 0)


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


class OwnManager(HTTPAdapter):
    """The pattern of requests' documentation: a subclass that makes urllib3's pool manager itself."""

    def init_poolmanager(self, connections, maxsize, block=False):
        self.poolmanager = PoolManager(
            num_pools=connections, maxsize=maxsize, block=block, source_address=HERE
        )


class Documented(OwnManager, ResilientAdapter):
    """The pattern, on top of this transport."""


def toolbelt(module, name):
    """Return a function that mixes an adapter of requests-toolbelt into this transport."""

    def make(*args, **kwargs):
        theirs = getattr(require(f"requests_toolbelt.adapters.{module}"), name)
        return type(name, (theirs, ResilientAdapter), {})(*args, **kwargs)

    return make


def served(server, session):
    """How many attempts a call needs of a server that resets the first two connections."""
    server.play(TWICE)
    return len(attempts_of(session.get(server.url)))


@pytest.mark.parametrize(
    "make",
    [
        Documented,
        lambda: toolbelt("source", "SourceAddressAdapter")(HERE),
        lambda: toolbelt("ssl", "SSLAdapter")(None),
        lambda: toolbelt("host_header_ssl", "HostHeaderSSLAdapter")(),
        lambda: toolbelt("socket_options", "TCPKeepAliveAdapter")(idle=60),
    ],
    ids=["documented", "source", "ssl", "host header", "keep-alive"],
)
def test_an_adapter_with_a_manager_of_its_own_repeats(server, dial, make):
    """Whatever pool manager it assigns, its resets are repeated."""
    assert served(server, dial(server, make())) == 3


def test_stock_with_a_manager_of_its_own_does_not_repeat(server, dial):
    """The control: the faults are there."""
    server.play(TWICE)

    with pytest.raises(requests.ConnectionError):
        dial(server, OwnManager()).get(server.url)


def test_what_a_manager_was_told_holds(server, dial):
    """Its settings are the leases', and so are those that are changed afterwards by who has kept it."""
    kept = PoolManager(num_pools=3, headers={"X-Own": "1"}, source_address=HERE, maxsize=7)
    adapter = ResilientAdapter()
    adapter.poolmanager = kept
    session = dial(server, adapter)
    session.get(server.url)
    manager = adapter.poolmanager
    (pool,) = [manager.pools[key] for key in manager.pools.keys()]  # noqa: SIM118 - urllib3's container
    kept.connection_pool_kw["assert_hostname"] = "elsewhere.example"

    with pytest.raises(requests.exceptions.SSLError, match=r"elsewhere\.example"):
        session.get(server.url)
    assert type(manager) is LeasingPoolManager
    assert (manager.pools._maxsize, manager.headers, pool.idle_capacity) == (3, {"X-Own": "1"}, 7)
    assert pool.conn_kw["source_address"] == HERE
    assert len(kept.pools) == 0


def test_toolbelts_fingerprint_is_compared(server, dial):
    """What such a manager pins is pinned, on a warm origin, too."""
    dial(server).get(server.url)
    adapter = toolbelt("fingerprint", "FingerprintAdapter")("00" * 32, max_retries=0)

    with pytest.raises(requests.exceptions.SSLError, match="(?i)fingerprint"):
        dial(server, adapter).get(server.url)


def test_an_adapter_with_a_manager_of_its_own_pickles(server, dial):
    """The copy makes its manager in the same way, and repeats."""
    copy = pickle.loads(pickle.dumps(Documented(3, 4)))

    assert type(copy.poolmanager) is LeasingPoolManager
    assert copy.poolmanager.connection_pool_kw["source_address"] == HERE
    assert served(server, dial(server, copy)) == 3


class Named(PoolManager):
    """A manager with a name of its own, and nothing else."""


class Proud(PoolManager):
    """A manager with a method of its own, which no other can stand in for."""

    def connection_from_host(self, *args, **kwargs):
        return super().connection_from_host(*args, **kwargs)


def with_pools_of_its_own():
    """A manager whose pools are not those that urllib3 ships."""
    manager = PoolManager()
    manager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
    return manager


@pytest.mark.parametrize(
    ("manager", "kind"),
    [
        (PoolManager(), LeasingPoolManager),
        (Named(), LeasingPoolManager),
        (ProxyManager("http://proxy.example"), LeasingProxyManager),
        (LeasingPoolManager(), LeasingPoolManager),
        (Proud(), Proud),
        (with_pools_of_its_own(), PoolManager),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_only_urllib3s_own_manager_is_replaced(manager, kind):
    """One that would lose something stays as it is."""
    adapter = ResilientAdapter()
    adapter.poolmanager = manager

    assert type(adapter.poolmanager) is kind
    assert (adapter.poolmanager is manager) is (type(manager) is kind)


@pytest.mark.parametrize("make", [Proud, with_pools_of_its_own])
def test_a_manager_that_stays_is_told_once(server, dial, caplog, make):
    """It works as in stock, which repeats nothing; the log says so, once for a class of adapters."""

    class Adapter(ResilientAdapter):
        def init_poolmanager(self, *args, **kwargs):
            self.poolmanager = make()

    Adapter.__qualname__ = f"AdapterWith{make.__name__}"
    sessions = [dial(server, Adapter()) for _ in range(2)]
    answers = [session.get(server.url).ok for session in (*sessions, *sessions)]
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    server.play(TWICE)

    with pytest.raises(requests.ConnectionError):
        dial(server, Adapter()).get(server.url)
    assert answers == [True] * 4
    assert [record.name for record in told] == ["resilient_transport"]
    assert told[0].getMessage().startswith(f"{Adapter.__qualname__} makes connections in pools of its own")


def test_a_subclass_may_look_at_itself_while_it_is_made():
    """`init_poolmanager` is called then: it may ask for the policy of the moment, or log the adapter."""
    seen = []

    class Adapter(ResilientAdapter):
        def init_poolmanager(self, *args, **kwargs):
            seen.append((self.policy, self.max_retries))
            super().init_poolmanager(*args, **kwargs)
            seen.append((repr(self), self.max_retries))

    adapter = Adapter(max_retries=2)
    (policy, before), (shown, after) = seen

    assert type(policy) is RetryPolicy
    assert shown.startswith("<Adapter")
    assert (before.total, after.total) == (0, 0)
    assert adapter.policy.retries == adapter.max_retries.total == 2


def test_a_leasing_adapter_says_nothing(server, dial, caplog):
    """The control."""
    for adapter in (ResilientAdapter(), Documented()):
        dial(server, adapter).get(server.url)

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("autospec", [None, True], ids=["mock", "autospec"])
def test_a_double_in_the_managers_place_is_called(server, autospec):
    """`mock.patch.object(adapter, "poolmanager")` works as with stock, and leaves the adapter whole."""
    adapter = ResilientAdapter()
    before = adapter.poolmanager
    request = requests.Request("GET", server.url).prepare()
    double = mock.create_autospec(PoolManager, instance=True) if autospec else mock.Mock()
    with mock.patch.object(adapter, "poolmanager", double):
        during = adapter.poolmanager
        pool = adapter.get_connection_with_tls_context(request, False)
        adapter.close()

    assert during is double
    assert pool is double.connection_from_host.return_value
    assert double.connection_from_host.call_args.kwargs["host"] == "localhost"
    assert double.clear.called
    assert adapter.poolmanager is before


def test_a_proxy_manager_of_its_own_repeats(server, dial, fault_server_factory):
    """A subclass may make urllib3's `ProxyManager`, too, as stock's own method does."""
    proxy = fault_server_factory(tls=False)

    class Proxied(ResilientAdapter):
        def proxy_manager_for(self, proxy, **kwargs):
            if proxy not in self.proxy_manager:
                self.proxy_manager[proxy] = urllib3.proxy_from_url(proxy, maxsize=3)
            return self.proxy_manager[proxy]

    adapter = Proxied()
    session = dial(server, adapter)
    session.proxies = {"https": proxy.url}

    assert served(server, session) == 3
    assert [type(manager) for manager in adapter.proxy_manager.values()] == [LeasingProxyManager]


def test_a_pin_harms_no_plain_connection(fault_server_factory):
    """A manager's pins are for TLS: an adapter that is mounted for http, too, still serves that."""
    plain = fault_server_factory(tls=False)
    adapter = ResilientAdapter()
    adapter.poolmanager = PoolManager(assert_hostname="name", assert_fingerprint="00" * 32)

    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        assert session.get(plain.url).ok


def setting(base, **values):
    """A subclass whose `cert_verify` sets values on the pool, after what the base sets."""

    class Setting(base):
        def cert_verify(self, conn, url, verify, cert):
            super().cert_verify(conn, url, verify, cert)
            for name, value in values.items():
                setattr(conn, name, value)

    return Setting()


@pytest.mark.parametrize("base", [HTTPAdapter, ResilientAdapter])
def test_files_that_a_subclass_sets_are_used(server, base):
    """A `cert_verify` that names certificates is obeyed as in stock, connection after connection."""
    certificate, key = server.authority.client
    values = {"ca_certs": server.authority.ca_file, "cert_file": certificate, "key_file": key}
    names = []

    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", setting(base, **values))
        for _ in range(2):
            names.append(session.get(server.url + "/whoami").json()["client"])
            registry.clear()

    assert names == ["alice", "alice"]


def test_what_a_subclass_sets_has_no_effect_on_a_lease(server):
    """The lease is complete: it was made for what its key says, and stays so."""
    values = {"ca_certs": server.authority.ca_file, "cert_reqs": "CERT_NONE", "assert_hostname": "no"}
    adapter = setting(ResilientAdapter, **values)
    request = requests.Request("GET", server.url).prepare()
    pool = adapter.get_connection_with_tls_context(request, True)
    names = (*values, "cert_file", "key_password", "assert_fingerprint")
    before = {name: getattr(pool, name) for name in names}
    for name in names:
        setattr(pool, name, "changed")
    adapter.cert_verify(pool, request.url, True, None)

    assert {name: getattr(pool, name) for name in names} == before


def test_two_subclasses_that_set_different_files_share_nothing(fault_server_factory, authority):
    """What they set is their identity."""
    server = fault_server_factory(client_auth="optional")
    names = []

    for certificate, key in (authority.client, authority.other_client):
        adapter = setting(ResilientAdapter, cert_file=certificate, key_file=key)
        with requests.Session() as session:
            session.trust_env, session.verify = False, authority.ca_file
            session.mount("https://", adapter)
            names.append(session.get(server.url + "/whoami").json()["client"])

    assert names == ["alice", "bob"]


def test_a_password_opens_the_key_that_a_subclass_sets(server, authority):
    """`key_password=` is for the key that is used, whoever has named it."""

    class Encrypted(ResilientAdapter):
        def cert_verify(self, conn, url, verify, cert):
            super().cert_verify(conn, url, verify, cert)
            conn.cert_file, conn.key_file = authority.client[0], authority.encrypted_key

    with requests.Session() as session:
        session.trust_env, session.verify = False, authority.ca_file
        session.mount("https://", Encrypted(key_password=authority.key_password))
        assert session.get(server.url + "/whoami").json()["client"] == "alice"


def test_a_subclass_may_look_at_the_pool(server, dial):
    """It sees where the pool leads, and may leave marks on it that mean nothing to urllib3."""
    seen = []

    class Looking(ResilientAdapter):
        def cert_verify(self, conn, url, verify, cert):
            super().cert_verify(conn, url, verify, cert)
            seen.append((conn.scheme, conn.host, conn.port))
            conn.colour = "green"

    answer = dial(server, Looking()).get(server.url)

    assert answer.ok
    assert set(seen) == {("https", "localhost", server.port)}


def test_a_subclass_may_pin_beside_a_context_of_its_own(server, authority):
    """A pin is part of the key there, too; certificates belong into the context, and are refused."""

    def context():
        made = urllib3.util.create_urllib3_context()
        made.load_verify_locations(authority.ca_file)
        made.load_cert_chain(*authority.client)
        return made

    class Pinned(ResilientAdapter):
        def cert_verify(self, conn, url, verify, cert):
            conn.assert_hostname = "elsewhere.example"

    class Trusting(ResilientAdapter):
        def cert_verify(self, conn, url, verify, cert):
            super().cert_verify(conn, url, verify, cert)
            conn.ca_certs = authority.other_ca_file

    own = context()
    request = requests.Request("GET", server.url).prepare()
    ResilientAdapter(ssl_context=own).send(request)

    with pytest.raises(requests.exceptions.SSLError, match=r"elsewhere\.example"):
        Pinned(ssl_context=own).send(request)
    with pytest.raises(TypeError, match="cert_verify sets ca_certs"):
        Trusting(ssl_context=own).send(request)


def no_hostname(self, conn, url, verify, cert):
    """A `cert_verify` that somebody puts in the place of another."""
    conn.assert_hostname = "elsewhere.example"


@pytest.mark.parametrize("whole_class", [HTTPAdapter, ResilientAdapter, None], ids=["stock", "ours", "one"])
def test_a_hook_that_is_patched_later_is_asked(server, dial, monkeypatch, whole_class):
    """On the class, or on one adapter, after calls were made and their pools are known."""
    adapter = ResilientAdapter()
    session = dial(server, adapter)
    before = session.get(server.url).ok
    if whole_class is None:
        monkeypatch.setattr(adapter, "cert_verify", no_hostname.__get__(adapter), raising=False)
    else:
        monkeypatch.setattr(whole_class, "cert_verify", no_hostname)
    request = requests.Request("GET", server.url).prepare()
    during = adapter.get_connection_with_tls_context(request, server.authority.ca_file, None, session.cert)
    monkeypatch.undo()
    after = session.get(server.url).ok

    assert (before, after) == (True, True)
    assert during.assert_hostname == "elsewhere.example"


class Watched(ResilientAdapter):
    """Notes what an onlooker would see after each assignment: which parts are there, and are whole."""

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        story = vars(self).get("story")
        if story is not None:
            fresh = self._lookup.generation == registry.generation
            whole = self.poolmanager.connection_pool_kw.get("assert_hostname") == "set later"
            story.append((fresh, self.poolmanager is not self.old, whole))


def test_an_adapter_begins_anew_in_one_step():
    """After a fork: who sees the new lookup sees a new manager, and every manager has all its settings."""
    adapter = Watched(3)
    adapter.poolmanager.connection_pool_kw["assert_hostname"] = "set later"
    vars(adapter).update(old=adapter.poolmanager, story=[])
    adapter._lookup.generation = registry.generation - 1
    adapter.proxy_manager_for("http://proxy.example").connection_pool_kw["maxsize"] = 5
    adapter._begin_anew()
    again = adapter.poolmanager
    adapter._begin_anew()

    assert {fresh for fresh, new, _ in adapter.story if not new} <= {False}
    assert adapter.story[-1] == (True, True, True)
    assert {whole for *_, whole in adapter.story} == {True}
    assert adapter.poolmanager is not again
    assert adapter.poolmanager.pools._maxsize == 3
    assert adapter.proxy_manager["http://proxy.example"].connection_pool_kw["maxsize"] == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_many_threads_of_a_child_may_call_first(server, dial):
    """All are served, with the settings from before the fork."""
    adapter = Documented()
    session = dial(server, adapter)
    session.get(server.url)

    def calls():
        barrier = threading.Barrier(8)

        def call(_):
            barrier.wait()
            return session.get(server.url).ok

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(call, range(8)))
        return answers, adapter.poolmanager.connection_pool_kw["source_address"]

    assert in_child(calls) == repr(([True] * 8, HERE))


def test_what_a_program_puts_into_the_place_of_requests_response_is_made(server, dial, monkeypatch):
    """Whoever has put a class of responses, or a way to find an encoding, into requests' adapters gets it."""

    class Own(requests.Response):
        """A program's own."""

    monkeypatch.setattr(requests.adapters, "Response", Own)
    monkeypatch.setattr(requests.adapters, "get_encoding_from_headers", lambda headers: "own")
    answer = dial(server).get(server.url)

    assert (type(answer), answer.encoding) == (Own, "own")


@pytest.mark.parametrize("owner", [HTTPAdapter, ResilientAdapter])
def test_a_hook_is_asked_through_what_says_it_equals_it(server, dial, monkeypatch, owner):
    """A wrapper of `wrapt` is equal to what it wraps, and is asked all the same."""
    asked = []

    def wrapper(usual, instance, args, values):
        asked.append(instance)
        return usual(*args, **values)

    wrapped = require("wrapt").FunctionWrapper(owner.cert_verify, wrapper)
    monkeypatch.setattr(owner, "cert_verify", wrapped)
    dial(server).get(server.url)

    assert asked
