"""`docs/works_with.md` is true: each row names tests, each module of `tools` has a row, and all of them run.

Those modules run in a process whose environment has the tools: one process for several of them.
"""

import re
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.neighbours.environments import HOLDS
from tests.programs import ROOT
from tests.test_docs import code_in, rows

TOOLS = "tests/neighbours/tools/"
#: Beside the tools' own modules.
ASIDE = {f"{TOOLS}conftest.py", f"{TOOLS}examples.py"}
MODULES = sorted({f"{TOOLS}{path.name}" for path in (ROOT / TOOLS).glob("*.py")} - ASIDE)
#: Which run in the environment of gevent, after it has patched.
GREEN = [f"{TOOLS}locust.py"]
OTHERS = [f"{TOOLS}examples.py", *(name for name in MODULES if name not in GREEN)]
#: Two processes for the many, so that they may run side by side: environment, what comes first, modules.
RUNS = {
    "one half": ("tools", "", OTHERS[::2]),
    "the other half": ("tools", "", OTHERS[1::2]),
    "green threads": ("gevent", "from gevent import monkey; monkey.patch_all(); ", GREEN),
}
#: No other plugin is loaded: what the tools bring, and the package's own.
PLUGINS = (
    "resilient_transport.testing.pytest_plugin", "requests_mock.contrib._pytest_plugin",
    "pytest_httpserver.pytest_plugin",
)  # fmt: skip


class Row(NamedTuple):
    """A row of the table."""

    tool: str
    since: str
    mount: str
    install: str
    about: str
    tests: str


def table():
    """The rows of the document."""
    return [Row(*cells) for cells in rows((ROOT / "docs" / "works_with.md").read_text(encoding="utf-8"))]


def without_row(modules, told):
    """The modules that are in no row, or in several."""
    named = [name for row in told for name in code_in(row.tests)]
    return [name for name in modules if named.count(name) != 1]


def without_tests(told):
    """The tools of rows that name no test, or one that is not there."""
    return [row.tool for row in told if not all(map(has_tests, code_in(row.tests) or [""]))]


def has_tests(name):
    """Tell whether a file has tests."""
    return (ROOT / name).is_file() and "\ndef test_" in (ROOT / name).read_text(encoding="utf-8")


def test_rows_and_tests_belong_together():
    """Each row has tests, and each module of a tool has one row."""
    assert len(table()) > 20
    assert without_row(MODULES, table()) == []
    assert without_tests(table()) == []
    assert {word for row in table() for word in (row.mount, row.install)} == {"works", "derive", "no"}


def test_a_row_without_tests_is_found():
    """The control: a module that is in no row, and rows that name a made-up file, a folder, and nothing."""
    told = [
        table()[0]._replace(tool=name, tests=name and f"`{name}`") for name in ("tests/x.py", "tests", "")
    ]

    assert without_tests(told) == ["tests/x.py", "tests", ""]
    assert without_row(["tests/x.py", "y.py"], told) == ["y.py"]


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_the_tools_work(run, environment_of):
    """Each module has passed, and nothing was skipped."""
    name, first, modules = RUNS[run]
    plugins = PLUGINS if name == "tools" else PLUGINS[:1]
    ran = environment_of(name, *HOLDS[name]).run(
        "-c", first + "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))",
        "-q", "-rA", "--tb=short", "-p", "no:cacheprovider", *(f"-p{plugin}" for plugin in plugins), *modules,
        check=False,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        PYTEST_ADDOPTS="",
        PYTHONWARNINGS="",
    )  # fmt: skip
    passed = set(re.findall(r"^PASSED (\S+?)::", ran.stdout, re.MULTILINE))

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert passed == set(modules)
    assert "skipped" not in ran.stdout.splitlines()[-1]


def versions(environment):
    """What is installed in an environment, and beneath it, by names as pip compares them."""
    (packages,) = Path(environment.python).parents[1].glob("lib/python*/site-packages")
    beneath = (packages / "beneath.pth").read_text().strip()
    found = distributions(path=[beneath, str(packages)])
    return {canonicalize_name(each.metadata["Name"]): each.version for each in found}


@pytest.mark.slow
def test_what_ran_is_no_older_than_the_table_says(environment_of, record_property):
    """A newer release is none the worse. The run ends with a line that says which were there."""
    installed = {}
    for name, packages in HOLDS.items():
        installed |= versions(environment_of(name, *packages))
    ran = {row.tool: installed[canonicalize_name(row.tool)] for row in table()}
    record_property("ran with", ", ".join(f"{tool} {version}" for tool, version in ran.items()))

    assert [row for row in table() if Version(ran[row.tool]) < Version(row.since)] == []
