"""`@dataclass(frozen=True, slots=True)` as in `dataclasses`, without what makes that take long at import.

The standard one writes the methods of each class as source and compiles them, 0.3 to 1.5 ms a class, and
brings `inspect` with it. Every program that imports this package would pay for dozens of classes. Here all
classes share the same few functions. A value takes a little longer to make for that, so what each call makes
again and again is a tuple instead; and what is made often while somebody listens has a function of its own,
that is compiled when it is needed first (`maker_of`).

Values compare, hash, print, pickle and refuse to change as those of the standard library do. What asks about
a class (`dataclasses.fields`, `replace`, `asdict`, `inspect.signature`) is answered with the standard
library's own words, by a class that it makes when somebody asks first. A type checker sees nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

T = TypeVar("T")

#: Stands for a default that there is not.
_MISSING: Final[Any] = object()


class _Field:
    """A field: its default, and what it takes part in."""

    __slots__ = ("compare", "default", "factory", "kw_only", "repr", "type")

    def __init__(
        self,
        default: Any = _MISSING,
        factory: Any = _MISSING,
        repr: bool = True,  # noqa: A002 - as `dataclasses.field` spells it
        compare: bool = True,
        kw_only: bool = False,
    ) -> None:
        self.default = default
        self.factory = factory
        self.repr = repr
        self.compare = compare
        self.kw_only = kw_only
        self.type: Any = None

    def standard(self) -> Any:
        """The same, as `dataclasses` has it."""
        import dataclasses

        given = {"default": self.default, "default_factory": self.factory}
        given = {name: value for name, value in given.items() if value is not _MISSING}
        field: Any = dataclasses.field
        return field(repr=self.repr, compare=self.compare, kw_only=self.kw_only, **given)


class _Asked:
    """An attribute of a class that only the standard library knows: it is asked when somebody asks first."""

    __slots__ = ("_name", "_shape")

    def __init__(self, name: str, shape: _Shape) -> None:
        self._name = name
        self._shape = shape

    def __get__(self, instance: object, owner: type) -> Any:
        if self._name != "__signature__":
            return getattr(self._shape.standard(), self._name)
        if vars(owner).get("__init__", _init) is not _init:
            # A subclass with a signature of its own.
            raise AttributeError(self._name)
        import inspect

        return inspect.signature(self._shape.standard())


class _Shape:
    """What a class is made of.

    Args:
        fields: all of them by name, in their order, inherited ones first.
    """

    __slots__ = (
        "_standard",
        "checks",
        "compared",
        "defaults",
        "fields",
        "kind",
        "maker",
        "names",
        "positional",
        "setters",
    )

    def __init__(self, fields: dict[str, _Field]) -> None:
        self.fields = fields
        self.names = tuple(fields)
        self.positional = tuple(name for name, one in fields.items() if not one.kw_only)
        #: What is set where nothing is given.
        self.defaults = {name: one for name, one in fields.items() if _has_default(one)}
        self.compared = _getter([name for name, one in fields.items() if one.compare])
        #: Set once the class is made: the class, and what sets each field in spite of its being frozen.
        self.kind: Any = None
        self.setters: dict[str, Callable[[Any, Any], None]] = {}
        #: Makes a value of all its fields; None until somebody has asked for that.
        self.maker: Any = None
        self._standard: Any = None

    def standard(self) -> Any:
        """A class of the standard library's with the same fields."""
        if self._standard is None:
            import dataclasses

            fields = [(name, one.type, one.standard()) for name, one in self.fields.items()]
            self._standard = dataclasses.make_dataclass(self.kind.__name__, fields, frozen=True)
        return self._standard


def _has_default(one: _Field) -> bool:
    return one.default is not _MISSING or one.factory is not _MISSING


def _getter(names: list[str]) -> Callable[[Any], Any]:
    """Returns the values of these attributes."""
    if not names:
        return lambda value: ()
    return attrgetter(*names)


def _make(kind: Any, eq: bool) -> Any:
    """Make the class anew, with slots in the place of its defaults."""
    told = dict(vars(kind))
    types = {name: type_ for name, type_ in kind.__annotations__.items() if _is_field(type_)}
    own = {name: _field(told.get(name, _MISSING), type_) for name, type_ in types.items()}
    inherited: dict[str, _Field] = {}
    for base in reversed(kind.__mro__[1:]):
        if (shape := vars(base).get("_shape")) is not None:
            inherited |= shape.fields
    shape = _Shape({**inherited, **own})
    for name in (*own, "__dict__", "__weakref__"):
        told.pop(name, None)
    told["__slots__"] = tuple(name for name in own if name not in inherited)
    told["__qualname__"] = kind.__qualname__
    told["__match_args__"] = shape.positional
    told["_shape"] = shape
    for name in ("__dataclass_fields__", "__dataclass_params__", "__signature__"):
        told[name] = _Asked(name, shape)
    for name, method in (_METHODS | _COMPARISONS if eq else _METHODS).items():
        told.setdefault(name, method)
    made = type(kind)(kind.__name__, kind.__bases__, told)
    shape.kind = made
    shape.setters = {name: getattr(made, name).__set__ for name in shape.names}
    return made


