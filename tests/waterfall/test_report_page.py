"""The page of a recording: what it comes to, in a sentence and a table."""

import pytest

from resilient_transport.waterfall.chart import Bar, Chart, Phase, Row
from resilient_transport.waterfall.report_page import report_page

GOOD = Row("attempt 1", (Bar(Phase.BODY, 0.0, 1.0),), "status 200", url="https://a.example/x", method="GET")
BAD = Row(
    "attempt 1", (Bar(Phase.DIAL, 0.0, 1.0, True),), "refused", True, url="http://b.example:1/y", method="GET"
)
NEVER = Chart("GET https://c.example/z", (), 3.0, "no attempt was made; it has failed: CircuitOpen")


def chart(*rows):
    """A call with these attempts."""
    return Chart(f"GET {rows[0].url}", rows, 1.0)


@pytest.mark.parametrize(
    ("charts", "total", "level", "said"),
    [
        ([], 0, "ok", "0 calls."),
        ([chart(GOOD)], 1, "ok", "1 call, and no attempt failed."),
        ([chart(BAD, GOOD)], 1, "warn", "1 call: in 1 an attempt failed, and 0 of these ended so."),
        ([chart(BAD), NEVER], 2, "fail", "2 calls: in 2 an attempt failed, and 2 of these ended so."),
        (
            [chart(GOOD), chart(GOOD)],
            1234,
            "ok",
            "2 calls, and no attempt failed. 1,232 more were made; those were kept that are newest, or had "
            "failures.",
        ),
    ],
)
def test_the_verdict(charts, total, level, said):
    """How many calls there were, how many were saved, and how many failed."""
    text = report_page(charts, total)

    assert f'<p class="verdict {level}">' in text
    assert f"</span></span> {said}</p>" in text


def test_a_row_for_each_origin():
    """Each with the worst that has become of its calls; a call without an attempt has its origin, too."""
    text = report_page([chart(GOOD), chart(BAD, GOOD), chart(BAD), NEVER], 4)
    table = text.partition("<tbody>")[2].partition("</tbody>")[0]
    levels = [part.partition('"')[0] for part in table.split('class="mark ')[1:]]

    assert levels == ["fail", "ok", "fail"]
    assert [
        name in table for name in ("http://b.example:1<", "https://a.example<", "https://c.example<")
    ] == [True] * 3


def test_one_call_needs_no_overview():
    """It would show the same twice."""
    assert "All calls" not in report_page([chart(GOOD)], 1)
    assert "All calls" in report_page([chart(GOOD), chart(BAD)], 2)
