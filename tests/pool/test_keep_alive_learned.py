"""A server shows for how long it keeps idle connections: by closing one under us, or by not closing it."""

import pytest
import requests

from resilient_transport import attempts_of, registry
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.timeouts import SHORT_TIMEOUT


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.reset_peers()
    server.play(Script())


def call(session, server, method="GET"):
    """Whether a call took a connection that was there."""
    return attempts_of(session.request(method, server.url + "/echo", data=b"x"))[-1].reused


def learn(session, server, clock, seconds):
    """Let the server close a connection that was idle for so many seconds, and be found out."""
    session.get(server.url)
    clock.ahead += seconds
    # It may be on its way back to waiting still.
    server.wait_for(lambda _: server.close_idle() == 1)
    response = session.get(server.url)
    assert [attempt.reused for attempt in attempts_of(response)] == [False]


@pytest.mark.parametrize(("later", "reused"), [(6, True), (8, False)])
def test_a_closed_connection_teaches(server, dial, clock, later, reused):
    """After one was found closed after 7 s, none is used any more that was idle for as long."""
    session = dial(server)
    learn(session, server, clock, 7)
    clock.ahead += later

    assert call(session, server, "PUT") == reused


def test_nothing_is_learned_otherwise(server, dial, clock):
    """The control: where the server has closed none, one of 50 s is used."""
    session = dial(server)
    session.get(server.url)
    clock.ahead += 50

    assert call(session, server, "PUT")


@pytest.mark.parametrize(
    ("shown", "later", "reused"), [(1.2, 0.5, True), (1.2, 0.7, False), (40, 0.9, True), (40, 1.1, False)]
)
def test_what_may_not_be_repeated_keeps_to_half(server, dial, clock, shown, later, reused):
    """A POST takes a connection that is fresh within half of what was shown, and never beyond 1 s."""
    session = dial(server)
    learn(session, server, clock, shown)
    clock.ahead += later

    assert call(session, server, "POST") == reused


def test_a_get_that_succeeds_later_teaches_a_post(server, dial, clock):
    """A connection has carried a GET after 4 s: a POST trusts one for three quarters of that."""
    session = dial(server)
    session.get(server.url)
    clock.ahead += 4
    session.get(server.url)
    seen = []
    for later in (2.9, 3.1):
        clock.ahead += later
        seen.append(call(session, server, "POST"))

    assert seen == [True, False]


def test_one_that_stays_open_teaches_a_post(server, dial, clock):
    """A POST every 2 s: the connection that it did not dare to take was seen open after 4 s."""
    session = dial(server)
    seen = []
    for _ in range(5):
        seen.append(call(session, server, "POST"))
        clock.ahead += 2
        registry.look()

    assert seen == [False, False, True, True, True]


def test_what_was_seen_is_refuted(server, dial, clock):
    """The control: once the server has closed one sooner, a POST is as careful as that asks for."""
    session = dial(server)
    session.get(server.url)
    clock.ahead += 10
    session.get(server.url)
    learn(session, server, clock, 1.2)
    clock.ahead += 0.7

    assert not call(session, server, "POST")


def test_a_restart_teaches_nothing(server, dial, clock):
    """A connection that was closed as soon as it was idle says nothing of idleness."""
    session = dial(server)
    learn(session, server, clock, 0)
    clock.ahead += 50

    assert call(session, server, "PUT")


def reset_on_reuse(server):
    """Reset the second request of the first connection."""
    server.play(Script((Rule(Fault(Moment.REQUEST), first=1, on_request=2),)))


@pytest.mark.parametrize(("idle_for", "later", "reused"), [(7, 6, True), (7, 8, False), (0, 50, True)])
def test_a_request_that_meets_a_closed_one_teaches(server, dial, clock, idle_for, later, reused):
    """The server closed while the request was on its way: it is repeated, and the limit is learned."""
    reset_on_reuse(server)
    session = dial(server)
    session.get(server.url)
    clock.ahead += idle_for
    response = session.get(server.url)
    clock.ahead += later

    assert [attempt.reused for attempt in attempts_of(response)] == [True, False]
    assert call(session, server, "PUT") == reused


def test_a_post_that_met_a_closed_one_makes_the_next_careful(server, dial, clock):
    """It is not repeated; what it has met is remembered for the next, which makes its own connection."""
    reset_on_reuse(server)
    session = dial(server)
    session.get(server.url)
    clock.ahead += 0.9
    with pytest.raises(requests.ConnectionError):
        session.post(server.url + "/echo", data=b"x", headers={"X-Request-Id": "one"})
    session.get(server.url)
    clock.ahead += 0.6

    assert not call(session, server, "POST")
    assert "one" not in server.counts().executions


def test_a_connection_that_outlives_it_unlearns(server, dial, clock):
    """One that is found open after 8 s doubles the limit of 7: the next of 8 s is used again."""
    session = dial(server)
    learn(session, server, clock, 7)
    seen = []
    for _ in range(3):
        clock.ahead += 8
        registry.look()
        seen.append(call(session, server, "PUT"))

    assert seen == [False, True, True]


def test_it_is_forgotten_in_the_end(server, dial, clock):
    """One that lives longer makes the limit twice its time, until the adapter's own holds again."""
    session = dial(server)
    learn(session, server, clock, 7)
    seen = []
    for seconds in (8, 15, 29, 54, 54):
        clock.ahead += seconds
        registry.look()
        seen.append(call(session, server, "PUT"))

    assert seen == [False, True, False, True, True]


def test_who_closes_sooner_teaches_more(server, dial, clock):
    """The shortest time counts."""
    session = dial(server)
    learn(session, server, clock, 20)
    learn(session, server, clock, 5)
    clock.ahead += 6

    assert not call(session, server, "PUT")


def test_what_one_has_learned_all_know(server, dial, clock):
    """A session of the same identity need not meet it again."""
    learn(dial(server), server, clock, 7)
    clock.ahead += 8

    assert not call(dial(server), server, "PUT")


def test_other_servers_are_another_matter(server, dial, clock, fault_server_factory):
    """What one server does says nothing of the next."""
    other, session = fault_server_factory(), dial(server)
    session.get(other.url)
    learn(session, server, clock, 7)
    clock.ahead += 8

    assert call(session, other, "PUT")


def test_a_server_that_closes_after_a_while_costs_no_call(fault_server_factory, dial):
    """The real thing: nothing but the server's own clock closes the connection, and no call fails of it."""
    server = fault_server_factory(idle_timeout=SHORT_TIMEOUT)
    session = dial(server)
    for number in range(4):
        response = session.post(server.url + "/echo", data=b"x", headers={"X-Request-Id": f"{number}"})
        server.wait_for(lambda counts: counts.open_connections == 0)

    assert response.ok
    assert set(server.counts().executions.values()) == {1}
    assert server.counts().accepts == 4
