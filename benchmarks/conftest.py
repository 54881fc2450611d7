"""What the benchmarks share: servers that run, a place for results, and the table at the end."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from benchmarks import plot, report
from benchmarks.contestants import CONTESTANTS
from benchmarks.quantities import CPU
from benchmarks.rounds import Action, Comparison, alternate
from benchmarks.sites import AMONG_MANY, SITES, Site
from benchmarks.tape import Tape
from benchmarks.targets import without_row
from benchmarks.workers import Worker, absent, staying
from resilient_transport.settings.environment import clean_environment
from resilient_transport.testing import Authority
from tests.real.conftest import require

TAPE = Tape()
#: What was measured in rounds, and what else is to be said below the tables, as functions that say it.
RESULTS = pytest.StashKey[list[Comparison]]()
SAYINGS = pytest.StashKey[dict[Callable[[list[Any]], str], list[Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--write`."""
    parser.addoption("--write", action="store_true", help="put tables and plot into benchmarks/")


def pytest_configure(config: pytest.Config) -> None:
    """Begin with no results."""
    config.stash[RESULTS] = []
    config.stash[SAYINGS] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pytest-benchmark take its time from the tape."""
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=TAPE))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Print the tables; write them down if that was asked for and nothing is missing from them."""
    found, sayings = config.stash[RESULTS], config.stash[SAYINGS]
    if not found and not sayings:
        return
    text = report.report(found, [say(what) for say, what in sayings.items()], absent())
    terminalreporter.section("beside stock, in the same rounds")
    terminalreporter.write_line(text)
    if not config.getoption("write"):
        return
    lost = [f"no row for the target of {key}" for key in without_row(found)]
    if exitstatus or lost or terminalreporter.stats.keys() & {"skipped", "deselected"}:
        terminalreporter.write_line("; ".join(["Not written: it is not complete", *lost]), red=True)
    else:
        report.write(text)
        plot.write(found)


@pytest.fixture(scope="session", autouse=True)
def nobodys_settings() -> Iterator[None]:
    """Drop proxies and CA bundles from the environment, and read no .netrc."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - clean_environment().keys():
            patch.delenv(name)
        patch.setenv("NETRC", os.devnull)
        yield


@pytest.fixture(scope="session")
def authority(fault_server_authority: Authority) -> Authority:
    """Return the certificates of all servers, by a shorter name."""
    return fault_server_authority


@pytest.fixture(scope="session")
def sites(authority: Authority) -> Iterator[Callable[[str], Site]]:
    """Return a function that starts a server by its name, once."""
    running: dict[str, Site] = {}
    with ExitStack() as stack:

        def start(name: str) -> Site:
            if "nginx" in name:
                require("nginx")
            if name not in running:
                running[name] = stack.enter_context(SITES[name](authority))
            return running[name]

        yield start


@pytest.fixture(scope="session")
def site(sites: Callable[[str], Site]) -> Site:
    """Return nginx, whose CA is all that is trusted."""
    return sites("nginx")


@pytest.fixture(scope="session", params=["nginx", AMONG_MANY])
def cold_site(request: pytest.FixtureRequest, sites: Callable[[str], Site]) -> Site:
    """Return nginx, and nginx with a large CA bundle too: that is felt when connections are made."""
    return sites(request.param)


@pytest.fixture(scope="module")
def staff(site: Site) -> Iterator[Callable[[Iterable[str]], dict[str, Worker]]]:
    """Return a function that gives each contestant a process which stays for this module."""
    with ExitStack() as stack:
        yield lambda contestants: stack.enter_context(staying(contestants, site))


@pytest.fixture(scope="session")
def remember(pytestconfig: pytest.Config) -> Callable[[Comparison], Comparison]:
    """Return a function that puts a comparison into the tables, a row for each of its quantities."""

    def keep(comparison: Comparison) -> Comparison:
        pytestconfig.stash[RESULTS].append(comparison)
        return comparison

    return keep


@pytest.fixture(scope="session")
def compare(remember: Callable[[Comparison], Comparison]) -> Callable[..., Comparison]:
    """Return a function that runs actions in alternation and remembers what came of them."""

    def run(title: str, site: str, actions: Mapping[str, Action], rounds: int, **how: bool) -> Comparison:
        return remember(Comparison(title, site, alternate(actions, rounds, **how)))

    return run


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Callable[[Callable[[list[Any]], str], Any], None]:
    """Return a function that keeps something for the end, for a function that makes a text of all of it."""

    def keep(say: Callable[[list[Any]], str], what: Any) -> None:
        pytestconfig.stash[SAYINGS].setdefault(say, []).append(what)

    return keep


@pytest.fixture(params=CONTESTANTS)
def contestant(request: pytest.FixtureRequest) -> str:
    """Each contestant: a row of pytest-benchmark's table."""
    return request.param


@pytest.fixture
def play(request: pytest.FixtureRequest, contestant: str) -> Callable[[Comparison], None]:
    """Return a function that tells pytest-benchmark of the contestant's CPU time, the rest as extra info."""

    def tell(comparison: Comparison) -> None:
        if contestant not in comparison.samples:
            return
        benchmark = request.getfixturevalue("benchmark")
        seconds = comparison.series(contestant, CPU)
        benchmark.group = f"{comparison.title}, {comparison.site}: CPU"
        for quantity in comparison.quantities:
            benchmark.extra_info[f"median {quantity}"] = comparison.median(contestant, quantity)
        TAPE.load(seconds)
        benchmark.pedantic(TAPE.play, rounds=len(seconds))

    return tell
