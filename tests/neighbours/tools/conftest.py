"""Other people's tools, each in a module of its name, and each with this transport in two ways, and without.

`docs/works_with.md` has a row for each. `tests/neighbours/test_works_with.py` runs these modules, in a
process that has an environment with the tools.
"""

from contextlib import ExitStack, nullcontext

import pytest
import requests

from resilient_transport import RetryPolicy, install, mount
from resilient_transport.testing import Fault, FaultServer, Moment, Rule, Script
from tests.neighbours.stand_in import StandIn

QUICK = RetryPolicy(backoff=0.01)


class Way:
    """How a session has got this transport: "mounted", "installed", or "stock", which is not at all."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name

    @property
    def heals(self):
        """Whether a reset is healed."""
        return self.name != "stock"

    def prepare(self, session):
        """Mount the adapter, if that is the way."""
        if self.name == "mounted":
            mount(session, policy=QUICK)
        return session

    def survives(self, *errors):
        """Expect an error where nothing heals."""
        return nullcontext() if self.heals else pytest.raises(errors or requests.ConnectionError)


def way_of(name, stack):
    """Return a way; what it takes ends with the stack."""
    if name == "installed":
        stack.enter_context(install(policy=QUICK))
    return Way(name)


@pytest.fixture(params=["mounted", "installed", "stock"])
def way(request):
    """Each way in turn."""
    with ExitStack() as stack:
        yield way_of(request.param, stack)


@pytest.fixture(params=["installed", "stock"])
def installed(request):
    """The ways of those tools whose sessions are out of reach."""
    with ExitStack() as stack:
        yield way_of(request.param, stack)


@pytest.fixture(scope="session")
def shared_server(authority):
    """The fault server of all modules."""
    with FaultServer(authority=authority) as server:
        yield server


@pytest.fixture
def server(shared_server):
    """A fault server that does nothing wrong yet."""
    shared_server.play(Script())
    return shared_server


@pytest.fixture
def resetting(server):
    """The same; it resets the first connection when the request was executed, and was not answered."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=1),)))
    return server


@pytest.fixture
def trusting(server):
    """Return a function that lets a session trust the servers, and show its certificate."""
    with ExitStack() as stack:

        def trust(session):
            session.trust_env = False
            session.verify, session.cert = server.authority.ca_file, server.authority.client
            return stack.enter_context(session)

        yield trust


@pytest.fixture
def stand_in(authority):
    """Return a function that starts a server with pages of the test's own."""
    with ExitStack() as stack:

        def start(page, tls=True, **settings):
            return stack.enter_context(StandIn(page, authority if tls else None, **settings))

        yield start