def _is_field(type_: Any) -> bool:
    return not str(type_).removeprefix("typing.").startswith("ClassVar")


def _field(given: Any, type_: Any) -> _Field:
    one = given if isinstance(given, _Field) else _Field(given)
    one.type = type_
    return one


def _init(self: Any, *values: Any, **named: Any) -> None:
    shape: _Shape = self._shape
    given = dict(zip(shape.positional, values))  # noqa: B905 - counted below
    given.update(named)
    if len(given) != len(values) + len(named) or not given.keys() <= shape.setters.keys():
        _complain(shape, values, named)
    for name, set_field in shape.setters.items():
        if name in given:
            set_field(self, given[name])
        elif (one := shape.defaults.get(name)) is not None:
            set_field(self, one.default if one.default is not _MISSING else one.factory())
        else:
            raise TypeError(f"{shape.kind.__qualname__}.__init__() missing required argument: {name!r}")
    if (check := getattr(self, "__post_init__", None)) is not None:
        check()


def _complain(shape: _Shape, values: tuple[Any, ...], named: dict[str, Any]) -> NoReturn:
    """Say which argument is one too many."""
    if len(values) > len(shape.positional):
        raise TypeError(
            f"{shape.kind.__qualname__}.__init__() takes {len(shape.positional) + 1} positional arguments "
            f"but {len(values) + 1} were given"
        )
    given = shape.positional[: len(values)]
    name = next(name for name in named if name in given or name not in shape.setters)
    what = "multiple values for" if name in given else "an unexpected keyword"
    raise TypeError(f"{shape.kind.__qualname__}.__init__() got {what} argument {name!r}")


def _repr(self: Any) -> str:
    shown = (name for name, one in self._shape.fields.items() if one.repr)
    fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({fields})"


def _eq(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return other is self or self._shape.compared(self) == self._shape.compared(other)


def _hash(self: Any) -> int:
    return hash(self._shape.compared(self))


def _setattr(self: Any, name: str, value: object) -> None:
    _refuse(self, name, "assign to")
    object.__setattr__(self, name, value)


def _delattr(self: Any, name: str) -> None:
    _refuse(self, name, "delete")
    object.__delattr__(self, name)


def _refuse(self: Any, name: str, what: str) -> None:
    # A subclass may have attributes of its own.
    if type(self) is self._shape.kind or name in self._shape.setters:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot {what} field {name!r}")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, name) for name in _names(self)]


def _setstate(self: Any, state: list[Any]) -> None:
    for name, value in zip(_names(self), state, strict=True):
        object.__setattr__(self, name, value)


def _names(self: Any) -> tuple[str, ...]:
    # A subclass may be a dataclass of the standard library's, with fields of its own.
    shape: _Shape = self._shape
    return shape.names if type(self) is shape.kind else tuple(self.__dataclass_fields__)


def _replace(self: Any, /, **changes: Any) -> Any:
    if type(self) is not self._shape.kind:
        # A subclass may be a dataclass of the standard library's, with fields of its own.
        import dataclasses

        return dataclasses.replace(self, **changes)
    return type(self)(**{**{name: getattr(self, name) for name in self._shape.names}, **changes})


_METHODS: Final[dict[str, Any]] = {
    "__init__": _init,
    "__repr__": _repr,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
    "__replace__": _replace,
}
_COMPARISONS: Final[dict[str, Any]] = {"__eq__": _eq, "__hash__": _hash}


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
else:

    def dataclass(*, frozen: bool, slots: bool, eq: bool = True) -> Callable[[type], type]:
        """Make a class of frozen values of a class with annotations, as `dataclasses.dataclass` does."""
        return lambda kind: _make(kind, eq)

    def field(*, default_factory: Any = _MISSING, **told: Any) -> _Field:
        """A field that differs from others, as `dataclasses.field` makes it."""
        return _Field(factory=default_factory, **told)

    def replace(value: Any, **changes: Any) -> Any:
        """The same value with changes, as `dataclasses.replace` makes it."""
        return value.__replace__(**changes)


def maker_of(kind: type[T]) -> Callable[..., T]:
    """What makes a value of a class of a value for each field, in their order, in a seventh of the time.

    It is for a class that checks nothing. It is compiled when somebody asks for it first.
    """
    shape: _Shape = kind._shape  # type: ignore[attr-defined]
    make: Callable[..., T] = shape.maker or _compile_maker(shape)
    return make


def _compile_maker(shape: _Shape) -> Any:
    lines = [f" set_{name}(made, {name})" for name in shape.names]
    source = "\n".join([f"def make({', '.join(shape.names)}):", " made = new(kind)", *lines, " return made"])
    known: dict[str, Any] = {f"set_{name}": set_field for name, set_field in shape.setters.items()}
    known |= {"new": object.__new__, "kind": shape.kind}
    # Of the names of fields alone, as the standard library does it.
    exec(source, known)  # noqa: S102
    shape.maker = known["make"]
    return shape.maker


def names_of(value: Any) -> tuple[str, ...]:
    """The names of the fields of a value, or of a class, in their order."""
    names: tuple[str, ...] = value._shape.names
    return names
