"""The ground all tests stand on: this machine only, and nobody's proxy or CA settings.

The fixtures that start a fault server come from the package's own pytest plugin
(`resilient_transport.testing.pytest_plugin`).
"""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.metadata import version
from typing import Any

import hypothesis
import pytest
import requests
from coverage import Coverage
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter
from resilient_transport.testing import FaultServer
from tests.collecting import collected, requests_instrumented, watched  # noqa: F401 - fixtures
from tests.end_to_end.ways import clock, environment, pauses, say, thrifty  # noqa: F401 - fixtures
from tests.inside import inside  # noqa: F401 - a fixture
from tests.loopback import only_loopback
from tests.neighbours.allowed import lowest
from tests.programs import forks, our_forks  # noqa: F401 - fixtures
from tests.slate import clean_slate  # noqa: F401 - a fixture
from tests.witness import certificates, names  # noqa: F401 - fixtures

# How long an example takes says more about the machine than about the code. HANG_TIMEOUT bounds each test.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

#: By these, a program that a test starts loses nothing that it has printed when it ends in an unusual way.
PRINTING_VARIABLES = frozenset({"PYTHONUNBUFFERED"})
#: What `requests` and OpenSSL read from the environment to find another CA bundle.
CA_VARIABLES = frozenset({"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"})


def pytest_configure(config: pytest.Config) -> None:
    """Stop coverage where no test runs: in the process that hands tests out to others."""
    coverage = Coverage.current()
    if coverage is not None and config.getoption("numprocesses", None):
        coverage.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: other people's tools. Otherwise a run ends with one process at work."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/neighbours/"))


def pytest_report_header() -> list[str]:
    """Name the versions that the tests run with, and a Python whose threads run beside one another."""
    needed = [pinned.partition("==")[0] for pinned in lowest()]
    head = ["dependencies: " + ", ".join(f"{name} {version(name)}" for name in needed)]
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return head if has_gil else [*head, "the GIL is off"]


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Refuse connections that leave this machine, and answer for DNS that no other name exists."""
    with only_loopback():
        yield


@pytest.fixture(scope="session", autouse=True)
def nobodys_settings() -> Iterator[None]:
    """Drop from the environment what changes a request, or what a program prints."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if is_setting(name):
                patch.delenv(name)
        yield


def is_setting(name: str) -> bool:
    """Tell whether this environment variable changes what a request does, or what is printed."""
    folded = name.upper()
    return (
        folded in CA_VARIABLES | PRINTING_VARIABLES
        or folded.endswith("_PROXY")
        or folded.startswith("RESILIENT_TRANSPORT_")
    )


@pytest.fixture(scope="module", autouse=True)
def quick_collector() -> None:
    """Spare the collector what was there before; to look at all tests takes it a fifth of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def authority(fault_server_authority: Any) -> Any:
    """Return the certificates of all fault servers, by a shorter name."""
    return fault_server_authority


@pytest.fixture(scope="module")
def server(authority: Any) -> Iterator[FaultServer]:
    """Return a fault server that the tests of a module share; each plays a script of its own."""
    with FaultServer(authority=authority) as server:
        yield server


@pytest.fixture
def dial() -> Iterator[Callable[..., requests.Session]]:
    """Return a function that makes a session for a server, with an adapter of its choice."""
    with ExitStack() as stack:

        def session_for(
            server: FaultServer, adapter: HTTPAdapter | None = None, **settings: Any
        ) -> requests.Session:
            session = stack.enter_context(requests.Session())
            session.trust_env = False
            session.verify = server.authority.ca_file
            session.cert = server.authority.client
            adapter = adapter or ResilientAdapter(**settings)
            session.mount("https://", adapter)
            session.mount("http://", adapter)
            return session

        yield session_for


#: Coverage does not see what runs here: it makes a busy test take half as long again, and what these run of
#: the package others run, too.
UNMEASURED = (
    "tests/adapter/test_close_race.py",
    "tests/call/test_deadline.py",
    "tests/call/test_garbage.py",
    "tests/call/test_limits.py",
    "tests/call/test_origin_state.py",
    "tests/call/test_prediction.py",
    "tests/call/test_quota.py",
    "tests/call/test_refused_certificate.py",
    "tests/cli/test_run.py",
    "tests/cli/test_run_exactness.py",
    "tests/cli/test_run_starts.py",
    "tests/end_to_end/",
    "tests/gate/test_gate.py",
    "tests/gate/test_start.py",
    "tests/pool/test_contexts_interrupted.py",
    "tests/real/test_bodies.py",
    "tests/real/test_gate_",
    "tests/test_layout.py",
    "tests/test_public_names.py",
    "tests/test_suite.py",
    "tests/typing/",
)
#: Nor what is slow here.
UNMEASURED_IF_SLOW = "tests/neighbours/"
#: By it coverage is started in a Python that a test starts.
MEASURES_CHILDREN = "COVERAGE_PROCESS_CONFIG"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Stop coverage, here and in what the test starts, while a test runs that is not measured."""
    coverage = Coverage.current()
    if coverage is None or not is_unmeasured(item):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(MEASURES_CHILDREN, raising=False)
        # Coverage has put its own in their place. By those each child of a fork would write down all that its
        # parent has run.
        system = import_module(os.name)
        for name in ("_exit", "execv", "execve"):
            patch.setattr(os, name, getattr(system, name))
        coverage.stop()
        try:
            return (yield)
        finally:
            coverage.start()


def is_unmeasured(item: pytest.Item) -> bool:
    """Tell whether coverage is to see nothing of a test."""
    is_slow = item.get_closest_marker("slow") is not None
    return item.nodeid.startswith(UNMEASURED) or (is_slow and item.nodeid.startswith(UNMEASURED_IF_SLOW))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which releases of other people's tools a run has had (`tests/neighbours/test_works_with.py`)."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "ran with":
                terminalreporter.write_line(f"ran with {value}")
