"""The tables of a run as Markdown, and their place in README.md."""

import datetime
import os
import platform
import ssl
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks.contestants import OURS, STOCK, in_order
from benchmarks.markdown import table as markdown
from benchmarks.quantities import COUNTS, CPU, WALL, WRITTEN
from benchmarks.rounds import Comparison
from benchmarks.targets import TARGETS, ratio, reached, to_reach
from benchmarks.tellings import MUTE

README: Final = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- newest table -->", "<!-- end of the newest table -->"
_PLOT: Final = f"![{OURS} beside stock, row by row](ratios.svg)"

#: What is said above the table of each reference.
ABOUT: Final[Mapping[str, str]] = {
    STOCK: "",
    MUTE: "What telling costs a request, against the same code without attempts, counts, log and hooks:",
}


def report(
    comparisons: Sequence[Comparison], others: Sequence[str] = (), absent: Mapping[str, str] | None = None
) -> str:
    """Return everything that is worth telling of a run.

    Args:
        comparisons: what was measured in rounds.
        others: what else is to be said.
        absent: who could not take part, and why.
    """
    told = [where_and_when()]
    references = dict.fromkeys(
        sorted((each.reference for each in comparisons), key=lambda name: name != STOCK)
    )
    for reference in references:
        group = [each for each in comparisons if each.reference == reference]
        told += [ABOUT.get(reference, f"Against {reference}:"), table(group, absent or {}), noise(group)]
        told += [
            f"–: {name} could not take part ({why})."
            for name, why in (absent or {}).items()
            if reference == STOCK
        ]
    return "\n\n".join(filter(None, [*told, *others]))


def where_and_when() -> str:
    """Say what the run was made on."""
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("requests", "urllib3", "httpx", "httpx-retries")
    )
    tls = " ".join(ssl.OPENSSL_VERSION.split()[:2])
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return f"{today}, {platform.system()}, {os.cpu_count()} cores, {interpreter}, {tls}, {versions}."


def table(comparisons: Sequence[Comparison], absent: Mapping[str, str]) -> str:
    """Return a row for each quantity: the reference's own figure, ratios against it, what is to reach."""
    reference = comparisons[0].reference
    names = in_order(name for each in comparisons for name in (*each.samples, *_missing(each, absent)))
    names.remove(reference)
    heads = ["what", "server", "quantity", reference, *names, "to reach", "reached"]
    ruler = ["---"] * 3 + ["---:"] * (len(names) + 1) + ["---"] * 2
    rows = [row for each in by_title(comparisons) for row in _rows(each, names, absent)]
    return markdown([heads, ruler, *rows])


def by_title(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Put those of one title beside each other: those with targets in their order, others as they came."""
    titles = list(dict.fromkeys([title for title, *_ in TARGETS] + [each.title for each in comparisons]))
    return sorted(comparisons, key=lambda each: titles.index(each.title))


def _missing(comparison: Comparison, absent: Mapping[str, str]) -> list[str]:
    """Return who would have taken part: the absent ones do where stock is compared with other libraries."""
    return [name for name in absent if comparison.reference == STOCK]


def _rows(comparison: Comparison, names: Sequence[str], absent: Mapping[str, str]) -> Iterator[list[str]]:
    for quantity in comparison.quantities:
        own = WRITTEN[quantity](comparison.median(comparison.reference, quantity))
        cells = [_cell(comparison, name, quantity, absent) for name in names]
        goal = [to_reach(comparison, quantity), reached(comparison, quantity)]
        yield [comparison.title, comparison.site, quantity, own, *cells, *goal]


def _cell(comparison: Comparison, name: str, quantity: str, absent: Mapping[str, str]) -> str:
    if name not in comparison.samples:
        return "–" if name in absent else ""
    if quantity in COUNTS:
        return WRITTEN[quantity](comparison.median(name, quantity))
    return ratio(comparison.ratio(name, comparison.reference, quantity))


def noise(comparisons: Sequence[Comparison]) -> str:
    """Say how far the reference is from itself, if time was measured: no ratio tells anything finer."""
    reference = comparisons[0].reference
    control = f"{reference} again"
    said: list[str] = []
    for quantity in (CPU, WALL):
        off = [
            abs(each.ratio(control, reference, quantity).value - 1)
            for each in comparisons
            if quantity in each.quantities and control in each.samples
        ]
        if off:
            said.append(f"{max(off):.1%} in {quantity}")
    if not said:
        return ""
    most = " and ".join(said)
    return f"{reference.capitalize()} differs from itself by at most {most}: that is the noise of this run."


def write(text: str, readme: Path = README) -> None:
    """Put a report, below the plot, in the place of the one in README.md."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    readme.write_text(f"{before}{_BEGIN}\n\n{_PLOT}\n\n{text}\n\n{_END}{after}", encoding="utf-8")
