"""`docs/comparison.md` is true: its measured cells are measured again, with the releases that are installed.

One process for each environment plays each row against a server that counts. A peer's next release may do
better: then the run says what differs, and does not fail.
"""

import re

import pytest

from resilient_transport.testing import FaultServer
from tests.neighbours.calling import PEERS
from tests.neighbours.comparing import CALLING, CONTEXTS, PLAYS, RESUMED, cells, client, tls
from tests.neighbours.environments import HOLDS
from tests.programs import ROOT
from tests.test_docs import section

PAGE = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
OURS = "this package"
#: Environments, what is installed in them, and which columns are measured there.
RUNS = {
    "tools": (HOLDS["tools"], (OURS, "requests", "requests + Retry", "tenacity", "httpx-retries")),
    "niquests": (("niquests",), ("niquests",)),
    "botocore": (("botocore",), ("botocore",)),
}
#: Columns that nothing here measures: `tests/neighbours/comparing.py` says how to.
BY_HAND = {"clientwright", "Go", "undici"}


def columns(text):
    """Return the measured table: for each column, what it has in which row."""
    head, _, *rows = re.findall(r"^\|(.*)\|$", section(text, "What was measured"), re.MULTILINE)
    names = [cell.strip() for cell in head.split("|")]
    told = [[cell.strip() for cell in row.split("|")] for row in rows]
    return {name: {row[0]: row[at] for row in told} for at, name in enumerate(names) if at}


def versions_told(text):
    """Return the versions that the page names, of all packages."""
    return dict(re.findall(r"`([\w-]+) ([\d.]+)`", section(text, "Who is compared")))


def differing(told, measured):
    """Return the rows in which two columns differ, and how."""
    rows = told | measured
    return {row: (told.get(row), measured.get(row)) for row in rows if told.get(row) != measured.get(row)}


def newer(versions, text):
    """Return what has another version than the page says; this package has none there."""
    told = versions_told(text)
    return {name: found for name, found in versions.items() if told.get(name, found) != found}


def test_the_table_has_a_column_for_each_client_and_a_row_for_each_play():
    """What the code measures and what the page has are the same, and each version is told."""
    told = columns(PAGE)
    packages = {name for kind in PEERS.values() for name in kind.packages} - {"resilient-transport"}

    assert set(told) == {*PEERS} | BY_HAND
    assert {peer for _, peers in RUNS.values() for peer in peers} == set(told) - BY_HAND
    assert all(set(column) == {*PLAYS, CONTEXTS, RESUMED} for column in told.values())
    assert packages <= set(versions_told(PAGE))


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_the_cells_are_those_measured(run, environment_of, server, record_property):
    """With the page's versions each cell is the page's; with others the run says what differs."""
    packages, peers = RUNS[run]
    python = environment_of(run, *packages).python
    wrong = {}
    with (
        FaultServer(authority=server.authority, keep_alive=False) as closing,
        client([python, CALLING], server.authority.ca_file, *server.authority.client) as caller,
    ):
        for peer in peers:
            versions = caller.ask("begin", peer=peer)
            found = differing(columns(PAGE)[peer], tls(caller, peer, closing) | cells(caller, peer, server))
            if other := newer(versions, PAGE):
                record_property("ran with", f"{other} beside docs/comparison.md, which differs by {found}")
            elif found:
                wrong[peer] = found

    assert wrong == {}


def test_a_cell_that_is_wrong_is_found():
    """The control: a POST that is said to be sent once, and was sent twice; and a row that is missing."""
    measured = {"answer reset, POST": "answer, 2×", CONTEXTS: "1", RESUMED: "0"}
    told = {"answer reset, POST": "error, 1×", CONTEXTS: "1"}

    assert differing(measured, measured) == {}
    assert differing(told, measured) == {
        "answer reset, POST": ("error, 1×", "answer, 2×"),
        RESUMED: (None, "0"),
    }


def test_another_version_is_found():
    """The control: a version that the page does not have, one that it has, and this package's."""
    told = versions_told(PAGE)

    assert newer({"niquests": "99.0", "httpx": told["httpx"], "resilient-transport": "1.0"}, PAGE) == {
        "niquests": "99.0"
    }
