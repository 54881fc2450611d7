"""What a check has found: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from .root import Root


class Level(str, Enum):
    """How bad a finding is."""

    OK = "ok"
    #: It works, and may not for long, or not well.
    WARN = "warn"
    #: It does not work.
    FAIL = "fail"
    #: The check could not run, or was not wanted.
    SKIPPED = "skipped"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found."""

    #: The check, such as "tls.version": its section and its name.
    check: str
    #: How bad it is.
    level: Level
    #: What was found, in one sentence for people, without secrets.
    text: str
    #: What was measured, with its unit; empty: the text says all.
    value: str = ""
    #: One line that can be typed, or the name of who has to act; each warning and failure has one.
    hint: str = ""
    #: What it comes from, if it is bad and that is known.
    root: Root | None = None
    #: Whether sections that need this one cannot run; only a failure stands in their way.
    blocks: bool = False

    def __post_init__(self) -> None:
        """Refuse a bad finding that says nothing about what to do."""
        if self.is_bad and not self.hint:
            raise ValueError(f"{self.check}: what warns or fails says what to do")

    @property
    def section(self) -> str:
        """The name of its section."""
        return self.check.partition(".")[0]

    @property
    def is_bad(self) -> bool:
        """Whether it is a warning or a failure."""
        return self.level in (Level.WARN, Level.FAIL)

    def as_dict(self) -> dict[str, Any]:
        """Its fields by name, in types that JSON has."""
        root = None if self.root is None else self.root.identifier
        told = {"check": self.check, "level": str(self.level), "text": self.text, "value": self.value}
        return {**told, "hint": self.hint, "root": root}


def ok(check: str, text: str, value: str = "") -> Finding:
    """All is well."""
    return Finding(check, Level.OK, text, value)


def warn(check: str, text: str, hint: str, value: str = "", root: Root | None = None) -> Finding:
    """It works, and may not for long, or not well."""
    return Finding(check, Level.WARN, text, value, hint, root)


def fail(
    check: str, text: str, hint: str, value: str = "", root: Root | None = None, blocks: bool = True
) -> Finding:
    """It does not work; where it works sometimes, it blocks nothing."""
    return Finding(check, Level.FAIL, text, value, hint, root, blocks)


def skipped(check: str, why: str) -> Finding:
    """The check has not run.

    Args:
        check: its identifier.
        why: what stands in parentheses: "needs tls".
    """
    return Finding(check, Level.SKIPPED, f"skipped ({why})")


def unknown(check: str) -> Finding:
    """The check has made calls, and each had to be ended."""
    return skipped(check, "its calls were ended: they would have sent more requests than the doctor may")
