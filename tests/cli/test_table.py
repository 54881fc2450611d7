"""How the result looks: values in, text out."""

import io

from rich.console import Console

from resilient_transport.cli.demo import table
from resilient_transport.cli.demo.scenarios import SCENARIOS
from resilient_transport.cli.demo.transports import OURS, TRANSPORTS
from tests.cli.cells import STOCK, cell, outcome

CELLS = [
    cell(outcome("GET", "ConnectionError"), outcome("POST"), transport=STOCK, executions={"POST-1": 2}),
    cell(outcome("GET"), outcome("POST", seconds=1.25)),
    cell(outcome("POST", "ChunkedEncodingError", "body"), scenario="megabyte"),
]

PLAIN = """
scenario        transport         starts failed  requests failed  lost  connections  run twice  median start
--------------  ----------------  -------------  ---------------  ----  -----------  ---------  ------------
handshake race  stock requests              1/1                1     1            4          1        100 ms
                ResilientAdapter            0/1                0     0            4          0       1250 ms

body, 1 MB      ResilientAdapter            1/1                1     0            4          0        100 ms
"""


def rendered(width):
    """The table as rich prints it."""
    out = io.StringIO()
    Console(file=out, width=width).print(table.rich_table(CELLS))
    return out.getvalue()


def test_the_plain_table():
    """Columns are aligned, a scenario is named once, and scenarios stand apart."""
    assert table.plain(CELLS) == PLAIN.strip()


def test_the_rich_table_says_the_same():
    """The same texts in the same order."""
    header, _, body = rendered(120).partition("─")

    assert set(header.split()) == set(" ".join(table.HEADER).split())
    assert body.replace("─", "").split() == PLAIN.rpartition("--")[2].split()


def test_the_rich_table_fits_into_80_columns():
    """Every name and number is still whole; only titles of columns take two lines."""
    widest = [cell(scenario=scenario.name, transport=name) for scenario in SCENARIOS for name in TRANSPORTS]
    out = io.StringIO()
    Console(file=out, width=80).print(table.rich_table(widest))
    text = out.getvalue()

    assert all(row[0] in text and row[1] in text for row in table.rows(widest))
    assert "…" not in text


def test_what_is_said_below():
    """The legend, the verdict, the time."""
    good = table.closing((), 12.3)
    bad = table.closing(("lost GET-1", "executed POST-1 more than once"), 12.3)

    assert good.endswith(
        f"\n{OURS} lost no request that it may repeat, and ran no POST twice.\nIt took 12 s."
    )
    assert f"FAILED: {OURS} lost GET-1.\nFAILED: {OURS} executed POST-1 more than once.\n" in bad
