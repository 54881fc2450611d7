"""The servers that the contestants talk to. All demand a client certificate."""

import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import certifi
import requests

from resilient_transport.testing import Authority, FaultServer, Script
from tests.real.servers import Nginx
from tests.timeouts import LONG_TIMEOUT

#: The sizes of `/bytes/N`, in bytes.
TINY, SMALL, LARGE = 1, 10_000, 64_000_000
#: Of those that are cut on their way, besides the last.
CUT: Final = (250_000, 1_000_000, 10_000_000)

#: The site with a large CA bundle.
AMONG_MANY: Final = "nginx, certifi's CAs"

#: What nginx needs to count its connections, and to keep them for more than its 1000 requests.
_LOCATIONS: Final = "keepalive_requests 10000000; location = /connections { stub_status; }"


@dataclass(frozen=True, slots=True)
class Site:
    """A server that runs."""

    #: As the table calls it.
    name: str
    #: Its https URL, with an address: to resolve a name is the same work for everybody.
    url: str
    #: What its certificate is checked against.
    ca_file: str
    #: The client's certificate and key.
    cert: tuple[str, str]
    #: Returns how many TCP connections came since it was last called.
    new_connections: Callable[[], int]
    #: Returns how many full handshakes, none resumed, came since it was last called. Only connections that
    #: carried a request count.
    full_handshakes: Callable[[], int]


def site_of(server: FaultServer) -> Site:
    """Return a fault server as a site; counting begins its script anew, as one without faults."""

    def new_connections() -> int:
        accepts = server.counts().accepts
        server.play(Script())
        return accepts

    def full_handshakes() -> int:
        counts = server.counts()
        server.play(Script())
        return counts.handshakes - counts.resumptions

    url, authority = f"https://127.0.0.1:{server.port}", server.authority
    return Site("fault server", url, authority.ca_file, authority.client, new_connections, full_handshakes)


@contextmanager
def nginx(authority: Authority) -> Iterator[Site]:
    """Run nginx."""
    with (
        tempfile.TemporaryDirectory() as directory,
        requests.Session() as session,
        _nginx_in(Path(directory), authority) as server,
        ExitStack() as stack,
    ):
        session.trust_env = False
        seen = 0

        def new_connections() -> int:
            nonlocal seen
            before, seen = seen, _accepts(session, server)
            return seen - before

        log = (server.directory / "access.log").open("rb")
        stack.callback(log.close)

        def full_handshakes() -> int:
            # nginx has one worker: an answer to this one says that the requests before it are in the log.
            _accepts(session, server)
            seen = [json.loads(line) for line in log]
            return len({line["connection"] for line in seen if line["protocol"] and line["resumed"] != "r"})

        new_connections()
        yield Site("nginx", server.url, authority.ca_file, authority.client, new_connections, full_handshakes)


@contextmanager
def _nginx_in(directory: Path, authority: Authority) -> Iterator[Nginx]:
    server = Nginx(
        directory,
        certificate=authority.server("good"),
        client_ca=authority.ca_file,
        verify_client="on",
        keepalive_timeout=3600.0,
        files={f"bytes/{size}": bytes(size) for size in (TINY, SMALL, *CUT, LARGE)},
        locations=_LOCATIONS,
    )
    with server:
        yield server


def _accepts(session: requests.Session, server: Nginx) -> int:
    """Ask nginx, always over the same connection, how many it has accepted."""
    status = session.get(f"{server.plain_url}/connections", timeout=LONG_TIMEOUT).text
    return int(status.splitlines()[2].split()[0])


@contextmanager
def nginx_among_many(authority: Authority) -> Iterator[Site]:
    """Run nginx, whose CA is one more in the bundle that `requests` comes with."""
    with nginx(authority) as site, tempfile.NamedTemporaryFile(suffix=".pem") as bundle:
        for part in (certifi.where(), site.ca_file):
            bundle.write(Path(part).read_bytes())
        bundle.flush()
        yield dataclasses.replace(site, name=AMONG_MANY, ca_file=bundle.name)


#: How each is started.
SITES: Final[Mapping[str, Callable[[Authority], AbstractContextManager[Site]]]] = {
    "nginx": nginx,
    AMONG_MANY: nginx_among_many,
}
