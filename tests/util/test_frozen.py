"""Frozen values: what the standard library's dataclasses do, from which every test here has its control."""

import copy
import dataclasses
import inspect
import pickle
from typing import ClassVar

import pytest

from resilient_transport.util import frozen
from tests.programs import run_python


def _declared(dataclass, field):
    """Return the same classes, made by one or the other."""

    @dataclass(frozen=True, slots=True)
    class Base:
        """A base."""

        level: ClassVar[int | None] = None
        first: int
        word: str = field(default="w", kw_only=True)

    @dataclass(frozen=True, slots=True)
    class Value(Base):
        """A value."""

        level: ClassVar[int | None] = 3
        second: tuple[int, ...] = (1, 2)
        third: dict[str, int] = field(default_factory=dict, compare=False)
        fourth: str = field(default="secret", repr=False)

        def __post_init__(self) -> None:
            if self.first < 0:
                raise ValueError("first is 0 or more")

        @property
        def sum(self) -> int:
            """All of it."""
            return self.first + sum(self.second)

    @dataclass(frozen=True, slots=True, eq=False)
    class Unequal:
        """Is equal to itself alone."""

        first: int

    return Base, Value, Unequal


OURS = _declared(frozen.dataclass, frozen.field)
STANDARD = _declared(dataclasses.dataclass, dataclasses.field)
BOTH = pytest.mark.parametrize("classes", [OURS, STANDARD], ids=["ours", "standard"])


class Plain(OURS[1]):
    """A subclass that is no dataclass."""


@frozen.dataclass(frozen=True, slots=True)
class Pickled:
    """Can be found by its name."""

    first: int
    second: str = "b"


@dataclasses.dataclass(frozen=True)
class PickledMore(Pickled):
    """A dataclass of the standard library's, derived from one of ours."""

    third: float = 0.5


@BOTH
def test_values_are_made_compared_and_shown(classes):
    """Positions, names, defaults, equality, hash, order, text: all as in the standard library."""
    _, value_class, _ = classes
    value, same = value_class(1, (2,), word="x"), value_class(1, second=(2,), third={"a": 1}, word="x")

    assert (value.first, value.second, value.third, value.fourth, value.word) == (1, (2,), {}, "secret", "x")
    assert repr(value) == "_declared.<locals>.Value(first=1, word='x', second=(2,), third={})"
    assert (value == same, hash(value) == hash(same), value != value_class(2)) == (True, True, True)
    assert value.__eq__((1, "x", (2,))) is NotImplemented
    assert (value.sum, value.level, value_class.__match_args__) == (
        3, 3, ("first", "second", "third", "fourth"),
    )  # fmt: skip
    assert value_class(1).third is not value_class(1).third


@BOTH
def test_values_are_frozen_and_have_slots(classes):
    """Nothing is assigned, added or deleted, and there is no dictionary."""
    value = classes[1](1)
    # The standard library's own refuse what is no field with a TypeError, before Python 3.14.
    for name in ("first", "word", *(["other"] if classes is OURS else [])):
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            setattr(value, name, 2)
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            delattr(value, name)

    assert not hasattr(value, "__dict__")
    assert (value.first, value.word) == (1, "w")


@BOTH
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((), {}), ((1, 2, 3, 4, 5), {}), ((1,), {"first": 1}), ((1,), {"no_such": 1}),
        ((1, (), {}, "", "w"), {}), ((-1,), {}),
    ],
    ids=["missing", "too many", "twice", "unknown", "a keyword by position", "out of its range"],
)  # fmt: skip
def test_what_does_not_fit_is_refused(classes, given, named):
    """The class is named, and the argument; a check of its own comes last."""
    error = ValueError if given == (-1,) else TypeError
    with pytest.raises(error, match=r"first|takes|no_such|second"):
        classes[1](*given, **named)


