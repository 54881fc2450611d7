"""A credential never serves anyone else: told from the server's side, with threads and dying connections."""

import base64
import hashlib
import shutil
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, registry
from resilient_transport.testing import Fault, FaultServer, Moment, Rule, Script

CALLS = 60


@pytest.fixture(scope="module")
def open_server(authority):
    """A server that takes a client certificate and does without."""
    with FaultServer(authority=authority, client_auth="optional") as server:
        yield server


def session_of(server, adapter=None, **values):
    """A session for a server, with an adapter of its own."""
    session = requests.Session()
    session.trust_env = False
    session.verify = server.authority.ca_file
    for name, value in values.items():
        setattr(session, name, value)
    session.mount("https://", adapter or ResilientAdapter())
    session.mount("http://", adapter or ResilientAdapter())
    return session


def whoami(session, server):
    """The name in the client certificate that the server saw."""
    return session.get(server.url + "/whoami").json()["client"]


def test_each_certificate_is_shown_by_its_own_session_only(open_server):
    """Three sessions, one without a certificate, in eight threads, with connections dying all the time."""
    server, authority = open_server, open_server.authority
    server.play(Script((Rule(Fault(Moment.HANDSHAKE), probability=0.2),), seed=3))
    certificates = [authority.client, authority.other_client, None]
    names = [whoami(session_of(server, cert=cert), server) for cert in certificates]
    sessions = [session_of(server, cert=cert) for cert in certificates]

    def call(number):
        if number % 7 == 0:
            registry.clear()
        return number % 3, whoami(sessions[number % 3], server)

    with ThreadPoolExecutor(8) as threads:
        seen = set(threads.map(call, range(CALLS)))

    assert len(set(names)) == 3
    assert seen == set(enumerate(names))
    for session in sessions:
        session.close()


def test_sessions_of_one_certificate_share_connections(open_server):
    """The control: the same identity, by content, is one pool for all sessions."""
    server = open_server
    server.play(Script())

    for _ in range(5):
        with session_of(server, cert=server.authority.client) as session:
            whoami(session, server)

    assert server.counts().accepts == 1


def test_the_same_certificate_under_another_name_is_the_same_identity(open_server, tmp_path):
    """Identity goes by content, not by path."""
    server = open_server
    server.play(Script())
    paths = server.authority.client
    copies = tuple(shutil.copy(path, tmp_path / f"{number}.pem") for number, path in enumerate(paths))

    with session_of(server, cert=paths) as one, session_of(server, cert=copies) as two:
        whoami(one, server)
        whoami(two, server)

    assert server.counts().accepts == 1


def test_an_unverified_connection_serves_no_verifying_session(fault_server_factory):
    """`verify=False` opens the door for its own session only."""
    server = fault_server_factory(certificate="untrusted", client_auth="none")

    with session_of(server) as careful, session_of(server) as careless:
        with pytest.warns(Warning, match="Unverified HTTPS request"):
            assert careless.get(server.url, verify=False).ok
        with pytest.raises(requests.exceptions.SSLError):
            careful.get(server.url)


def test_another_ca_never_uses_a_trusted_connection(open_server):
    """A warm connection that one CA vouches for is not there for a session that trusts another."""
    server = open_server
    server.play(Script())

    with session_of(server) as trusting:
        trusting.get(server.url)
        with session_of(server) as other, pytest.raises(requests.exceptions.SSLError):
            other.get(server.url, verify=server.authority.other_ca_file)


class Pinned(ResilientAdapter):
    """Pins a certificate's fingerprint, in the way requests-toolbelt's FingerprintAdapter does."""

    def __init__(self, fingerprint):
        self.fingerprint = fingerprint
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, assert_fingerprint=self.fingerprint, **kwargs)


def test_a_pin_is_never_served_by_an_unpinned_connection(open_server):
    """A warm connection that nobody compared with the pin is not there for the session that pins."""
    server = open_server
    server.play(Script())

    with session_of(server) as loose, session_of(server, Pinned("00" * 32)) as strict:
        loose.get(server.url)
        with pytest.raises(requests.exceptions.SSLError, match="(?i)fingerprint"):
            strict.get(server.url)


