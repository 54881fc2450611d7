"""The switch that turns all of it off: what is left is requests' own adapter, side by side with stock."""

import pickle
import ssl

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.poolmanager import PoolManager
from urllib3.util import Retry

import resilient_transport
from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, mount, override, registry
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


@pytest.fixture
def bypass(environment):
    """Switch it off."""
    environment(bypass="1")


def outcome(server, session, fault, **values):
    """What a call comes to: what is raised, in what words, and what the server has seen."""
    server.reset_peers()
    server.play(Script((Rule(fault, first=1),)) if fault else Script())
    try:
        result = session.post(server.url + "/echo", data=b"x", headers={"X-Request-Id": "one"}, **values)
        told = result.status_code, result.content, result.raw.retries.total
    except requests.RequestException as error:
        told = type(error), [type(each) for each in error.args], type(error.__context__)
        if fault.at in (Moment.CLIENT_HELLO, Moment.HANDSHAKE) and fault.how is How.RST:
            # Whether a reset is TLS's or the socket's error depends on who is quicker, in stock as well.
            told = isinstance(error, requests.ConnectionError)
    counts = server.counts()
    return told, counts.accepts, counts.requests, counts.executions


FAULTS = [
    None,
    Fault(Moment.CLIENT_HELLO),
    Fault(Moment.CLIENT_HELLO, How.STALL),
    Fault(Moment.HANDSHAKE),
    Fault(Moment.HANDSHAKE, How.ALERT, seconds=0),
    Fault(Moment.EXECUTED),
    Fault(Moment.EXECUTED, How.STALL),
    Fault(Moment.HEAD, How.FIN),
    Fault(Moment.BODY, How.FIN),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault and f"{fault.at.value} {fault.how.value}")
@pytest.mark.usefixtures("bypass")
def test_it_fails_as_stock_does(server, dial, fault):
    """No repetition, the same exception around the same cause, the same requests at the server."""
    stalls = fault is not None and fault.how is How.STALL
    patience = SHORT_TIMEOUT if stalls else LONG_TIMEOUT
    ours = outcome(server, dial(server, ResilientAdapter()), fault, timeout=patience)
    theirs = outcome(server, dial(server, HTTPAdapter()), fault, timeout=patience)

    assert ours == theirs


def test_without_the_switch_it_repeats(server, dial):
    """The control: a handshake that is reset is repeated, and stock's is not."""
    ours = outcome(server, dial(server), Fault(Moment.CLIENT_HELLO))
    theirs = outcome(server, dial(server, HTTPAdapter()), Fault(Moment.CLIENT_HELLO))

    assert ours[1] == 2
    assert theirs[1] == 1


@pytest.mark.parametrize(
    "settings",
    [{}, {"policy": RetryPolicy(retries=4, retry_non_idempotent=True)}, {"max_retries": 0}],
    ids=["none", "policy", "none at all"],
)
@pytest.mark.usefixtures("bypass")
def test_no_setting_of_ours_counts(server, dial, settings):
    """Neither a policy nor a block of `override` makes a bypassed adapter repeat anything."""
    server.play(Script((Rule(Fault(Moment.EXECUTED)),)))
    with override(retries=3), pytest.raises(requests.ConnectionError):
        dial(server, **settings).get(server.url)

    assert server.counts().accepts == 1


@pytest.mark.parametrize("count", [2, Retry(2, backoff_factor=0)], ids=["int", "Retry"])
@pytest.mark.usefixtures("bypass")
def test_max_retries_is_stocks(server, dial, count):
    """What stock would repeat by `max_retries`, it does repeat."""
    seen = []
    for kind in (ResilientAdapter, HTTPAdapter):
        server.play(Script((Rule(Fault(Moment.CLIENT_HELLO)),)))
        with pytest.raises(requests.ConnectionError):
            dial(server, kind(max_retries=count)).get(server.url)
        seen.append(server.counts().accepts)

    assert seen == [3, 3]


def made(monkeypatch, session, url, calls=3):
    """How many contexts are made by some calls, each on a session of its own."""
    contexts = []
    original = ssl.SSLContext.__new__

    def new(kind, *args, **values):
        contexts.append(kind)
        return original(kind, *args, **values)

    with monkeypatch.context() as patch:
        patch.setattr(ssl.SSLContext, "__new__", new)
        for _ in range(calls):
            session().get(url)
    return len(contexts)


def test_contexts_and_connections(server, dial, monkeypatch, bypass):
    """Each session has its own connection and its own context, as in stock, and the registry has none."""
    counts = []
    for kind in (ResilientAdapter, HTTPAdapter):
        server.play(Script())
        contexts = made(monkeypatch, lambda kind=kind: dial(server, kind()), server.url)
        counts.append((contexts, server.counts().accepts, server.counts().resumptions))

    assert counts[0] == counts[1]
    assert counts[0][:2] == (3, 3)
    assert sum(live for live, _ in registry.connections().values()) == 0


def test_contexts_and_connections_otherwise(server, dial, monkeypatch):
    """The control: without the switch, three more sessions make no context and no connection."""
    dial(server).get(server.url)
    contexts = made(monkeypatch, lambda: dial(server), server.url)

    assert contexts == 0
    assert server.counts().accepts == 1


