"""The README is true: its examples run, its error is the one that comes, its numbers are the project's."""

import configparser
import re
import struct
import sys
import traceback
from pathlib import Path

import pytest
import requests

from resilient_transport import registry, uninstall
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.examples import examples_of, run_example
from tests.test_docs import told_to_install

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Without line breaks, as a sentence is looked for.
FLOWING = re.sub(r"\s+", " ", README)
EXAMPLES = examples_of("README.md")
#: The pages that a reader has to find, one click away.
QUESTIONS = {
    "Will my POST be sent twice?": "docs/behaviour.md#will-my-post-be-sent-twice",
    "How do I turn it on in a program I can't edit?": "docs/programs.md#a-program-you-cant-edit",
    "It failed: what now?": "docs/failures.md",
}
#: Extras for those who work on the project.
FOR_CONTRIBUTORS = {"dev", "docs"}
MOST_LINES = 150
MOST_BYTES = 200_000


@pytest.fixture(autouse=True)
def clean_slate(monkeypatch):
    """Begin without the environment's proxies and CA, and end with stock requests."""
    monkeypatch.setattr(requests.Session, "trust_env", False, raising=False)
    yield
    uninstall()
    registry.clear()


@pytest.fixture(scope="module")
def setup():
    """What setup.cfg says."""
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg", encoding="utf-8")
    return read


def test_it_is_short():
    """It fits on a few screens, and no line is too long for one."""
    lines = README.splitlines()

    assert len(lines) <= MOST_LINES
    assert [line for line in lines if len(line) > 140] == []


def end_of_traceback(example, server):
    """Run an example that fails, and return what its traceback says of the last exception."""
    with pytest.raises(requests.RequestException) as failed:
        run_example(example, server)
    whole = "".join(traceback.format_exception(failed.value))
    return whole[whole.rindex("\nrequests.exceptions.") :]


def without_incidentals(text):
    """Return it in one line, without what differs from run to run and from machine to machine."""
    text = re.sub(r"https://[\w.]+(:\d+)?", "SERVER", text)
    text = re.sub(r"\d+\.\d+\.\d+\.\d+:\d+", "ADDRESS", text)
    text = re.sub(r"\d+ bytes out", "BYTES out", re.sub(r"\d+\.\d+ s\b", "SECONDS", text))
    return " ".join(text.split())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes")
def test_the_traceback_is_the_one_that_comes(fault_server):
    """A server executes the POST of the example and closes; but for time, port and size the words agree."""
    (told,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    fault_server.play(Script((Rule(Fault(Moment.EXECUTED, How.FIN)),)))

    assert without_incidentals(end_of_traceback(EXAMPLES[-1], fault_server)) == without_incidentals(told)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes")
def test_another_failure_has_another_traceback(fault_server):
    """The control: the same example, and a server that closes in the handshake."""
    (told,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    fault_server.play(Script((Rule(Fault(Moment.CLIENT_HELLO)),)))

    assert without_incidentals(end_of_traceback(EXAMPLES[-1], fault_server)) != without_incidentals(told)


@pytest.mark.parametrize("question", QUESTIONS)
def test_three_questions_are_one_click_away(question):
    """Each is a link to the section that answers it."""
    assert f"[{question}]({QUESTIONS[question]})" in README


def test_every_page_is_linked():
    """Who reads the README finds each page, and each file for readers at the top of the project."""
    top = {path.name for path in ROOT.glob("*.md")} - {"README.md"}
    # These have the text of files at the top.
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {name.lower() for name in top}

    assert len(pages) > 7
    assert [
        name for name in sorted({*top, *(f"docs/{page}" for page in pages)}) if f"]({name})" not in README
    ] == []


def test_the_picture_is_shown():
    """The README shows a PNG that loads fast, and says in words what it shows."""
    ((alternative, name),) = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    picture = (ROOT / name).read_bytes()
    width, height = struct.unpack(">II", picture[16:24])

    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) <= MOST_BYTES
    assert 900 <= width <= 2000
    assert height <= width
    assert len(alternative.split()) > 20


def test_the_extras_are_those_of_the_package(setup):
    """Each that is for users has a row, and no other has one."""
    told = re.findall(r"^\| `\.\[(\w+)\]` \|", README, re.MULTILINE)
    there = set(setup["options.extras_require"]) - FOR_CONTRIBUTORS

    assert len(told) == len(there)
    assert set(told) == there


def test_the_commands_are_there(setup):
    """What is typed in a clone: commands of `.ci/run`, and extras that exist."""
    fences = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    typed = [line.partition("  #")[0].strip() for line in fences.splitlines()]
    commands = {line for line in typed if line.startswith(".ci/run")}
    source = re.search(r"^Source = (\S+)$", setup["metadata"]["project_urls"], re.MULTILINE)[1]
    extras = re.findall(r"^pip install '\.\[(\w+)\]'", "\n".join(typed), re.MULTILINE)

    assert commands == {".ci/run demo", ".ci/run"}
    assert re.search(r"\btest \| demo\b", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert extras == ["otel"]
    assert set(extras) <= set(setup["options.extras_require"])
    assert f"git clone {source}.git" in typed


def known_numbers(setup):
    """Return each phrase of the README that has a number, as the project's own files have it."""
    needed = re.sub(
        r"(?m) *([>=<]+) *|, *", lambda found: found[1] or ",", setup["options"]["install_requires"]
    )
    python = setup["options"]["python_requires"].removeprefix(">=")
    return [*needed.split(), f"Python {python} or newer"]


#: What is called by a number, and is no figure of the project.
NAMES_WITH_NUMBERS = ("`urllib3`", "HTTP/2", "HTTP/3", "PKCS #12", "Python 3.11 or newer")


def numbers_left(text, known):
    """Return the digits in a text's sentences and tables that no known phrase accounts for."""
    prose = re.sub(r"```.*?```|\]\([^)]+\)|^\d\. ", "", text, flags=re.DOTALL | re.MULTILINE)
    for phrase in known:
        prose = prose.replace(phrase, "")
    return re.findall(r"\S*\d\S*", prose)


def test_every_number_is_known(setup):
    """Each stands in a phrase that the project's files have; one that is added needs a test, too."""
    known = known_numbers(setup)

    assert [phrase for phrase in known if phrase not in FLOWING] == []
    assert numbers_left(README, [*known, *NAMES_WITH_NUMBERS, "pkcs12"]) == []


def test_a_number_that_is_not_known_is_found(setup):
    """The control: another bound, and a figure of nowhere."""
    text = README + "It needs `requests>=2.31` and takes 25 ms."

    assert numbers_left(text, [*known_numbers(setup), *NAMES_WITH_NUMBERS, "pkcs12"]) == [
        "`requests>=2.31`",
        "25",
    ]


def test_it_is_as_fast_as_the_benchmarks_say():
    """The fifth is what is in the newest table of benchmarks/README.md."""
    table = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    head = next(line for line in table.splitlines() if line.startswith("| what |")).split("|")
    row = next(
        line for line in table.splitlines() if line.startswith("| keep-alive, Session.get, 1 B | nginx | CPU")
    )
    ratio = float(row.split("|")[head.index(" ResilientAdapter ")].split("±")[0])

    assert "`Session.get` takes a fifth less CPU" in FLOWING
    assert ratio == pytest.approx(0.8, abs=0.03)


def test_no_line_names_a_machine():
    """Nothing in it belongs to one machine or one registry, where our name may be a stranger's."""
    assert not re.search(r"/(root|home|work|tmp)/|pypi\.|localhost:\d", README)
    assert told_to_install(README) == []
