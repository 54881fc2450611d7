"""Sizes: whether larger bodies are cut more often."""

import pytest

from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.finding import Level
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections.sizes import LEAST, SIZES, Measured, Page, grows, measure
from resilient_transport.cli.doctor.target import UnusableTarget
from resilient_transport.retry.causes import Cause
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from resilient_transport.waterfall.chart import Phase
from tests.cli.doctor.made_calls import lost, ours, whole
from tests.cli.doctor.visits import bad, found, visit_to
from tests.timeouts import SHORT_TIMEOUT


def sizes_of(server, *pages, path="/words/1", **options):
    """What is measured, and what is found."""
    measured = measure(visit_to(server, path, sizes=pages, **options))
    return measured, found(SIZES, measured)


def pages(*cuts, trials=8, phase=Phase.BODY, cause=Cause.RESET, adapter=0):
    """Pages of growing sizes, with so many failures each."""
    return tuple(
        Page(10**number, lost(cut, phase, cause) + whole(trials - cut), ours(trials, adapter, Phase.BODY))
        for number, cut in enumerate(cuts)
    )


def test_a_healthy_server_gives_no_finding(plain):
    """Bodies of all sizes come whole, and their sizes are told."""
    plain.play(Script())

    measured, findings = sizes_of(plain, "/words/30?token=geheim")

    assert bad(SIZES, measured) == []
    assert [page.shown for page in measured.pages] == [f"{plain.url}/words/{count}" for count in (1, 30)]
    assert findings["sizes.rates"].value == "failed: 0 of 8 at 5 B, 0 of 8 at 179 B; with the adapter 0 of 16"


def test_bodies_that_are_cut_by_their_size_are_told(plain):
    """Connections that end after so many bytes cut the large ones; the adapter gets them all."""
    plain.play(Script((Rule(Fault(Moment.BODY, mean_bytes=2000)),), seed=1))

    measured, findings = sizes_of(plain, "/bytes/20000", f"{plain.url}/words/30")

    assert findings["sizes.rates"].root is Root.CUT_BY_SIZE
    assert findings["sizes.rates"].value.endswith("8 of 8 at 20,000 B; with the adapter 0 of 24")
    assert "mount(session)" in findings["sizes.rates"].hint
    assert findings["sizes.adapter"].level is Level.OK
    assert [page.size for page in measured.pages] == [5, 179, 20000]


def test_bodies_that_are_cut_whatever_their_size_are_told_as_cut(plain):
    """Half of all responses are cut after their first byte: size has no part in it."""
    plain.play(Script((Rule(Fault(Moment.BODY, after_bytes=1), probability=0.5),), seed=5))

    _, findings = sizes_of(plain, "/bytes/20000")

    assert findings["sizes.rates"].root is Root.CUT_BODY


@pytest.mark.slow
def test_large_bodies_that_stall_are_told_without_long_waits(plain):
    """As where packets of full size are dropped: two silences of each page, and one of the adapter's."""
    plain.play(Script((Rule(Fault(Moment.BODY, How.STALL, after_bytes=1000)),)))

    measured, findings = sizes_of(plain, "/bytes/20000", "/words/30", timeout=SHORT_TIMEOUT)

    assert [len(page.stock) for page in measured.pages] == [8, 8, 2]
    assert findings["sizes.rates"].root is Root.CUT_BY_SIZE
    assert "ping" in findings["sizes.rates"].hint


@pytest.mark.slow
def test_a_silent_server_ends_the_section(plain):
    """Two pages that are silent are enough."""
    plain.play(Script((Rule(Fault(Moment.REQUEST, How.STALL)),)))

    measured, findings = sizes_of(plain, "/words/2", "/words/3", "/words/4", timeout=SHORT_TIMEOUT)

    assert len(measured.pages) == 2
    assert findings["sizes.rates"].root is Root.SILENT
    assert findings["sizes.rates"].value.startswith("failed: 2 of 2 at unknown size")


@pytest.mark.parametrize(
    ("cuts", "expected"),
    [
        ((0, 3, 5), True),
        ((0, 5), True),
        ((0, 0, 8), True),
        ((0, 3), False),
        ((4, 4, 4), False),
        ((5, 3, 0), False),
        ((8,), False),
        ((0, 0, 0), False),
    ],
)
def test_a_difference_must_be_more_than_chance(cuts, expected):
    """The report's own rates show it; three of eight beside none may be luck."""
    assert grows(pages(*cuts)) is expected


def test_pages_of_one_size_are_one_group():
    """Which of two equal pages is cut says nothing about size."""
    twice = [Page(100, lost(cut, Phase.BODY) + whole(8 - cut), ours(8)) for cut in (0, 8)]

    assert not grows(twice)


def test_a_page_that_always_fails_before_its_body_is_not_cut():
    """A page that the server dies of is no matter of size, however large it is."""
    measured = Measured(pages(0, 0, 8, phase=Phase.FIRST_BYTE))

    assert found(SIZES, measured)["sizes.rates"].root is Root.REQUEST_RESET


def test_what_the_adapter_does_not_get_is_told():
    """Then its rates stand in the table, too."""
    findings = found(SIZES, Measured(pages(0, 8, adapter=2)))

    assert findings["sizes.rates"].value == (
        "failed: 0 of 8 at 1 B, 8 of 8 at 10 B; with the adapter 2 of 8 at 1 B, 2 of 8 at 10 B"
    )
    assert findings["sizes.adapter"].root is Root.CUT_BODY
    assert not findings["sizes.adapter"].blocks


def test_fewer_are_made_where_little_is_left(plain):
    """What follows keeps its part of the requests."""
    plain.play(Script())
    visit = visit_to(plain, "/words/1", sizes=("/words/2",))
    visit.budget.request(visit.budget.left - 70)

    measured = measure(visit)

    assert {len(page.stock) for page in measured.pages} == {LEAST}


@pytest.mark.parametrize(
    "page",
    [
        "https://other.example/",
        "http://localhost/x",
        "https://localhost/x",
        "//other/x",
        "http://localhost:1/",
    ],
)
def test_a_page_of_another_server_is_refused(plain, page):
    """What is agreed on is one server; the message names no query."""
    with pytest.raises(UnusableTarget, match="--sizes: page 2 is at"):
        visit_to(plain, sizes=("/words/2", page + "?geheim"))


def test_pages_are_prepared_as_requests_does(plain):
    """A path is one of the server's; credentials and fragments are left out."""
    host = plain.url.removeprefix("http://")

    visit = visit_to(plain, "/a/b", sizes=("c?x=1", "/words/2", f"http://user:pass@{host}/d#e"))

    assert visit.pages == tuple(f"{plain.url}/{path}" for path in ("a/c?x=1", "words/2", "d"))


def test_without_being_asked_for_it_does_nothing(plain):
    """It is a load, so only `--sizes` has it made."""
    assert SIZES.idle_because(visit_to(plain)) == "not asked for: --sizes"
    assert SIZES.requests(Options("https://localhost/", sizes=("/",))) == 32
    assert SIZES.requests(Options("https://localhost/")) == 0
