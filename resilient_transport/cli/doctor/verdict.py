"""One sentence: what is wrong, and what stock requests and the adapter make of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .finding import Finding, Level
from .root import Root


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all findings come to."""

    #: As bad as the worst of them; a finding that was skipped is none.
    level: Level
    #: What is wrong, in one sentence.
    sentence: str
    #: What it comes from; None: nothing is wrong, or nobody knows.
    root: Root | None = None
    #: How calls by stock requests and by the adapter went; empty: none was made.
    compared: str = ""
    #: What to do first; empty: nothing.
    hint: str = ""


def verdict_of(findings: Sequence[Finding], measured: Mapping[str, Any]) -> Verdict:
    """What the findings come to.

    Args:
        findings: of all sections.
        measured: what each section has measured, by its name; those that have made calls can `compare`
            them in a sentence.
    """
    compared = next(
        (told for name in ("burst", "control", "sizes") if (told := _compared(measured.get(name)))), ""
    )
    worst = _worst(findings)
    if worst is None:
        ran = any(finding.level is Level.OK for finding in findings)
        return Verdict(Level.OK, "Nothing is wrong." if ran else "No check has run.", None, compared)
    why = f"{worst.root}: " if worst.root not in (None, Root.OTHER) else ""
    sentence = f"{why}{worst.text}"
    return Verdict(worst.level, sentence[:1].upper() + sentence[1:], worst.root, compared, worst.hint)


def _worst(findings: Sequence[Finding]) -> Finding | None:
    """The finding that explains the others: a failure before a warning, then the first by its root."""
    bad = [finding for finding in findings if finding.is_bad]
    if not bad:
        return None
    return min(bad, key=lambda one: (one.level is not Level.FAIL, (one.root or Root.OTHER).rank))


def _compared(measured: Any) -> str:
    compare = getattr(measured, "compare", None)
    return "" if compare is None else str(compare())
