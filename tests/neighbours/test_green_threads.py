"""eventlet and gevent: they replace sockets and `ssl`, before anything else is imported."""

import json

import pytest

from resilient_transport.retry.budget import CAPACITY
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.neighbours.environments import HOLDS
from tests.real.conftest import require
from tests.real.servers import Redis

FIRST = {
    "eventlet": "import eventlet; eventlet.monkey_patch()",
    "gevent": "from gevent import monkey; monkey.patch_all()",
}
#: A project of somebody's whose conftest patches, and whose test calls.
CONFTEST = """
import sys

patched = ("ssl", "urllib3", "requests", "resilient_transport.public_names")
early = sorted(name for name in sys.modules if name in patched)
{first}
"""
TEST = """
import socket

import requests

from conftest import early
from resilient_transport import mount


def test_a_call(fault_server):
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = fault_server.authority.ca_file, fault_server.authority.client
    mount(session)

    assert early == []
    assert socket.socket.__module__.split(".")[0] == "{name}"
    assert [session.get(fault_server.url).status_code for _ in range(2)] == [200, 200]
    assert fault_server.counts().accepts == 1
"""


def calls(environment, first, whose, server):
    """Return what the program of calls has said, in an environment."""
    certificates = server.authority.ca_file, *server.authority.client
    ran = environment.run("-m", "tests.neighbours.calls", first, whose, server.url, *certificates)
    return json.loads(ran.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
def test_tls_calls_work(name, environment_of, server):
    """A reset handshake is repeated, one connection serves all, an untrusted server is told as in stock."""
    environment = environment_of(name, *HOLDS[name])
    server.play(Script((Rule(Fault(Moment.HANDSHAKE), first=1),)))
    ours = calls(environment, FIRST[name], "ours", server)
    accepts = server.counts().accepts
    server.play(Script((Rule(Fault(Moment.HANDSHAKE), first=1),)))
    stock = calls(environment, FIRST[name], "stock", server)

    assert ours == ["alice", "alice", "alice", 200_000, 300_000, "alice", "SSLError"]
    # The control: stock gives up where the handshake was reset.
    assert stock[0] in ("ConnectionError", "SSLError")
    assert stock[1:] == ours[1:]
    # One was reset, one served the session and then what `install` reaches, one has seen an untrusted server.
    assert accepts == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
def test_others_run_while_an_address_is_silent(name, environment_of):
    """The wait for the addresses of a name is one of theirs, and the second call has none."""
    ran = environment_of(name, *HOLDS[name]).run("-m", "tests.neighbours.half_dead", FIRST[name])
    first, second = json.loads(ran.stdout)

    assert first[:2] == second[:2] == ["ok", "127.0.0.1"]
    # If the wait were not one of theirs, nobody would run during it.
    assert first[2] > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
def test_redis_is_asked_by_green_threads(name, environment_of, tmp_path):
    """Two connections serve 50 at once, and others run while a Redis is silent."""
    require("redis-server")
    with Redis(tmp_path) as redis:
        ran = environment_of(name, *HOLDS[name]).run(
            "-m", "tests.neighbours.green_redis", FIRST[name], redis.url
        )
        accepted = redis.accepted()
    tokens, turns = json.loads(ran.stdout)

    assert tokens == list(range(CAPACITY - 50, CAPACITY))
    # This test's own questions are connections, too.
    assert accepted <= 2 + 2
    assert turns > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
def test_a_conftest_may_patch(name, environment_of, tmp_path):
    """The pytest plugin is there before any conftest, and has imported nothing that is to be patched."""
    (tmp_path / "conftest.py").write_text(CONFTEST.format(first=FIRST[name]))
    (tmp_path / "test_it.py").write_text(TEST.format(name=name))
    ran = environment_of(name, *HOLDS[name]).run(
        "-m", "pytest", "-q", "-p", "resilient_transport.testing.pytest_plugin",
        "--rootdir", str(tmp_path), str(tmp_path),
        check=False,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )  # fmt: skip

    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
def test_a_program_may_patch_late(name, environment_of, fault_server_factory):
    """After the import of the package, as gunicorn's workers do with --preload: an attempt is one call's."""
    plain = fault_server_factory(tls=False)
    ran = environment_of(name, *HOLDS[name]).run("-m", "tests.neighbours.late_patch", FIRST[name], plain.url)

    assert json.loads(ran.stdout) == [1, 1, 2, None]
