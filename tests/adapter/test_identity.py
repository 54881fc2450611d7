"""`identity=`: a client certificate that no file holds, in calls over real TLS."""

import itertools
import os
import pickle
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager

from resilient_transport import (
    ClientCertificateRejected,
    DeadlineExceeded,
    Identity,
    ResilientAdapter,
    attempts_of,
    events,
    install,
    override,
    registry,
)
from resilient_transport.testing import FaultServer, Script
from tests.end_to_end.socks5 import SOCKS5
from tests.pool.test_fork import in_child
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT


@pytest.fixture(autouse=True)
def faultless(server, open_server):
    """Begin each test with servers that do nothing wrong."""
    server.play(Script())
    open_server.play(Script())


@pytest.fixture(scope="module")
def open_server(authority):
    """A server, or proxy, that takes a client certificate and does without."""
    with FaultServer(authority=authority, client_auth="optional") as server:
        yield server


@pytest.fixture
def always(monkeypatch):
    """Have sessions look, and the callable be asked, for each call."""
    monkeypatch.setattr("resilient_transport.pool.key._LOOK_EVERY", -1.0)
    monkeypatch.setattr("resilient_transport.pool.identity_source._ASK_EVERY", -1.0)
    monkeypatch.setattr("resilient_transport.pool.contexts._RETRY_EVERY", -1.0)


def identity_of(authority, pair=None, **changes):
    """Return the identity of a pair of files; alice's by default."""
    cert, key = (Path(path).read_bytes() for path in pair or authority.client)
    return Identity(**{"cert": cert, "key": key, "ca": Path(authority.ca_file).read_bytes(), **changes})


@pytest.fixture
def alice(authority):
    """Return alice's identity."""
    return identity_of(authority)


@pytest.fixture
def bob(authority):
    """Return bob's identity."""
    return identity_of(authority, authority.other_client)


@pytest.fixture
def session():
    """Return a function that makes a session with an adapter, and nothing else."""
    made = []

    def make(*given, adapter=None, **settings):
        one = requests.Session()
        one.trust_env = False
        one.mount("https://", adapter or ResilientAdapter(**settings))
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def seen(session, server, **arguments):
    """Return the name in the certificate that the server has seen."""
    return session.get(server.url + "/whoami", timeout=LONG_TIMEOUT, **arguments).json()["client"]


def turns(*given):
    """A callable that gives one after the other, and then the last for ever; exceptions it raises."""
    left = list(given)

    def ask():
        now = left.pop(0) if left[1:] else left[0]
        if isinstance(now, Exception):
            raise now
        return now

    return ask


def test_certificate_and_authorities_come_from_memory(server, session, alice):
    """No file is named; the controls lack one of both."""
    without_ca = Identity(alice.cert, alice.key)
    plain = session(identity=lambda: without_ca)
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        plain.get(server.url)
    with pytest.raises(ClientCertificateRejected, match="none was shown"):
        session().get(server.url, verify=server.authority.ca_file)

    assert seen(session(identity=lambda: alice), server) == "alice"
    assert seen(session(identity=alice), server) == "alice"


def test_it_is_one_client_with_who_has_the_same_in_files(server, session, dial, alice):
    """The same context, and the same warm connection."""
    before = server.counts().accepts
    found = [seen(session(identity=lambda: alice), server), seen(dial(server), server)]

    assert found == ["alice"] * 2
    assert server.counts().accepts - before <= 1


def test_a_warm_call_asks_nobody(server, session, alice):
    """Ten calls, one question; so do other adapters of the same callable."""
    asked = []

    def ask():
        asked.append(1)
        return alice

    for one in (session(identity=ask), session(identity=ask)):
        for _ in range(5):
            one.get(server.url)

    assert len(asked) == 1


def test_another_content_is_a_rotation(server, session, authority, bob, always):
    """New connections are bob's, what is read of carol's goes on, and what was idle is closed."""
    heard = []
    # No file stands for her.
    carol = identity_of(authority, authority.issue("carol"))
    one = session(identity=turns(carol, carol, bob), on_event=heard.append)
    with one.get(server.url + "/bytes/300000", stream=True) as reading:
        first = seen(one, server)
        after = seen(one, server)
        whole = len(reading.content)
    rotations = [event for event in heard if isinstance(event, events.IdentityRotated)]

    assert (first, after, whole) == ("carol", "bob", 300000)
    assert [(event.usable, event.why) for event in rotations] == [(True, None)]
    assert registry.connections()[server.url] == (1, 1)


