"""The server's books: pure counting."""

from resilient_transport.testing.engine.ledger import Ledger
from resilient_transport.testing.observations import Counts, Execution, Tunnel


def execution(request_id):
    """Return an execution of which only the id matters."""
    return Execution(request_id, "GET", "/", 0, "", None, None, None, None, 1, False, None, None)


def test_everyone_in_flight_sees_the_crowd():
    """Whoever was there when the second came knows of two, even after the second has left."""
    ledger = Ledger()
    first, second = ledger.began(), ledger.began()
    ledger.finished(second, False, False)
    third = ledger.began()

    assert (first.crowd, second.crowd, third.crowd) == (2, 2, 2)
    assert ledger.counts().in_flight_max == 2
    assert ledger.counts().in_flight == 2


def test_a_handshake_alone_is_no_crowd():
    """The control: one after the other is one at a time."""
    ledger = Ledger()
    for _ in range(3):
        handshake = ledger.began()
        ledger.finished(handshake, True, False)

        assert handshake.crowd == 1
    assert ledger.counts().in_flight_max == 1


def test_all_is_counted():
    """Every counter counts its own thing."""
    ledger = Ledger()
    assert [ledger.accepted(), ledger.accepted()] == [1, 2]
    ledger.finished(ledger.began(), True, True)
    ledger.finished(ledger.began(), True, False)
    ledger.finished(ledger.began(), False, True)
    ledger.requested()
    for request_id in ("a", "b", "a"):
        ledger.executed(execution(request_id))
    ledger.tunnelled(Tunnel("localhost:1", 200, None, 1))
    ledger.ended()

    assert ledger.counts() == Counts(
        accepts=2,
        handshakes=2,
        resumptions=1,
        handshake_failures=1,
        requests=1,
        tunnels=1,
        executions={"a": 2, "b": 1},
        in_flight_max=1,
        in_flight=0,
        open_connections=1,
    )
    assert ledger.counts().executed == 3
    assert [each.request_id for each in ledger.executions()] == ["a", "b", "a"]


def test_clearing_keeps_what_is_open():
    """A new script begins at zero, but connections and handshakes that are there are there."""
    ledger = Ledger()
    ledger.accepted()
    ledger.began()
    assert ledger.anonymous() == "anonymous-1"
    ledger.clear()

    assert ledger.counts() == Counts(open_connections=1, in_flight=1, in_flight_max=1)
    assert ledger.accepted() == 1
    assert ledger.anonymous() == "anonymous-1"
