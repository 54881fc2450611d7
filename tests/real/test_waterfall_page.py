"""The waterfall's page in a browser: bars stand where the events say, it can be read, it loads nothing."""

import itertools
import json
from collections import Counter

import pytest
import requests

from resilient_transport import RetryPolicy, recording
from resilient_transport.cli.demo.comparison import comparison
from resilient_transport.cli.demo.verdict import verdict
from resilient_transport.testing import Fault, FaultServer, Moment, Rule, Script
from resilient_transport.util.frozen import replace
from resilient_transport.waterfall.chart import Bar, Chart, Phase, Row, overview_of
from resilient_transport.waterfall.page import MOST_ROWS, Table, page
from resilient_transport.waterfall.scale import share
from tests.cli.cells import RUN, cell, outcome
from tests.missing import missing
from tests.real.browser import Browser
from tests.real.servers import find_binary

pytestmark = pytest.mark.slow

WIDTHS = pytest.mark.parametrize("width", [400, 1600])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
LONG = "https://a-name-that-is-long-and-has-no-space-in-it.internal.example:8443/" + "and/a/path/to/match" * 5

#: The places of all bars, row by row: each with its class, and its left end and its width in pixels.
BARS = """
[...document.querySelectorAll('.track > svg')].map(track => {
  const all = track.getBoundingClientRect();
  return {left: all.left, width: all.width, bars: [...track.querySelectorAll('rect[class^=p-]')].map(bar => {
    const box = bar.getBoundingClientRect();
    return [bar.getAttribute('class'), box.left, box.width];
  })};
})
"""
#: The boxes of all text that is to be seen: what it says, left, top, right, bottom, and a number that all
#: boxes of a text have in common.
TEXTS = """
(() => {
  let number = 0;
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest('.unseen, title, style')) continue;
    if (parent.closest('details:not([open])') && !parent.closest('summary')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects())
      if (box.width && box.height) {
        found.push([node.data, box.left, box.top, box.right, box.bottom, number]);
      }
    number += 1;
  }
  return found;
})()
"""
#: Elements that stick out of the window, or hold more than they show.
CUT = """
[...document.querySelectorAll('body *:not(.unseen, .unseen *)')].filter(one => {
  const box = one.getBoundingClientRect();
  const hidden = one.closest('details:not([open])') && !one.matches('details, summary, summary *');
  const sticks = box.width && (box.left < 0 || box.right > innerWidth + 0.5);
  const cuts = one instanceof HTMLElement && one.scrollWidth > one.clientWidth + 1
    && getComputedStyle(one).display !== 'inline' && one.clientWidth;
  // The cross at the end of a bar may stand over the end of its row.
  return !hidden && !one.closest('.track svg svg') && (sticks || cuts);
}).map(one => one.outerHTML.slice(0, 200))
"""
#: The colours of what is drawn, and of what it is drawn on.
COLOURS = """
(() => {
  const style = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
  const phases = [...document.querySelectorAll('.legend rect[class^=p-]')].map(bar => {
    const one = getComputedStyle(bar);
    return [bar.getAttribute('class'), one.fillOpacity < 1 ? one.stroke : one.fill];
  });
  return {
    phases: Object.fromEntries([...phases, ['cross', style('.cross', 'stroke')]]),
    texts: Object.fromEntries(
      ['body', '.chart .quiet', 'summary', '.ok.mark', '.warn.mark', '.fail.mark', 'th']
        .map(selector => [selector, style(selector, 'color')])),
    grounds: [style('body', 'backgroundColor'), style('.chart', 'backgroundColor')],
  };
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for all tests."""
    program = find_binary("chromium")
    if program is None:
        missing("chromium is not installed (Debian: apt-get install chromium)")
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def shown(browser, tmp_path_factory):
    """`shown(text, width, scheme)` loads a page; each that was loaded has said nothing on the console."""
    tab, place = browser.page(), tmp_path_factory.mktemp("pages") / "page.html"

    def show(text, width=1600, scheme="light"):
        place.write_text(text, encoding="utf-8")
        tab.open(place, width, scheme)
        return tab

    return show