@pytest.mark.usefixtures("bypass")
def test_its_pools_are_urllib3s(server, dial):
    """Nothing of ours stands between requests and urllib3."""
    adapter = ResilientAdapter()
    session = dial(server, adapter)
    with session.get(server.url, stream=True) as response:
        (pool,) = (adapter.poolmanager.pools.get(key) for key in adapter.poolmanager.pools.keys())  # noqa: SIM118

    assert type(adapter.poolmanager) is PoolManager
    assert type(pool) is HTTPSConnectionPool
    assert type(response.raw).__module__ == "urllib3.response"
    assert attempts_of(response) == ()


@pytest.mark.usefixtures("bypass")
def test_an_ssl_context_is_still_used(server, dial):
    """Whom it trusts and what it shows comes from the context that was given, as without the switch."""
    context = ssl.create_default_context(cafile=server.authority.ca_file)
    context.load_cert_chain(*server.authority.client)
    session = dial(server, ResilientAdapter(ssl_context=context))
    session.verify, session.cert = True, None

    assert session.get(server.url).ok
    assert server.executions()[-1].client is not None


@pytest.mark.parametrize("kind", ["str", "callable"])
@pytest.mark.usefixtures("bypass")
def test_a_key_password_is_still_used(server, dial, tmp_path, kind):
    """An encrypted key is opened with it."""
    from cryptography.hazmat.primitives import serialization

    certificate, key = server.authority.client
    with open(key, "rb") as file:
        loaded = serialization.load_pem_private_key(file.read(), None)
    encrypted = tmp_path / "key.pem"
    encrypted.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )
    password = "open sesame" if kind == "str" else lambda: "open sesame"
    session = dial(server, ResilientAdapter(key_password=password))
    session.cert = (certificate, str(encrypted))

    assert session.get(server.url).ok


@pytest.mark.usefixtures("bypass")
def test_the_hooks_of_a_subclass_are_called(server, dial):
    """`init_poolmanager` and `cert_verify`, as stock calls them."""
    called = []

    class Own(ResilientAdapter):
        def init_poolmanager(self, *args, **kwargs):
            called.append("init_poolmanager")
            super().init_poolmanager(*args, **kwargs)

        def cert_verify(self, *args, **kwargs):
            called.append("cert_verify")
            super().cert_verify(*args, **kwargs)

    assert dial(server, Own()).get(server.url).ok
    assert called == ["init_poolmanager", "cert_verify"]


@pytest.mark.usefixtures("bypass")
def test_warming_does_nothing(server, dial):
    """It returns nothing and opens nothing."""
    session = dial(server)
    adapter = session.get_adapter(server.url)

    assert adapter.warm(server.url, 3, session=session) == ()
    assert adapter.warm(server.url, background=True, session=session) == ()
    assert server.counts().accepts == 0


@pytest.mark.parametrize("then", ["1", "0"])
def test_it_pickles(server, dial, environment, bypass, then):
    """What is unpickled is bypassed where the environment says so there."""
    data = pickle.dumps(ResilientAdapter(max_retries=1))
    environment(bypass=then)
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),)))
    response = dial(server, pickle.loads(data)).get(server.url)

    assert response.ok
    assert len(attempts_of(response)) == (0 if then == "1" else 2)


@pytest.mark.usefixtures("bypass")
def test_installed_or_mounted(server, dial):
    """A whole program is as it was."""
    certificates = {"verify": server.authority.ca_file, "cert": server.authority.client}
    server.play(Script((Rule(Fault(Moment.EXECUTED)),)))
    with resilient_transport.install(), pytest.raises(requests.ConnectionError):
        requests.get(server.url, **certificates)
    with requests.Session() as session:
        mount(session)
        with pytest.raises(requests.ConnectionError):
            session.get(server.url, **certificates)

    assert server.counts().accepts == 2


@pytest.mark.usefixtures("bypass")
def test_a_proxy_is_stocks(server, dial, fault_server_factory):
    """A tunnel is made anew for each session, and one that breaks is not repeated."""
    proxy = fault_server_factory(tls=False)
    for _ in range(2):
        assert dial(server).get(server.url, proxies={"https": proxy.url}).ok
    tunnels = proxy.counts().tunnels
    proxy.play(Script((Rule(Fault(Moment.TUNNEL)),)))
    with pytest.raises(requests.ConnectionError):
        dial(server).get(server.url, proxies={"https": proxy.url})

    assert (tunnels, proxy.counts().tunnels) == (2, 1)


def own_context(server, **changes):
    """A TLS context that trusts the server's CA alone, and shows the client's certificate."""
    context = ssl.create_default_context(cafile=server.authority.ca_file)
    context.load_cert_chain(*server.authority.client)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("changes", [{}, {"check_hostname": False, "verify_mode": ssl.CERT_NONE}])
def test_a_context_of_ones_own_stays_as_it_is(server, dial, bypass, changes):
    """It is used, and nothing is loaded into it or set on it, which stock does."""
    context = own_context(server, **changes)
    before = len(context.get_ca_certs()), context.verify_mode
    session = dial(server, ResilientAdapter(ssl_context=context))
    session.verify, session.cert = True, None
    status = session.get(server.url).status_code

    assert status == 200
    assert (len(context.get_ca_certs()), context.verify_mode) == before
