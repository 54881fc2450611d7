"""The picture of the README can be made anew, in a real browser."""

import struct

import pytest

from docs import make_picture
from tests.missing import missing
from tests.real.browser import Browser
from tests.real.servers import find_binary

pytestmark = pytest.mark.slow

#: What can be seen of a page: the headings of its charts, and how many titles, tables and lists of details.
SEEN = """
(() => {
  const seen = all => [...document.querySelectorAll(all)].filter(one => one.getClientRects().length);
  return [seen('.chart h2').map(one => one.innerText), seen('h1, table, details').length];
})()
"""


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """What there is to be seen of a page of the demo: at first, and in the picture; and that picture."""
    place = tmp_path_factory.mktemp("picture")
    page, picture = place / "page.html", place / "picture.png"
    chromium = find_binary("chromium") or missing(
        "chromium is not installed (Debian: apt-get install chromium)"
    )
    make_picture.play(page, rounds=1)
    with Browser(chromium, place / "profile") as browser:
        at_first = browser.page()
        at_first.open(page, make_picture.WIDTH)
        return at_first.evaluate(SEEN), make_picture.take(browser, page, picture).evaluate(SEEN), picture


def size_of(picture):
    """Return the width and the height of a PNG."""
    head = picture.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:])


def test_the_picture_shows_both_charts_and_no_tables(taken):
    """It is as wide as the one that is committed, and about as high; the page (the control) shows more."""
    at_first, in_picture, picture = taken
    (width, height), committed = size_of(picture), size_of(make_picture.PICTURE)

    assert in_picture == [["race: stock requests", "race: ResilientAdapter"], 0]
    assert at_first[1] > 3
    assert width == committed[0]
    assert 0.7 < height / committed[1] < 1.4