def basic(user):
    """What the proxy notes of a user's credentials."""
    credentials = base64.b64encode(f"{user}:secret".encode())
    return f"Basic {hashlib.sha256(credentials).hexdigest()}"


def test_proxy_credentials_stay_with_their_tunnel(fault_server_factory, open_server):
    """Two users of one proxy have two tunnels, and each request goes through its own user's."""
    server, proxy = open_server, fault_server_factory(tls=False)
    server.play(Script())
    calls = ["ann", "ben", "ann", "ben"]

    for number, user in enumerate(calls):
        way = {"https": proxy.url.replace("//", f"//{user}:secret@")}
        with session_of(server) as session:
            session.get(server.url, proxies=way, headers={"X-Request-Id": f"{user} {number}"})

    # One after the other: the server's n-th connection came through the proxy's n-th tunnel.
    users = [tunnel.proxy_authorization for tunnel in proxy.tunnels()]
    seen = [(request.request_id, users[request.connection - 1]) for request in server.executions()]
    assert seen == [(f"{user} {number}", basic(user)) for number, user in enumerate(calls)]
    assert users == [basic("ann"), basic("ben")]


def test_proxy_headers_stay_with_their_tunnel(fault_server_factory, open_server):
    """The same for credentials that a subclass puts into `proxy_headers`, with one URL for both users."""

    class Named(ResilientAdapter):
        def __init__(self, user):
            self.user = user
            super().__init__()

        def proxy_headers(self, proxy):
            token = base64.b64encode(f"{self.user}:secret".encode()).decode()
            return {"Proxy-Authorization": f"Basic {token}"}

    server, proxy = open_server, fault_server_factory(tls=False)
    server.play(Script())

    for user in ("ann", "ben"):
        with session_of(server, Named(user)) as session:
            session.get(server.url, proxies={"https": proxy.url}, headers={"X-Request-Id": user})

    users = [tunnel.proxy_authorization for tunnel in proxy.tunnels()]
    seen = [(request.request_id, users[request.connection - 1]) for request in server.executions()]
    assert seen == [("ann", basic("ann")), ("ben", basic("ben"))]


def test_a_proxied_connection_serves_no_direct_call(fault_server_factory, open_server):
    """The way to a server is part of a connection's key."""
    server, proxy = open_server, fault_server_factory(tls=False)
    server.play(Script())

    with session_of(server) as session:
        session.get(server.url, proxies={"https": proxy.url})
        session.get(server.url)

    assert server.counts().accepts == 2
    assert proxy.counts().tunnels == 1


def ntlm(server, session, user=None):
    """A GET of the NTLM-like page, with the token of a user or without."""
    headers = {"Authorization": f"NTLM {user}"} if user else {}
    return session.get(server.url + "/ntlm", headers=headers)


def test_an_ntlm_connection_stays_with_its_session(open_server):
    """Once NTLM has authenticated a connection, no other session's call is served as that user."""
    server = open_server
    server.play(Script())

    with session_of(server) as ann, session_of(server) as stranger:
        assert ntlm(server, ann).status_code == 401
        assert ntlm(server, ann, "ann").text == "ann"
        assert ntlm(server, ann).text == "ann"
        answers = [ntlm(server, stranger).status_code for _ in range(3)]

    assert answers == [401, 401, 401]


def test_a_shared_pool_would_serve_a_stranger(open_server):
    """The control: with stock's one pool for two users, the stranger's call is ann's."""
    server = open_server
    server.play(Script())
    shared = HTTPAdapter()

    with session_of(server, shared) as ann, session_of(server, shared) as stranger:
        ntlm(server, ann, "ann")

        assert ntlm(server, stranger).text == "ann"


