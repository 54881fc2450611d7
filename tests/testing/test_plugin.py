"""The fixtures that come with the package."""

from resilient_transport.testing import Counts, Fault, Moment, Rule, Script


def test_a_server_is_a_fixture(fault_server, session):
    """It does nothing wrong."""
    assert session.get(fault_server.url).status_code == 200
    assert fault_server.counts().executed == 1


def test_each_test_has_its_own(fault_server):
    """So it has seen nothing."""
    assert fault_server.counts() == Counts()


def test_servers_are_made_to_order(fault_server_factory, authority):
    """As many as a test needs, with one authority."""
    script = Script((Rule(Fault(Moment.REQUEST)),))
    first, second = fault_server_factory(script, tls=False), fault_server_factory(client_auth="none")

    assert first.port != second.port
    assert (first.options.tls, second.options.client_auth) == (False, "none")
    assert first.authority is second.authority is authority


def test_servers_end_with_their_test(pytestconfig, fault_server_factory, monkeypatch):
    """What a test leaves open is closed behind it."""
    server = fault_server_factory()
    closed = []
    real = server.close
    monkeypatch.setattr(type(server), "close", lambda self: (closed.append(self), real()))

    with server:
        pass

    assert closed == [server]
