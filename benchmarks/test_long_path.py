"""Programs that have just started, over a real round trip and over loopback, against what is possible."""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from random import Random

import certifi
import pytest
import trustme

from benchmarks.long_path import SERVER, LongPath, inside, long_path, reason_against
from benchmarks.rounds import CONNECTIONS, CPU, WALL, Comparison, Sample
from benchmarks.starts import FLOOR, FULL, OURS, STOCK, WARMED, WAYS, start
from tests.real.conftest import require
from tests.real.servers import LOOPBACK, Nginx

ROUNDS = 9
#: What a program does at its start: the methods of its calls, all at once.
STARTS = {
    "one GET": ["GET"],
    "4 GETs": ["GET"] * 4,
    "32 GETs": ["GET"] * 32,
    "4 POSTs": ["POST"] * 4,
    "32 POSTs": ["POST"] * 32,
}
#: Where the server is.
FAR, NEAR, AMONG_MANY = "40 ms", "loopback", "loopback, certifi's CAs"
far = pytest.mark.parametrize("place", [FAR], indirect=True)
#: One POST every so many seconds, so often, at a server that closes what was idle for 5 s.
PAUSE, TIMES, LIMIT = 2.0, 6, 5.0


class Far(Nginx):
    """nginx at the far end."""

    host = SERVER


class Place:
    """A server, and how a program is run that calls it."""

    def __init__(
        self, server: Nginx, directory: Path, client: tuple[str, str], path: LongPath | None
    ) -> None:
        self.server = server
        self.ca_file = str(directory / "ca.pem")
        self.client = client
        self._prefix = path.client_command([]) if path is not None else []
        self._seen = 0

    def start(self, way: str, methods: list[str], pause: float = 0.0) -> Sample:
        """Start a program; count its connections, and the handshakes that were full."""
        sample = start(
            way, self.server.url, self.ca_file, self.client, methods, pause=pause, prefix=self._prefix
        )
        before, self._seen = self._seen, self._seen + len(methods)
        log = self.server.access_log(at_least=self._seen)[before:]
        resumed = {access.connection: access.resumed for access in log}
        return {**sample, CONNECTIONS: len(resumed), FULL: sum(not one for one in resumed.values())}


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A server at the other end of a long path, or near by."""
    require("nginx")
    is_far = request.param == FAR
    if is_far and (reason := reason_against()):
        pytest.skip(reason)
    with tempfile.TemporaryDirectory() as name, long_path() if is_far else nullcontext() as path:
        directory = Path(name)
        server, client = certificates(directory)
        kind = Far if is_far else Nginx
        nginx = kind(
            directory,
            certificate=server,
            client_ca=directory / "ca.pem",
            verify_client="on",
            keepalive_timeout=LIMIT,
        )
        with inside(path.server) if path is not None else nullcontext():
            nginx.start()
        if request.param == AMONG_MANY:
            # For the clients that start from now on; nginx has read it.
            with (directory / "ca.pem").open("ab") as bundle:
                bundle.write(Path(certifi.where()).read_bytes())
        try:
            yield Place(nginx, directory, client, path)
        finally:
            nginx.stop()


def certificates(directory: Path) -> tuple[tuple[str, str], tuple[str, str]]:
    """Make a CA, and what server and client show."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    pairs = []
    for name, leaf in {
        "server": authority.issue_cert(SERVER, LOOPBACK),
        "client": authority.issue_cert(common_name="client"),
    }.items():
        files = str(directory / f"{name}.pem"), str(directory / f"{name}.key")
        leaf.private_key_and_cert_chain_pem.write_to_path(files[0])
        leaf.private_key_pem.write_to_path(files[1])
        pairs.append(files)
    return pairs[0], pairs[1]


def in_rounds(place: Place, ways: tuple[str, ...], run: Callable[[str], Sample], rounds: int) -> dict:
    """Run all in every round, in an order of its own."""
    samples: dict[str, list[Sample]] = {way: [] for way in ways}
    order, shuffle = list(ways), Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for way in order:
            samples[way].append(run(way))
    return samples


@pytest.mark.parametrize(
    ("place", "what"),
    [*((place, what) for place in (FAR, NEAR) for what in STARTS), (AMONG_MANY, "4 GETs")],
    indirect=["place"],
)
def test_a_start(place: Place, request: pytest.FixtureRequest, remember_starts, what: str) -> None:
    """Every call is answered; a burst opens at most a connection for each call."""
    where = request.node.callspec.params["place"]
    methods = STARTS[what]
    samples = in_rounds(place, WAYS, lambda way: place.start(way, methods), ROUNDS)
    remember_starts(Comparison(what, where, samples))

    assert max(sample[CONNECTIONS] for each in samples.values() for sample in each) <= len(methods)


@far
def test_a_post_now_and_then(place: Place, remember_starts) -> None:
    """Once it is known how long the server keeps a connection, a POST needs no new one."""
    ways = (STOCK, OURS)
    samples = in_rounds(place, ways, lambda way: place.start(way, ["POST"] * TIMES, PAUSE), rounds=2)
    remember_starts(Comparison(f"a POST every {PAUSE:g} s, from the third on", FAR, samples))

    assert all(sample[CONNECTIONS] <= TIMES for each in samples.values() for sample in each)


@far
def test_the_floor_is_the_floor(place: Place) -> None:
    """The control: what is warmed is far below what has to connect, where that takes round trips."""
    methods = STARTS["4 GETs"]
    samples = in_rounds(place, (FLOOR, WARMED), lambda way: place.start(way, methods), rounds=3)
    floor, warmed = (statistics.median(one[WALL] for one in samples[way]) for way in (FLOOR, WARMED))

    assert warmed < floor
    assert all(sample[CPU] > 0 for each in samples.values() for sample in each)