def test_a_rotation_reaches_requests_get(server, alice, bob, always):
    """Each call has an adapter of its own under `install`."""
    ask, names = turns(alice, bob), []
    with install(identity=ask):
        for _ in range(2):
            names.append(requests.get(server.url + "/whoami").json()["client"])

    assert names == ["alice", "bob"]


@pytest.mark.parametrize("wrong", ["raises", "rubbish", "mismatch"])
def test_what_is_not_usable_leaves_the_old_one(server, session, alice, bob, always, wrong, caplog):
    """It is told once, without a secret; what is usable again takes over."""
    bad = {
        "raises": OSError("token=SECRET"),
        "rubbish": {"cert": "SECRET"},
        "mismatch": Identity(bob.cert, alice.key, ca=alice.ca),
    }[wrong]
    heard = []
    one = session(identity=turns(alice, bad, bad, bob), on_event=heard.append)
    with caplog.at_level("WARNING"):
        names = [seen(one, server) for _ in range(4)]
    rotations = [event for event in heard if isinstance(event, events.IdentityRotated)]

    assert names == ["alice", "alice", "alice", "bob"]
    assert [event.usable for event in rotations] == [False, True]
    assert "identity=" in rotations[0].why
    assert "SECRET" not in f"{rotations[0]} {caplog.text}"
    assert caplog.text.count("new certificates are not usable, and the old ones stay") == 1


@pytest.mark.parametrize("given", [OSError("token=SECRET"), {"cert": "SECRET"}, None])
def test_without_an_older_one_it_is_requests_own_error(server, session, given, always):
    """An `SSLError` as for a file that is not what it should be; it is not repeated, nothing is opened."""
    before = server.counts().accepts
    with pytest.raises(requests.exceptions.SSLError, match="^identity=.*(has raised|has returned)") as caught:
        session(identity=turns(given)).get(server.url)

    assert "SECRET" not in f"{caught.value} {attempts_of(caught.value)}"
    assert len(attempts_of(caught.value)) == 1
    assert server.counts().accepts == before
    assert type(caught.value.__cause__) is (OSError if isinstance(given, OSError) else type(None))
    assert str(pickle.loads(pickle.dumps(caught.value))).startswith("identity=")


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_what_a_call_names_is_nearer(server, open_server, session, alice, authority):
    """`cert=` shows another certificate, `verify=` has others trusted, or nobody."""
    stranger = Path(authority.other_ca_file).read_bytes()
    misled = session(identity=Identity(alice.cert, alice.key, ca=stranger))
    one = session(identity=alice)
    with pytest.raises(requests.exceptions.SSLError, match="comes from no CA in the ca= of identity="):
        misled.get(server.url)
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        one.get(server.url, verify=authority.other_ca_file)

    assert seen(one, server, cert=authority.other_client) == "bob"
    assert seen(misled, server, verify=authority.ca_file) == "alice"
    assert seen(misled, server, verify=False) == "alice"


def test_a_call_that_names_both_asks_nobody(server, session, authority):
    """Neither its certificate nor its authorities are needed."""
    one = session(identity=turns(OSError("nobody should ask")))

    assert seen(one, server, cert=authority.client, verify=authority.ca_file) == "alice"


def test_a_bundle_of_the_environment_is_not_nearer(server, alice, authority, monkeypatch):
    """It is meant for every program; it holds where the identity names no authorities."""
    monkeypatch.setattr(requests.Session, "trust_env", True, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.other_ca_file)
    names = []
    with install(identity=alice):
        names.append(requests.get(server.url + "/whoami").json()["client"])
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.ca_file)
    with install(identity=Identity(alice.cert, alice.key)):
        names.append(requests.get(server.url + "/whoami").json()["client"])

    assert names == ["alice", "alice"]


WAYS = ["http", "https", "socks5"]


@pytest.mark.parametrize("way", WAYS)
def test_it_holds_through_each_proxy(
    server, open_server, fault_server_factory, session, alice, way, monkeypatch
):
    """The server sees the certificate; an https proxy is checked by the authorities, and sees none."""
    if way == "socks5":
        proxy = SOCKS5()
        url = f"socks5://127.0.0.1:{proxy.port}"
    else:
        url = open_server.url if way == "https" else fault_server_factory(tls=False).url
    taken, stock = [], registry.contexts.of

    def of(settings):
        taken.append((settings["identity"].is_shown, settings["identity"].is_trusted))
        return stock(settings)

    monkeypatch.setattr(registry.contexts, "of", of)
    one = session(identity=alice)
    try:
        name = seen(one, server, proxies={"https": url})
    finally:
        registry.clear()
        if way == "socks5":
            proxy.close()

    assert name == "alice"
    assert taken == [(False, True)] * (way == "https") + [(True, True)]