def attempt(number, began, failed=False, **values):
    """A row with a bar of each phase that an attempt goes through."""
    lengths = zip(Phase, (0.05, 0.02, 0.1, 0.06, 0.2, 0.03, 0.3, 0.4, 0.1), strict=False)
    bars = []
    for phase, seconds in itertools.islice(lengths, 5 if failed else 9):
        bars.append(Bar(phase, began, seconds, failed and phase is Phase.HANDSHAKE))
        began += seconds
    outcome = "ConnectionResetError: the peer has reset the connection" if failed else "status 200"
    return Row(f"attempt {number}", tuple(bars), outcome, failed, ("sent again",), "GET", LONG, **values)


def charts():
    """Two calls: one with a short title and two attempts, one with a long title and a tiny bar."""
    tiny = Row("a row of " + LONG, (Bar(Phase.BODY, 2.0, 0.0001), Bar(Phase.PAUSE, 3.0, 1.0)), "status 200")
    first = Chart("GET https://a.example", (attempt(1, 0.0, True), attempt(2, 0.5)), 1.7e9, "2 attempts")
    return [first, Chart(f"GET {LONG}", (attempt(1, 0.2), tiny), 1.7e9 + 1)]


def report(given):
    """A page with all that a page can have."""
    table = Table(
        "Questions",
        ("question", "answer", "why"),
        tuple((f"question {level}", LONG, "because") for level in ("ok", "warn", "fail", "skipped", "")),
        ("ok", "warn", "fail", "skipped", ""),
    )
    overview = overview_of(given, "All calls")
    return page(
        "A report", given, verdict="It is slow.", verdict_level="warn", tables=[table], overview=overview
    )


def misplaced(tab, given):
    """The bars that do not stand where the charts say, to the pixel."""
    rows = [(row, chart.seconds) for chart in given for row in chart.rows]
    tracks = tab.evaluate(BARS)
    assert len(tracks) == len(rows)
    wrong = []
    for track, (row, whole) in zip(tracks, rows, strict=True):
        assert len(track["bars"]) == len(row.bars)
        for (kind, left, width), bar in zip(track["bars"], row.bars, strict=True):
            length = max(share(bar.seconds, whole), 0.4)
            begin = min(share(bar.began, whole), 100 - length)
            expected = [track["left"] + begin * track["width"] / 100, length * track["width"] / 100]
            named = kind == "p-" + bar.phase.value.replace(" ", "-")
            if not named or abs(left - expected[0]) > 1 or abs(width - expected[1]) > 1:
                wrong.append((row.title, bar.phase, left, width, expected))
    return wrong


@WIDTHS
@SCHEMES
def test_bars_stand_where_the_charts_say(shown, width, scheme):
    """In the overview and in each chart, with nothing on the console, whatever the window is like."""
    given = charts()
    tab = shown(report(given), width, scheme)

    assert misplaced(tab, [overview_of(given, "All calls"), *given]) == []
    assert tab.complaints() == []


@WIDTHS
def test_a_bar_that_has_moved_is_noticed(shown, width):
    """The control: the page of other charts, in which one bar began a twentieth later."""
    given = charts()
    tab = shown(page("", given), width)
    (first, second), *rest = given[0].rows, *given[1:]
    moved = replace(second.bars[6], began=second.bars[6].began + 0.09)
    bars = (*second.bars[:6], moved, *second.bars[7:])
    later = Chart("", (first, replace(second, bars=bars)))
    wrong = misplaced(tab, [later, *rest])

    assert misplaced(tab, given) == []
    assert [found[:2] for found in wrong] == [("attempt 2", Phase.FIRST_BYTE)]


