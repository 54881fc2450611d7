"""The adapter as a drop-in: arguments, assignments, subclasses, pickles, time-outs."""

import gc
import inspect
import pickle
import ssl

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry, Timeout

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, registry
from resilient_transport.settings.environment import default
from resilient_transport.testing import Fault, Moment, Rule, Script

DOWN = Script((Rule(Fault(Moment.CLIENT_HELLO)),))


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


def tries(session, server):
    """How often a call is tried that never succeeds."""
    server.play(DOWN)
    with pytest.raises(requests.ConnectionError):
        session.get(server.url)
    return server.counts().accepts


def test_arguments_keep_their_order():
    """The first four are `HTTPAdapter`'s; the rest are keyword-only."""
    ours = list(inspect.signature(ResilientAdapter).parameters.values())
    stock = list(inspect.signature(HTTPAdapter).parameters.values())

    assert [parameter.name for parameter in ours[:4]] == [parameter.name for parameter in stock]
    assert {parameter.kind for parameter in ours[4:]} == {inspect.Parameter.KEYWORD_ONLY}


def test_a_later_assignment_counts(server, dial):
    """`adapter.max_retries = 1` holds from the next call on."""
    session = dial(server)
    session.get_adapter(server.url).max_retries = 1

    assert tries(session, server) == 2


def test_requests_changed_default_counts(server, dial, monkeypatch):
    """A program that sets `requests.adapters.DEFAULT_RETRIES` means this adapter, too."""
    monkeypatch.setattr("requests.adapters.DEFAULT_RETRIES", 2)

    assert tries(dial(server), server) == 3


def test_max_retries_reads_as_assigned(server, dial):
    """It reads as a `Retry`, as in stock; and during an attempt as one that repeats nothing."""
    seen = []

    class Spy(ResilientAdapter):
        def add_headers(self, request, **kwargs):
            seen.append(self.max_retries.total)

    adapter = Spy(max_retries=3)
    dial(server, adapter).get(server.url)

    assert adapter.max_retries.total == 3
    assert seen == [0]


def test_a_retry_may_be_changed_in_place(server, dial, pauses):
    """As in stock, `adapter.max_retries.total = 2` counts; for this adapter, and for no other."""
    changed, other = ResilientAdapter(), ResilientAdapter()
    changed.max_retries.total = 2
    changed.max_retries.read = None

    assert tries(dial(server, changed), server) == 3
    assert other.max_retries.total == 0
    assert tries(dial(server, other, policy=None), server) > 3


def test_none_means_urllib3s_default(server, dial):
    """`max_retries=None` is `Retry.DEFAULT` in stock."""
    assert tries(dial(server, max_retries=None), server) == 1 + Retry.DEFAULT.total


def test_a_retry_subclass_that_overrides_is_refused():
    """Its method would never be called: better to say so."""

    class Mine(Retry):
        def sleep(self, response=None):
            pass

    with pytest.raises(TypeError, match="Mine overrides sleep"):
        ResilientAdapter(max_retries=Mine(3))


def test_a_policy_may_be_replaced():
    """An int assigned later bounds the new policy's count and leaves its rest; nothing else is a policy."""
    adapter = ResilientAdapter(max_retries=Retry(1))
    adapter.policy = RetryPolicy(retries=7, deadline=9)
    adapter.max_retries = 3
    with pytest.raises(TypeError, match="max_retries takes an int"):
        adapter.policy = 4

    assert adapter.policy == RetryPolicy(retries=3, deadline=9)


def test_it_pickles(server, dial):
    """Dask and multiprocessing send adapters about; the copy works and has the settings."""
    adapter = ResilientAdapter(3, 4, policy=RetryPolicy(retries=1, backoff=0))
    adapter.get_connection_with_tls_context(requests.Request("GET", server.url).prepare(), True)

    copy = pickle.loads(pickle.dumps(adapter))

    assert copy.policy == adapter.policy
    assert (copy._pool_connections, copy._pool_maxsize) == (3, 4)
    assert tries(dial(server, copy), server) == 2


def test_an_assigned_retry_pickles(server):
    """What was assigned to `max_retries` is still there on the other side."""
    copy = pickle.loads(pickle.dumps(ResilientAdapter(max_retries=Retry(7))))

    assert copy.max_retries.total == 7
    copy.max_retries = 2
    assert copy.policy.retries == 2


def the_password():
    """What a callable `key_password` returns; importable, so that it pickles."""
    return "pa55word"


