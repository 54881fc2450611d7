"""What rows of the table have to reach: the only figures here that were not measured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.contestants import FLOOR, OURS, RETRY, STOCK, WARMED
from benchmarks.long_path import AFAR
from benchmarks.quantities import CPU, HANDSHAKES, RSS, WALL, WRITTEN
from benchmarks.rounds import Comparison, Estimate
from benchmarks.tellings import A_HOOK, MUTE, NO_HOOK


@dataclass(frozen=True, slots=True)
class Target:
    """How much a contestant may take."""

    #: The figure that is not to be exceeded.
    most: float
    #: What it is a multiple of; None when it is what the contestant takes.
    against: str | None = STOCK
    #: Whose it is.
    of: str = OURS
    #: Whether the figure is what comes on top of `against`.
    added: bool = False

    def measured(self, comparison: Comparison) -> bool:
        """Tell whether those it is about took part."""
        return {self.of, self.against} - {None} <= comparison.samples.keys()

    def found(self, comparison: Comparison, quantity: str) -> Estimate:
        """Return what was measured."""
        if self.against is None:
            return comparison.own(self.of, quantity)
        measure = comparison.difference if self.added else comparison.ratio
        return measure(self.of, self.against, quantity)

    def said(self, quantity: str) -> str:
        """Say what is to be reached."""
        write = WRITTEN[quantity]
        whose = "" if self.of == OURS else f"{self.of}: "
        if self.against is None:
            return f"{whose}≤ {write(self.most)}"
        return (
            f"{whose}≤ {self.against} + {write(self.most)}"
            if self.added
            else f"{whose}≤ {self.most:g} × {self.against}"
        )


#: By title, server and quantity of a row.
TARGETS: Final[Mapping[tuple[str, str, str], tuple[Target, ...]]] = {
    ("cold burst of 4 calls", "nginx", WALL): (Target(1.15, FLOOR),),
    ("cold burst of 4 calls", "nginx", CPU): (Target(1.3, FLOOR),),
    ("cold burst of 32 calls", "nginx", WALL): (Target(0.85, RETRY),),
    ("cold burst of 32 calls", "nginx", CPU): (Target(0.85, RETRY),),
    ("cold burst of 32 calls", "nginx", HANDSHAKES): (Target(1, None),),
    ("cold burst of 4 calls", "nginx, certifi's CAs", WALL): (Target(1.1, FLOOR),),
    ("cold burst of 4 calls", "nginx, certifi's CAs", CPU): (Target(1.1, FLOOR),),
    ("first call", "nginx", CPU): (Target(1.0),),
    ("keep-alive, Session.get, 1 B", "nginx", CPU): (Target(0.80),),
    ("keep-alive, Session.get, 16 threads", "nginx", CPU): (Target(0.85),),
    ("keep-alive, adapter.send, 1 B", "nginx", CPU): (Target(0.70),),
    ("keep-alive, adapter.send, 10,000 B", "nginx", CPU): (Target(0.70),),
    ("100 × requests.get", "nginx", CPU): (Target(0.25),),
    ("one GET", AFAR, WALL): (Target(1.05),),
    ("4 GETs", AFAR, WALL): (Target(1.35, FLOOR), Target(0.45, FLOOR, of=WARMED)),
    ("32 GETs", AFAR, WALL): (Target(1.6, FLOOR),),
    ("4 POSTs", AFAR, WALL): (Target(1.65, FLOOR),),
    ("a POST every 2 s", AFAR, WALL): (Target(1.0),),
    ("import beside requests", "none", CPU): (Target(0.015, STOCK, added=True),),
    ("import beside requests", "none", RSS): (Target(1.5e6, STOCK, added=True),),
    ("a start of pytest", "none", CPU): (Target(0.010, STOCK, added=True),),
    ("telling", "nginx", CPU): (Target(1.01, MUTE, NO_HOOK), Target(1.05, MUTE, A_HOOK)),
}


def targets_of(comparison: Comparison, quantity: str) -> tuple[Target, ...]:
    """Return what a row has to reach."""
    return TARGETS.get((comparison.title, comparison.site, quantity), ())


def without_row(comparisons: Iterable[Comparison]) -> list[str]:
    """Return the targets that nothing was measured for: a row that was renamed has lost its target."""
    rows = {(each.title, each.site, quantity) for each in comparisons for quantity in each.quantities}
    return [", ".join(key) for key in TARGETS if key not in rows]


def to_reach(comparison: Comparison, quantity: str) -> str:
    """Write the targets of a row."""
    return "; ".join(target.said(quantity) for target in targets_of(comparison, quantity))


def reached(comparison: Comparison, quantity: str) -> str:
    """Write what was measured beside them, and whether it is enough."""
    said = []
    for target in targets_of(comparison, quantity):
        if not target.measured(comparison):
            said.append("**not measured**")
            continue
        found = target.found(comparison, quantity)
        figure = ratio(found) if target.against and not target.added else WRITTEN[quantity](found.value)
        said.append(f"yes: {figure}" if found.value <= target.most else f"**no: {figure}**")
    return "; ".join(said)


def ratio(found: Estimate) -> str:
    """Write a ratio, as finely as the rounds agree."""
    digits = 3 if 0 < found.margin < 0.0095 else 2
    return f"{found.value:.{digits}f}" + (f" ± {found.margin:.{digits}f}" if found.margin else "")