@pytest.mark.parametrize("block", [False, True])
def test_an_owned_connection_ends_with_its_session(open_server, block):
    """Closing the session closes what was its alone, and at most `pool_maxsize` of these are kept."""
    server = open_server
    server.play(Script())
    session = session_of(server, ResilientAdapter(pool_maxsize=1, pool_block=block))
    ntlm(server, session, "ann")
    pools = session.get_adapter(server.url).poolmanager.pools
    (pool,) = [pools[key] for key in pools.keys()]  # noqa: SIM118 - urllib3's container
    kept = [connection for connection in (*pool._owned, *pool.pool.queue) if connection is not None]
    (sock,) = [connection.sock for connection in kept]
    session.close()

    assert sock.fileno() == -1


def test_two_threads_of_two_ntlm_users(open_server):
    """Under load, each session sees its own user or a challenge."""
    server = open_server
    server.play(Script())
    wrong = []

    def work(user):
        with session_of(server) as session:
            ntlm(server, session, user)
            for _ in range(20):
                answer = ntlm(server, session)
                if answer.status_code == 200 and answer.text != user:
                    wrong.append((user, answer.text))

    threads = [threading.Thread(target=work, args=(user,)) for user in ("ann", "ben", "cat", "dan")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_closing_a_session_closes_nothing_of_another(open_server):
    """`Session.close()` gives a lease back; the other session's connection stays warm."""
    server = open_server
    server.play(Script())

    with session_of(server) as stays:
        stays.get(server.url)
        leaves = session_of(server)
        leaves.get(server.url)
        leaves.close()
        stays.get(server.url)

    assert server.counts().accepts == 1


def test_clear_closes_idle_connections(open_server):
    """`registry.clear()` is for tests and for programs that know that the network has changed."""
    server = open_server
    server.play(Script())

    with session_of(server) as session:
        session.get(server.url)
        registry.clear()
        server.wait_for(lambda counts: counts.open_connections == 0)
        session.get(server.url)

    assert server.counts().accepts == 2
    assert "1 idle connections" in repr(registry)


def trusting(server, monkeypatch):
    """Have `verify=True` trust the server, and return a context for all such as requests 2.32.0 had."""
    for module in ("resilient_transport.adapter.adapter", "requests.adapters"):
        monkeypatch.setattr(f"{module}.DEFAULT_CA_BUNDLE_PATH", server.authority.ca_file)
    shared = ssl.create_default_context(cafile=server.authority.ca_file)
    named = requests.adapters._urllib3_request_context

    def naming(request, verify, *rest):
        host, pool = named(request, verify, *rest)
        return host, {**pool, "ssl_context": shared} if verify is True else pool

    monkeypatch.setattr("requests.adapters._urllib3_request_context", naming)
    return shared


def contexts_of(session, server):
    """The TLS contexts of a session's pools."""
    pools = session.get_adapter(server.url).poolmanager.pools
    return [pools[key].conn_kw["ssl_context"] for key in pools.keys()]  # noqa: SIM118 - urllib3's container


def test_a_context_that_requests_shares_is_never_used(open_server, monkeypatch):
    """requests 2.32.0 to 2.32.5 put one context for all into a pool's key: psf/requests#6726."""
    server = open_server
    server.play(Script())
    shared = trusting(server, monkeypatch)

    with session_of(server, verify=True, cert=server.authority.client) as ann:
        name = whoami(ann, server)
        used = contexts_of(ann, server)
    with session_of(server, verify=True) as stranger:
        unnamed = whoami(stranger, server)

    assert (name, unnamed) == ("alice", None)
    assert shared not in used
    assert len(used) == 1


def test_a_context_that_requests_shares_shows_anyones_certificate(open_server, monkeypatch):
    """The control: stock loads ann's certificate into it, and then shows it for a stranger."""
    server = open_server
    server.play(Script())
    shared = trusting(server, monkeypatch)

    with session_of(server, HTTPAdapter(), verify=True, cert=server.authority.client) as ann:
        whoami(ann, server)
        used = contexts_of(ann, server)
    with session_of(server, HTTPAdapter(), verify=True) as stranger:
        unnamed = whoami(stranger, server)

    assert unnamed == "alice"
    assert used == [shared]


def again(adapter, **settings):
    """Have an adapter make its pool manager anew."""
    adapter.init_poolmanager(10, 10, **settings)


def changed(adapter, **settings):
    """Change what an adapter's pool manager was told of every pool."""
    adapter.poolmanager.connection_pool_kw.update(settings)


@pytest.mark.parametrize("change", [again, changed])
@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"cert_file": "/nonexistent.pem"}, requests.exceptions.ConnectionError),
        ({"ca_cert_data": "nonsense"}, requests.exceptions.SSLError),
    ],
    ids=["missing", "nonsense"],
)
def test_a_changed_identity_that_fails_is_not_the_old_one(open_server, change, settings, error):
    """Whoever asks for other certificates is not served with those of before because these are unusable."""
    server = open_server
    server.play(Script())

    with session_of(server) as session:
        before = whoami(session, server)
        change(session.get_adapter(server.url), **settings)
        with pytest.raises(error):
            whoami(session, server)

    assert before is None
    assert server.counts().requests == 1


