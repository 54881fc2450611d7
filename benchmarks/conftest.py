"""What the benchmarks share: servers that run, a place for results, and the table at the end."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from benchmarks import report
from benchmarks.contestants import CONTESTANTS
from benchmarks.crowd import Crowd
from benchmarks.cuts import Cuts
from benchmarks.lateness import Lateness
from benchmarks.rounds import CPU, Action, Comparison, alternate
from benchmarks.sites import SITES, Site
from benchmarks.tape import Tape
from resilient_transport.settings.environment import clean_environment
from resilient_transport.testing import Authority
from tests.real.conftest import require

TAPE = Tape()
RESULTS = pytest.StashKey[list[Comparison]]()
CUTS = pytest.StashKey[list[Cuts]]()
TELLING = pytest.StashKey[list[Comparison]]()
LATENESS = pytest.StashKey[list[Lateness]]()
CROWDS = pytest.StashKey[list[Crowd]]()
STARTS = pytest.StashKey[list[Comparison]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--write`."""
    parser.addoption("--write", action="store_true", help="put the table into benchmarks/README.md")


def pytest_configure(config: pytest.Config) -> None:
    """Begin with no results."""
    config.stash[RESULTS] = []
    config.stash[CUTS] = []
    config.stash[TELLING] = []
    config.stash[LATENESS] = []
    config.stash[STARTS] = []
    config.stash[CROWDS] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pytest-benchmark take its time from the tape."""
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=TAPE))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Print the table; write it down if that was asked for and nothing is missing from it."""
    found = [config.stash[key] for key in (RESULTS, CUTS, TELLING, LATENESS, STARTS, CROWDS)]
    if not any(found):
        return
    text = report.report(*found)
    terminalreporter.section("against stock, in the same rounds")
    terminalreporter.write_line(text)
    if not config.getoption("write"):
        return
    if exitstatus or terminalreporter.stats.keys() & {"skipped", "deselected"}:
        terminalreporter.write_line("Not written: it is not complete.", red=True)
    else:
        report.write(text)


@pytest.fixture(scope="session", autouse=True)
def nobodys_settings() -> Iterator[None]:
    """Drop proxies and CA bundles from the environment, and read no .netrc."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - clean_environment().keys():
            patch.delenv(name)
        patch.setenv("NETRC", os.devnull)
        yield


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


@pytest.fixture(scope="session", params=["fault server", "nginx"])
def site(request: pytest.FixtureRequest, sites: Callable[[str], Site]) -> Site:
    """Each server, whose CA is all that is trusted."""
    return sites(request.param)


@pytest.fixture(scope="session", params=SITES)
def cold_site(request: pytest.FixtureRequest, sites: Callable[[str], Site]) -> Site:
    """Each server, and nginx with a large CA bundle too: that is felt when connections are made."""
    return sites(request.param)


@pytest.fixture(scope="session")
def compare(pytestconfig: pytest.Config) -> Callable[..., Comparison]:
    """Return a function that runs actions in alternation and remembers what came of them."""

    def run(title: str, site: Site, actions: Mapping[str, Action], rounds: int, **how: bool) -> Comparison:
        comparison = Comparison(title, site.name, alternate(actions, rounds, **how))
        pytestconfig.stash[RESULTS].append(comparison)
        return comparison

    return run


@pytest.fixture(scope="session")
def remember_cuts(pytestconfig: pytest.Config) -> Callable[[Iterable[Cuts]], None]:
    """Return a function that keeps what came of bodies that were cut, for the table."""
    return pytestconfig.stash[CUTS].extend


@pytest.fixture(scope="session")
def remember_telling(pytestconfig: pytest.Config) -> Callable[[Comparison], None]:
    """Return a function that keeps what telling costs, for the table."""
    return pytestconfig.stash[TELLING].append


@pytest.fixture(scope="session")
def remember_lateness(pytestconfig: pytest.Config) -> Callable[[Lateness], None]:
    """Return a function that keeps how late calls ended."""
    return pytestconfig.stash[LATENESS].append


@pytest.fixture(scope="session")
def remember_starts(pytestconfig: pytest.Config) -> Callable[[Comparison], None]:
    """Return a function that keeps what programs that have just started took."""
    return pytestconfig.stash[STARTS].append


@pytest.fixture(scope="session")
def remember_crowd(pytestconfig: pytest.Config) -> Callable[[Crowd], None]:
    """Return a function that keeps what came of a crowd."""
    return pytestconfig.stash[CROWDS].append


@pytest.fixture(params=CONTESTANTS)
def contestant(request: pytest.FixtureRequest) -> str:
    """Each contestant: a row of pytest-benchmark's table."""
    return request.param


@pytest.fixture
def play(benchmark: Any, contestant: str) -> Callable[[Comparison], None]:
    """Return a function that tells pytest-benchmark of the contestant's CPU time, the rest as extra info."""

    def tell(comparison: Comparison) -> None:
        seconds = comparison.series(contestant, CPU)
        benchmark.group = f"{comparison.title}, {comparison.site}: CPU"
        for quantity in comparison.quantities:
            benchmark.extra_info[f"median {quantity}"] = comparison.median(contestant, quantity)
        TAPE.load(seconds)
        benchmark.pedantic(TAPE.play, rounds=len(seconds))

    return tell
