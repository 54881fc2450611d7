"""Run requests' own suite with stock requests and with this adapter, and compare.

`python -m tests.upstream_suite.run FOLDER` takes the unpacked source distribution of the requests that is
installed. The run with stock is the control: what fails there fails for reasons of the machine. A test that
passes there and not with the adapter is newly failing, if it fails once more with nothing beside it: some of
them measure time. Both run at once, with requests' own configuration of pytest and without ours.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import requests

ROOT = Path(__file__).parents[2]
#: Each run, and the plugins that it has besides those of both.
PLUGINS = {"stock": (), "adapter": ("upstream_suite.with_adapter",)}
PLUGINS_OF_BOTH = ("pytest_httpbin.plugin", "pytest_mock", "upstream_suite.ground")
#: With fewer tests that pass with stock, the comparison would prove nothing. requests 2.34 has 617.
LEAST = 500

#: Each test's name, and what went wrong: "" if it passed.
Outcomes = Mapping[str, str]


def main(folder: Path) -> int:
    """Run the suite in both ways, say what came of it, and return the status to exit with."""
    running = {name: start(name, folder) for name in PLUGINS}
    statuses = {name: run.wait() for name, run in running.items()}
    for name, status in statuses.items():
        if status not in (0, 1):  # all passed, or some failed
            print((folder / f"{name}.log").read_text(encoding="utf-8", errors="replace"))
            print(f"requests' suite with {name} ended with status {status}")
            return 1
    stock, ours = (outcomes(folder / f"{name}.xml") for name in PLUGINS)
    if doubtful := newly_failing(stock, ours):
        start("adapter", folder, *map(node_of, doubtful)).wait()
        ours = {**ours, **outcomes(folder / "adapter.xml")}
    return report(stock, ours)


def node_of(name: str) -> str:
    """Return pytest's name for a test that the XML file calls `tests.test_a.TestB::test_c`."""
    place, _, case = name.partition("::")
    parts = place.split(".")
    modules = [part for part in parts if part.islower()]
    return "::".join(["/".join(modules) + ".py", *parts[len(modules) :], case])


def start(name: str, folder: Path, *tests: str) -> "subprocess.Popen[bytes]":
    """Start one run. What it says goes to a log, and its outcomes to an XML file beside the tests.

    Args:
        name: of the run.
        folder: the suite's.
        tests: which are run; none: all of them.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        "pyproject.toml",
        "--rootdir=.",
        "-p",
        "no:cacheprovider",
    ]
    for plugin in (*PLUGINS_OF_BOTH, *PLUGINS[name]):
        command += ["-p", plugin]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, f"--junitxml={name}.xml", *tests],
            cwd=folder,
            env=environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a run: nobody's settings, and no plugin but those that are named."""
    kept = {
        key: inherited[key] for key in inherited if not key.startswith(("PYTEST_", "RESILIENT_TRANSPORT_"))
    }
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT / "tests")}


def outcomes(xml: Path) -> Outcomes:
    """Return what became of each test that was not skipped. If its teardown has failed, it has."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(xml).iter("testcase"):
        if case.find("skipped") is None:
            wrong = "\n".join(
                fault.text or "" for kind in ("failure", "error") for fault in case.findall(kind)
            )
            name = f"{case.get('classname')}::{case.get('name')}"
            found[name] = found.get(name, "") + wrong
    return found


def newly_failing(stock: Outcomes, ours: Outcomes) -> dict[str, str]:
    """Return the tests that pass with stock requests and not with the adapter, and what went wrong."""
    passed = [name for name, wrong in stock.items() if not wrong]
    return {name: wrong for name in passed if (wrong := ours.get(name, "it did not run"))}


def report(stock: Outcomes, ours: Outcomes) -> int:
    """Print what fails; the last line has the numbers. Return the status to exit with."""
    new = newly_failing(stock, ours)
    for name, wrong in stock.items():
        if wrong:
            print(f"fails with stock requests, too: {name}")
    for name, wrong in new.items():
        print(f"{wrong}\nNEWLY FAILING: {name}")
    print(
        f"requests {requests.__version__}: {passing(stock)} of {len(stock)} tests pass with stock, "
        f"{passing(ours)} with the adapter, {len(new)} newly failing"
    )
    return int(bool(new) or passing(stock) < LEAST)


def passing(found: Outcomes) -> int:
    """Count the tests that passed."""
    return sum(not wrong for wrong in found.values())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
