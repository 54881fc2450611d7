"""Dictionaries that do not grow for ever."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from resilient_transport.util.bounded_dict import BoundedDict, keep_newest, keep_used


class Value:
    """Something that is remembered."""

    def __init__(self, key, needed=False, used_at=0):
        self.key, self.needed, self.used_at = key, needed, used_at

    def is_needed(self):
        """Tell whether it must not be forgotten."""
        return self.needed


def test_what_is_asked_for_is_made_once():
    """Another key has another value, and the same key the same."""
    known = BoundedDict(Value, 10)

    assert known["a"] is known.used("a") is known["a"]
    assert known["b"] is not known["a"]


def test_what_was_not_used_for_longest_is_forgotten():
    """Use counts, and not when it was made."""
    known = BoundedDict(Value, 3)
    first = known.used("a")
    for key in "bc":
        known.used(key)
        known.used("a")
    known.used("d")

    assert sorted(known) == ["a", "c", "d"]
    assert known["a"] is first


def test_what_is_never_used_goes_first():
    """The control: without the uses of the first, it is the first that goes."""
    known = BoundedDict(Value, 3)
    for key in "abcd":
        known.used(key)

    assert sorted(known) == ["b", "c", "d"]


@pytest.mark.parametrize("most", [1, 2, 16, 100])
def test_it_is_bounded(most):
    """However many keys there are."""
    known = BoundedDict(Value, most)
    sizes = {len(known) for number in range(10 * most) if known.used(number)}

    assert max(sizes) == most
    assert 10 * most - 1 in known


def test_a_search_serves_for_many():
    """With a spare, several are forgotten at once, so that not every new key takes a search."""
    known = {number: Value(number, used_at=-number) for number in range(101)}
    keep_used(known, 100, newest=100, spare=9)

    assert sorted(known) == [*range(90), 100]


@pytest.mark.parametrize(
    ("needed", "kept"),
    [("", "def"), ("a", "aef"), ("ab", "abf"), ("abc", "abcf"), ("abcd", "bcdf"), ("abcde", "cdef")],
)
def test_what_is_needed_is_kept_as_long_as_there_is_something_else(needed, kept):
    """It takes the places of the others, and makes room itself when only it is left."""
    known = {key: Value(key, key in needed, used_at) for used_at, key in enumerate("abcdef")}
    keep_used(known, 3 if len(needed) < 3 else 4, newest="f")

    assert "".join(known) == kept


def test_the_newest_is_kept_although_all_others_are_needed():
    """Or nothing new could ever become known."""
    known = BoundedDict(lambda key: Value(key, needed=True), 3)
    for key in "abcd":
        known.used(key)

    assert sorted(known) == ["b", "c", "d"]


@pytest.mark.parametrize(("most", "kept"), [(0, "abc"), (1, "c"), (2, "bc"), (3, "abc"), (9, "abc")])
def test_the_newest_are_kept(most, kept):
    """What was put in first goes first."""
    known = dict.fromkeys("abc")
    if most:
        keep_newest(known, most)

    assert "".join(known) == kept


def test_threads_share_what_is_remembered():
    """Whoever comes first makes it; what is in use all the time is the same all the time."""
    known, together = BoundedDict(Value, 50), threading.Barrier(8)

    def work(thread):
        together.wait()
        found = set()
        for number in range(2000):
            found.add(id(known.used("hot")))
            known.used((thread, number))
        return found

    with ThreadPoolExecutor(8) as pool:
        hot = set.union(*pool.map(work, range(8)))

    assert len(hot) == 1
    assert len(known) <= 50
