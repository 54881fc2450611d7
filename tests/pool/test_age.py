"""`max_age`: after an hour a connection is not used again, and the name is asked anew."""

import socket
from contextlib import ExitStack

import pytest
import requests

from resilient_transport import mount, registry
from resilient_transport.connection import connection as connection_module
from tests.end_to_end.test_other_address import NAME, resolve
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told
from tests.timeouts import LONG_TIMEOUT

OLD, NEW = "127.0.0.1", "127.0.0.2"
OK = told("200 OK", b"ok", Content_Length="2")


class At(VerbatimServer):
    """Listens at an address and port of its own."""

    place: tuple[str, int] = (OLD, 0)

    def _listen(self) -> socket.socket:
        return socket.create_server(self.place)


@pytest.fixture
def moved(monkeypatch, clock):
    """Two servers at the same port of two addresses, and a function that makes sessions for their name."""
    with ExitStack() as stack:
        servers = []
        for host in (OLD, NEW):
            server = At(lambda _: Answer(OK))
            server.place = (host, servers[0].port if servers else 0)
            servers.append(stack.enter_context(server))
        resolve(monkeypatch, OLD)

        def begin(**settings):
            session = stack.enter_context(requests.Session())
            session.trust_env = False
            mount(session, idle_timeout=1e6, **settings)
            return Caller(session, f"http://{NAME}:{servers[0].port}/")

        yield begin, servers
        registry.clear()


class Caller:
    """Makes calls with a session."""

    def __init__(self, session, url):
        self.session, self.url = session, url

    def get(self):
        """A whole call."""
        assert self.session.get(self.url, timeout=LONG_TIMEOUT).text == "ok"

    def begin(self):
        """A call whose connection is in use until its body is read."""
        return self.session.get(self.url, timeout=LONG_TIMEOUT, stream=True)

    def use_two(self):
        """Two calls at once, whose connections are closed."""
        held = [self.begin(), self.begin()]
        for response in held:
            response.close()


def accepts(servers):
    """How many connections each has had."""
    return [server.accepts for server in servers]


def test_an_hour_is_the_default(moved, monkeypatch, clock):
    """A name that has moved is followed, although its old address answers still."""
    begin, servers = moved
    caller = begin()
    caller.get()
    resolve(monkeypatch, NEW)
    clock.ahead += 3600 * connection_module.LEAST_SHARE_OF_AGE - 10
    caller.get()
    assert accepts(servers) == [1, 0]

    clock.ahead += 3600 * (1 - connection_module.LEAST_SHARE_OF_AGE) + 20
    caller.get()
    assert accepts(servers) == [1, 1]


def test_without_a_limit_the_old_address_is_used_for_ever(moved, monkeypatch, clock):
    """The control."""
    begin, servers = moved
    caller = begin(max_age=None)
    caller.get()
    resolve(monkeypatch, NEW)
    clock.ahead += 3600 * 24
    caller.get()

    assert accepts(servers) == [1, 0]


@pytest.mark.parametrize(("found", "expected"), [((NEW,), [2, 2]), ((NEW, OLD), [2, 1])])
def test_a_younger_connection_to_an_address_that_is_gone_ends(moved, monkeypatch, clock, found, expected):
    """Once the first is too old, the name is asked anew; if it has the address still, it is used again."""
    begin, servers = moved
    caller = begin(max_age=100)
    first = caller.begin()
    clock.ahead += 80
    younger = caller.begin()
    assert (first.text, accepts(servers)) == ("ok", [2, 0])
    resolve(monkeypatch, *found)
    clock.ahead += 25
    caller.get()
    assert (younger.text, accepts(servers)) == ("ok", [2, 1])
    caller.use_two()

    assert accepts(servers) == expected


def test_an_answer_in_between_ends_nothing(moved, monkeypatch, clock):
    """Many names have other addresses in each answer: that is no reason to leave a connection."""
    begin, servers = moved
    caller = begin(max_age=100)
    held = caller.begin()
    resolve(monkeypatch, NEW)
    clock.ahead += 50
    caller.get()
    assert held.text == "ok"
    resolve(monkeypatch, OLD)
    caller.use_two()

    assert accepts(servers) == [1, 1]


def test_connections_made_together_do_not_end_together(moved, monkeypatch, clock):
    """Each lives for a share of its own; the control: without that all would end at once."""
    begin, servers = moved
    shares = iter([0.5, 0.0])
    monkeypatch.setattr(connection_module, "random", lambda: next(shares, 0.0))
    caller = begin(max_age=100)
    held = [caller.begin(), caller.begin()]
    for response in held:
        assert response.text == "ok"
    clock.ahead += 97
    caller.use_two()

    assert accepts(servers) == [3, 0]


def test_one_that_is_too_old_for_some_makes_room(moved, clock):
    """Of too many idle ones the oldest is closed; if it were the newest, whom it serves would find none."""
    begin, servers = moved
    patient, hasty = begin(pool_maxsize=2), begin(pool_maxsize=2, max_age=10)
    held = [patient.begin(), patient.begin()]
    assert [response.text for response in held] == ["ok", "ok"]
    clock.ahead += 20
    for _ in range(3):
        held = [hasty.begin(), hasty.begin()]
        assert [response.text for response in held] == ["ok", "ok"]

    assert accepts(servers) == [4, 0]


def test_a_name_whose_answers_vary_loses_no_connection(moved, monkeypatch, clock):
    """It has more addresses than it tells at once, so that one which is missing is not gone."""
    begin, servers = moved
    caller = begin(max_age=100)
    first = caller.begin()
    resolve(monkeypatch, NEW)
    clock.ahead += 50
    second = caller.begin()
    assert (first.text, accepts(servers)) == ("ok", [1, 1])
    clock.ahead += 60
    resolve(monkeypatch, OLD)
    third = caller.begin()
    assert [response.text for response in (second, third)] == ["ok", "ok"]
    caller.use_two()

    assert accepts(servers) == [2, 1]
