"""docs/doctor.md against the code: keys, exit statuses, bounds, options, signs."""

import argparse
import re

import pytest

from resilient_transport.cli import command
from resilient_transport.cli.doctor import doctor as subcommand
from resilient_transport.cli.doctor.allowance import MOST_CONNECTIONS, MOST_REQUESTS
from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.finding import Level
from resilient_transport.cli.doctor.output.layout import Look
from resilient_transport.cli.doctor.output.machine import SCHEMA, plain
from tests.cli.doctor.sections import PAGE, report, section
from tests.programs import ROOT

GUIDE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")


def cells(heading):
    """The rows of the first table below a heading of the second level, but for its head."""
    part = GUIDE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_keys_of_the_json():
    """Each has a row, in their order; what stands in the rows of two of them, too."""
    told = {name: about for names, about in cells("For programs") for name in re.findall(r"`(\w+)`", names)}
    found = plain(report(section("tls")))

    assert list(told) == list(found)
    assert told["schema"] == str(SCHEMA)
    assert re.findall(r"`(\w+)`", told["verdict"]) == list(found["verdict"])
    assert re.findall(r"`(\w+)`", told["sections"]) == list(found["sections"][0])


def test_the_signs_and_the_exit_statuses():
    """As the code has them."""
    rows = cells("What it prints")
    statuses = [int(row[0]) for row in rows if row[0].isdigit()]

    assert [row[:2] for row in rows[: len(Level)]] == [
        [Look().marks[level], Look(is_dumb=True).marks[level].strip()] for level in Level
    ]
    assert statuses == [command.OK, command.FAILED, command.UNUSABLE, command.INTERRUPTED]


@pytest.mark.parametrize(
    "words",
    [
        f"at most {MOST_REQUESTS} requests",
        f"at most {MOST_CONNECTIONS} connections",
        f"after {Options(PAGE).timeout:g} s (`--timeout`)",
    ],
)
def test_the_bounds(words):
    """As the code has them."""
    assert words in GUIDE


def test_the_options_are_there():
    """Each that is named; and the module itself says the same of exit statuses."""
    parser = argparse.ArgumentParser()
    subcommand.configure(parser)
    known = set(parser.format_help().replace("[", " ").split())

    assert [name for name in re.findall(r"`(--[a-z-]+)", GUIDE) if name not in known] == []