def test_a_password_does_not_pickle():
    """A password is refused with the cure; a function that returns it travels by name."""
    with pytest.raises(TypeError, match="importable function"):
        pickle.dumps(ResilientAdapter(key_password="pa55word"))

    assert b"pa55word" not in pickle.dumps(ResilientAdapter(key_password=len))


def test_a_context_does_not_pickle():
    """Neither does an SSLContext, in stock or here; the message says what to do."""
    with pytest.raises(TypeError, match="use paths in verify= and cert="):
        pickle.dumps(ResilientAdapter(ssl_context=ssl.create_default_context()))


def context_for(server):
    """A TLS context of one's own that fits the server."""
    context = ssl.create_default_context(cafile=server.authority.ca_file)
    context.load_cert_chain(*server.authority.client)
    return context


def test_a_context_of_your_own(server):
    """`ssl_context=` is used as it is, by name or through `init_poolmanager`."""

    class Recipe(ResilientAdapter):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, ssl_context=context_for(server), **kwargs)

    for adapter in (ResilientAdapter(ssl_context=context_for(server)), Recipe()):
        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", adapter)
            assert session.get(server.url + "/whoami").json()["client"] is not None


@pytest.mark.parametrize(
    ("values", "cure"), [({"verify": False}, "on the context"), ({"cert": "x.pem"}, "load it")]
)
def test_nothing_is_changed_on_a_context_of_your_own(server, values, cure):
    """Stock would change the shared context; here the contradiction is refused."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", ResilientAdapter(ssl_context=context_for(server)))
        with pytest.raises(TypeError, match=cure):
            session.get(server.url, **values)

    assert server.counts().accepts == 0


def test_a_subclass_that_sets_something_in_cert_verify(fault_server_factory, dial):
    """What a recipe sets on the pool in `cert_verify` becomes part of the pool's key."""
    server = fault_server_factory(certificate="misnamed")

    class NoHostname(ResilientAdapter):
        def cert_verify(self, conn, url, verify, cert):
            super().cert_verify(conn, url, verify, cert)
            conn.assert_hostname = False

    assert dial(server, NoHostname()).get(server.url).ok
    with pytest.raises(requests.exceptions.SSLError):
        dial(server).get(server.url)


def test_a_subclass_that_builds_its_own_key(server, dial):
    """requests documents `build_connection_pool_key_attributes` as the place for a context of one's own."""
    calls = []

    class Keyed(ResilientAdapter):
        def build_connection_pool_key_attributes(self, request, verify, cert=None):
            host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
            calls.append(sorted(pool))
            return host, pool

    session = dial(server, Keyed())
    for _ in range(2):
        session.get(server.url)

    assert len(calls) == 2
    assert {"ca_certs", "cert_file", "cert_reqs", "key_file"} <= set(calls[0])


def test_poolmanager_shows_what_the_lease_uses(server, dial):
    """`adapter.poolmanager` looks like urllib3's: pools, connection_from_url, clear."""
    session = dial(server)
    adapter = session.get_adapter(server.url)
    session.get(server.url)

    assert len(adapter.poolmanager.pools) == 1
    adapter.poolmanager.clear()
    assert len(adapter.poolmanager.pools) == 0
    assert session.get(server.url).ok


def test_poolmanager_can_be_used_directly(server, dial):
    """A urllib3 call through it uses the same connections."""
    session = dial(server)
    session.get(server.url)
    manager = session.get_adapter(server.url).poolmanager
    ca, (cert, key) = server.authority.ca_file, server.authority.client
    pool = manager.connection_from_url(
        server.url, pool_kwargs={"ca_certs": ca, "cert_file": cert, "key_file": key}
    )

    assert pool.urlopen("GET", "/words/1").status == 200
    assert server.counts().accepts == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_settings_changed_on_the_manager_count(server, dial):
    """requests-toolbelt's HostHeaderSSLAdapter changes `connection_pool_kw` between calls."""
    session = dial(server)
    session.get(server.url)
    session.get_adapter(server.url).poolmanager.connection_pool_kw["assert_hostname"] = "elsewhere.example"

    with pytest.raises(requests.exceptions.SSLError, match="elsewhere.example"):
        session.get(server.url)
    # Old versions of urllib3 leave a socket open whose name was wrong: it complains here, not elsewhere.
    gc.collect()


