"""What a forked child makes anew: one list, one order, and no lock of the package is left out."""

import json
import os
from pathlib import Path

import pytest

import resilient_transport
from resilient_transport.util import fork
from resilient_transport.util.fork import Turn, in_child
from tests.programs import run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

ROOT = Path(resilient_transport.__file__).parents[1]
#: Locks that a program can meet without having made anything itself.
KNOWN = ("util.atomic['lock']", "otel['_lock']")


def process_locks(*arguments):
    """Run the program that holds every lock while it forks; return what was held, there and in its child."""
    said = json.loads(run_python("-W", "ignore", "-m", "tests.util.process_locks", *arguments).stdout)
    return said["held"], said["stuck"]


def test_no_lock_of_the_process_is_held_in_a_child():
    """Each lock that a module or a process-wide object leads to is a new and free one."""
    held, stuck = process_locks()

    assert all(any(name.endswith(known) for name in held) for known in KNOWN)
    assert any("_renewals" in name for name in held), "the registry's lock was not found"
    assert stuck == []


def test_a_forgotten_lock_is_noticed():
    """The control: one that nobody renews is found, and still held in the child."""
    held, stuck = process_locks("forgotten")

    assert stuck == ["resilient_transport.installation['_forgotten']['lock']"]
    assert set(stuck) < set(held)


@pytest.fixture
def renewals(monkeypatch):
    """A list of renewals for this test alone."""
    monkeypatch.setattr(fork, "_renewals", [])
    return fork._renewals


def called(name, made, raises=None):
    """Return a renewal of a module of this name, which notes that it was called."""

    def renewal():
        made.append(name)
        if raises:
            raise raises

    renewal.__module__ = name
    return renewal


def test_the_order_does_not_depend_on_who_was_imported_first(renewals):
    """Locks, what is remembered, connections; among those of one turn, by name."""
    made = []
    for turn, name in [(2, "pool"), (1, "b"), (0, "z"), (1, "a"), (0, "c")]:
        in_child(Turn(turn))(called(name, made))
    fork._begin_anew()

    assert made == ["c", "z", "a", "b", "pool"]


def test_one_that_raises_takes_nobody_with_it(renewals):
    """All others are made anew, and Python tells of the first error."""
    made = []
    for name, error in [("a", None), ("b", KeyError("b")), ("c", ValueError("c")), ("d", None)]:
        in_child(Turn.MEMORY)(called(name, made, error))

    with pytest.raises(KeyError):
        fork._begin_anew()
    assert made == ["a", "b", "c", "d"]


def test_only_one_module_asks_to_be_told_of_forks():
    """There is one list: no other module of the package registers with the operating system."""
    asking = [
        path.name
        for path in Path(resilient_transport.__file__).parent.rglob("*.py")
        if "os.register_at_fork" in path.read_text(encoding="utf-8")
    ]

    assert asking == ["fork.py"]
