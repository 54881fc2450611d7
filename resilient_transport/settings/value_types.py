"""What settings may be: how each kind is spelled in the environment, and which values it admits.

Knows nothing of the environment itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..util.frozen import dataclass
from ..util.url_prefix import Prefix


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value."""

    #: How it is spelled, for who has spelled it otherwise.
    allowed: str
    #: Makes a value of a text; raises ValueError.
    read: Callable[[str], Any]
    #: Makes sure of a value that was given as one; raises TypeError or ValueError.
    admit: Callable[[Any], Any]
    #: What it is as a value, where that is not how it is spelled.
    meant: str = ""


def _number(
    least: float, most: float = math.inf, *, over: bool = False, whole: bool = False
) -> Callable[[Any], Any]:
    """Admits finite numbers from `least` (or over it) up to `most`; whole ones only, or any."""

    def admit(given: Any) -> Any:
        if isinstance(given, bool) or not isinstance(given, int if whole else (int, float)):
            raise TypeError
        if not least <= given <= most or given == math.inf or (over and given == least):
            raise ValueError
        return given

    return admit


def _or_none(admit: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda given: None if given is None else admit(given)


def _spelled(admit: Callable[[Any], Any], *, whole: bool = False) -> Callable[[str], Any]:
    """Reads what `admit` admits. Digits only: Python itself would take "1_000", too."""
    pattern = re.compile(r"\d{1,9}" if whole else r"\d{1,9}(\.\d+)?|\.\d+", re.ASCII)

    def read(text: str) -> Any:
        if not pattern.fullmatch(text):
            raise ValueError("not a number")
        return admit(int(text) if whole else float(text))

    return read


def _none_or(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.lower() == "none" else read(text)


_SWITCHES: Final = {"1": True, "true": True, "yes": True, "on": True} | {
    "0": False, "false": False, "no": False, "off": False
}  # fmt: skip


def _one_of(choices: Iterable[str]) -> Callable[[Any], str]:
    known = tuple(choices)

    def admit(given: Any) -> str:
        if not isinstance(given, str):
            raise TypeError
        if given.lower() not in known:
            raise ValueError
        return given.lower()

    return admit


def _switch(text: str) -> bool:
    try:
        return _SWITCHES[text.lower()]
    except KeyError:
        raise ValueError("no switch") from None


def _is_bool(given: Any) -> bool:
    if not isinstance(given, bool):
        raise TypeError
    return given


def _prefixes(text: str) -> tuple[Prefix, ...]:
    if text.lower() == "none":
        return ()
    return tuple(Prefix.parse(each) for each in re.split(r"[\s,]+", text) if each)


def _admit_prefixes(given: Any) -> tuple[Prefix, ...]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError
    wanted = tuple(given)
    if not all(isinstance(each, (str, Prefix)) for each in wanted):
        raise TypeError
    return tuple(each if isinstance(each, Prefix) else Prefix.parse(each) for each in wanted)


def shown(given: Any) -> str:
    """A value for a message; not if it may be a URL with credentials or a query, however it is cut up."""
    text = repr(given)
    return "a value that is not shown, since it may hold secrets" if re.search(r"[@?#]", text) else text


_COUNT: Final = _number(0, whole=True)
_POSITIVE: Final = _number(1, whole=True)
_SECONDS: Final = _number(0)
_SOME_SECONDS: Final = _number(0, over=True)
#: Linux takes no more.
_KEEPALIVE: Final = _number(0, 32767, whole=True)
_ORDERS: Final = ("ipv4first", "ipv6first", "system")
_LEVELS: Final = ("off", "debug", "info", "warning", "error")

COUNT_OR_NONE: Final = Kind(
    "a whole number, 0 or more, or none", _none_or(_spelled(_COUNT, whole=True)), _or_none(_COUNT)
)
POSITIVE: Final = Kind("a whole number, 1 or more", _spelled(_POSITIVE, whole=True), _POSITIVE)
SECONDS: Final = Kind("a number of seconds, 0 or more", _spelled(_SECONDS), _SECONDS)
#: 0 seconds are no time at all to connect or to read in; urllib3 refuses them.
TIMEOUT: Final = Kind(
    "a number of seconds over 0, or none for no limit",
    _none_or(_spelled(_SOME_SECONDS)),
    _or_none(_SOME_SECONDS),
    "a number of seconds over 0, or None for no limit",
)
LIMIT: Final = Kind(
    "a number of seconds, 0 or more, or none for no limit",
    _none_or(_spelled(_SECONDS)),
    _or_none(_SECONDS),
    "a number of seconds, 0 or more, or None for no limit",
)
KEEPALIVE: Final = Kind(
    "a whole number of seconds up to 32767, or 0 to turn it off",
    _spelled(_KEEPALIVE, whole=True),
    _KEEPALIVE,
)
DNS_ORDER: Final = Kind(f"one of {', '.join(_ORDERS)}", _one_of(_ORDERS), _one_of(_ORDERS))
SWITCH: Final = Kind("1, true, yes or on; 0, false, no or off", _switch, _is_bool, "True or False")
PREFIXES: Final = Kind(
    "none, or URLs with http or https and no credentials, query or fragment, separated by blanks or commas",
    _prefixes,
    _admit_prefixes,
    "a list of URLs with http or https and no credentials, query or fragment",
)
LEVEL: Final = Kind(f"one of {', '.join(_LEVELS)}", _one_of(_LEVELS), _one_of(_LEVELS))
