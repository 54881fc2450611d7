"""What threads share without a lock is copied in one step, without the GIL, too."""

import sys
import threading
from collections import OrderedDict, deque
from time import monotonic

import pytest

from resilient_transport.util.bounded_dict import BoundedDict
from tests.timeouts import LONG_TIMEOUT

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
#: Copies that each reader makes, and how many entries there are.
COPIES, ENTRIES = 300, 500


def change_dict(entries, number):
    """Put one in, and take an older one out."""
    mine = threading.get_ident()
    entries[mine, number] = number
    entries.pop((mine, number - 5), None)


def change_deque(entries, number):
    """The same."""
    entries.append(number)
    entries.popleft()


def filled(kind):
    """Return a dictionary of this kind, or a deque, with entries."""
    if kind is deque:
        return deque(range(ENTRIES))
    entries = BoundedDict(int, ENTRIES) if kind is BoundedDict else kind()
    entries.update(dict.fromkeys(range(ENTRIES), 0))
    return entries


def complaints(kind, copy, is_enough):
    """Copy what two threads change, until it is enough; return what went wrong."""
    entries, over, wrong = filled(kind), threading.Event(), []
    change = change_deque if kind is deque else change_dict

    def go_on():
        number = 0
        while not over.is_set():
            number += 1
            change(entries, number)

    threads = [threading.Thread(target=go_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    copies = 0
    while not is_enough(copies, wrong):
        copies += 1
        try:
            copy(entries)
        except (RuntimeError, KeyError) as error:
            wrong.append(error)
    over.set()
    for thread in threads:
        thread.join()
    return wrong


@pytest.mark.parametrize(
    ("kind", "copy"),
    [
        (dict, list),
        (dict, lambda entries: list(entries.items())),
        (dict, lambda entries: [*entries.values()]),
        (dict, dict.copy),
        (BoundedDict, dict.copy),
        (OrderedDict, lambda entries: list(dict.values(entries))),
        (deque, deque.copy),
    ],
    ids=["list", "items", "values", "copy", "copy of a bounded one", "values of an ordered one", "deque"],
)
def test_a_copy_is_one_step(kind, copy):
    """In the ways in which the package copies, nothing is met that changes meanwhile."""
    assert complaints(kind, copy, lambda copies, _: copies == COPIES) == []


@pytest.mark.skipif(HAS_GIL, reason="with the GIL these are one step, too")
@pytest.mark.parametrize(
    ("kind", "copy"),
    [(deque, list), (OrderedDict, lambda entries: list(entries.values())), (BoundedDict, list)],
    ids=["deque", "ordered", "bounded"],
)
def test_other_copies_are_not(kind, copy):
    """The control: a list of a deque, or of a dictionary of another class, meets what others change."""
    until = monotonic() + LONG_TIMEOUT

    assert complaints(kind, copy, lambda _, wrong: wrong or monotonic() > until) != []
