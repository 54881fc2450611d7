"""For scripts and plugins: one session, or every session a program creates."""

import pytest
import requests
from requests.adapters import HTTPAdapter

import resilient_transport
from resilient_transport import ResilientAdapter, install, mount, uninstall
from resilient_transport.testing import Fault, Moment, Rule, Script


@pytest.fixture(autouse=True)
def uninstalled(server):
    """End each test with stock requests."""
    server.play(Script())
    yield
    uninstall()


def fetch(server, **values):
    """One `requests.get()` with the server's CA and a client certificate."""
    return requests.get(server.url, verify=server.authority.ca_file, cert=server.authority.client, **values)


def kinds(session):
    """The classes of a session's adapters."""
    return {type(adapter) for adapter in session.adapters.values()}


def test_mount_on_one_session():
    """One adapter for https and http; other sessions keep theirs."""
    session = requests.Session()

    adapter = mount(session, max_retries=2)

    assert set(session.adapters.values()) == {adapter}
    assert adapter.policy.retries == 2
    assert kinds(requests.Session()) == {HTTPAdapter}


def test_install_for_every_session():
    """Sessions created afterwards have it, those that exist keep what they have."""
    before = requests.Session()

    install(max_retries=4)
    after = requests.Session()

    assert kinds(before) == {HTTPAdapter}
    assert kinds(after) == {ResilientAdapter}
    assert after.get_adapter("https://x").policy.retries == 4


def test_uninstall_restores_stock():
    """After it, new sessions are as if nothing had happened."""
    install()
    install()

    uninstall()

    assert kinds(requests.Session()) == {HTTPAdapter}
    assert requests.sessions.HTTPAdapter is HTTPAdapter


def test_install_for_a_block():
    """As a context manager it ends with its block, and nests."""
    with install(max_retries=1):
        with install(max_retries=2) as inner:
            counts = [requests.Session().get_adapter("http://x").policy.retries]
        counts.append(requests.Session().get_adapter("http://x").policy.retries)

    assert counts == [2, 1]
    assert kinds(requests.Session()) == {HTTPAdapter}
    assert "ended" in repr(inner)


def test_bad_settings_are_refused_at_once():
    """Not at the first session, in some plugin's code."""
    with pytest.raises(TypeError, match="max_retries"):
        install(max_retries="three")

    assert kinds(requests.Session()) == {HTTPAdapter}


def test_requests_get_keeps_its_connection(server):
    """`requests.get()` opens a session each time; all of them share one warm pool."""
    with install():
        for _ in range(5):
            fetch(server)

    assert server.counts().accepts == 1


def test_without_it_each_get_connects(server):
    """The control: stock opens a connection for every `requests.get()`."""
    for _ in range(5):
        fetch(server)

    assert server.counts().accepts == 5


def test_requests_get_survives(server):
    """A plugin's call survives resets although the plugin knows nothing of it."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=3),)))

    with install():
        assert fetch(server).ok


def test_a_session_with_an_adapter_of_its_own_keeps_it():
    """Who mounts something has decided."""

    class Plugin(requests.Session):
        def __init__(self):
            super().__init__()
            self.mount("https://", HTTPAdapter())

    with install():
        assert type(Plugin().get_adapter("https://x")) is HTTPAdapter


def test_public_names_have_one_home():
    """What users meet is `resilient_transport.…`, wherever it is written."""
    homes = {
        getattr(resilient_transport, name).__module__
        for name in resilient_transport.__all__
        if name != "registry"
    }

    assert homes == {"resilient_transport"}


def test_what_stands_in_passes_for_the_class():
    """Plugins that name `requests.sessions.HTTPAdapter` find a class: to call, to ask and to derive from."""
    with install(max_retries=4):
        named = requests.sessions.HTTPAdapter
        made = named(pool_maxsize=3)

        class Derived(named):
            pass

        derived = Derived(max_retries=1)
        asked = isinstance(made, named), isinstance(HTTPAdapter(), named), isinstance(derived, named)

    assert type(made) is ResilientAdapter
    assert (made.policy.retries, made._pool_maxsize) == (4, 3)
    assert asked == (True, True, True)
    assert derived.policy.retries == 1