@WIDTHS
def test_nothing_is_cut_or_overlaps(shown, width):
    """No scrolling to the side, no text over another text, nothing out of its box; with details open, too."""
    tab = shown(report(charts()), width)
    seen = []
    for _ in range(2):
        texts = [tuple(box) for box in tab.evaluate(TEXTS)]
        over = [pair for pair in itertools.combinations(texts, 2) if overlap(*pair)]
        over += broken_words(texts)
        seen.append(
            (tab.evaluate("document.documentElement.scrollWidth"), tab.evaluate(CUT), over, len(texts))
        )
        tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")

    assert [found[:3] for found in seen] == [(width, [], [])] * 2
    assert seen[1][3] > seen[0][3] > 30


def broken_words(texts):
    """The short words that stand in several lines, though each would fit into one."""
    lines = Counter(text[5] for text in texts if len(text[0].split()) == 1 and len(text[0]) <= 12)
    return {text[0] for text in texts if lines[text[5]] > 1}


def overlap(one, other):
    """Whether two boxes have more than their edges in common."""
    across = min(one[3], other[3]) - max(one[1], other[1])
    down = min(one[4], other[4]) - max(one[2], other[2])
    return across > 1 and down > 4


@pytest.mark.parametrize("width", [400, 680, 820, 1600])
def test_the_page_of_the_demo_can_be_read(shown, width):
    """Its table is as wide as any: nothing sticks out, and no word is broken."""
    lost = [outcome(method, "SSLError", number=n) for method in ("GET", "POST") for n in range(20)]
    cells = [*RUN, cell(*lost, scenario="words-250")]
    tab = shown(comparison(cells, verdict(cells)), width)

    assert tab.evaluate(CUT) == []
    assert broken_words([tuple(box) for box in tab.evaluate(TEXTS)]) == set()


def test_what_is_cut_and_overlaps_is_noticed(shown):
    """The control: the same page, in which nothing may wrap."""
    text = report(charts()).replace("overflow-wrap:anywhere", "white-space:nowrap;")
    policy = text.partition("Content-Security-Policy")[2].partition(">")[0]
    tab = shown(text.replace(policy, ' content="x">'), 400)
    texts = [tuple(box) for box in tab.evaluate(TEXTS)]

    assert tab.evaluate("document.documentElement.scrollWidth") > 400
    assert tab.evaluate(CUT) != []
    assert any(itertools.starmap(overlap, itertools.combinations([*texts, texts[0]], 2)))
    assert broken_words([*texts, ("word", 0, 0, 9, 9, -1), ("word", 0, 9, 9, 18, -1)]) == {"word"}


@pytest.mark.parametrize(
    "seconds", [0.000_3, 0.0042, 0.045, 0.3, 0.99, 1.9, 12.0, 45.0, 99.0, 101.0, 149.0, 299.0, 1234.0, 5e5]
)
def test_the_words_of_an_axis_stand_apart(shown, seconds):
    """However long it is, in a narrow window."""
    tab = shown(page("", [Chart("", (Row("", (Bar(Phase.BODY, 0.0, seconds),)),))]), 400)
    words = "[...document.querySelectorAll('.axis text')].map(one => one.getBoundingClientRect())"
    boxes = tab.evaluate(f"{words}.map(box => [box.left, box.right])")

    assert len(boxes) >= 2
    assert all(left[1] + 4 < right[0] for left, right in itertools.pairwise(boxes))
    assert boxes[-1][1] <= 400


def test_narrow_is_stacked_and_wide_is_side_by_side(shown):
    """A title stands above its bars, and one chart below the other; or beside, where there is room."""
    place = """
    (() => {
      const box = selector => document.querySelector(selector).getBoundingClientRect();
      const title = box('.charts h3'), track = box('.charts .track');
      const first = box('.charts > :first-child'), second = box('.charts > :last-child');
      return [title.right <= track.left, title.bottom <= track.top + 1 && title.left < track.right,
              first.right <= second.left && first.top === second.top, first.bottom <= second.top];
    })()
    """
    narrow = shown(report(charts()), 400).evaluate(place)
    wide = shown(report(charts()), 1600).evaluate(place)

    assert narrow == [False, True, False, True]
    assert wide == [True, True, True, False]


