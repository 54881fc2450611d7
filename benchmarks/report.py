"""The table of a run as Markdown, and its place in README.md."""

import datetime
import os
import platform
import ssl
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks.contestants import CONTESTANTS, CONTROL, STOCK
from benchmarks.crowd import Crowd
from benchmarks.crowd import told as crowd_told
from benchmarks.cuts import MEAN, THREADS, Cuts
from benchmarks.cuts import table as cuts_table
from benchmarks.lateness import Lateness
from benchmarks.lateness import told as lateness_told
from benchmarks.rounds import CONNECTIONS, CPU, MEMORY, WALL, Comparison, Ratio
from benchmarks.starts import FULL
from benchmarks.tellings import table as telling_table

README: Final = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- newest table -->", "<!-- end of the newest table -->"
_RIVALS: Final = tuple(name for name in CONTESTANTS if name != STOCK)


def report(
    comparisons: Sequence[Comparison],
    cut: Sequence[Cuts] = (),
    telling: Sequence[Comparison] = (),
    late: Sequence[Lateness] = (),
    starts: Sequence[Comparison] = (),
    crowds: Sequence[Crowd] = (),
) -> str:
    """Return everything that is worth telling of a run."""
    told = [where_and_when()]
    if comparisons:
        told += [table(comparisons), noise(comparisons)]
    if cut:
        told += [_ABOUT_CUTS, cuts_table(cut)]
    if telling:
        told += [_ABOUT_TELLING, telling_table(telling)]
    if late:
        told += [lateness_told(late)]
    if starts:
        told += [_ABOUT_STARTS, starts_table(starts)]
    told += map(crowd_told, crowds)
    return "\n\n".join(filter(None, told))


def starts_table(starts: Sequence[Comparison]) -> str:
    """Return one row for each quantity of each start: the first way's own figure, then ratios against it."""
    ways = list(dict.fromkeys(way for each in starts for way in each.samples))
    rows = [["what", "where", "quantity", *ways], ["---"] * 3 + ["---:"] * len(ways)]
    for each in starts:
        first = next(iter(each.samples))
        for quantity in (WALL, CPU):
            cells = {way: _cell(each.ratio(way, first, quantity)) for way in each.samples}
            cells[first] = _figure(quantity, each.median(first, quantity))
            rows.append([each.title, each.site, quantity, *(cells.get(way, "") for way in ways)])
        counts = {
            way: f"{each.median(way, CONNECTIONS):.0f} ({each.median(way, FULL):.0f})" for way in each.samples
        }
        rows.append(
            [each.title, each.site, "connections (full handshakes)", *(counts.get(way, "") for way in ways)]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


_ABOUT_TELLING: Final = (
    "What telling costs: CPU of a request, against the same code without attempts, counts, log and hooks:"
)
_ABOUT_STARTS: Final = (
    "Calls that a fresh process makes at once, over mutual TLS, against nginx: the first way's figure, then "
    "ratios against it. 40 ms is a round trip through two TUN devices:"
)
_ABOUT_CUTS: Final = (
    f"Bodies from nginx, through a proxy that resets each connection after {MEAN / 1e6:g} MB in the mean "
    f"(exponentially distributed), {THREADS} at a time:"
)


def where_and_when() -> str:
    """Say what the run was made on."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("requests", "urllib3"))
    tls = " ".join(ssl.OPENSSL_VERSION.split()[:2])
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return f"{today}, {platform.system()}, {os.cpu_count()} cores, {interpreter}, {tls}, {versions}."


def table(comparisons: Sequence[Comparison]) -> str:
    """Return one row for each quantity of each comparison: stock's own figure, then ratios against it."""
    heads = ["what", "server", "quantity", STOCK, *(f"{name} ÷ stock" for name in _RIVALS)]
    ruler = ["---"] * 3 + ["---:"] * (len(heads) - 3)
    ordered = sorted(comparisons, key=lambda each: [other.title for other in comparisons].index(each.title))
    rows = [row for comparison in ordered for row in _rows(comparison)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, ruler, *rows])


def _rows(comparison: Comparison) -> Iterator[list[str]]:
    for quantity in comparison.quantities:
        stock = _figure(quantity, comparison.median(STOCK, quantity))
        ratios = [_cell(comparison.ratio(name, STOCK, quantity)) for name in _RIVALS]
        yield [comparison.title, comparison.site, quantity, stock, *ratios]


def _cell(ratio: Ratio) -> str:
    return f"{ratio.value:.2f} ± {ratio.margin:.2f}" if ratio.margin else f"{ratio.value:.2f}"


def _figure(quantity: str, value: float) -> str:
    """Write a figure with its unit, three digits of it."""
    if quantity == CONNECTIONS:
        return f"{value:.0f}"
    if quantity == MEMORY:
        return f"{value / 1e6:.1f} MB"
    return f"{value * 1e6:.0f} µs" if value < 1e-3 else f"{value * 1e3:.{1 if value < 0.1 else 0}f} ms"


def noise(comparisons: Sequence[Comparison]) -> str:
    """Say how far stock is from stock, if time was measured: a ratio tells nothing finer than that."""
    said: list[str] = []
    for quantity in (CPU, WALL):
        off = [
            abs(each.ratio(CONTROL, STOCK, quantity).value - 1)
            for each in comparisons
            if quantity in each.quantities
        ]
        if off:
            said.append(f"{max(off):.1%} in {quantity}")
    if not said:
        return ""
    return f"Stock differs from itself by at most {' and '.join(said)}: that is the noise of this run."


def write(text: str, readme: Path = README) -> None:
    """Put a report in the place of the one in README.md."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    readme.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}", encoding="utf-8")
