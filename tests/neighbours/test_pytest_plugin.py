"""The package's own pytest plugin, which every run of pytest loads where the package is installed."""

import json
import subprocess
import sys

from resilient_transport.settings.environment import clean_environment
from tests.programs import ROOT
from tests.timeouts import HANG_TIMEOUT

PLUGIN = "resilient_transport.testing.pytest_plugin"
#: Asks what pytest has loaded by the time that the first conftest is read.
CONFTEST = """
import json, sys

print("MODULES", json.dumps(sorted(sys.modules)), file=sys.__stderr__)
"""
AUTHORITY = """
import pytest


@pytest.fixture
def authority():
    return "mine"


def test_mine(authority, fault_server):
    assert authority == "mine"
    assert fault_server.counts().accepts == 0
"""


def run_pytest(folder, *arguments):
    """Run pytest in a folder, with no plugin but those that are named; return what it said."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments, "--rootdir", str(folder), str(folder)],
        cwd=folder,
        env={**clean_environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
        check=False,
    )


def modules_with(folder, *arguments):
    """Return the modules that were loaded when the conftest was read."""
    said = run_pytest(folder, *arguments).stderr
    (line,) = (line for line in said.splitlines() if line.startswith("MODULES"))
    return set(json.loads(line.removeprefix("MODULES")))


def test_it_imports_nothing_but_itself(tmp_path):
    """Whoever uses none of its fixtures pays for three small modules, and may patch `ssl` and sockets."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    without = modules_with(tmp_path)
    loaded = modules_with(tmp_path, "-p", PLUGIN) - without
    # The control: what the first public name imports.
    before = modules_with(tmp_path, "-p", "resilient_transport.public_names") - without

    assert loaded == {"resilient_transport", "resilient_transport.testing", PLUGIN}
    assert {"ssl", "urllib3", "requests"} <= before


def test_a_fixture_of_a_common_name_is_the_programs_own(tmp_path):
    """A program's own `authority` stays its own, and the fault server does not take it for its."""
    (tmp_path / "test_it.py").write_text(AUTHORITY)
    ran = run_pytest(tmp_path, "-p", PLUGIN)

    assert "1 passed" in ran.stdout, ran.stdout
