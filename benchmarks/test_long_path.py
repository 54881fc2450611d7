"""Programs that have just started and call a server that is 40 ms away; one that calls it now and then."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import trustme

from benchmarks.contestants import FLOOR, OURS, RETRY, STOCK, URLLIB3, WARMED
from benchmarks.long_path import AFAR, SERVER, LongPath, inside, long_path, reason_against
from benchmarks.quantities import COMPLETED, CONNECTIONS, HANDSHAKES
from benchmarks.rounds import Sample
from benchmarks.sites import Site
from benchmarks.workers import fresh
from tests.real.conftest import require
from tests.real.servers import Nginx

ROUNDS = 7
#: What a program does at its start, all at once.
STARTS = {
    "one GET": ["GET"],
    "4 GETs": ["GET"] * 4,
    "32 GETs": ["GET"] * 32,
    "4 POSTs": ["POST"] * 4,
    "32 POSTs": ["POST"] * 32,
}
PEERS = (FLOOR, URLLIB3, STOCK, RETRY, OURS)
#: One POST every so many seconds, so often, at a server that closes what was idle for 5 s; the first ones, by
#: which that is learned, do not count.
PAUSE, TIMES, IGNORED, LIMIT = 2.0, 6, 2, 5.0


class Far(Nginx):
    """nginx at the far end."""

    host = SERVER


class Place:
    """A server at the other end of a path, and how a program is run that calls it."""

    def __init__(self, server: Nginx, site: Site, path: LongPath) -> None:
        self._server, self._site, self._path = server, site, path
        self._seen = 0

    def start(self, contestant: str, what: str, answered: int, **how: object) -> Sample:
        """Give an order to a new program; count its connections, and the handshakes that were full."""
        command = self._path.client_command([])
        sample = dict(fresh(contestant, self._site, what, command, url=f"{self._site.url}/", **how))
        assert sample.pop(COMPLETED) == answered
        before, self._seen = self._seen, self._seen + answered
        log = self._server.access_log(at_least=self._seen)[before:]
        resumed = {access.connection: access.resumed for access in log}
        return {**sample, CONNECTIONS: len(resumed), HANDSHAKES: sum(not one for one in resumed.values())}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """nginx at the other end of a long path."""
    require("nginx")
    if reason := reason_against():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory() as name, long_path() as path:
        directory = Path(name)
        ca_file, server, client = certificates(directory)
        nginx = Far(
            directory, certificate=server, client_ca=ca_file, verify_client="on", keepalive_timeout=LIMIT
        )
        with inside(path.server):
            nginx.start()
        try:
            site = Site(AFAR, nginx.url, ca_file, client, int, int)
            yield Place(nginx, site, path)
        finally:
            nginx.stop()


def certificates(directory: Path) -> tuple[str, tuple[str, str], tuple[str, str]]:
    """Make a CA, and what server and client show."""
    authority, ca_file = trustme.CA(), str(directory / "ca.pem")
    authority.cert_pem.write_to_path(ca_file)
    leaves = authority.issue_cert(SERVER), authority.issue_cert(common_name="client")
    pairs = []
    for name, leaf in zip(("server", "client"), leaves, strict=True):
        files = str(directory / f"{name}.pem"), str(directory / f"{name}.key")
        leaf.private_key_and_cert_chain_pem.write_to_path(files[0])
        leaf.private_key_pem.write_to_path(files[1])
        pairs.append(files)
    return ca_file, *pairs


@pytest.mark.parametrize("what", STARTS)
def test_a_start(place: Place, compare: Callable, what: str) -> None:
    """Every call is answered; a burst opens at most a connection for each call."""
    methods = STARTS[what]
    # By default ten connections stay idle: more than that is not warmed.
    peers: Sequence[str] = (*PEERS, WARMED) if len(methods) <= 10 else PEERS
    actions = {
        name: partial(place.start, name, "burst", len(methods), methods=methods, warm=len(methods))
        for name in peers
    }
    found = compare(what, AFAR, actions, ROUNDS, warm=False)

    assert max(max(found.series(name, CONNECTIONS)) for name in peers) <= len(methods)


def test_a_post_now_and_then(place: Place, compare: Callable) -> None:
    """Once it is known how long the server keeps a connection, a POST needs no new one."""
    actions = {
        name: partial(place.start, name, "now_and_then", TIMES, times=TIMES, pause=PAUSE, ignored=IGNORED)
        for name in (STOCK, OURS)
    }
    found = compare(f"a POST every {PAUSE:g} s", AFAR, actions, 3, warm=False)

    assert max(found.series(OURS, CONNECTIONS)) <= TIMES
