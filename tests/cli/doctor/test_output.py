"""What is shown of a report: lines of several widths, JSON, a page, a HAR. Values in, text out."""

import json
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from enum import Enum
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest

from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.finding import fail, ok
from resilient_transport.cli.doctor.output.files import as_har, as_html
from resilient_transport.cli.doctor.output.layout import (
    Look,
    conclusion,
    findings_lines,
    skipped_lines,
    tally,
)
from resilient_transport.cli.doctor.output.machine import as_json, values
from resilient_transport.cli.doctor.output.printable import printable
from resilient_transport.cli.doctor.root import Root
from resilient_transport.waterfall.chart import Bar, Phase, Row
from tests.cli.doctor.sections import PAGE, Measured, refused, report, section, warned

WIDTHS = (40, 60, 80, 200)
HINT = "openssl s_client -connect host.example:443 </dev/null | openssl x509 -noout -dates"
LONG = fail(
    "tls.expiry", "the certificate of the server has expired, and nobody renewed it", HINT, "3 days ago"
)
#: What a server could put into a reason, or an authority into a subject.
NASTY = "a\x1b[31mred\x1b]0;title\x07\nline\u202egnp.exe [bold]b[/bold] <script>alert(1)</script>&\u2028"


def text(lines):
    """Lines without their styles."""
    return ["".join(piece for piece, _ in line).rstrip() for line in lines]


def told(*findings, **look):
    """The lines of these findings."""
    return text(findings_lines(findings, Look(**look)))


def draws(visit):
    """A section's measuring that leaves a row."""
    bar = Bar(Phase.FIRST_BYTE, 0.0, 0.5, True, NASTY)
    visit.add(Row(NASTY, (bar,), NASTY, True, method="GET", url=f"{PAGE}", status=200))
    return Measured("tls")


TLS_NEEDS = section("tls", needs=("connect",))
NASTY_REPORT = report(section("tls", fail("tls.one", NASTY, NASTY, NASTY, Root.OTHER), measure=draws))


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            40,
            [
                "  × tls.expiry: the certificate of the",
                "    server has expired, and nobody",
                "    renewed it [3 days ago]",
                f"      {HINT}",
            ],
        ),
        (
            80,
            [
                "  × tls.expiry: the certificate of the server has expired, and nobody renewed it",
                "    [3 days ago]",
                f"      {HINT}",
            ],
        ),
        (None, [f"  × tls.expiry: {LONG.text} [3 days ago]", f"      {HINT}"]),
    ],
    ids=["40", "80", "a file"],
)
def test_a_sentence_is_wrapped_and_a_hint_is_not(width, lines):
    """The hint stands alone on its line, so that it can be copied."""
    assert told(LONG, width=width) == lines


@pytest.mark.parametrize("look", [{"is_dumb": True}, {"encoding": "ascii"}, {"encoding": "latin-1"}])
def test_words_stand_where_there_are_no_signs(look):
    """On a dumb terminal, and where the encoding has none."""
    findings = (ok("a.b", "well", "1"), warned(), refused(), *section_skipped())

    assert told(*findings, **look) == [
        "  ok   a.b: well [1]",
        "  WARN tls.two: the certificate expires soon [5 days]",
        "         renew it",
        "  FAIL connect.one: nobody listens there [0 of 1]",
        "         start the server",
        "  skip tls.one: skipped (needs connect)",
    ]


def test_what_the_sentence_says_is_not_said_again():
    """Only a value that the sentence does not have stands behind it."""
    assert told(ok("a.b", "the server chooses h2", "h2"), ok("a.b", "it works", "h2")) == [
        "  √ a.b: the server chooses h2",
        "  √ a.b: it works [h2]",
    ]


def section_skipped():
    """The findings of a section that could not run."""
    return report(section("connect", refused()), section("tls", needs=("connect",))).findings[1:]


def test_signs_stand_where_they_can_be_shown():
    """One for each level."""
    findings = (ok("a.b", "well"), warned(), refused(), *section_skipped())

    assert [line[2] for line in told(*findings) if not line.startswith("    ")] == ["√", "‼", "×", "-"]