@SCHEMES
def test_colours_have_contrast(shown, scheme):
    """3:1 for what is drawn, 4.5:1 for what is read (WCAG 2.1, 1.4.11 and 1.4.3); and dark is dark."""
    each = Row("each phase", tuple(Bar(phase, float(at), 1.0) for at, phase in enumerate(Phase)))
    found = shown(report([*charts(), Chart("all", (each,), 1.7e9)]), 1600, scheme).evaluate(COLOURS)
    grounds = [luminance(ground) for ground in found["grounds"]]
    drawn = {
        what: min(contrast(luminance(one), ground) for ground in grounds)
        for what, one in found["phases"].items()
    }
    read = {
        what: min(contrast(luminance(one), ground) for ground in grounds)
        for what, one in found["texts"].items()
    }

    # The cross comes on top.
    assert len(drawn) == len(Phase) + 1
    assert {what for what, ratio in drawn.items() if ratio < 3} == set()
    assert {what for what, ratio in read.items() if ratio < 4.5} == set()
    assert (max(grounds) < 0.1) == (scheme == "dark")


def luminance(colour):
    """The relative luminance of `rgb(1, 2, 3)`."""
    parts = [int(part) / 255 for part in colour.partition("(")[2].rstrip(")").split(",")[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    """The contrast of two luminances."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_the_keyboard_opens_the_details(shown):
    """Tab leads to the first, Enter opens it; and it says what the bars show."""
    tab = shown(report(charts()))
    tab.press("Tab")
    tab.press("Enter")

    assert tab.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert tab.evaluate("document.querySelectorAll('details[open]').length") == 1
    assert "handshake 200 ms" in tab.evaluate("document.querySelector('details[open]').innerText")


def test_a_script_does_not_run(shown):
    """Not even one that has found its way in; and the control: what the browser refuses is noticed."""
    text = report(charts()).replace("</main>", "<script>document.title = 'run'</script></main>")
    tab = shown(text)

    assert tab.evaluate("document.title") == "A report"
    assert "Content Security Policy" in json.dumps(tab.complaints())


def test_thousands_of_rows_are_usable(shown):
    """The page says what it leaves out, and what it shows it lays out."""
    many = [Chart(f"GET {LONG}{number}", (attempt(1, 0.0),), 1.7e9 + number) for number in range(1200)]
    tab = shown(report(many), 400)

    assert MOST_ROWS < tab.evaluate("document.querySelectorAll('.row').length") < 2 * MOST_ROWS
    assert tab.evaluate("document.documentElement.scrollWidth") == 400
    assert tab.complaints() == []


def test_the_page_of_calls_shows_what_has_happened(shown, authority, dial, tmp_path):
    """Calls to a server that resets, drops and cuts: each bar is where its events have said it was."""
    faults = Script(
        (
            Rule(Fault(Moment.CLIENT_HELLO), first=1),
            Rule(Fault(Moment.BODY, after_bytes=999), skip=1, first=1),
        )
    )
    with FaultServer(authority=authority, script=faults) as server, recording() as record:
        session = dial(policy=RetryPolicy(backoff=0.01, backoff_max=0.01, retries=2))
        session.get(server.url + "/bytes/5000?key=s3cret")
        session.get(server.url + "/bytes/9000", stream=True).close()
        with pytest.raises(requests.ConnectionError):
            session.get("https://127.0.0.1:1/")
        server.play(Script())
        session.get(server.url + "/chunked/9000", stream=True).content  # noqa: B018 - reading it is the point
    path = tmp_path / "page.html"
    record.html(path)
    given = record.charts()
    tab = shown(path.read_text(encoding="utf-8"), 1600)
    kinds = {bar.phase for chart in given for row in chart.rows for bar in row.bars}

    assert [len(chart.rows) for chart in given][0] > 1
    assert {Phase.DIAL, Phase.HANDSHAKE, Phase.FIRST_BYTE, Phase.BODY} <= kinds
    assert misplaced(tab, [overview_of(given, "All calls"), *given]) == []
    assert tab.complaints() == []
    assert "s3cret" not in tab.evaluate("document.documentElement.outerHTML")
