"""The ratios of a run as a picture: an SVG with a bar for each row, readable on light and on dark ground."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from benchmarks.contestants import CONTROL, FLOOR, HTTPX, NIQUESTS, OURS, RETRY, STOCK, URLLIB3, WARMED
from benchmarks.quantities import CPU, INSTRUCTIONS, MEMORY, WALL
from benchmarks.report import by_title
from benchmarks.rounds import Comparison
from benchmarks.targets import targets_of

PICTURE: Final = Path(__file__).with_name("ratios.svg")

#: Pixels: where bars begin and end, the height of a row, and what stands above the first.
LEFT, RIGHT, ROW, TOP = 330, 890, 22, 96
WIDTH, FOOT = 960, 34
#: The ratio at the right end; what is more ends there, with its figure.
MOST: Final = 1.6
#: What is drawn, and how its name is shortened.
QUANTITIES: Final = {CPU: "CPU", WALL: "wall", INSTRUCTIONS: "instructions", MEMORY: "memory"}
#: The others, as small marks: a style for each.
MARKS: Final = (FLOOR, URLLIB3, RETRY, HTTPX, NIQUESTS, WARMED)

#: It has a ground of its own, so that it can be read on any page. A browser that shows pages dark asks for
#: the second set of colours.
_STYLE: Final = """
.ground { fill: #ffffff } text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a } .title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d8dee4 } .one { stroke: #24292f; stroke-width: 1.5 }
.bar { fill: #9cc3ea } .goal { stroke: #1a7f37; stroke-width: 3 } .missed { stroke: #cf222e; stroke-width: 3 }
.mark { fill: #ffffff; stroke-width: 2 }
.m0 { stroke: #24292f } .m1 { stroke: #bf5700 } .m2 { stroke: #8250df }
.m3 { stroke: #0a7d83 } .m4 { stroke: #c2257f } .m5 { stroke: #8a7400 }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 } text { fill: #e6edf3 } .small { fill: #9da7b1 }
.grid { stroke: #30363d } .one { stroke: #e6edf3 }
.bar { fill: #2f5d8f } .goal { stroke: #3fb950 } .missed { stroke: #ff6b63 }
.mark { fill: #0d1117 }
.m0 { stroke: #e6edf3 } .m1 { stroke: #ffa657 } .m2 { stroke: #c297ff }
.m3 { stroke: #4fd1d9 } .m4 { stroke: #ff8fc7 } .m5 { stroke: #e3c341 }
}
"""


def plot(comparisons: Sequence[Comparison]) -> str:
    """Return a picture of all rows that compare us with stock."""
    rows = list(_drawn(comparisons))
    bottom = TOP + ROW * len(rows)
    size = f'width="{WIDTH}" height="{bottom + FOOT}" viewBox="0 0 {WIDTH} {bottom + FOOT}"'
    title = f"{OURS} ÷ stock, by scenario: less is better"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{bottom + FOOT}" rx="8"/>',
            _text(12, 24, title, "title"),
            *_legend(),
            *_scale(bottom),
            *(line for number, row in enumerate(rows) for line in _row(*row, TOP + ROW * number)),
            "</svg>\n",
        ]
    )


def write(comparisons: Sequence[Comparison], path: Path = PICTURE) -> None:
    """Put the picture into its file."""
    path.write_text(plot(comparisons), encoding="utf-8")


def place(ratio: float) -> float:
    """Return where a ratio lies, from left to right; too large a one lies at the end."""
    return round(LEFT + (RIGHT - LEFT) * min(ratio, MOST) / MOST, 1)


def _drawn(comparisons: Sequence[Comparison]) -> Iterator[tuple[Comparison, str]]:
    for comparison in by_title(comparisons):
        if comparison.reference == STOCK and {OURS, STOCK} <= comparison.samples.keys():
            yield from ((comparison, name) for name in comparison.quantities if name in QUANTITIES)


def _row(comparison: Comparison, quantity: str, top: float) -> Iterator[str]:
    """Draw one row: its name, a bar, the marks of the others, what is to be reached, and the figure."""
    middle, ratios = top + ROW / 2, _ratios(comparison, quantity)
    label = f"{comparison.title}: {QUANTITIES[quantity]}"
    if comparison.site != "nginx":
        label += f" ({comparison.site.removeprefix('nginx, ')})"
    yield _text(LEFT - 10, middle + 4, label, "label", "end")
    end = place(ratios[OURS])
    yield f'<rect class="bar" x="{LEFT}" y="{top + 4}" width="{round(end - LEFT, 1)}" height="{ROW - 8}"/>'
    for number, name in enumerate(MARKS):
        if name in ratios:
            yield _mark(number, place(ratios[name]), middle, f"{name}: {ratios[name]:.2f}")
    yield from _goals(comparison, quantity, ratios[OURS], top)
    yield _text(RIGHT + 14, middle + 4, f"{ratios[OURS]:.2f}", "figure")


def _ratios(comparison: Comparison, quantity: str) -> dict[str, float]:
    names = [name for name in comparison.samples if name not in (STOCK, CONTROL)]
    return {name: comparison.ratio(name, STOCK, quantity).value for name in names}


def _goals(comparison: Comparison, quantity: str, ours: float, top: float) -> Iterator[str]:
    """Draw what is to be reached as a line, where it can be said as a ratio against stock."""
    for target in targets_of(comparison, quantity):
        if target.of != OURS or target.against is None or target.added or not target.measured(comparison):
            continue
        found = target.found(comparison, quantity).value
        kind = "goal" if found <= target.most else "missed"
        # So it lies beside the end of the bar as the figures do: medians of ratios do not multiply.
        x = place(ours * target.most / found)
        yield (
            f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top + 1}" y2="{top + ROW - 1}">'
            f"<title>{escape(target.said(quantity))}</title></line>"
        )


def _mark(number: int, x: float, y: float, said: str = "") -> str:
    return f'<circle class="mark m{number}" cx="{x}" cy="{y}" r="4"><title>{escape(said)}</title></circle>'


def _legend() -> Iterator[str]:
    """Say what bars, lines and marks are."""
    yield f'<rect class="bar" x="12" y="38" width="22" height="10"/>{_text(40, 48, OURS)}'
    yield f'<line class="goal" x1="160" x2="160" y1="35" y2="51"/>{_text(168, 48, "to reach: it does")}'
    yield f'<line class="missed" x1="282" x2="282" y1="35" y2="51"/>{_text(290, 48, "it does not")}'
    for number, name in enumerate(MARKS):
        yield _mark(number, 385 + 98 * number, 44) + _text(394 + 98 * number, 48, name)


def _scale(bottom: float) -> Iterator[str]:
    """Draw a line for each fifth, and a stronger one for stock."""
    for fifth in range(round(MOST * 5) + 1):
        ratio = fifth / 5
        kind, said = ("one", "1 = stock") if ratio == 1 else ("grid", f"{ratio:g}")
        said += "+" if ratio == MOST else ""
        x = place(ratio)
        yield f'<line class="{kind}" x1="{x}" x2="{x}" y1="{TOP - 6}" y2="{bottom + 4}"/>'
        yield _text(x, TOP - 12, said, "small", "middle")
        yield _text(x, bottom + 20, said, "small", "middle")


def _text(x: float, y: float, said: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(said)}</text>'