def test_a_section_that_is_skipped_takes_one_line():
    """Whose checks all have the same reason."""
    tls, both = section("tls"), (*section_skipped(), *section_skipped())

    assert text(skipped_lines(tls, both, Look())) == ["- tls: skipped (needs connect)"]
    assert text(skipped_lines(tls, both, Look(is_dumb=True))) == ["skip tls: skipped (needs connect)"]
    assert skipped_lines(tls, (*both, ok("tls.two", "well")), Look()) == []
    assert skipped_lines(tls, (), Look()) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_but_what_is_copied_is_wider_than_the_terminal(width):
    """Whatever the width."""
    found = report(section("tls", LONG, warned(), ok("tls.three", "words " * 40, "a value")))
    lines = [*told(*found.findings, width=width), *text(conclusion(found, Look(width)))]
    to_copy = {HINT, "renew it", found.curl}
    wide = [line for line in lines if len(line) > width]

    assert {line.strip() for line in wide} <= to_copy
    assert to_copy <= {line.strip() for line in lines}


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain text, √ and ü", "plain text, √ and ü"),
        ("\x1b[2J\x9b2J\x07\b\r\n\t\x00\x7f", r"\x1b[2J\x9b2J\x07\x08\r\n\t\x00\x7f"),
        ("\u202e\u2066\u200b\u2028\xad\ufeff", r"\u202e\u2066\u200b\u2028\xad\ufeff"),
        ("\ud800", r"\ud800"),
        ("[bold]b[/bold] :smile:", "[bold]b[/bold] :smile:"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(raw, shown):
    """Control characters, what turns the direction of writing, what cannot be encoded."""
    assert printable(raw) == shown


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", r"\u221a \xfc"), ("latin-1", "\\u221a ü")])
def test_what_cannot_be_encoded_is_escaped(encoding, shown):
    """Instead of an error in the midst of a line."""
    assert printable("√ ü", encoding) == shown


def test_no_line_obeys_what_others_say():
    """Neither a line of the table nor one of the end."""
    lines = [*told(*NASTY_REPORT.findings), *text(conclusion(NASTY_REPORT, Look()))]

    assert [char for line in lines for char in line if not char.isprintable()] == []
    assert sum("[bold]b[/bold]" in line for line in lines) == 4


class _Tags(HTMLParser):
    """Keeps the names of tags, and the text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), ""

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_what_others_say_as_text():
    """No element of theirs; and all that was found stands in it."""
    page = as_html(NASTY_REPORT)
    parser = _Tags()
    parser.feed(page)

    assert "script" not in parser.tags
    assert "<script>alert(1)</script>" in parser.text
    assert NASTY_REPORT.curl in parser.text
    assert [word for word in ("tls.one", "Tls", "What to do next") if word not in parser.text] == []


def test_the_page_has_no_empty_columns_and_no_empty_tables():
    """A section that has not run is one row of a table of those."""
    found = report(section("name", ok("name.one", "it is found")), section("connect", refused()), TLS_NEEDS)
    page = as_html(found)
    heads = re.findall(r"<caption>(.*?)</caption><thead><tr>(.*?)</tr>", page)

    assert [(title, re.findall(r">([^<]+)</th>", columns)) for title, columns in heads] == [
        ("What to do next", ["what", "how"]),
        ("Name", ["check", "found"]),
        ("Connect", ["check", "found", "measured", "what to do"]),
        ("Not looked at", ["section", "why"]),
    ]
    assert "skipped (needs connect)" in page


def test_the_har_has_what_was_asked():
    """An entry for each row with a request."""
    log = json.loads(as_har(NASTY_REPORT))["log"]

    assert [(entry["request"]["url"], entry["response"]["status"]) for entry in log["entries"]] == [
        (PAGE, 200)
    ]


class Colour(Enum):
    """An enumeration of what is neither text nor number."""

    RED = (1, 2)


class Pair(NamedTuple):
    """A tuple with names."""

    left: int
    headers: dict


@dataclass(frozen=True, slots=True)
class Kinds:
    """A value of each kind."""

    phase: Phase = Phase.BODY
    colour: Colour = Colour.RED
    number: float = 1.23456789
    endless: float = float("inf")
    pair: Pair = Pair(1, {"Set-Cookie": "a secret"})
    headers: dict = field(default_factory=lambda: {"Authorization": "a secret"})
    hidden: str = field(default="a secret", repr=False)
    body: bytes = b"a secret"
    path: Path = Path("a/b")
    moment: datetime = datetime(2030, 1, 2, tzinfo=timezone.utc)
    error: Exception = ConnectionResetError(104, "Connection reset by peer")
    some: frozenset = frozenset({"b", "a"})
    by_phase: dict = field(default_factory=lambda: {Phase.DIAL: (1, None)})
    other: object = object()


def test_measured_values_become_json():
    """Names instead of headers' values, and of what is none of ours only its kind."""
    assert values(Kinds()) == {
        "phase": "body",
        "colour": "RED",
        "number": 1.234568,
        "endless": None,
        "pair": {"left": 1, "headers": ["Set-Cookie"]},
        "headers": ["Authorization"],
        "body": "<bytes>",
        "path": "a/b",
        "moment": "2030-01-02T00:00:00+00:00",
        "error": "ConnectionResetError: Connection reset by peer",
        "some": ["a", "b"],
        "by_phase": {"dial": [1, None]},
        "other": "<object>",
    }
    assert "a secret" not in json.dumps(values(Kinds()))


def test_the_keys_of_the_json():
    """These are documented, and stay."""
    found = json.loads(as_json(report(section("tls"), section("control", refused("control.one")))))

    assert list(found) == [
        "schema", "version", "page", "proxy", "verdict", "sections", "requests", "connections", "seconds",
        "interrupted", "curl", "again",
    ]  # fmt: skip
    assert list(found["verdict"]) == ["level", "root", "sentence", "also", "compared", "hint"]
    assert [list(one) for one in found["sections"]] == [
        ["name", "title", "level", "findings", "measured"]
    ] * 2
    assert found["sections"][0] == {
        "name": "tls",
        "title": "Tls",
        "level": "ok",
        "findings": [
            {
                "check": "tls.one",
                "level": "ok",
                "text": "tls is well",
                "value": "3 of 3",
                "hint": "",
                "root": None,
            }
        ],
        "measured": {"name": "tls"},
    }
    assert (found["schema"], found["verdict"]["root"], found["sections"][1]["level"]) == (
        1,
        "refused",
        "fail",
    )


def test_no_secret_is_in_any_of_them():
    """A query's value and a password that a server has repeated."""
    page, secrets = "https://ada:hunter22@host.example/page?token=open-sesame", ("open-sesame", "hunter22")

    def repeats(visit):
        visit.add(replace(Row(page, (), page, method="GET", url=page), details=(page,)))
        return Measured(page)

    found = report(section("tls", ok("tls.one", page, page), measure=repeats), options=Options(page))
    shown = (
        as_json(found),
        as_html(found),
        as_har(found),
        *told(*found.findings),
        *text(conclusion(found, Look())),
    )

    assert [one for one in shown for secret in secrets if secret in one] == []
    assert all("host.example" in one for one in shown[:3])


def test_the_end_counts():
    """What came of the checks, and what it took."""
    found = replace(report(section("connect", refused()), section("tls", needs=("connect",))), seconds=1.26)

    assert tally(found) == "Checks: 1 failed, 1 skipped; 0 requests in 1.3 s."
    assert tally(replace(found, findings=(), requests=1)) == "Checks: none; 1 request in 1.3 s."


def test_an_interrupted_one_says_what_is_missing():
    """By section, once."""
    found = report(section("connect"), section("tls", ok("tls.one", "a"), ok("tls.two", "b")))
    missing = [replace(one, level="skipped", text="skipped (interrupted)") for one in found.findings[1:]]
    cut = replace(found, findings=(found.findings[0], *missing), is_interrupted=True)

    assert "Not looked at: tls." in text(conclusion(cut, Look()))
    assert not any("Not looked" in line for line in text(conclusion(found, Look())))
