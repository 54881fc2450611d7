"""How the result looks: values in, text out."""

from pathlib import Path

import pytest

from resilient_transport.cli.demo.scenarios import SCENARIOS
from resilient_transport.cli.demo.table import COLUMNS, WIDTH, fitting, report, table
from resilient_transport.cli.demo.transports import OURS, TRANSPORTS
from resilient_transport.cli.demo.verdict import verdict
from tests.cli.cells import RUN, cell, outcome

GOLDEN = Path(__file__).with_name("demo.txt")
WIDTHS = (80, 60, 40)


def printed(width, cells=RUN, **style):
    """All that is printed on a terminal of this width."""
    return report(cells, verdict(cells), 12.3, width, **style)


def golden():
    """What `demo.txt` has: a small run, in three widths. `python -m tests.cli.test_table` writes it anew."""
    return "\n".join(f"[{width} columns]\n{printed(width)}\n" for width in WIDTHS)


def test_what_is_printed():
    """To the letter, and in letters that every terminal has."""
    assert golden() == GOLDEN.read_text(encoding="ascii")


@pytest.mark.parametrize("width", [200, 80, 60, 40, 33])
def test_no_line_is_wider_than_the_terminal(width):
    """Down to the names and one number; and never wider than 80."""
    assert max(map(len, printed(width).splitlines())) <= min(width, WIDTH)


def test_a_table_of_many_starts_is_whole_in_80_columns():
    """Two hundred requests of a kind in each cell, in all scenarios: no column is left out."""
    calls = [outcome(method, "SSLError", number=n) for method in ("GET", "POST") for n in range(200)]
    cells = [cell(*calls, scenario=one.name, transport=name) for one in SCENARIOS for name in TRANSPORTS]

    assert fitting(cells, 80) == COLUMNS


def test_a_narrow_table_has_what_matters_most():
    """The lost requests are the last to go; what is left out is named."""
    assert [column.name for column in fitting(RUN, 10)] == ["lost GET"]
    assert [column.name for column in fitting(RUN, 40)] == [
        "lost GET",
        "lost POST",
        "had run",
        "ran twice",
    ]
    assert "For a wider terminal there is more: starts failed, conns opened, median ms." in " ".join(
        printed(40).split()
    )
    assert "wider terminal" not in printed(80)


def test_scenarios_are_called_what_the_option_takes():
    """Each stands above its rows."""
    cells = [cell(scenario=one.name) for one in SCENARIOS]
    lines = table(cells, COLUMNS, WIDTH)

    assert [line.split(":")[0] for line in lines if ":" in line] == [one.name for one in SCENARIOS]


def test_the_verdict_and_our_rows_stand_out():
    """And nothing else; without a style, nothing does."""
    marked = printed(80, bold=lambda text: f"<{text}>")
    bold = [line for line in marked.splitlines() if "<" in line]

    assert [line for line in bold if OURS in line and "/" in line] == bold[-2:]
    assert bold[0].startswith("<Of 4 GETs")
    assert marked.replace("<", "").replace(">", "") == printed(80)


if __name__ == "__main__":
    GOLDEN.write_text(golden(), encoding="ascii")
