"""The suite itself: it does not hang, it waits for conditions, and CONTRIBUTING.md says what a run costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.timeouts import HANG_TIMEOUT, LONG_TIMEOUT, SHORT_TIMEOUT

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
RUN = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

HANGS = f"""
import threading

def test_that_waits():
    threading.Event().wait({SHORT_TIMEOUT})

def test_that_hangs():
    threading.Event().wait({HANG_TIMEOUT})
"""


@pytest.mark.slow
@pytest.mark.parametrize("which", ["waits", "hangs"])
def test_a_hung_test_ends_the_run(tmp_path, which):
    """Its process prints the stacks of all threads, and the run ends with it. A slow test passes."""
    (tmp_path / "test_it.py").write_text(HANGS, encoding="utf-8")
    pytest_here = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        "/dev/null",
        "--rootdir",
        tmp_path,
        tmp_path,
        "-k",
        which,
    ]
    # The second plugin takes long to import.
    in_parallel = ["-n1", "--max-worker-restart=0", "-p", "no:cacheprovider", "-p", "no:httpbin"]
    limit = LONG_TIMEOUT if which == "waits" else 1
    limits = ["-o", f"faulthandler_timeout={limit}", "-o", "faulthandler_exit_on_timeout=true"]
    run = subprocess.run(
        [*pytest_here, *in_parallel, *limits, "-k", which],
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
    )

    assert run.returncode == (which == "hangs"), run.stdout + run.stderr
    assert ("in test_that_hangs" in run.stderr) == (which == "hangs")
    assert ("crashed while running" in run.stdout) == (which == "hangs")


def naps(tree: ast.AST, polls: bool = False) -> list[int]:
    """Return the lines that sleep, but for those that wait for a condition in a loop."""
    found = []
    for node in ast.iter_child_nodes(tree):
        called = node.func if isinstance(node, ast.Call) else None
        name = getattr(called, "attr", getattr(called, "id", None))
        if name == "sleep" and not polls:
            found.append(node.lineno)
        found += naps(node, polls or isinstance(node, ast.While))
    return found


def test_no_test_sleeps():
    """A test waits for a condition, or sets a clock forward; time alone proves nothing on a busy machine."""
    files = {path: path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")}
    found = [
        f"{path}:{line}"
        for path, source in files.items()
        if "sleep" in source
        for line in naps(ast.parse(source))
    ]

    assert len(files) > 100
    assert found == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("time.sleep(1)", [1]),
        ("def f():\n sleep(1)", [2]),
        ("while not done():\n time.sleep(1)", []),
        ("for _ in range(3):\n time.sleep(1)", [2]),
    ],
)
def test_a_sleep_is_found(source, lines):
    """The control: a loop that waits for a condition may sleep, a loop that counts may not."""
    assert naps(ast.parse(source)) == lines


def test_what_quick_leaves_out_is_there():
    """The folders that `.ci/run quick` leaves out hold tests, and so does the mark."""
    folders = re.findall(r"--ignore=(\S+)", RUN)
    marked = [path for path in TESTS.rglob("test_*.py") if "mark.slow" in path.read_text(encoding="utf-8")]

    assert sorted(folders) == ["tests/end_to_end", "tests/real", "tests/testing"]
    assert all(list((ROOT / folder).glob("test_*.py")) for folder in folders)
    assert len(marked) > 2


@pytest.mark.parametrize("bound", ["under 12 minutes", "under 3 minutes"])
def test_contributors_are_told_what_a_run_costs(bound):
    """In the words of the script."""
    assert bound in CONTRIBUTING
    assert bound in RUN
