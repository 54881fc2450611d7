"""One sentence: what is wrong, and what stock requests and the adapter make of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .finding import Finding, Level
from .root import Root

#: The sections whose calls are compared; the first that has made some speaks.
COMPARING: Final = ("burst", "control", "sizes", "this-host")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all findings come to."""

    #: As bad as the worst of them; a finding that was skipped is none.
    level: Level
    #: What is wrong, in one sentence, without how the calls went.
    sentence: str
    #: What it comes from; None: nothing is wrong, or nobody knows.
    root: Root | None = None
    #: How calls by stock requests and by the adapter went; empty: none was made.
    compared: str = ""
    #: What to do first; empty: nothing.
    hint: str = ""
    #: What else is wrong, that does not follow from the first; empty: nothing.
    also: str = ""

    @property
    def whole(self) -> str:
        """The sentence, with how the calls went."""
        if not self.compared:
            return self.sentence
        ends = self.compared.endswith(".")
        return f"{self.sentence.rstrip('.')}{'. ' if ends else '; '}{self.compared}{'' if ends else '.'}"


#: What comes and goes. A network or a server that resets connections does so at any stage.
_UNSTEADY: Final = frozenset(
    {
        Root.HANDSHAKE_RACE,
        Root.HANDSHAKE_RESET,
        Root.HANDSHAKE_SILENT,
        Root.REQUEST_RESET,
        Root.SILENT,
        Root.DAMAGED,
        Root.CUT_BY_SIZE,
        Root.CUT_BODY,
    }
)
_CLIENT_CERTIFICATE: Final = frozenset(
    {Root.CLIENT_CERTIFICATE_MISSING, Root.CLIENT_CERTIFICATE_EXPIRED, Root.CLIENT_CERTIFICATE_REFUSED}
)
#: A server's answer to it can be a reset, an alert, a status, or no answer.
_FOLLOWS_REFUSAL: Final = _CLIENT_CERTIFICATE | _UNSTEADY | {Root.STATUS, Root.GARBLED}
#: What a server's certificate that is not believed has as its consequence.
_FOLLOWS_DISTRUST: Final = frozenset({Root.SERVER_CERTIFICATE_UNTRUSTED, Root.SERVER_CERTIFICATE_NAME})
#: Without a way to the server, whatever is wrong beyond it was not seen.
_FOLLOWS_NO_WAY: Final = frozenset(Root) - _CLIENT_CERTIFICATE - {Root.CLOCK, Root.CLIENT_FILES, Root.SETTING}

#: Roots that follow from another one: they are no second failure.
EXPLAINED: Final[Mapping[Root, frozenset[Root]]] = {
    Root.SETTING: _FOLLOWS_NO_WAY | {Root.CLIENT_FILES},
    Root.CLIENT_FILES: _FOLLOWS_NO_WAY | _CLIENT_CERTIFICATE,
    Root.THIS_HOST: _FOLLOWS_NO_WAY,
    **dict.fromkeys(
        (Root.NAME, Root.PROXY_UNREACHABLE, Root.PROXY_REFUSES, Root.REFUSED, Root.UNREACHABLE),
        _FOLLOWS_NO_WAY,
    ),
    **dict.fromkeys((Root.NO_TLS, Root.NO_COMMON_TLS), _FOLLOWS_REFUSAL | _FOLLOWS_DISTRUST),
    **dict.fromkeys(_CLIENT_CERTIFICATE, _FOLLOWS_REFUSAL),
    Root.CLOCK: frozenset({Root.SERVER_CERTIFICATE_EXPIRED}),
    Root.INTERCEPTED: _FOLLOWS_DISTRUST | _FOLLOWS_REFUSAL,
    **dict.fromkeys(_UNSTEADY, _UNSTEADY | {Root.KEEP_ALIVE, Root.IDLE_CLOSED, Root.GARBLED}),
    Root.IDLE_CLOSED: frozenset({Root.KEEP_ALIVE}),
}


def verdict_of(
    findings: Sequence[Finding], measured: Mapping[str, Any], *, is_interrupted: bool = False
) -> Verdict:
    """What the findings come to.

    Args:
        findings: of all sections.
        measured: what each section has measured, by its name; those that have made calls can `compare`
            them in a sentence.
        is_interrupted: whether sections are missing because somebody has ended the examination.
    """
    compared = next((told for name in COMPARING if (told := _compared(measured.get(name)))), "")
    so_far = "Interrupted; so far: " if is_interrupted else ""
    bad = ranked(findings)
    if not bad:
        return Verdict(Level.OK, _sentence(so_far + _of_none(findings, is_interrupted)), None, compared)
    worst = bad[0]
    told = so_far + (_of_failure(worst) if worst.level is Level.FAIL else _of_warning(worst, bad))
    also = _also(worst, bad[1:])
    return Verdict(worst.level, _sentence(told), worst.root, compared, worst.hint, also)


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """Warnings and failures, what explains others first.

    A failure stands before a warning, then the order of roots decides. Of the same root, what nothing gets
    past tells more than what comes and goes, and what was measured tells more than what was not.
    """
    bad = [finding for finding in findings if finding.is_bad]
    return sorted(bad, key=_order)


def _order(finding: Finding) -> tuple[bool, int, bool, bool]:
    return (finding.level is not Level.FAIL, _rank(finding), not finding.blocks, not finding.value)


def _rank(finding: Finding) -> int:
    return (finding.root or Root.OTHER).rank


def _of_none(findings: Sequence[Finding], is_interrupted: bool) -> str:
    """Nothing is wrong, or nothing was looked at."""
    fine = sum(finding.level is Level.OK for finding in findings)
    if not fine:
        return "no check has run"
    return f"nothing is wrong in {fine} {'check' if fine == 1 else 'checks'}"


def _of_failure(finding: Finding) -> str:
    """The cause in its own words, which every section shares; where there is none, the finding's."""
    known = finding.root is not None and finding.root is not Root.OTHER
    return _valued(str(finding.root) if known else finding.text, finding.value)


def _of_warning(finding: Finding, bad: Sequence[Finding]) -> str:
    """A warning in its own words: the cause of it would say that something fails."""
    return f"{'only a warning' if len(bad) == 1 else f'only {len(bad)} warnings; the first'}: " + _valued(
        finding.text, finding.value
    )


def _also(worst: Finding, others: Iterable[Finding]) -> str:
    """What else is as bad, and does not follow from the worst."""
    for other in others:
        if other.level is worst.level and not _follows(other, worst):
            told = _of_failure(other) if other.level is Level.FAIL else _valued(other.text, other.value)
            return f"Also: {told.rstrip('.')}."
    return ""


def _follows(other: Finding, worst: Finding) -> bool:
    """Whether one is a consequence of the other, or the same thing seen again."""
    if worst.blocks and (other.root is None or other.root is Root.OTHER):
        return True
    if other.root == worst.root and other.root not in (None, Root.OTHER):
        return True
    if worst.level is Level.WARN or worst.root is None or other.root is None:
        return False
    return other.root in EXPLAINED.get(worst.root, frozenset())


def _valued(text: str, value: str) -> str:
    """A text with what was measured, unless it says that itself."""
    text = text.rstrip(".")
    return text if not value or value in text else f"{text} ({value})"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _compared(measured: Any) -> str:
    compare = getattr(measured, "compare", None)
    return "" if compare is None else str(compare())
