"""What one GET over a warm connection takes of the interpreter: its calls and bytecodes are held to a budget.

The budget is in `budget.json`, for each version of Python. After a change that saves or costs something,
make it anew and commit it with the change:

    UPDATE_BUDGET=1 .ci/run test tests/end_to_end/test_budget.py    # for the Python of .venv
    python3.12 -m tests.end_to_end.counted_calls update             # for another, in an environment of it
"""

import json
import os
import subprocess
import sys

import pytest

from resilient_transport.settings.environment import clean_environment
from tests.end_to_end.counted_calls import BUDGET, PYTHON, WASTE
from tests.programs import ROOT
from tests.timeouts import HANG_TIMEOUT

#: The share by which a count may be over its budget, for what a patch release of Python changes, and by
#: which it may be under it before the budget has to be tightened.
OVER, UNDER = 0.01, 0.03
WAYS = ("Session.get", "adapter.send")


def count(*arguments):
    """Run the program in a process that nobody measures or has changed; return its counts."""
    environment = {name: value for name, value in clean_environment().items() if "COVERAGE" not in name}
    ran = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.counted_calls", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
        check=True,
    )
    return json.loads(ran.stdout)


def complaints(way, counts, budget, same_versions=True):
    """Return what is wrong with the counts of a way to call; those of all code need its versions."""
    said = []
    for what, most in budget.items():
        if not same_versions and what.startswith("all"):
            continue
        if counts[what] > most * (1 + OVER):
            said.append(f"{way}: {counts[what]} {what}, more than the budget of {most}")
        elif counts[what] < most * (1 - UNDER):
            said.append(f"{way}: {counts[what]} {what}, far less than the budget of {most}: UPDATE_BUDGET=1")
    return said


def test_a_warm_call_keeps_to_its_budget():
    """No count rises unseen, and none that has fallen may rise to where it was."""
    if os.environ.get("UPDATE_BUDGET"):
        count("update")
    budget = json.loads(BUDGET.read_text(encoding="utf-8")).get(PYTHON)
    if budget is None:
        pytest.skip(f"there is no budget for Python {PYTHON}: make it with UPDATE_BUDGET=1")
    counts = count()
    same = counts["versions"] == budget["versions"]
    said = [each for way in WAYS for each in complaints(way, counts[way], budget[way], same)]

    assert said == []


def test_waste_is_found():
    """The control: an adapter that makes more calls takes exactly so many more, and more than it may."""
    thrifty, wasteful = count(), count("wasteful")
    more = wasteful["adapter.send"]["all calls"] - thrifty["adapter.send"]["all calls"]

    assert more > WASTE
    assert complaints("", wasteful["adapter.send"], thrifty["adapter.send"]) != []


def test_counts_repeat():
    """Two runs count the same, to the last bytecode."""
    assert count() == count()


@pytest.mark.parametrize(
    ("counted", "same_versions", "number"),
    [
        ({"own calls": 200, "all calls": 1000}, True, 0),
        ({"own calls": 202, "all calls": 1010}, True, 0),
        ({"own calls": 203, "all calls": 1011}, True, 2),
        ({"own calls": 193, "all calls": 971}, True, 1),
        ({"own calls": 200, "all calls": 1011}, False, 0),
        ({"own calls": 203, "all calls": 1000}, False, 1),
    ],
)
def test_the_bounds_of_a_budget(counted, same_versions, number):
    """The control: a little over is none, more is; a little under is none, more is to be written down."""
    budget = {"own calls": 200, "all calls": 1000}

    assert len(complaints("a way", counted, budget, same_versions)) == number
