"""What the benchmarks make of their figures: medians, ratios, what was reached, the tables and the plot."""

import math
from xml.etree import ElementTree

import pytest

from benchmarks import plot, report, starts, targets
from benchmarks.contestants import CONTROL, FLOOR, NIQUESTS, OURS, STOCK
from benchmarks.instructions import COUNTERS
from benchmarks.quantities import COMPLETED, CONNECTIONS, CPU, HANDSHAKES, WALL
from benchmarks.rounds import Comparison, alternate, estimate
from benchmarks.targets import Target

TITLE = "cold burst of 4 calls"


def comparison(ours, title=TITLE, **others):
    """Return a comparison whose rounds have these seconds of CPU; stock takes one."""
    found = {STOCK: [1.0] * len(ours), CONTROL: [1.0] * len(ours), OURS: ours, **others}
    samples = {name: [{CPU: each, CONNECTIONS: 4} for each in series] for name, series in found.items()}
    return Comparison(title, "nginx", samples)


def test_an_estimate_is_the_median_and_half_of_its_interval():
    """One bad round moves nothing; rounds that agree have no margin."""
    assert estimate([1, 2, 900]).value == 2
    assert estimate([3, 3, 3]).margin == 0
    assert estimate(range(100)).margin == pytest.approx(10, abs=1)


def test_ratios_and_differences_are_taken_within_a_round():
    """A slow spell slows both sides."""
    spell = Comparison(
        "a", "b", {STOCK: [{CPU: 1}, {CPU: 10}, {CPU: 2}], OURS: [{CPU: 2}, {CPU: 20}, {CPU: 4}]}
    )

    assert spell.ratio(OURS, STOCK, CPU) == estimate([2])
    assert spell.difference(OURS, STOCK, CPU).value == 2
    assert spell.own(OURS, CPU).value == 4


def test_nothing_to_compare_with_is_infinitely_much():
    """No division by zero ends a run of ten minutes."""
    nothing = Comparison("a", "b", {STOCK: [{CPU: 0}], OURS: [{CPU: 1}]})

    assert nothing.ratio(OURS, STOCK, CPU).value == math.inf


def test_everybody_takes_part_in_every_round():
    """Each in turn, and once more when it is to be warm."""
    seen = []
    actions = {name: lambda name=name: seen.append(name) or {CPU: 1.0} for name in "abc"}
    samples = alternate(actions, 5)

    assert {name: len(series) for name, series in samples.items()} == dict.fromkeys("abc", 5)
    assert [sorted(seen[start : start + 3]) for start in range(0, 18, 3)] == [["a", "b", "c"]] * 6


@pytest.mark.parametrize(
    ("target", "said", "value"),
    [
        (Target(1.3, FLOOR), "≤ 1.3 × floor", 4),
        (Target(0.015, STOCK, added=True), "≤ stock + 15.0 ms", 1),
        (Target(0.1, None), "≤ 100 ms", 2),
        (Target(0.45, FLOOR, STOCK), "stock: ≤ 0.45 × floor", 2),
    ],
)
def test_a_target_says_and_finds(target, said, value):
    """A multiple of another's figure, what comes on top of it, or a figure for itself."""
    found = target.found(comparison([2.0, 2.0], **{FLOOR: [0.5, 0.5]}), CPU)

    assert target.said(CPU) == said
    assert found.value == value


@pytest.mark.parametrize(("ours", "judged"), [(0.6, "yes: 1.20"), (0.7, "**no: 1.40**")])
def test_a_row_says_what_it_reaches(ours, judged):
    """The goal, the figure beside it, and whether that is enough."""
    row = comparison([ours] * 3, **{FLOOR: [0.5] * 3})
    text = report.table([row], {})

    assert f"| ≤ 1.3 × floor | {judged} |" in text


def test_a_lost_target_is_found():
    """A row that was renamed leaves its target behind."""
    lost = targets.without_row([comparison([1.0])])

    assert f"{TITLE}, nginx, {CPU}" not in lost
    assert f"{TITLE}, nginx, {WALL}" in lost
    assert f"cold burst of 32 calls, nginx, {HANDSHAKES}" in lost


def test_who_is_absent_has_a_column_and_a_reason():
    """And who takes no part in a row has an empty cell."""
    text = report.report([comparison([1.0]), comparison([1.0], "b", floor=[1.0])], [], {NIQUESTS: "no index"})

    assert f"–: {NIQUESTS} could not take part (no index)." in text
    assert "| b | nginx | CPU | 1000 ms | 1.00 | 1.00 | – | 1.00 |" in text
    assert (
        f"| {TITLE} | nginx | CPU | 1000 ms |  | 1.00 | – | 1.00 | ≤ 1.3 × floor | **not measured** |" in text
    )


def test_a_report_takes_the_place_of_the_last(tmp_path):
    """What is around it stays."""
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- newest table -->\nold\n<!-- end of the newest table -->\nafter\n")
    report.write("new", readme)
    report.write("newer", readme)
    text = readme.read_text()

    assert "old" not in text
    assert "new\n" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "newer" in text


def test_a_plot_draws_a_bar_for_each_row():
    """It is well-formed, and a target that is missed is drawn as such."""
    rows = [comparison([0.7] * 3, floor=[0.5] * 3), comparison([9.0] * 3, "a < b")]
    picture = ElementTree.fromstring(plot.plot(rows))
    parts = [(each.tag.rpartition("}")[2], each.get("class"), each.get("width")) for each in picture.iter()]
    bars = [width for tag, kind, width in parts if (tag, kind) == ("rect", "bar")]

    # The first is the legend's.
    assert len(bars) == 3
    assert float(bars[2]) == plot.RIGHT - plot.LEFT
    assert [kind for tag, kind, _ in parts if tag == "line"].count("missed") == 2
    assert "a < b: CPU" in [each.text for each in picture.iter()]


@pytest.mark.parametrize(("ours", "kind"), [(0.6, "goal"), (0.7, "missed")])
def test_a_plot_draws_what_is_to_be_reached(ours, kind):
    """The line is beyond the end of the bar if that reaches it, else before it."""
    picture = ElementTree.fromstring(plot.plot([comparison([ours] * 3, floor=[0.5] * 3)]))
    lines = [each for each in picture.iter() if each.get("class") == kind]

    # The first is the legend's.
    assert [float(each.get("x1")) for each in lines[1:]] == [plot.place(1.3 * 0.5)]
    assert (plot.place(ours) <= plot.place(1.3 * 0.5)) == (kind == "goal")


def test_starts_that_failed_have_no_time():
    """Their number is told, and what is missed is marked."""
    samples = [{WALL: 0.05, COMPLETED: starts.CALLS}, {WALL: 0.01, COMPLETED: 1}]
    text = starts.table({OURS: samples})

    assert f"| {OURS} | 1 of 2 | 50.0 ms | 50.0 ms |" in text
    assert f"| all {starts.STARTS}: **no** | ≤ 100 ms: yes | ≤ 1000 ms: yes |" in text


@pytest.mark.parametrize(
    ("counter", "said", "count"),
    [
        (COUNTERS[0], "1234,,instructions:u,5,100.00,,\n", 1234),
        (COUNTERS[0], "<not supported>,,instructions:u,0,100.00,,\n", None),
        (COUNTERS[1], "==7== \n==7== Collected : 4321\n", 4321),
        (COUNTERS[1], "valgrind: failed to start\n", None),
    ],
)
def test_a_count_is_read_from_what_a_tool_says(counter, said, count, tmp_path):
    """A tool that is there and cannot count is none."""
    place = tmp_path / "said"
    place.write_text(said)

    assert counter.count(place) == count
