"""Adapters that no installation has taken over are counted by class, and told."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from resilient_transport import ResilientAdapter, install, stats, uninstall
from resilient_transport.telemetry import left_alone
from tests.pool.test_fork import in_child
from tests.timeouts import LONG_TIMEOUT

PLAIN = "requests.adapters.HTTPAdapter"


class Own(HTTPAdapter):
    """A class of the program's own."""


class Derived(ResilientAdapter):
    """A class of the program's own, with this transport."""


class Stranger(BaseAdapter):
    """An adapter that has nothing to do with urllib3."""


class Slim:
    """To this nothing can refer weakly."""

    __slots__ = ()


OWN, STRANGER = (f"{__name__}.{kind.__qualname__}" for kind in (Own, Stranger))


@pytest.fixture(autouse=True)
def uninstalled():
    """End each test with stock requests."""
    yield
    uninstall()


def mount(*adapters, prefix="https://"):
    """Mount these on a session of its own."""
    session = requests.Session()
    for adapter in adapters:
        session.mount(prefix, adapter)
        session.mount("http://", adapter)


def test_classes_of_the_program_are_named():
    """With the number of their adapters. Those that have this transport are not."""
    before, left, stranger = Own(), Own(), Stranger()
    mount(before)
    with install():
        mount(left, left, Own(), stranger, Derived(), ResilientAdapter(), HTTPAdapter())

    assert type(left) is Own
    assert stats().left_alone == {OWN: 2, STRANGER: 1}
    assert dict(stats()) == {}


def test_plain_ones_are_named_if_they_are_left():
    """An installation that takes nothing over says so of each `HTTPAdapter`."""
    with install(mounted=False):
        mount(HTTPAdapter(), Own())

    assert stats().left_alone == {PLAIN: 1, OWN: 1}


def test_other_schemes_are_nobodys_concern():
    """An adapter for files has no retries."""
    with install():
        requests.Session().mount("file://", Stranger())
        requests.Session().mount("HTTPS://localhost", Own())

    assert stats().left_alone == {OWN: 1}


def test_the_table_ends_with_them():
    """A line for each class; `repr` has the numbers, and without any there is no line."""
    without = str(stats()), repr(stats())
    with install():
        mount(Own(), Own(), Stranger())

    assert without == ("no calls yet", "<Stats {}>")
    assert str(stats()).splitlines() == [
        "no calls yet",
        "mounted adapters that were left as they are, with their own retries:",
        f"  2 x {OWN}",
        f"  1 x {STRANGER}",
    ]
    assert repr(stats()) == f"<Stats {{}}, left alone: {{'{OWN}': 2, '{STRANGER}': 1}}>"


def test_a_snapshot_does_not_grow():
    """It is as it was when it was taken."""
    with install():
        mount(Own())
        found = stats()
        mount(Own())

    assert (found.left_alone, stats().left_alone) == ({OWN: 1}, {OWN: 2})


def test_what_cannot_be_referred_to_weakly_counts_each_time():
    """Rather than never."""
    double = Slim()

    left_alone.note(double)
    left_alone.note(double)

    assert left_alone.left_alone() == {f"{__name__}.Slim": 2}


def test_a_name_sends_nothing_to_the_terminal():
    """Whatever characters a program has put into a name, a class has one line."""
    left_alone.note(type("a\x1b[2J\nb", (HTTPAdapter,), {})())

    (line,) = left_alone.lines(left_alone.left_alone())[1:]
    assert line == rf"  1 x '{__name__}.a\x1b[2J\nb'"


def test_classes_without_number_are_forgotten():
    """A program that makes a class for each session costs no memory; the newest are known."""
    for number in range(300):
        left_alone.note(type(f"Made{number}", (HTTPAdapter,), {})())
    names = left_alone.left_alone()

    assert len(names) == 100
    assert f"{__name__}.Made299" in names
    assert f"{__name__}.Made199" not in names


def test_many_threads_lose_no_count():
    """Each adapter counts once."""
    together = threading.Barrier(8)

    def work():
        together.wait(LONG_TIMEOUT)
        for _ in range(500):
            left_alone.note(Own())

    with ThreadPoolExecutor(8) as pool:
        for task in [pool.submit(work) for _ in range(8)]:
            task.result(LONG_TIMEOUT)

    assert left_alone.left_alone() == {OWN: 4000}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_knows_its_sessions():
    """It has inherited them, and counts on by itself."""
    with install():
        mount(Own())
        told = in_child(lambda: (mount(Own()), stats().left_alone)[1])

    assert told == repr({OWN: 2})
    assert stats().left_alone == {OWN: 1}
