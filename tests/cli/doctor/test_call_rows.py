"""Calls as rows of the waterfall: against a server that resets the first connection."""

import pytest

from resilient_transport.cli.doctor.call_rows import attempt_rows, whole_row
from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.program_calls import OURS, STOCK, calls
from resilient_transport.cli.doctor.visit import Visit
from resilient_transport.testing import Fault, Moment, Rule, Script
from resilient_transport.waterfall.chart import Bar, Phase, Row


@pytest.fixture
def rows(fault_server_factory):
    """The rows of one call of a page with a secret query, by each transport."""
    script = Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),))
    server = fault_server_factory(script, client_auth="none")

    def of(transport):
        server.play(script)
        visit = Visit(Options(f"{server.url}/words/30?token=sesame", ca=server.authority.ca_file))
        calls(visit, transport, 1)
        (chart,) = visit.charts()
        return server.url, chart.rows

    return of


def test_each_attempt_of_the_adapter_is_a_row(rows):
    """With its phases one after the other; without the query."""
    url, (first, second) = rows(OURS)
    began = [bar.began for row in (first, second) for bar in row.bars]

    assert [row.title for row in (first, second)] == [
        "GET by this adapter, call 1, attempt 1", "GET by this adapter, call 1, attempt 2",
    ]  # fmt: skip
    assert (first.failed, first.status, second.failed, second.status) == (True, None, False, 200)
    assert {Phase.DIAL, Phase.HANDSHAKE} <= {bar.phase for bar in first.bars}
    assert {Phase.DIAL, Phase.HANDSHAKE, Phase.FIRST_BYTE, Phase.BODY} <= {bar.phase for bar in second.bars}
    assert began == sorted(began)
    assert {(row.method, row.url, row.label) for row in (first, second)} == {("GET", f"{url}/words/30", OURS)}


def test_a_call_by_stock_is_one_bar(rows):
    """It does not tell of more: the control."""
    url, (row,) = rows(STOCK)

    assert (row.title, row.failed, row.status, row.label) == (
        "GET by stock requests, call 1",
        True,
        None,
        STOCK,
    )
    assert [bar.failed for bar in row.bars] == [True]
    assert (row.method, row.url) == ("GET", f"{url}/words/30")


def test_without_attempts_there_are_no_rows():
    """Then the whole call is one."""
    assert attempt_rows("a call", (), 3.0) == ()
    assert whole_row("a call", 3.0, 1.0, Phase.BODY, "reset") == Row(
        "a call", (Bar(Phase.BODY, 3.0, 1.0, True, "reset"),), "reset", True
    )