@BOTH
def test_the_standard_library_knows_what_it_is(classes):
    """`fields`, `asdict`, `replace` and the signature are those of the standard library."""
    base, value_class, _ = classes
    value = value_class(1, word="x")
    about = [(one.name, one.type, one.repr, one.compare, one.kw_only) for one in dataclasses.fields(value)]

    assert about == [
        ("first", int, True, True, False),
        ("word", str, True, True, True),
        ("second", tuple[int, ...], True, True, False),
        ("third", dict[str, int], True, False, False),
        ("fourth", str, False, True, False),
    ]
    assert dataclasses.is_dataclass(value)
    assert dataclasses.asdict(value) == {
        "first": 1, "word": "x", "second": (1, 2), "third": {}, "fourth": "secret"
    }  # fmt: skip
    assert dataclasses.replace(value, first=2) == value_class(2, word="x")
    assert list(inspect.signature(value_class).parameters) == ["first", "second", "third", "fourth", "word"]
    assert str(inspect.signature(base)) == str(inspect.signature(STANDARD[0]))


@BOTH
def test_equality_can_be_identity(classes):
    """With `eq=False` a value is equal to itself alone."""
    one, other = classes[2](1), classes[2](1)

    assert (one == one, one == other, len({one, other})) == (True, False, 2)


def test_values_are_copied_and_pickled():
    """By every protocol; a dataclass of the standard library's that is derived keeps its own fields."""
    for value in (Pickled(1), Pickled(2, "c"), PickledMore(1, "b", 1.5)):
        twins = [pickle.loads(pickle.dumps(value, protocol)) for protocol in range(2, 6)]
        twins += [copy.copy(value), copy.deepcopy(value)]

        assert [(type(twin), twin, repr(twin)) for twin in twins] == [(type(value), value, repr(value))] * 6


def test_a_subclass_may_have_more():
    """A subclass that is no dataclass has attributes of its own, and is not equal to its base."""
    value = Plain(1)
    value.other = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.first = 2

    assert (value.other, value == OURS[1](1), repr(value)[:5]) == (2, False, "Plain")
    assert frozen.replace(value, first=3).first == 3


def test_a_derived_dataclass_keeps_its_own_fields():
    """Replaced by anybody's function, a dataclass of the standard library's loses nothing that it adds."""
    value = PickledMore(1, "b", 1.5)

    assert frozen.replace(value, first=2) == dataclasses.replace(value, first=2) == PickledMore(2, "b", 1.5)


def test_a_subclass_shows_its_own_signature():
    """Whoever derives a class with an `__init__` of its own is shown that one's arguments."""

    class Own(OURS[1]):
        def __init__(self, only: int) -> None:
            super().__init__(only)

    assert list(inspect.signature(Own).parameters) == ["only"]
    assert "first" in inspect.signature(Plain).parameters


#: Makes a class and values where there are no dataclasses, and asks then for the fields.
MADE = """
import sys
sys.modules["dataclasses"] = None
from resilient_transport.util import frozen

@frozen.dataclass(frozen=True, slots=True)
class A:
    a: int

hash(A(1)), repr(A(1)), A(1) == A(a=1), frozen.replace(A(1), a=2), frozen.names_of(A)
print("made")
try:
    A.__dataclass_fields__
except ImportError as error:
    print(error.name)
"""


def test_a_maker_makes_what_the_class_makes():
    """Of a value for each field, in their order, those that are given by name alone included."""
    value_class = OURS[1]
    make = frozen.maker_of(value_class)
    made, value = make(1, "x", (2,), {"a": 1}, "y"), value_class(1, (2,), {"a": 1}, "y", word="x")

    assert (type(made), made, repr(made), made.third, made.fourth) == (
        value_class, value, repr(value), {"a": 1}, "y",
    )  # fmt: skip
    assert frozen.maker_of(value_class) is make
    with pytest.raises(TypeError):
        make(1, "x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.first = 2


def test_a_class_is_made_without_the_standard_library():
    """Neither making classes nor values imports `dataclasses`; the control asks for the fields."""
    assert run_python("-c", MADE).stdout.split() == ["made", "dataclasses"]