def test_an_https_proxy_is_checked(server, open_server, session, alice, authority):
    """The control: with other authorities neither the proxy nor the server is trusted."""
    misled = session(identity=Identity(alice.cert, alice.key, ca=Path(authority.other_ca_file).read_bytes()))
    with pytest.raises(requests.RequestException):
        misled.get(server.url, proxies={"https": open_server.url})


def test_it_holds_while_all_is_off(server, open_server, session, alice, environment):
    """With RESILIENT_TRANSPORT_BYPASS, calls are stock's, and show the certificate all the same."""
    environment(bypass="1")
    one = session(identity=alice)
    with pytest.raises(requests.exceptions.SSLError, match="^identity=.* has raised KeyError"):
        session(identity=turns(KeyError("k"))).get(server.url)

    assert [seen(one, server) for _ in range(2)] == ["alice"] * 2
    assert seen(one, server, proxies={"https": open_server.url}) == "alice"
    assert type(one.get_adapter(server.url).poolmanager) is PoolManager


class OwnPools(PoolManager):
    """A manager with a method of its own, which is left as it is."""

    def connection_from_host(self, *args, **kwargs):
        """Do what it does."""
        return super().connection_from_host(*args, **kwargs)


@pytest.mark.filterwarnings("ignore")
def test_it_holds_in_pools_of_somebody_elses(server, session, alice, bob, always):
    """They get a complete context, and another one after a rotation."""

    class Own(ResilientAdapter):
        def init_poolmanager(self, connections, maxsize, block=False, **kwargs):
            self.poolmanager = OwnPools(num_pools=connections, maxsize=maxsize, block=block, **kwargs)

    one = session(adapter=Own(identity=turns(alice, alice, bob)))

    assert [seen(one, server) for _ in range(3)] == ["alice", "alice", "bob"]


def test_beside_a_context_of_ones_own_it_is_refused(alice, session, server):
    """By the constructor; and by the first call where a subclass brings one."""
    context = ssl.create_default_context()
    with pytest.raises(TypeError, match="give either ssl_context= or identity=, not both"):
        ResilientAdapter(ssl_context=context, identity=lambda: alice)
    with pytest.raises(TypeError, match="identity takes a callable"):
        ResilientAdapter(identity="client.p12")

    class Bringing(ResilientAdapter):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

    with pytest.raises(TypeError, match="load the certificate into that with load_cert_chain"):
        session(adapter=Bringing(identity=lambda: alice)).get(server.url)


def test_a_mounted_adapter_with_a_context_keeps_that(server, alice, authority):
    """Its own is nearer than what `install` says; the control is one without, which gets the identity."""
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.load_cert_chain(*authority.other_client)

    with install(identity=alice), requests.Session() as one:
        one.trust_env = False
        own = HTTPAdapter()
        own.init_poolmanager(1, 1, ssl_context=context)
        one.mount("https://", own)
        names = [seen(one, server)]
        one.mount("https://", HTTPAdapter())
        names.append(seen(one, server))

    assert names == ["bob", "alice"]


def importable():
    """Give the identity that a test has left here."""
    return LEFT[0]


LEFT = []


def test_an_adapter_pickles_if_its_callable_does(server, session, alice):
    """The certificate is not in the pickle; one that is given as a value is refused."""
    LEFT[:] = [alice]
    pickled = pickle.dumps(ResilientAdapter(identity=importable))
    with pytest.raises(TypeError, match="no pickle may hold a private key"):
        pickle.dumps(ResilientAdapter(identity=alice))

    assert b"CERTIFICATE" not in pickled
    assert seen(session(adapter=pickle.loads(pickled)), server) == "alice"


def test_a_refused_certificate_is_named(server, session, authority):
    """By its subject and its expiry, and where it comes from."""
    expired = identity_of(authority, authority.expired_client)
    with pytest.raises(ClientCertificateRejected) as caught:
        session(identity=expired).get(server.url)
    error = caught.value

    assert "CN=alice" in error.subject
    assert f"expired {error.not_after}, from identity=. Let identity= give a newer one" in str(error)


