"""The demo's page: values in, a page out."""

import dataclasses
import re
from html import unescape

import pytest

from resilient_transport.cli.demo import comparison
from resilient_transport.cli.demo.cell import Cell
from resilient_transport.cli.demo.order import Start
from resilient_transport.cli.demo.transports import OURS
from resilient_transport.cli.demo.verdict import verdict
from tests.cli.cells import BY_NAME, RETRY, RUN, STOCK, attempt, cell, outcome


@pytest.fixture
def drawn(monkeypatch):
    """Keep what the page is made from."""
    given = {}
    monkeypatch.setattr(comparison, "page", lambda *charts, **named: given.update(named, charts=charts[1]))

    def draw(*cells):
        comparison.comparison(cells, verdict(cells))
        return given

    return draw


def told(cells):
    """The text of the page, without its tags."""
    text = comparison.comparison(cells, verdict(cells))
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def detailed(method, *history, **values):
    """A request of the adapter's that began a tenth of a second after the start."""
    return dataclasses.replace(outcome(method, **values), began=0.1, history=history, attempts=len(history))


def test_the_page_has_the_verdict_and_the_numbers():
    """The sentences and the cells of the table that is printed, the words explained, and nothing to load."""
    text = told(RUN)

    assert " ".join(verdict(RUN).paragraphs) in text
    assert "megabyte: ResilientAdapter 0/2 1/2 1 0 1/1 4 -" in text
    assert "Retry(3) requests with urllib3's Retry(3), its own way to send again" in text
    assert "had run lost POSTs that the server had run" in text


def test_stock_and_ours_stand_side_by_side(drawn):
    """Scenario by scenario, in pairs."""
    charts = drawn(*RUN)["charts"]

    assert [chart.title for chart in charts] == [
        f"{name}: {transport}" for name in ("race", "megabyte") for transport in (STOCK, OURS)
    ]
    assert RETRY not in " ".join(chart.title for chart in charts)


def test_a_call_of_stock_is_one_bar(drawn):
    """Of which nobody tells more than when it began and ended, and whether it failed."""
    lost = dataclasses.replace(outcome("GET", "SSLError", seconds=0.5), began=0.25)
    (chart,) = drawn(cell(lost, outcome("POST"), outcome("POST"), transport=STOCK))["charts"]
    bars = [(bar.phase.value, bar.began, bar.seconds, bar.failed) for row in chart.rows for bar in row.bars]

    assert [row.title for row in chart.rows] == ["GET 1", "POST 1", "POST 2"]
    assert [row.outcome for row in chart.rows] == ["lost: SSLError", "answered", "answered"]
    assert bars == [("whole call", 0.25, 0.25, True)] + [("whole call", 0.0, 0.1, False)] * 2


def test_a_call_of_ours_is_its_attempts(drawn):
    """In one row, with their stages, on the axis of the start; a start that died is bars as well."""
    broken = attempt(1, "handshake", "reset", stages=(("connect", 0.0), ("handshake", 0.25)))
    again = attempt(2, stages=(("request", 0.0),), started=1.0)
    (chart,) = drawn(cell(detailed("GET", broken, again), outcome("POST", "died")))["charts"]
    first, last = chart.rows

    assert [(row.title, row.label, row.outcome) for row in chart.rows] == [
        ("GET 1", "2 attempts", "answered"),
        ("POST 1", "", "lost: died"),
    ]
    assert [(bar.phase.value, bar.began, bar.failed, bar.note) for bar in first.bars] == [
        ("dial", 0.1, False, "attempt 1"),
        ("handshake", 0.35, True, "attempt 1"),
        ("first byte", 1.1, False, "attempt 2"),
    ]
    assert [line.split(":")[0] for line in first.details] == ["attempt 1", "attempt 2"]
    assert [bar.phase.value for bar in last.bars] == ["whole call"]


@pytest.mark.parametrize(("transport", "number"), [(STOCK, 2), (OURS, 3)])
def test_the_start_that_tells_most_is_shown(transport, number, drawn):
    """For stock the one that lost most, for ours the one that tried most often; the caption says which."""
    once, twice = detailed("GET", attempt()), detailed("GET", attempt(), attempt(2))
    starts = (Start((once, once)), Start((outcome("GET", "SSLError"), once)), Start((once, twice)))
    (chart,) = drawn(Cell(BY_NAME["race"], transport, starts, 4, {}))["charts"]

    assert f"Start {number} of 3, the one that" in chart.caption
    assert chart.caption.startswith("TLS handshakes that overlap are reset. ")


@pytest.mark.parametrize(
    ("lost", "level"),
    [((), "ok"), (("POST", "SSLError", "body"), "warn"), (("GET", "SSLError", "body"), "fail")],
)
def test_each_row_says_how_well_it_went(lost, level, drawn):
    """To lose what may not be sent again is no failure; the verdict's level is the exit status."""
    given = drawn(cell(outcome(*lost)) if lost else cell())

    assert given["tables"][0].levels == (level,)
    assert given["verdict_level"] == ("fail" if level == "fail" else "ok")
