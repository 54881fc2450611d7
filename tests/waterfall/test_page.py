"""The page as a text: what it says, what it leaves out, and what it never has."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from resilient_transport.waterfall.chart import Bar, Chart, Phase, Row
from resilient_transport.waterfall.page import MOST_ROWS, MOST_ROWS_OF_CHART, Table, page

DIAL = Bar(Phase.DIAL, 0.0, 0.25)
BROKEN = Bar(Phase.HANDSHAKE, 0.25, 0.25, failed=True, note="TLS 1.3")
#: Elements without an end.
VOID = {"meta", "br", "link"}


class Read(HTMLParser):
    """Reads a page: its elements with their attributes, its text, and whether each element ends."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    def named(self, tag):
        """The attributes of each element of this name."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        """All that is to be read, in one line."""
        return " ".join(" ".join(self.words).split())


def row(title="attempt 1", *bars, **values):
    """A row of one bar, if no other is given."""
    return Row(title, bars or (DIAL,), **values)


def test_a_page_says_what_the_charts_say():
    """The title, the verdict, the rows with their outcomes, and each bar in words."""
    chart = Chart(
        "GET https://api.example/a", (row("attempt 1", DIAL, BROKEN, outcome="reset", failed=True),)
    )
    read = Read(page("A report", [chart], verdict="It is slow.", verdict_level="warn"))

    assert read.open == []
    text = read.text.replace("\u2715 ", "").replace("! ", "")
    assert "A report warning: It is slow." in text
    assert "GET https://api.example/a attempt 1" in text
    assert "failed: reset 500 ms" in text
    assert "dial 250 ms from 0 handshake 250 ms from 250 ms, failed (TLS 1.3)" in text
    assert all((phase.value in text) is (phase is not Phase.CALL) for phase in Phase)


def test_a_whole_call_is_explained_where_there_is_one():
    """Of most calls more is known, and the legend does not name it."""
    chart = Chart("GET https://api.example/a", (row("GET 1", Bar(Phase.CALL, 0.0, 0.5)),))

    assert "whole call" in Read(page("A report", [chart])).text.split("failed here")[0]
    assert "whole call" in Read(page("A report", [], overview=chart)).text.split("failed here")[0]


def test_bars_stand_in_per_cent_of_the_chart():
    """The place of a bar is its beginning, its width how long it took; a short one can still be seen."""
    short = Bar(Phase.BODY, 1.0, 0.0)
    read = Read(page("", [Chart("", (row("", DIAL), row("", short)))]))
    drawn = {
        (found["x"], found["width"])
        for found in read.named("rect")
        if found["class"] in ("p-dial", "p-body") and found["width"] != "100.000%"
    }

    assert drawn == {("0.000%", "25.000%"), ("99.600%", "0.400%")}


def test_a_failed_bar_is_marked_by_more_than_its_colour():
    """It is hatched and has a cross; and the others do not."""
    read = Read(page("", [Chart("", (row("", DIAL, BROKEN),))]))

    # One of each is the legend's.
    assert [found["class"] for found in read.named("rect")].count("hatch") == 2
    assert [found.get("class") for found in read.named("path")] == ["cross", "cross"]


@pytest.mark.parametrize("nasty", ['<script>alert("1")</script>', "'\"><img src=x>", "&lt;b&gt;", "]]><!--"])
def test_everything_is_escaped(nasty):
    """Whatever stands in a title, a note or a table is text."""
    chart = Chart(
        nasty,
        (
            row(
                nasty,
                Bar(Phase.DIAL, 0, 1, note=nasty),
                outcome=nasty,
                details=(nasty,),
                method=nasty,
                url=nasty,
                address=nasty,
                tls_version=nasty,
                label=nasty,
            ),
        ),
        caption=nasty,
    )
    table = Table(nasty, (nasty, nasty), ((nasty, nasty),), ("ok",))
    plain, read = (
        Read(page(*values, tables=[table], verdict=nasty, overview=chart))
        for values, table, chart in [
            (("a", [Chart("a", chart.rows[:0])]), Table("a", ("a", "a"), (("a", "a"),), ("ok",)), chart),
            ((nasty, [chart]), table, chart),
        ]
    )

    assert read.open == []
    assert {tag for tag, _ in read.elements} == {tag for tag, _ in plain.elements}
    assert read.text.count(nasty) > 10


def test_what_cannot_be_printed_is_replaced():
    """A NUL or half a surrogate pair neither breaks the page nor the writing of it."""
    text = page("a\x00b\x1b[31m\ud800c\x85\td", [])

    assert "a\ufffdb\ufffd[31m\ufffdc\ufffd\td" in text
    text.encode("utf-8")


def test_a_page_loads_nothing():
    """The policy forbids all but the one stylesheet, by its hash; and there is nothing to load."""
    text = page("A report", [Chart("a", (row(),))], tables=[Table("t", ("a",), (("b",),))])
    read = Read(text)
    (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = (found["content"] for found in read.named("meta") if "http-equiv" in found)

    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not {tag for tag, _ in read.elements} & {"script", "link", "img", "iframe", "object", "a", "form"}
    assert not any({"src", "href", "style"} & found.keys() for _, found in read.elements)
    assert "url(" not in style.replace("url(#hatch)", "")
    assert "@import" not in style


def test_levels_have_words():
    """Who cannot see the colour, or the sign, hears the word."""
    table = Table(
        "t", ("what", "why"), tuple((level, "x") for level in "abcde"), ("ok", "warn", "fail", "skipped", "")
    )
    read = Read(page("", [], tables=[table], verdict="v", verdict_level="fail"))

    assert "failed: v" in read.text
    assert [read.text.count(word) for word in ("ok: a", "warning: b", "failed: c", "skipped: d")] == [1] * 4


@pytest.mark.parametrize(
    "wrong", [{"verdict_level": "fine", "verdict": "x"}, {"tables": [Table("t", ("a",), (("b",),), ("x",))]}]
)
def test_an_unknown_level_is_refused(wrong):
    """A typing mistake is no level."""
    with pytest.raises(KeyError):
        page("", [], **wrong)


def test_a_long_chart_keeps_what_failed():
    """It shows as many rows as there is room for, the failed ones among them, in their order; and says so."""
    rows = [row(f"row {at};", failed=at in (2, 1999)) for at in range(2000)]
    read = Read(page("", [Chart("", tuple(rows))]))
    titles = read.text.split("row ")[1:]
    shown = [int(title.partition(";")[0]) for title in titles if title[0].isdigit()]

    assert len(shown) == MOST_ROWS_OF_CHART
    assert shown == sorted(shown)
    assert {2, 1999} <= set(shown)
    assert f"{2000 - MOST_ROWS_OF_CHART:,} more rows are not shown; none of them failed." in read.text


def test_many_charts_keep_those_in_which_something_failed():
    """The last of thousands is there if something failed in it."""
    charts = [Chart(f"call {at};", (row(failed=at == 1199),)) for at in range(1200)]
    read = Read(page("", charts))

    assert read.text.count("call ") == MOST_ROWS
    assert "call 1199;" in read.text
    assert f"There is no room for {1200 - MOST_ROWS:,} more charts; nothing failed in them." in read.text


def test_more_has_failed_than_there_is_room_for():
    """That is said."""
    rows = tuple(row(failed=True) for _ in range(300))
    read = Read(page("", [Chart("", rows)] * 7))

    assert "50 more rows are not shown; 50 of them failed." in read.text
    assert "There is no room for 3 more charts; in 3 of them something failed." in read.text