def test_pool_block_binds_the_lease(server, dial):
    """With `pool_block`, an adapter uses no more than `pool_maxsize` connections, and waits for its own."""
    session = dial(server, pool_maxsize=1, pool_block=True)
    other = dial(server)

    first = session.get(server.url + "/bytes/100000", stream=True)
    elsewhere = other.get(server.url + "/words/1")
    pool = next(iter(session.get_adapter(server.url)._lookup._entries.values())).pool
    with pytest.raises(Exception, match="Pool is empty"):
        pool.urlopen("GET", "/words/1", pool_timeout=0.01)
    first.content  # noqa: B018 - reading it gives its slot back

    assert elsewhere.ok
    assert session.get(server.url).ok


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (None, (default("connect_timeout"), default("read_timeout"))),
        (5, 5),
        ((3, None), (3, None)),
        ((None, None), (None, None)),
    ],
)
def test_time_outs_pass_as_given(server, dial, monkeypatch, given, seen):
    """The caller's time-out keeps its meaning; without one, 10 s and 300 s."""
    passed = []
    send = HTTPAdapter.send

    def spy(self, request, stream, timeout, *args):
        passed.append(timeout)
        return send(self, request, stream, timeout, *args)

    monkeypatch.setattr(HTTPAdapter, "send", spy)

    dial(server).get(server.url, timeout=given)

    assert passed == [seen]


@pytest.mark.parametrize("given", [None, 7, (7, 7), Timeout(connect=7, read=7), Timeout(total=7)], ids=repr)
def test_time_outs_within_a_deadline(server, dial, monkeypatch, given):
    """With a deadline, no socket waits longer than what is left of it."""
    passed = []
    send = HTTPAdapter.send

    def spy(self, request, stream, timeout, *args):
        passed.append(timeout)
        return send(self, request, stream, timeout, *args)

    monkeypatch.setattr(HTTPAdapter, "send", spy)

    dial(server, policy=RetryPolicy(deadline=4)).get(server.url, timeout=given)

    assert 3 < passed[0].total <= 4
    assert given is not passed[0]


def test_the_class_that_somebody_put_into_urllib3_is_used(server, dial, monkeypatch):
    """vcrpy swaps the connection class of urllib3's pools; it gets its way, and nothing of it is shared."""
    from urllib3.connectionpool import HTTPSConnectionPool

    used = []

    class Theirs(HTTPSConnectionPool.ConnectionCls):
        def connect(self):
            used.append(self)
            super().connect()

    monkeypatch.setattr(HTTPSConnectionPool, "ConnectionCls", Theirs)
    session = dial(server)
    for _ in range(2):
        session.get(server.url)
    monkeypatch.undo()
    session.get(server.url)

    assert len(used) == 1
    assert server.counts().accepts == 2


def test_rotated_files_are_a_new_identity(server, dial, tmp_path, monkeypatch):
    """A replaced pair is used from the next look on; a half-written one keeps the old, with a warning."""
    monkeypatch.setattr("resilient_transport.pool.key._LOOK_EVERY", -1.0)
    authority = server.authority
    pair = [tmp_path / "cert.pem", tmp_path / "key.pem"]

    def put(source):
        for target, path in zip(pair, source, strict=True):
            new = target.with_suffix(".new")
            with open(path, "rb") as file:
                new.write_bytes(file.read())
            new.replace(target)

    put(authority.client)
    session = dial(server)
    session.cert = tuple(map(str, pair))

    def client():
        return session.get(server.url + "/whoami").json()["client"]

    first = client()
    put((authority.other_client[0], authority.client[1]))
    half = client()
    put(authority.other_client)
    second = client()

    assert half == first
    assert second != first


def test_names_of_secrets_show_nowhere(server, dial, caplog):
    """A query, a header value and a password are in no message, story or log."""
    server.play(Script((Rule(Fault(Moment.EXECUTED)),)))
    session = dial(server, max_retries=1, key_password="pa55word")
    caplog.set_level("DEBUG", logger="resilient_transport")

    with pytest.raises(requests.ConnectionError) as caught:
        session.get(server.url + "/?token=s3cret", headers={"Authorization": "Bearer s3cret"})

    told = [str(caught.value), repr(caught.value), str(attempts_of(caught.value)), caplog.text]
    told += [repr(session.get_adapter(server.url)), repr(registry), *caught.value.__notes__]
    assert not [text for text in told if "s3cret" in text or "pa55word" in text]
    assert "gave up" in caplog.text


def test_a_query_is_not_in_a_refused_connections_message(fault_server_factory, dial):
    """urllib3's MaxRetryError has the whole URL in its message; here it ends before the query."""
    gone = fault_server_factory()
    gone.close()

    with pytest.raises(requests.ConnectionError) as caught:
        dial(gone, max_retries=0).get(gone.url + "/path?token=s3cret")

    assert "/path" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(caught.value.__context__)