def test_the_callable_may_call_through_the_same_adapter(open_server, session, alice, bob, always):
    """Its calls show nothing at first, then what was usable last; nobody else gets their pool."""
    names, given = [], [alice, bob]

    def ask():
        names.append(seen(one, open_server, verify=open_server.authority.ca_file))
        return given.pop(0) if given[1:] else given[0]

    one = session(identity=ask)
    outer = [seen(one, open_server), seen(one, open_server)]

    assert names[:2] == [None, "alice"]
    assert outer == ["alice", "bob"]


def test_its_pool_is_not_remembered_for_others(open_server, session, alice):
    """The callable asks the server itself; the call that follows within the second shows the certificate."""

    def ask():
        one.get(open_server.url + "/whoami", verify=open_server.authority.ca_file)
        return alice

    one = session(identity=ask)

    assert seen(one, open_server, verify=open_server.authority.ca_file) == "alice"
    assert seen(one, open_server, verify=open_server.authority.ca_file) == "alice"


def test_a_callable_that_waits_for_a_thread_that_waits_for_it(open_server, session, alice):
    """It ends, by the connect time-out of the thread's call."""
    met = []

    def call():
        try:
            one.get(open_server.url, timeout=(SHORT_TIMEOUT, None))
        except requests.ConnectTimeout as error:
            met.append(str(error))

    def ask():
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(LONG_TIMEOUT)
        return alice

    one = session(identity=ask)

    assert seen(one, open_server) == "alice"
    assert ["another thread has been asking identity=" in words for words in met] == [True]


def test_a_deadline_ends_the_waiting(open_server, session, alice):
    """As any other waiting of a call."""
    is_in, may_go, met = threading.Event(), threading.Event(), []

    def ask():
        is_in.set()
        assert may_go.wait(LONG_TIMEOUT)
        return alice

    one = session(identity=ask)
    thread = threading.Thread(target=lambda: met.append(seen(one, open_server)))
    thread.start()
    assert is_in.wait(LONG_TIMEOUT)
    with override(deadline=SHORT_TIMEOUT), pytest.raises(DeadlineExceeded):
        one.get(open_server.url)
    may_go.set()
    thread.join(LONG_TIMEOUT)

    assert met == ["alice"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_has_it_too(server, session, alice):
    """Its contexts are made anew."""
    one = session(identity=lambda: alice)
    one.get(server.url)

    assert in_child(lambda: seen(one, server)) == "'alice'"


def test_warming_uses_it(server, session, alice):
    """The connection that is there before the first call is the client's."""
    one = session(identity=alice)
    one.get_adapter(server.url).warm(server.url)
    before = server.counts().accepts

    assert seen(one, server) == "alice"
    assert server.counts().accepts == before


def test_a_summary_shows_that_it_is_there(alice):
    """And nothing of it."""
    assert "identity=...;" in repr(ResilientAdapter(identity=alice)).replace(",", ";")


def test_rotations_under_load_fail_nobody(server, session, alice, bob, always):
    """Four threads, while what is given turns, is of two clients, or fails; nobody asks beside another."""
    mixed = Identity(bob.cert, alice.key, ca=alice.ca)
    given = itertools.cycle([alice, bob, OSError("no"), bob, mixed, None, alice])
    inside, most, asked, names = [], [0], [0], []

    def ask():
        inside.append(1)
        most[0], asked[0] = max(most[0], len(inside)), asked[0] + 1
        now = next(given)
        inside.pop()
        if isinstance(now, OSError):
            raise now
        return now

    def work(one):
        while asked[0] < 60:
            names.append(seen(one, server))

    with ThreadPoolExecutor(4) as threads:
        working = [threads.submit(work, session(identity=ask)) for _ in range(4)]
        for each in working:
            each.result(LONG_TIMEOUT)

    assert set(names) == {"alice", "bob"}
    assert most == [1]


def test_a_callable_that_nobody_can_ask_any_more_holds_up_no_rotation(
    server, session, authority, bob, always
):
    """Two adapters with callables of their own; the control keeps the other one, whose connection is idle."""
    idle = []
    for keeps in (False, True):
        carol = identity_of(authority, authority.issue("carol"))
        other = session(identity=lambda carol=carol: carol)
        one = session(identity=turns(carol, bob))
        names = [seen(other, server), seen(one, server)]
        if not keeps:
            other.adapters.clear()
        names.append(seen(one, server))
        idle.append(registry.connections()[server.url][1])
        registry.clear()

        assert names == ["carol", "carol", "bob"]
    assert idle == [1, 2]
