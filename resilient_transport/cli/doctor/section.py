"""What a section of the doctor is: checks with one subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .finding import Finding

if TYPE_CHECKING:
    from .doctor_options import Options
    from .visit import Visit


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a section looks at."""

    #: Its stable identifier, such as "tls.version".
    name: str
    #: What it asks, in half a line: "which version of TLS is spoken".
    about: str


@dataclass(frozen=True, slots=True)
class Section:
    """Checks with one subject.

    A section measures once, and all its checks judge that. If its `measure` raises, each check is told as
    failed with the error; what the network does is no exception but a measured value.
    """

    #: What `--only` and `--skip` take, such as "server-certificate".
    name: str
    #: The heading.
    title: str
    #: Its checks, in the order in which they are told.
    checks: tuple[Check, ...]
    #: Uses the network, within the visit's bounds, and returns what was measured: a frozen dataclass.
    measure: Callable[[Visit], Any]
    #: Says what that means; pure. It may say nothing of a check, or several things.
    judge: Callable[[Any], Iterable[Finding]]
    #: The sections that must not have failed.
    needs: tuple[str, ...] = ()
    #: The most requests that it makes; 0: it sends none, or is not wanted.
    requests: Callable[[Options], int] = lambda _: 0
    #: Why it does not apply, such as "no proxy is used"; None: it applies.
    idle_because: Callable[[Visit], str | None] = lambda _: None
