"""What is to be said of the result: who lost what, and whether the adapter kept its promise. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from .cell import KINDS, Cell
from .order import WRONG_BODY, Outcome
from .transports import OURS, TRANSPORTS

#: What bad news begins with.
FAILED: Final = "FAILED:"
#: So much of it is told to people.
_MOST: Final = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result in sentences."""

    #: What the adapter did that it never may; none is the good news.
    broken: tuple[str, ...]
    #: Who lost what, and whether a POST ran twice.
    sentences: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the adapter kept its promise."""
        return not self.broken

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """All that is said, the bad news first, and of that no more than a few."""
        told = [f"{FAILED} {OURS} {each}." for each in self.broken[:_MOST]]
        more = len(self.broken) - _MOST
        if more > 0:
            told.append(f"{FAILED} and {more} more, which --json lists.")
        return (*told, " ".join(self.sentences))


def verdict(cells: Sequence[Cell]) -> Verdict:
    """What these cells show, all scenarios together."""
    by_transport = [
        (name, [cell for cell in cells if cell.transport == name])
        for name in TRANSPORTS
        if any(cell.transport == name for cell in cells)
    ]
    ours = [cell for cell in cells if cell.transport == OURS]
    sentences = [_losses(by_transport), *_of_ours(ours), _twice(by_transport)]
    return Verdict(broken_promises(cells), tuple(sentences))


def broken_promises(cells: Iterable[Cell]) -> tuple[str, ...]:
    """What the adapter did that it never may, one clause each."""
    found = []
    for cell in cells:
        if cell.transport != OURS:
            continue
        found += [f"lost {_told(cell, outcome)}, which may be repeated" for outcome in cell.needless]
        found += [f"ran {_told(cell, outcome)} more than once" for outcome in cell.run_twice]
        wrong = (outcome for outcome in cell.lost if outcome.error == WRONG_BODY)
        found += [f"handed out a wrong body for {_told(cell, outcome)}" for outcome in wrong]
    return tuple(found)


def _losses(by_transport: Sequence[tuple[str, Sequence[Cell]]]) -> str:
    first = by_transport[0][1]
    sent = [_many(_count(first, method), method) for method in KINDS]
    told = [
        f"{name} lost {_pair([_lost(cells, method) for method in KINDS])}" for name, cells in by_transport
    ]
    return f"Of {' and '.join(sent)} each, {', '.join(told)}."


def _of_ours(ours: Sequence[Cell]) -> list[str]:
    """Why the adapter did not repeat what it lost, if it lost anything that it may not repeat."""
    number = sum(len(cell.lost) - len(cell.needless) for cell in ours)
    if not number:
        return []
    those, them = ("that POST", "it") if number == 1 else (f"those {number} POSTs", "them")
    return [
        f"The server may have run {those} before the connection broke, so {OURS} did not send {them} again."
    ]


def _twice(by_transport: Sequence[tuple[str, Sequence[Cell]]]) -> str:
    twice = [(name, sum(len(cell.run_twice) for cell in cells)) for name, cells in by_transport]
    told = [f"{name} ran {_many(number, 'POST')} twice" for name, number in twice if number]
    return f"{', '.join(told)}." if told else "No POST ran twice."


def _count(cells: Sequence[Cell], method: str) -> int:
    return sum(outcome.method == method for cell in cells for outcome in cell.outcomes)


def _lost(cells: Sequence[Cell], method: str) -> int:
    return sum(outcome.method == method for cell in cells for outcome in cell.lost)


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _pair(numbers: Sequence[int]) -> str:
    return " and ".join(str(number) if number else "none" for number in numbers) if any(numbers) else "none"


def _told(cell: Cell, outcome: Outcome) -> str:
    how = f" ({outcome.error}, stage {outcome.stage}, {outcome.attempts} attempts)" if outcome.error else ""
    return f"{outcome.request_id} under {cell.scenario.name}{how}"
