"""docker: its client is a session; what it streams it takes from under the response."""

import gc
import struct
import threading
from unittest import mock

import docker
import pytest
import requests
from docker.tls import TLSConfig

from resilient_transport import stats
from tests.neighbours.stand_in import EXECUTED, HANDSHAKE, Answered, told_as_json
from tests.timeouts import LONG_TIMEOUT

LINES = [b"one\n", b"two\n", b"three\n"]


def framed(line):
    """A line of a container's output, as Docker frames it."""
    return struct.pack(">BxxxL", 1, len(line)) + line


#: Set when the client has asked what it attaches to: only then its own buffers are out of the way.
is_inspected = threading.Event()


def page(asked):
    """Docker's API, as much of it as is asked for here."""
    path = asked.path.partition("/v1.44")[2] or asked.path
    if path == "/version":
        return told_as_json({"ApiVersion": "1.44"})
    if path == "/containers/json":
        return told_as_json([{"Id": "mine"}])
    if path == "/containers/create":
        return told_as_json({"Id": "mine"}, 201)
    if path == "/containers/mine/json":
        is_inspected.set()
        return told_as_json({"Id": "mine", "Config": {"Tty": False}})
    if path == "/containers/mine/logs":
        return Answered([framed(line) for line in LINES])
    if path == "/images/create":
        return Answered([b'{"status": "%d"}\r\n' % number for number in range(3)])
    if path == "/containers/mine/attach":
        fields = {"Connection": "Upgrade", "Upgrade": "tcp"}
        is_inspected.clear()
        return Answered(b"".join(map(framed, LINES)), 101, fields, lambda: is_inspected.wait(LONG_TIMEOUT))
    return Answered(status=404)


@pytest.fixture(params=["http", "https"])
def daemon(request, stand_in):
    """A daemon that listens on TCP, with TLS or without."""
    return stand_in(page, tls=request.param == "https")


@pytest.fixture
def client(way, daemon, authority):
    """A client; it does not use the adapter of a session that is given, since it is a session itself."""
    tls = TLSConfig(client_cert=authority.client, ca_cert=authority.ca_file, verify=True)
    with docker.APIClient(
        daemon.url.replace("http:", "tcp:"), version="1.44", tls=tls if daemon.context else False
    ) as client:
        yield way.prepare(client)


def test_what_is_asked_is_healed(way, daemon, client):
    """A list of containers is a GET."""
    daemon.faults = [EXECUTED]
    with way.survives():
        assert client.containers() == [{"Id": "mine"}]
        assert len(daemon.asked) == 2


def test_a_container_is_not_made_twice(way, daemon, client):
    """That is a POST. With TLS it is healed as long as it has not left."""
    daemon.faults = [EXECUTED]
    with pytest.raises(requests.ConnectionError):
        client.create_container("image")
    assert len(daemon.asked) == 1
    if daemon.context:
        daemon.faults = [HANDSHAKE]
        with way.survives():
            assert client.create_container("image")["Id"] == "mine"
            assert len(daemon.asked) == 2


@pytest.fixture
def swept():
    """Sweep up: the tool puts a response on its own socket, so that both wait for the garbage collector."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_streams_are_read(swept, client):
    """Frames in chunks, lines in chunks, and what follows an upgrade: from the socket itself."""
    assert list(client.logs("mine", stream=True)) == LINES
    assert [told["status"] for told in client.pull("image", tag="1", stream=True, decode=True)] == [
        "0",
        "1",
        "2",
    ]
    assert b"".join(client.attach("mine", stream=True)) == b"".join(LINES)
    assert client.attach("mine") == b"".join(LINES)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_streams_time_out_is_the_tools(swept, client):
    """It turns that off under a stream, since a container may be silent for long; so it stays off."""
    seen = []
    disable = client._disable_socket_timeout

    def disabling(stream):
        disable(stream)
        seen.append(getattr(stream, "_sock", stream))

    with mock.patch.object(client, "_disable_socket_timeout", disabling):
        for _ in client.logs("mine", stream=True):
            seen += [sock.gettimeout() for sock in seen[:1]]

    assert seen[1:] == [None] * 3


def test_a_unix_socket_is_its_own_affair(installed, stand_in, tmp_path):
    """There it mounts an adapter and connections of its own, which are left alone, and named."""
    daemon = stand_in(page, tls=False, path=str(tmp_path / "docker.sock"))
    with docker.APIClient(daemon.url, version="1.44") as client:
        assert client.containers() == [{"Id": "mine"}]
        daemon.faults = [EXECUTED]
        with pytest.raises(requests.ConnectionError):
            client.containers()

    assert sum(stats().left_alone.values()) == installed.heals
