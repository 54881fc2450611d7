"""What a request costs over a connection that is there already."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial

import pytest
import requests

from benchmarks.contestants import CONTESTANTS, session_of
from benchmarks.rounds import CPU, Comparison, Sample, timed
from benchmarks.sites import SMALL, TINY, Site
from tests.timeouts import LONG_TIMEOUT

ROUNDS = 120
#: Requests of each contestant in a round.
REQUESTS = 20

TLSSessions = Mapping[str, requests.Session]


@pytest.fixture(scope="module")
def sessions(site: Site) -> Iterator[TLSSessions]:
    """Give each contestant a session; its connections count from here."""
    site.new_connections()
    with ExitStack() as stack:
        yield {name: stack.enter_context(session_of(name, site.ca_file, site.cert)) for name in CONTESTANTS}


@pytest.fixture(scope="module", params=[TINY, SMALL], ids="{:,} B".format)
def sent(request, site: Site, sessions: TLSSessions, compare) -> Comparison:
    """Compare `adapter.send`."""
    url = f"{site.url}/bytes/{request.param}"
    actions = {name: per_request(sender(session, url)) for name, session in sessions.items()}
    return compare(f"keep-alive, adapter.send, {request.param:,} B", site, actions, ROUNDS)


@pytest.fixture(scope="module")
def got(site: Site, sessions: TLSSessions, compare) -> Comparison:
    """Compare `Session.get`."""
    url = f"{site.url}/bytes/{TINY}"
    actions = {
        name: per_request(partial(session.get, url, timeout=LONG_TIMEOUT))
        for name, session in sessions.items()
    }
    return compare(f"keep-alive, Session.get, {TINY} B", site, actions, ROUNDS)


def sender(session: requests.Session, url: str) -> Callable[[], bytes]:
    """Return a function that sends one prepared request with the session's adapter."""
    request = session.prepare_request(requests.Request("GET", url))
    send = partial(
        session.get_adapter(url).send, request, timeout=LONG_TIMEOUT, verify=session.verify, cert=session.cert
    )
    return lambda: send().content


def per_request(action: Callable[[], object]) -> Callable[[], Sample]:
    """Measure CPU alone: what the clock says is mostly the server's."""
    return lambda: {CPU: timed(action, REQUESTS)[CPU]}


def test_send_over_a_kept_connection(sent, site, play):
    """`adapter.send` costs this much, and no new connection."""
    play(sent)

    assert site.new_connections() <= len(CONTESTANTS)


def test_get_over_a_kept_connection(got, site, play):
    """`Session.get` costs this much, and no new connection."""
    play(got)

    assert site.new_connections() <= len(CONTESTANTS)
