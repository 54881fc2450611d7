"""What a waterfall shows: values in, values out."""

import math

import pytest

from resilient_transport.waterfall.chart import Bar, Chart, Phase, Row, overview_of
from resilient_transport.waterfall.scale import share, span, ticks


def test_a_chart_is_as_long_as_its_last_bar():
    """Not as the last bar of its last row: attempts may overlap."""
    long = Row("first", (Bar(Phase.DIAL, 0.0, 0.5), Bar(Phase.BODY, 0.5, 2.0)))
    short = Row("second", (Bar(Phase.DIAL, 1.0, 0.25),))

    assert Chart("both", (long, short)).seconds == 2.5
    assert Chart("none", ()).seconds == 0.0
    assert Chart("empty", (Row("nothing", ()),)).seconds == 0.0


def test_an_overview_puts_charts_on_one_axis():
    """Each chart becomes a row, which begins as much later as the chart did, and ends as its last row."""
    first = Row(
        "attempt 1", (Bar(Phase.DIAL, 0.0, 0.5, failed=True), Bar(Phase.PAUSE, 0.5, 0.5)), failed=True
    )
    second = Row("attempt 2", (Bar(Phase.BODY, 1.0, 0.5),), "status 200")
    charts = [Chart("one", (first, second), 100.0, "saved"), Chart("two", (second,), 103.0)]

    shown = overview_of(charts, "all")

    assert (shown.title, shown.began_at, shown.seconds) == ("all", 100.0, 4.5)
    assert [(row.title, row.outcome, row.failed, row.details) for row in shown.rows] == [
        ("one", "status 200", False, ("saved",)),
        ("two", "status 200", False, ()),
    ]
    assert [bar.began for bar in shown.rows[0].bars] == [0.0, 0.5, 1.0]
    assert [bar.began for bar in shown.rows[1].bars] == [4.0]


def test_an_overview_of_nothing():
    """Nobody has called yet, and a chart without rows is a row without bars."""
    assert overview_of([], "none") == Chart("none", ())
    assert overview_of([Chart("empty", (), 5.0)], "one").rows == (Row("empty", ()),)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, [0.0]),
        (-1.0, [0.0]),
        (math.inf, [0.0]),
        (1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (1.9, [0.0, 0.5, 1.0, 1.5]),
        (0.0042, [0.0, 0.001, 0.002, 0.003, 0.004]),
        (45.0, [0.0, 10.0, 20.0, 30.0, 40.0]),
        (130.0, [0.0, 30.0, 60.0, 90.0, 120.0]),
        (1000.0, [0.0, 300.0, 600.0, 900.0]),
        (18000.0, [0.0, 3600.0, 7200.0, 10800.0, 14400.0, 18000.0]),
    ],
)
def test_ticks(seconds, expected):
    """Steps are round numbers, and there are few of them."""
    assert ticks(seconds) == pytest.approx(expected)


@pytest.mark.parametrize("seconds", [0.000_001, 0.000_3, 0.049_99, 0.05, 7.0, 99.0, 1234.5, 1e6])
def test_ticks_are_few_and_fit(seconds):
    """However long the axis is, it has two to six of them, and none lies beyond its end."""
    found = ticks(seconds)

    assert 2 <= len(found) <= 6
    assert found[-1] <= seconds * 1.000_001


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0"),
        (-1.0, "0"),
        (0.000_000_1, "0 ms"),
        (0.000_25, "0.25 ms"),
        (0.001, "1 ms"),
        (0.0123, "12.3 ms"),
        (0.2, "200 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1.5, "1.5 s"),
        (12.34, "12.3 s"),
        (99.96, "100 s"),
        (125.0, "2 min 5 s"),
        (180.0, "3 min"),
    ],
)
def test_a_span_in_words(seconds, expected):
    """Three digits say enough."""
    assert span(seconds) == expected


@pytest.mark.parametrize(("part", "whole", "expected"), [(1, 4, 25), (5, 4, 100), (-1, 4, 0), (1, 0, 0)])
def test_a_share(part, whole, expected):
    """No bar leaves its row."""
    assert share(part, whole) == expected
