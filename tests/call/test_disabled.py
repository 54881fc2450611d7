"""An endpoint that is switched off: nothing is opened, and nothing else is touched."""

import pickle
from contextlib import suppress

import pytest
import requests

import resilient_transport
from resilient_transport import EndpointDisabled, ResilientAdapter, registry
from resilient_transport.testing import Script
from tests.end_to_end.ways import CONSTRUCTOR, ENVIRONMENT


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong and no connection to it."""
    registry.clear()
    server.play(Script())


def disabling(say, way, *urls):
    """The adapter's arguments, once these URLs are switched off."""
    return say(way, disable=list(urls) if way == CONSTRUCTOR else " ".join(urls)).arguments


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/words", "/words/3", "//words/3", "/words/3?a=b", "/%77ords/3", "/x/../words/3", "/words/#a"]
)
def test_nothing_is_opened(server, dial, say, way, method, path):
    """Every spelling of what is below the prefix is refused before there is a connection."""
    session = dial(server, **disabling(say, way, server.url + "/words"))
    with pytest.raises(EndpointDisabled, match="switched off"):
        session.request(method, server.url + path, data=b"x")

    assert server.counts().accepts == 0


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR, None])
@pytest.mark.parametrize("path", ["/echo", "/wordsmith", "/bytes/3", "/echo?to=/words/3"])
def test_a_neighbour_works(server, dial, say, way, path):
    """What is not below the prefix is called as ever."""
    session = dial(server, **disabling(say, way, server.url + "/words"))

    assert session.get(server.url + path) is not None
    assert server.counts().executed == 1


def test_without_the_setting_it_is_called(server, dial):
    """The control."""
    assert dial(server).get(server.url + "/words/3").ok
    assert server.counts().accepts == 1


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR])
def test_a_redirect_to_it_is_refused(server, dial, say, way):
    """The hop before it is made, and it is not."""
    session = dial(server, **disabling(say, way, server.url + "/words"))
    with pytest.raises(EndpointDisabled):
        session.get(server.url + "/redirect?to=/words/3")

    assert [one.path for one in server.executions()] == ["/redirect?to=/words/3"]


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR])
def test_warming_is_refused(server, dial, say, way):
    """Nothing is opened for a call that would be refused; in the background neither."""
    session = dial(server, **disabling(say, way, server.url))
    adapter = session.get_adapter(server.url)
    with pytest.raises(EndpointDisabled):
        adapter.warm(server.url, 2, session=session)
    adapter.warm(server.url, background=True, session=session)
    with pytest.raises(EndpointDisabled):
        session.get(server.url)

    assert server.counts().accepts == 0


@pytest.mark.parametrize(
    ("from_environment", "given", "refused"), [("/words", [], False), ("", ["/words"], True)]
)
def test_the_constructor_is_stronger(server, dial, environment, from_environment, given, refused):
    """An empty list switches on again what the environment has switched off."""
    if from_environment:
        environment(disable=server.url + from_environment)
    session = dial(server, disable=[server.url + path for path in given])
    with suppress(EndpointDisabled):
        session.get(server.url + "/words/3")

    assert server.counts().accepts == (0 if refused else 1)


def test_through_a_proxy(server, dial, fault_server_factory):
    """The proxy is not told of it either."""
    proxy = fault_server_factory(tls=False)
    session = dial(server, disable=[server.url + "/words"])
    with pytest.raises(EndpointDisabled):
        session.get(server.url + "/words/3", proxies={"https": proxy.url})

    assert (proxy.counts().accepts, server.counts().accepts) == (0, 0)


def test_in_a_whole_program(server, environment):
    """For a program that nobody can edit: whatever session it makes, it is refused there."""
    environment(disable=server.url)
    with resilient_transport.install(), pytest.raises(EndpointDisabled):
        requests.get(server.url, verify=server.authority.ca_file, cert=server.authority.client)

    assert server.counts().accepts == 0


def test_a_pickled_adapter_refuses_as_well(server, dial):
    """What it was told goes with it."""
    adapter = pickle.loads(pickle.dumps(ResilientAdapter(disable=[server.url])))
    with pytest.raises(EndpointDisabled):
        dial(server, adapter).get(server.url)

    assert server.counts().accepts == 0


def test_its_exception(server, dial):
    """It is what a program catches today, goes through a pickle, and names no query and no password."""
    with pytest.raises(requests.ConnectionError) as caught:
        dial(server, disable=[server.url]).get(server.url + "/?secret=hunter2", auth=("user", "hunter3"))
    error = pickle.loads(pickle.dumps(caught.value))

    assert isinstance(error, EndpointDisabled)
    assert str(error) == str(caught.value)
    assert "hunter" not in repr(error) + str(error)
    assert server.url in str(error)