def test_a_changed_identity_is_used(open_server):
    """The control: settings that are usable hold from the next call on."""
    server = open_server
    server.play(Script())
    cert, key = server.authority.client

    with session_of(server) as session:
        before = whoami(session, server)
        changed(session.get_adapter(server.url), cert_file=cert, key_file=key)
        after = whoami(session, server)

    assert (before, after) == (None, "alice")


def test_a_rotated_file_that_fails_leaves_the_old_one(open_server, tmp_path, monkeypatch, caplog):
    """The other control: the same settings whose files are being replaced, those of the manager, too."""
    monkeypatch.setattr("resilient_transport.pool.key._LOOK_EVERY", -1.0)
    server, authority = open_server, open_server.authority
    server.play(Script())
    paths = [shutil.copy(path, tmp_path / str(number)) for number, path in enumerate(authority.client)]
    adapter = ResilientAdapter()
    again(adapter, cert_file=paths[0], key_file=paths[1])

    with session_of(server, adapter) as session:
        seen = [whoami(session, server)]
        shutil.copy(authority.other_client[0], paths[0])
        seen.append(whoami(session, server))
        shutil.copy(authority.other_client[1], paths[1])
        seen.append(whoami(session, server))

    assert seen == ["alice", "alice", "bob"]
    assert f"The key in {paths[1]} does not belong to the certificate in {paths[0]}." in caplog.text


def own_context(server):
    """A TLS context of one's own that trusts the server."""
    return ssl.create_default_context(cafile=server.authority.ca_file)


def in_constructor(context):
    """An adapter that was given a context when it was made."""
    return ResilientAdapter(ssl_context=context)


def in_manager(context):
    """An adapter whose pool manager was given a context."""
    adapter = ResilientAdapter()
    again(adapter, ssl_context=context)
    return adapter


@pytest.mark.parametrize(
    ("adapter_with", "cure"),
    [
        (in_constructor, "load it into the context with load_verify_locations"),
        (in_manager, "for each verify= and cert= use an adapter of its own"),
    ],
)
def test_a_path_beside_a_context_is_refused(open_server, adapter_with, cure):
    """Who asks for another authority than the context's is told so, and not served as if it counted."""
    server = open_server
    server.play(Script())
    bundle = server.authority.other_ca_file

    with session_of(server, adapter_with(own_context(server)), verify=True) as session:
        answer = session.get(server.url)
        with pytest.raises(TypeError, match=cure):
            session.get(server.url, verify=bundle)

    assert answer.ok
    assert server.counts().requests == 1


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_path_of_the_environment_beside_a_context_is_not(open_server, monkeypatch, name):
    """`requests` takes it for `verify=True`; it is meant for all programs, and the context has the say."""
    server = open_server
    server.play(Script())
    monkeypatch.setenv(name, server.authority.other_ca_file)

    with session_of(server, in_constructor(own_context(server)), verify=True, trust_env=True) as session:
        answer = session.get(server.url)
    with (
        session_of(server, verify=True, trust_env=True) as other,
        pytest.raises(requests.exceptions.SSLError),
    ):
        other.get(server.url)

    assert answer.ok
